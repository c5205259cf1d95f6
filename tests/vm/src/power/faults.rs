//! A disk that fails while the unit runs: it is remounted read-only, writes fail, sectors go bad. What is
//! refused is said with its file, what was there before stays, and what can be kept afterwards is kept.
//!
//! The disk lies in the machine's memory; the kernel's device mapper stands before it and makes the faults.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use temoin_agent::spool::{Queued, Spool};
use temoin_agent_core::spool_plan::{Lost, LostReason};
use temoin_proto::sealed::TrackName;

use super::{
    AS_LEFT as BASE, MOUNTED, QUOTA, is_there, open_spool,
    steps::{self, Part},
};
use crate::host::say;

/// The disk as the unit has it.
const DISK: &str = "/dev/dm-0";
const NAME: &str = "unit";
/// What device mapper counts in, bytes.
const SECTOR: usize = 512;
/// What a disk loses at once, sectors.
const BAD: usize = 8;

/// All of it, one after the other on the same disk.
pub(crate) fn disk_faults() -> Result<()> {
    let sectors: usize = fs::read_to_string("/sys/block/ram0/size")?.trim().parse()?;
    let good = linear(0, sectors);
    dmsetup(&["create", NAME, "--noudevrules", "--noudevsync"], Some(&good))?;
    done(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-b", "4096", DISK]))?;
    mount_disk()?;
    read_only().context("remounted read-only")?;
    writes_fail(sectors).context("writes fail")?;
    clip_goes_bad(sectors).context("a clip's sectors are bad")?;
    record_goes_bad(sectors).context("a record's sectors are bad")
}

fn read_only() -> Result<()> {
    let (spool, _) = open_spool()?;
    put(&spool, 0)?;
    // As the kernel does it, whatever is open: SysRq U.
    fs::write("/proc/sysrq-trigger", "u")?;
    let is_read_only = || {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        mounts.lines().any(|line| line.contains(MOUNTED) && line.contains(" ro,"))
    };
    let begun = Instant::now();
    while !is_read_only() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "it is not remounted");
        thread::sleep(Duration::from_millis(20));
    }
    refused(spool.put_event(steps::event(1)), "Read-only")?;
    refused(spool.put_clip(&steps::clip(1, Part::Whole)?), "Read-only")?;
    ensure!(is_there(&spool, &steps::clip(0, Part::Whole)?)?, "clip 0 cannot be read");
    mount_remount(MOUNTED, MountFlags::NOATIME, "")?;
    put(&spool, 1).context("written again")
}

fn writes_fail(sectors: usize) -> Result<()> {
    let (spool, _) = open_spool()?;
    change(&format!("0 {sectors} flakey {BASE} 0 0 60 1 error_writes"))?;
    refused(spool.put_event(steps::event(2)), "")?;
    refused(spool.put_clip(&steps::clip(2, Part::Whole)?), "")?;
    ensure!(is_there(&spool, &steps::clip(1, Part::Whole)?)?, "clip 1 cannot be read");
    drop(spool);
    unmount(MOUNTED, UnmountFlags::empty())?;
    change(&linear(0, sectors))?;
    // 1: it mended something.
    let checked = Command::new("/usr/sbin/e2fsck").args(["-p", "-f", DISK]).output()?;
    ensure!(checked.status.code().is_some_and(|code| code <= 1), "{checked:?}");
    mount_disk()?;
    let (spool, _) = open_spool()?;
    for n in [0, 1] {
        ensure!(spool.event(steps::event_id(n)) == Some(steps::event(n)), "event {n} is lost");
        ensure!(is_there(&spool, &steps::clip(n, Part::Whole)?)?, "clip {n} is lost");
    }
    put(&spool, 2).context("written again")
}

fn clip_goes_bad(sectors: usize) -> Result<()> {
    let clip = steps::clip(1, Part::Whole)?;
    let (_, road) = clip.tracks.first().context("no track")?;
    bad_where(road, sectors)?;
    let (spool, _) = open_spool()?;
    refused(spool.read_track(clip.clip, TrackName::Road, 0, road.len()), "road")?;
    ensure!(is_there(&spool, &steps::clip(0, Part::Whole)?)?, "clip 0 cannot be read");
    // What the uploader does with it.
    spool.record_lost(Lost { clip: clip.clip, reason: LostReason::Unreadable })?;
    spool.discard_clip(clip.clip)?;
    drop(spool);
    let (_, queue) = open_spool()?;
    let told = queue.iter().any(|queued| {
        matches!(queued, Queued::Lost(lost) if lost.clip == clip.clip && lost.reason == LostReason::Unreadable)
    });
    ensure!(told, "that clip 1 is lost is forgotten: {queue:?}");
    good_again(sectors)
}

fn record_goes_bad(sectors: usize) -> Result<()> {
    let path = Path::new(MOUNTED).join("unit/spool/events").join(steps::event_id(2).to_string());
    bad_where(&fs::read(&path)?, sectors)?;
    let mut strange = Vec::new();
    let data = Path::new(MOUNTED).join("unit");
    let (spool, _) = Spool::open(&data, QUOTA, |path| strange.push(path.to_owned()))?;
    ensure!(strange == [format!("events/{}", steps::event_id(2))], "{strange:?}");
    ensure!(spool.event(steps::event_id(0)).is_some(), "another event is gone");
    for n in [0, 2] {
        ensure!(is_there(&spool, &steps::clip(n, Part::Whole)?)?, "clip {n} is gone");
    }
    drop(spool);
    good_again(sectors)?;
    let (spool, _) = open_spool()?;
    ensure!(spool.event(steps::event_id(2)) == Some(steps::event(2)), "it can be read again");
    Ok(())
}

fn put(spool: &Spool, n: u32) -> Result<()> {
    spool.put_event(steps::event(n))?;
    spool.put_clip(&steps::clip(n, Part::Whole)?)?;
    Ok(())
}

/// Whether this failed, and the words say on what and why.
fn refused<T, E: std::fmt::Display>(result: Result<T, E>, why: &str) -> Result<()> {
    let Err(error) = result else { bail!("it was not refused") };
    let words = error.to_string();
    say(&words);
    ensure!(words.contains(MOUNTED) && words.contains(why), "it says: {words}");
    Ok(())
}

fn mount_disk() -> Result<()> {
    fs::create_dir_all(MOUNTED)?;
    let options = c"errors=remount-ro";
    Ok(mount(DISK, MOUNTED, "ext4", MountFlags::NOATIME, Some(options))?)
}

/// The disk without a fault, from one sector on up to another.
fn linear(from: usize, to: usize) -> String {
    format!("{from} {} linear {BASE} {from}", to - from)
}

/// Makes the disk lose the sectors on which these bytes begin.
fn bad_where(bytes: &[u8], sectors: usize) -> Result<()> {
    // All that was written must be on the disk before it is looked for.
    rustix::fs::sync();
    let disk = fs::read(BASE)?;
    let begin = bytes.get(..bytes.len().min(SECTOR)).unwrap_or_default();
    let found = disk.chunks_exact(SECTOR).position(|sector| sector.starts_with(begin));
    let at = found.context("it is nowhere on the disk")?;
    let rest = at + BAD;
    let table = format!("{}\n{at} {BAD} error\n{}", linear(0, at), linear(rest, sectors));
    change(&table)?;
    forget_what_was_read()
}

fn good_again(sectors: usize) -> Result<()> {
    change(&linear(0, sectors))?;
    forget_what_was_read()
}

/// What was read before must come from the disk again.
fn forget_what_was_read() -> Result<()> {
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}

/// Puts another table before the disk while it is in use.
fn change(table: &str) -> Result<()> {
    dmsetup(&["load", NAME], Some(table))?;
    dmsetup(&["suspend", NAME, "--nolockfs", "--noflush"], None)?;
    dmsetup(&["resume", NAME, "--noudevrules", "--noudevsync"], None)
}

fn dmsetup(arguments: &[&str], table: Option<&str>) -> Result<()> {
    let mut command = Command::new("/usr/sbin/dmsetup");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(table.unwrap_or_default().as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "dmsetup {arguments:?}: {words}");
    Ok(())
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
