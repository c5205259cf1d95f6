//! What the spool keeps when the power goes.
//!
//! A machine fills a spool on a disk whose writes and flushes are all logged ([`write_log`]). Another
//! machine then makes the disk as it would be had the power gone at some moment ([`cut`]): what was
//! written since the last flush is there, is missing or is torn, in any mixture. It mounts that disk, opens
//! the spool, and asks for what had been done by then ([`steps`]).
//!
//! When a step is done, its number is written to the same disk, past the file system: so the log knows
//! what came before what. The control is the same with `fsync` taken away, which must lose something.

mod cut;
mod faults;
mod steps;
mod write_log;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use temoin_agent::{
    seal::SealedClip,
    spool::{Queued, Spool},
};
use temoin_agent_core::spool_plan::LostReason;

pub(crate) use self::faults::disk_faults;
use self::{
    cut::Dice,
    steps::{Must, Part, Step},
    write_log::Entry,
};
use crate::{guest::figure, host::say};

/// The file system's part of the disk, bytes.
const FILES: u64 = 96 << 20;
/// The whole disk, bytes: behind the file system a page says how many steps are done.
pub(crate) const DISK: u64 = FILES + PAGE as u64;
const PAGE: usize = 4096;
/// What that page begins with.
const DONE: [u8; 8] = *b"steps  \n";
/// The disk, or its log, in the machine.
const DEVICE: &str = "/dev/vda";
/// A disk in the machine's memory, as the power left it.
const AS_LEFT: &str = "/dev/ram0";
const MOUNTED: &str = "/tmp/disk";
/// More than all clips: nothing has to make way.
const QUOTA: u64 = 1 << 40;
/// How often the power is cut.
const CUTS: u32 = 100;
/// How often in the control.
const CONTROL_CUTS: u32 = 40;
/// Longest start after a cut.
const STARTS_WITHIN: Duration = Duration::from_secs(2);
/// Most bytes written to the disk for a byte of clip.
const MOST_WRITTEN: f64 = 1.1;

/// A file system of a unit's disk.
#[derive(Clone, Copy)]
enum Files {
    Ext4,
    F2fs,
}

impl Files {
    const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::F2fs => "f2fs",
        }
    }

    fn make(self) -> Result<()> {
        let made = match self {
            Self::Ext4 => Command::new("/usr/sbin/mkfs.ext4")
                .args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"])
                .args([DEVICE, &format!("{}k", FILES >> 10)])
                .output(),
            Self::F2fs => Command::new("/usr/sbin/mkfs.f2fs")
                .args(["-f", "-q", "-t", "0", DEVICE, &(FILES / 512).to_string()])
                .output(),
        };
        let made = made.with_context(|| format!("mkfs.{}", self.name()))?;
        let words = || {
            String::from_utf8_lossy(&[made.stdout.clone(), made.stderr.clone()].concat())
                .into_owned()
        };
        ensure!(made.status.success(), "mkfs.{}: {}", self.name(), words());
        Ok(())
    }

    fn mount(self, device: &str) -> Result<()> {
        fs::create_dir_all(MOUNTED)?;
        mount(device, MOUNTED, self.name(), MountFlags::NOATIME, None)
            .with_context(|| format!("{} cannot be mounted as {}", device, self.name()))
    }
}

/// Fills a spool on ext4.
pub(crate) fn fill_ext4() -> Result<()> {
    fill(Files::Ext4)
}

/// Fills a spool on f2fs.
pub(crate) fn fill_f2fs() -> Result<()> {
    fill(Files::F2fs)
}

/// Fills a spool while nothing is made durable.
pub(crate) fn fill_without_fsync() -> Result<()> {
    Files::Ext4.make()?;
    Files::Ext4.mount(DEVICE)?;
    without_fsync()?;
    fill_mounted()
}

/// Cuts the power of what [`fill_ext4`] did.
pub(crate) fn cut_ext4() -> Result<()> {
    survives(Files::Ext4)
}

/// Cuts the power of what [`fill_f2fs`] did.
pub(crate) fn cut_f2fs() -> Result<()> {
    survives(Files::F2fs)
}

/// Cuts the power of what [`fill_without_fsync`] did: a rig that finds nothing wrong there finds nothing.
pub(crate) fn cut_without_fsync() -> Result<()> {
    let cuts = Cuts::read(CONTROL_CUTS)?;
    let failed = cuts.run(Files::Ext4, |_, result| Ok(result.is_err()))?;
    say(&format!("{failed} of {CONTROL_CUTS} cuts without fsync lost something"));
    figure("sum", "unit.mutant_cuts_failed", f64::from(failed));
    ensure!(
        failed * 2 > CONTROL_CUTS,
        "only {failed} of {CONTROL_CUTS} cuts without fsync lost something"
    );
    Ok(())
}

fn fill(files: Files) -> Result<()> {
    files.make()?;
    files.mount(DEVICE)?;
    fill_mounted()
}

/// Does all steps, and notes each that is done.
fn fill_mounted() -> Result<()> {
    let mut notes = open_direct(DEVICE)?;
    let (spool, _) = open_spool()?;
    note(&mut notes, 0)?;
    for (done, step) in (1..).zip(steps::all()) {
        take(&spool, step).with_context(|| format!("step {done}: {step:?}"))?;
        note(&mut notes, done)?;
    }
    Ok(())
}

fn take(spool: &Spool, step: Step) -> Result<()> {
    match step {
        Step::PutEvent(n) => drop(spool.put_event(steps::event(n))?),
        Step::PutSoFar(n, part) => drop(spool.put_so_far(&steps::clip(n, part)?)?),
        Step::PutClip(n) => drop(spool.put_clip(&steps::clip(n, Part::Whole)?)?),
        Step::Lose(n) => drop(spool.record_lost(steps::lost(n))?),
        Step::Settle(n) => spool.settle_clip(steps::clip_id(n))?,
        Step::DropClip(n) => spool.discard_clip(steps::clip_id(n))?,
        Step::DropEvent(n) => spool.discard_event(steps::event_id(n))?,
    }
    Ok(())
}

/// Opens a disk to be written past all caches, from [`Aligned`] bytes.
fn open_direct(device: &str) -> Result<File> {
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let opened = OpenOptions::new().write(true).custom_flags(direct).open(device);
    opened.with_context(|| device.to_owned())
}

/// Bytes that begin with a page of memory.
struct Aligned {
    room: Vec<u8>,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        Self { room: vec![0; length + PAGE], length }
    }

    fn page(&mut self) -> &mut [u8] {
        let begin = self.room.as_ptr().align_offset(PAGE).min(PAGE);
        self.room.get_mut(begin..begin + self.length).unwrap_or_default()
    }
}

/// Writes past all caches how many steps are done.
fn note(disk: &mut File, done: u32) -> Result<()> {
    let mut page = Aligned::new(PAGE);
    for (to, byte) in page.page().iter_mut().zip(DONE.into_iter().chain(done.to_le_bytes())) {
        *to = byte;
    }
    disk.seek(SeekFrom::Start(FILES))?;
    Ok(disk.write_all(page.page())?)
}

/// From here on this program's `fsync` says that it did what it was asked, and does nothing.
fn without_fsync() -> Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let calls = [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs];
    let filter = SeccompFilter::new(
        calls.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(0),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}

/// Opens the spool on the mounted disk.
fn open_spool() -> Result<(Spool, Vec<Queued>)> {
    let mut strange = Vec::new();
    let opened =
        Spool::open(&Path::new(MOUNTED).join("unit"), QUOTA, |path| strange.push(path.to_owned()))?;
    ensure!(strange.is_empty(), "these are not the spool's: {}", strange.join(", "));
    Ok(opened)
}

/// All cuts of one log must be survived.
fn survives(files: Files) -> Result<()> {
    let cuts = Cuts::read(CUTS)?;
    let (mut survived, mut slowest) = (0_u32, Duration::ZERO);
    let mut first = None;
    cuts.run(files, |at, result| {
        match result {
            Ok(start) => {
                survived += 1;
                slowest = slowest.max(start);
            }
            Err(e) => {
                say(&format!("cut before write {at}: {e:#}"));
                first.get_or_insert(e);
            }
        }
        Ok(true)
    })?;
    let amplification = cuts.amplification()?;
    figure("sum", "unit.power_cuts_survived", f64::from(survived));
    figure("sum", "unit.power_cuts_total", f64::from(CUTS));
    figure("most", "unit.startup_after_cut_s", slowest.as_secs_f64());
    figure("most", "unit.write_amplification", amplification);
    say(&format!(
        "{}: {survived} of {CUTS} cuts survived, started within {:.2} s, {amplification:.3} bytes written for a byte of clip",
        files.name(),
        slowest.as_secs_f64()
    ));
    if let Some(e) = first {
        return Err(
            e.context(format!("{} of {CUTS} cuts were not survived; the first", CUTS - survived))
        );
    }
    ensure!(slowest < STARTS_WITHIN, "the spool took {slowest:?} to start");
    ensure!(
        amplification <= MOST_WRITTEN,
        "{amplification:.3} bytes were written for a byte of clip"
    );
    Ok(())
}

/// The log of a disk, and when its power is cut.
struct Cuts {
    log: File,
    entries: Vec<Entry>,
    /// Steps that are done once this entry is written.
    notes: Vec<(usize, u32)>,
    /// The power goes before these entries, rising.
    at: Vec<usize>,
    /// What was put into the spool, in the order of the events.
    clips: Vec<SealedClip>,
}

impl Cuts {
    fn read(count: u32) -> Result<Self> {
        let mut log = File::open(DEVICE)?;
        let entries = write_log::read(&mut log)?;
        let mut notes = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            if entry.is_written() && entry.disk >= FILES {
                let mut page = [0; DONE.len() + 4];
                read_at(&mut log, entry.log, &mut page)?;
                let (begin, done) = page.split_first_chunk().context("no room")?;
                ensure!(*begin == DONE, "write {n} is past the file system and no note");
                notes.push((n, u32::from_le_bytes(done.try_into()?)));
            }
        }
        let (Some((first, _)), Some((last, done))) = (notes.first(), notes.last()) else {
            bail!("no step was noted among {} writes", entries.len());
        };
        ensure!(usize::try_from(*done)? == steps::all().len(), "only {done} steps were done");
        let mut dice = Dice::new(u64::from(count));
        let mut at: Vec<usize> = (0..count).map(|_| first + 1 + dice.below(last - first)).collect();
        at.sort_unstable();
        let clips =
            (0..steps::EVENTS).map(|n| steps::clip(n, Part::Whole)).collect::<Result<_>>()?;
        Ok(Self { log, entries, notes, at, clips })
    }

    /// Cuts the power at each moment; `each` is told when, and how long the start took or what was lost.
    /// How many it says yes to.
    fn run(
        &self,
        files: Files,
        mut each: impl FnMut(usize, Result<Duration>) -> Result<bool>,
    ) -> Result<u32> {
        let mut log = self.log.try_clone()?;
        let mut durable = vec![0; usize::try_from(FILES)?];
        let mut left = Aligned::new(durable.len());
        let (mut applied, mut count) = (0, 0);
        let mut dice = Dice::new(7);
        for at in &self.at {
            let (flushed, torn) = cut::cut(&self.entries, *at, &mut dice);
            for entry in self.entries.get(applied..flushed).unwrap_or_default() {
                apply(&mut log, &mut durable, entry, 0..entry.bytes)?;
            }
            applied = applied.max(flushed);
            let left = left.page();
            left.copy_from_slice(&durable);
            for part in torn {
                let entry = self.entries.get(part.entry).context("no such write")?;
                apply(&mut log, left, entry, part.bytes)?;
            }
            let noted = self.notes.partition_point(|(n, _)| n < at);
            let done =
                noted.checked_sub(1).and_then(|n| self.notes.get(n)).map_or(0, |(_, done)| *done);
            let result = started(files, left, done, &self.clips);
            count += u32::from(each(*at, result)?);
        }
        Ok(count)
    }

    /// Bytes that were written to the file system for a byte of clip.
    fn amplification(&self) -> Result<f64> {
        let first = self.notes.first().context("no notes")?.0;
        let writes = self.entries.iter().skip(first);
        let written: u64 = writes
            .filter(|entry| entry.is_written() && entry.disk < FILES)
            .map(|entry| entry.bytes)
            .sum();
        let clips = steps::all().into_iter().filter_map(|step| match step {
            Step::PutClip(n) => Some(steps::clip_bytes(n, Part::Whole)),
            Step::PutSoFar(n, part) => Some(steps::clip_bytes(n, part)),
            Step::PutEvent(_)
            | Step::Lose(_)
            | Step::Settle(_)
            | Step::DropClip(_)
            | Step::DropEvent(_) => None,
        });
        let clips: u64 = clips.sum();
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let ratio = written as f64 / clips as f64;
        Ok(ratio)
    }
}

/// Puts part of a logged write onto a disk.
fn apply(
    log: &mut File,
    disk: &mut [u8],
    entry: &Entry,
    bytes: std::ops::Range<u64>,
) -> Result<()> {
    if !entry.is_written() || entry.disk >= FILES {
        return Ok(());
    }
    let begin = usize::try_from(entry.disk + bytes.start)?;
    let length = usize::try_from(bytes.end - bytes.start)?;
    let to = disk.get_mut(begin..begin + length).context("a write reaches past the file system")?;
    read_at(log, entry.log + bytes.start, to)
}

fn read_at(file: &mut File, at: u64, to: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(at))?;
    Ok(file.read_exact(to)?)
}

/// Mounts a disk as the power left it, opens the spool and looks whether all is there. How long the start took.
fn started(files: Files, disk: &[u8], done: u32, clips: &[SealedClip]) -> Result<Duration> {
    open_direct(AS_LEFT)?.write_all(disk)?;
    let began = Instant::now();
    files.mount(AS_LEFT)?;
    let opened = open_spool();
    let took = began.elapsed();
    let seen = opened.and_then(|(spool, queue)| check(&spool, &queue, done, clips));
    unmount(MOUNTED, UnmountFlags::empty())?;
    seen.with_context(|| format!("after {done} steps")).map(|()| took)
}

/// Whether the spool holds what it must after so many steps, the next of which may be half done.
fn check(spool: &Spool, queue: &[Queued], done: u32, clips: &[SealedClip]) -> Result<()> {
    let steps = steps::all();
    let done = usize::try_from(done)?;
    let (finished, begun) = (steps.get(..done).unwrap_or_default(), steps.get(done).copied());
    let mut known = BTreeSet::new();
    for (n, put) in (0..steps::EVENTS).zip(clips) {
        let must = steps::must(finished, begun, n);
        let record = spool.event(steps::event_id(n));
        ensure!(
            must.event.allows(record.is_some()),
            "event {n}: there {}, must {:?}",
            record.is_some(),
            must.event
        );
        ensure!(record.is_none_or(|record| record == steps::event(n)), "event {n} is another");
        let clip = put.clip;
        let tracks = spool.tracks(clip);
        let why = tracks.as_ref().err().map_or_else(String::new, ToString::to_string);
        ensure!(must.clip.allows(tracks.is_ok()), "clip {n} must {:?}: {why}", must.clip);
        if tracks.is_ok() {
            known.insert(n);
            let mut is_one = false;
            for part in must.parts.into_iter().flatten() {
                is_one |= match part {
                    Part::Whole => is_there(spool, put)?,
                    Part::First | Part::More => is_there(spool, &steps::clip(n, part)?)?,
                };
            }
            ensure!(is_one, "clip {n} is none of {:?}", must.parts);
        }
        let queued = |wanted: &dyn Fn(&Queued) -> bool| queue.iter().filter(|q| wanted(q)).count();
        let of_event =
            |q: &Queued| matches!(q, Queued::Event { event, .. } if *event == steps::event_id(n));
        ensure!(
            must.event.allows(queued(&of_event) == 1),
            "event {n} is queued {} times",
            queued(&of_event)
        );
        let of_lost = |q: &Queued| matches!(q, Queued::Lost(lost) if lost.clip == clip && lost.reason == LostReason::DiskFull);
        ensure!(
            must.lost.allows(queued(&of_lost) == 1),
            "that clip {n} is lost: said {} times, must {:?}",
            queued(&of_lost),
            must.lost
        );
        let settled = |q: &Queued| matches!(q, Queued::Event { event, clip_done: true, .. } if *event == steps::event_id(n));
        ensure!(
            must.settled != Must::Be || must.event != Must::Be || queued(&settled) == 1,
            "that the server has clip {n} is forgotten"
        );
    }
    let (clips, _) = spool.usage();
    ensure!(clips == known.len(), "{clips} clips are there, {} of which are known", known.len());
    for leftover in ["tmp", "so-far", "trash"] {
        let left = fs::read_dir(Path::new(MOUNTED).join("unit/spool").join(leftover))?.count();
        ensure!(left == 0, "{left} things are left in {leftover}");
    }
    Ok(())
}

/// Whether the spool has exactly this of a clip.
fn is_there(spool: &Spool, clip: &SealedClip) -> Result<bool> {
    let kept = spool.tracks(clip.clip)?;
    let of = |name, len| kept.iter().any(|track| track.name == name && track.len == len);
    for (name, bytes) in &clip.tracks {
        if !of(*name, u64::try_from(bytes.len())?)
            || spool.read_track(clip.clip, *name, 0, bytes.len())? != *bytes
        {
            return Ok(false);
        }
    }
    Ok(true)
}
