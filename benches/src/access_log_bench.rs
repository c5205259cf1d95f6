//! What a durable entry of the access log costs, and how quick its check is; and, apart because it
//! takes minutes, how both are in a log of ten million entries.
//!
//! The disk's own sync decides: so beside each figure stands the bare limit, the same bytes written
//! and synced by turns with the log in the same run. Made entries, as a view's are: all ids, both
//! people, a purpose.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use temoin_access_log::{
    AccessLog, Action, Leaf, PersonSalt, Purpose, record::Record, tiles, verify,
};
use temoin_proto::ids::{ClipId, EventId, UserId, ViewId};

use crate::figures::{Figure, median, percentile};

/// Callers that append at the same time where the rate is measured: requests of a busy portal.
const CALLERS: usize = 64;
/// Entries of one such measurement, and how often log and bare file take turns.
const RATE_ENTRIES: usize = 20_000;
const RATE_TURNS: usize = 5;
/// Entries that are timed one by one, alone.
const ALONE: usize = 500;
/// A typical portal: this many people open a view every [`PORTAL_EVERY`], 20 entries a second. Own
/// choice: a hundred dispatchers who look at a new recording every 5 s.
const PORTAL_CALLERS: usize = 10;
const PORTAL_EVERY: Duration = Duration::from_millis(500);
/// How often each of them does, and how often log and bare file take turns.
const PORTAL_ENTRIES: usize = 10;
const PORTAL_TURNS: usize = 5;
/// Entries of one commit where a large log is made.
const BULK: usize = 10_000;
const MILLION: u64 = 1_000_000;

/// The figures of `make bench`, of logs that are made in `folder`: choose the disk that counts, a
/// folder in memory shows nothing.
///
/// # Errors
/// Where the disk says no, or a log does not verify.
pub fn figures(folder: &Path) -> Result<Vec<Figure>> {
    std::fs::create_dir_all(folder)?;
    let folder = tempfile::Builder::new().prefix("access-log-").tempdir_in(folder)?;
    let log = AccessLog::create(&folder.path().join("log"), "bench.example/access-log")?;
    let bare = Bare::create(&folder.path().join("bare"))?;
    let salt = PersonSalt::generate()?;
    let mut figures = Vec::new();

    let (mut alone, mut alone_bare) = (Vec::new(), Vec::new());
    for _ in 0..ALONE {
        alone.push(ms(|| Ok(log.append(leaf(&salt))?))?);
        alone_bare.push(ms(|| bare.append(&stored(&leaf(&salt))?))?);
    }
    let (mut portal, mut portal_bare) = (Vec::new(), Vec::new());
    for _ in 0..PORTAL_TURNS {
        portal.extend(at_a_portal(|| log.append(leaf(&salt)).map(drop).map_err(Into::into))?);
        portal_bare.extend(at_a_portal(|| bare.append(&stored(&leaf(&salt))?))?);
    }
    let people =
        format!("{PORTAL_CALLERS} people, each an entry every {} ms", PORTAL_EVERY.as_millis());
    let goal = "at most 5: the sync of the disk decides";
    for (name, set, values, limit, percent) in [
        ("access.append_p99_ms", people.as_str(), &portal, &portal_bare, 99),
        ("access.append_p50_ms", people.as_str(), &portal, &portal_bare, 50),
        ("access.append_alone_p99_ms", "one entry after the other", &alone, &alone_bare, 99),
        ("access.append_alone_p50_ms", "one entry after the other", &alone, &alone_bare, 50),
    ] {
        let value = percentile(values, percent)?;
        let limit = percentile(limit, percent)?;
        figures.push(Figure::new(name, value, "ms", values.len(), set).limit(limit).goal(goal));
    }
    let ratio = percentile(&portal, 99)? / percentile(&portal_bare, 99)?;
    figures.push(Figure::new("access.append_p99_to_bare", ratio, "1", portal.len(), people));

    let (mut rates, mut bare_rates) = (Vec::new(), Vec::new());
    for _ in 0..RATE_TURNS {
        rates.push(append_rate(&log, &salt, RATE_ENTRIES)?);
        bare_rates.push(bare.rate(&salt)?);
    }
    let set = format!("{CALLERS} callers, durable");
    figures.push(
        Figure::new("access.append_per_s", median(&rates)?, "1/s", RATE_TURNS * RATE_ENTRIES, set)
            .limit(median(&bare_rates)?)
            .goal("at least 2900 on 2 cores"),
    );
    let head = log.checkpoint();
    ensure!(head.size() == log.len(), "the head is not over all entries");

    // The check of a million entries, as somebody does it who has only what is published.
    grow(&log, &salt, MILLION)?;
    let public = folder.path().join("public");
    let export_s = seconds(|| Ok(tiles::export(&log, &public)?))?;
    let mut verify_s = Vec::new();
    for _ in 0..3 {
        verify_s.push(seconds(|| {
            let verified = verify::verify_tiles(&public, log.public_key(), &[])?;
            ensure!(verified.checkpoint.size() == MILLION, "{verified:?}");
            Ok(())
        })?);
    }
    let set = "1 million entries, from their tiles";
    let count = verify_s.len();
    figures.push(Figure::new("access.verify_million_s", median(&verify_s)?, "s", count, set));
    figures.push(Figure::new("access.export_million_s", export_s, "s", 1, set));
    Ok(figures)
}

/// Appending, opening and proving in logs of ten thousand, a million and ten million entries. Takes
/// minutes and 5 GB in `folder`.
///
/// # Errors
/// As [`figures`].
pub fn growth(folder: &Path, mut say: impl FnMut(&str)) -> Result<Vec<Figure>> {
    std::fs::create_dir_all(folder)?;
    let folder = tempfile::Builder::new().prefix("access-log-").tempdir_in(folder)?;
    let path = folder.path().join("log");
    let mut log = AccessLog::create(&path, "bench.example/access-log")?;
    let salt = PersonSalt::generate()?;
    let mut figures = Vec::new();
    for (name, entries) in [("10k", 10_000), ("1m", MILLION), ("10m", 10 * MILLION)] {
        say(&format!("an access log of {entries} entries"));
        let set = format!("a log of {entries} entries");
        let new = entries - log.len();
        let grow_s = seconds(|| grow(&log, &salt, entries))?;
        let rate = append_rate(&log, &salt, RATE_ENTRIES)?;
        let mut proofs_us = Vec::new();
        for n in 0..1000 {
            let index = n * 7919 * 104_729 % entries;
            proofs_us.push(1e3 * ms(|| Ok(log.entry_proof(index)?))?);
        }
        let mut open_s = Vec::new();
        for _ in 0..5 {
            drop(log);
            let began = Instant::now();
            log = AccessLog::open(&path)?;
            open_s.push(began.elapsed().as_secs_f64());
        }
        let mut add = |what: &str, value, unit, count| {
            let name = format!("access.{what}_at_{name}");
            figures.push(Figure::new(name, value, unit, count, set.clone()));
        };
        add("append_per_s", rate, "1/s", RATE_ENTRIES);
        add("open_s", median(&open_s)?, "s", open_s.len());
        add("proof_p50_us", percentile(&proofs_us, 50)?, "us", proofs_us.len());
        add("proof_p99_us", percentile(&proofs_us, 99)?, "us", proofs_us.len());
        let new = u32::try_from(new).map(f64::from)?;
        add("bulk_per_s", new / grow_s, "1/s", 1);
    }
    say("verifying it");
    drop(log);
    let key = verify::read_public_key(&path)?;
    let mut size = 0;
    let verify_s = seconds(|| {
        size = verify::verify_log(&path, &key, &[])?.checkpoint.size();
        Ok(())
    })?;
    let set = format!("a log of {size} entries, from its folder");
    figures.push(Figure::new("access.verify_log_s_at_10m", verify_s, "s", 1, set.clone()));
    std::fs::remove_file(path.join("chunks"))?;
    let again_s = seconds(|| Ok(AccessLog::open(&path)?))?;
    figures.push(Figure::new("access.open_without_chunks_s_at_10m", again_s, "s", 1, set));
    Ok(figures)
}

fn leaf(salt: &PersonSalt) -> Leaf {
    let mut leaf = Leaf::new(1_790_000_000_000, Action::VIEW);
    leaf.view = Some(ViewId::new());
    leaf.clip = Some(ClipId::new());
    leaf.event = Some(EventId::new());
    leaf.actor = Some(salt.tag(UserId::new()));
    leaf.driver = Some(salt.tag(UserId::new()));
    leaf.purpose = Some(Purpose::COACHING);
    leaf
}

/// The bytes that the log writes for an entry.
fn stored(leaf: &Leaf) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Record::new(leaf.to_bytes()?).write_to(&mut bytes)?;
    Ok(bytes)
}

fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let began = Instant::now();
    drop(work()?);
    Ok(began.elapsed().as_secs_f64())
}

fn ms<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    Ok(seconds(work)? * 1e3)
}

/// Appends until the log has this many entries.
fn grow(log: &AccessLog, salt: &PersonSalt, entries: u64) -> Result<()> {
    while log.len() < entries {
        let count = usize::try_from(entries - log.len())?.min(BULK);
        log.append_all((0..count).map(|_| leaf(salt)).collect())?;
    }
    Ok(())
}

/// Entries a second that [`CALLERS`] get together, each waiting for its own.
fn append_rate(log: &AccessLog, salt: &PersonSalt, entries: usize) -> Result<f64> {
    let began = Instant::now();
    together(CALLERS, |_| {
        for _ in 0..entries / CALLERS {
            log.append(leaf(salt))?;
        }
        Ok(Vec::new())
    })?;
    let done = u32::try_from(entries / CALLERS * CALLERS).map(f64::from)?;
    Ok(done / began.elapsed().as_secs_f64())
}

/// How long each entry takes where people come at their own pace, whether or not the one before is
/// done: the time counts from when they came. Milliseconds.
fn at_a_portal(append: impl Fn() -> Result<()> + Sync) -> Result<Vec<f64>> {
    let began = Instant::now();
    together(PORTAL_CALLERS, |caller| {
        let offset = PORTAL_EVERY * u32::try_from(caller)? / u32::try_from(PORTAL_CALLERS)?;
        let mut took = Vec::new();
        for n in 0..u32::try_from(PORTAL_ENTRIES)? {
            // Spread unevenly, the same in every run: no caller keeps away from another for ever.
            let jitter = PORTAL_EVERY * ((n * 7 + u32::try_from(caller)? * 3) % 10) / 20;
            let due = began + offset + PORTAL_EVERY * n + jitter;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            append()?;
            took.push(due.elapsed().as_secs_f64() * 1e3);
        }
        Ok(took)
    })
}

fn together(callers: usize, work: impl Fn(usize) -> Result<Vec<f64>> + Sync) -> Result<Vec<f64>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..callers).map(|n| scope.spawn(move || work(n))).collect();
        let mut all = Vec::new();
        for one in threads {
            all.extend(one.join().map_err(|_| anyhow!("a caller panicked"))??);
        }
        Ok(all)
    })
}

/// The same bytes without a log: one file, one sync for each entry.
struct Bare {
    /// With its length.
    file: Mutex<(File, u64)>,
}

impl Bare {
    fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Self { file: Mutex::new((file, 0)) })
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        let mut file = self.file.lock().map_err(|_| anyhow!("a caller panicked"))?;
        file.0.write_all_at(bytes, file.1).context("bare write")?;
        file.1 += bytes.len() as u64;
        file.0.sync_data().context("bare sync")
    }

    /// Entries a second where all that [`CALLERS`] wait for go with one sync.
    fn rate(&self, salt: &PersonSalt) -> Result<f64> {
        let bytes = stored(&leaf(salt))?.repeat(CALLERS);
        let syncs = RATE_ENTRIES / CALLERS;
        let took = seconds(|| (0..syncs).try_for_each(|_| self.append(&bytes)))?;
        Ok(u32::try_from(syncs * CALLERS).map(f64::from)? / took)
    }
}
