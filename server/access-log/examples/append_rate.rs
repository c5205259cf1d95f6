//! Measures appending on a real disk: how long one entry takes alone, and how many entries a
//! second many callers get together.
//!
//! `cargo run --release -p temoin-access-log --example append_rate -- FOLDER`: makes a log in the
//! new folder FOLDER and leaves it there. Choose the disk that the server will use: a folder in
//! memory shows nothing.
#![expect(clippy::print_stdout, reason = "a program that prints its result")]

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use temoin_access_log::{AccessLog, Action, Leaf, LogError, PersonSalt, Purpose, verify};
use temoin_proto::ids::{ClipId, EventId, UserId, ViewId};

const ENTRIES: usize = 2048;

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

fn append(log: &AccessLog, count: usize) -> Result<Vec<Duration>, LogError> {
    let salt = PersonSalt::generate()?;
    (0..count)
        .map(|_| {
            let leaf = leaf(&salt);
            let start = Instant::now();
            log.append(leaf)?;
            Ok(start.elapsed())
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err("say in which new folder the log should be made".into());
    };
    let folder = Path::new(&folder);
    let log = AccessLog::create(folder, "measurement/access-log")?;
    for callers in [1, 4, 16, 64] {
        let start = Instant::now();
        let mut took = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..callers).map(|_| scope.spawn(|| append(&log, ENTRIES / callers))).collect();
            let mut took = Vec::with_capacity(ENTRIES);
            for thread in threads {
                took.extend(thread.join().map_err(|_| "a caller panicked")??);
            }
            Ok::<_, Box<dyn Error>>(took)
        })?;
        let rate = f64::from(u32::try_from(took.len())?) / start.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len() - 1));
        let ms = |d: Option<&Duration>| d.map_or(0.0, |d| d.as_secs_f64() * 1e3);
        println!(
            "{callers:2} callers: {rate:7.0} entries/s, p50 {:6.2} ms, p99 {:6.2} ms",
            ms(at(50)),
            ms(at(99))
        );
    }
    let (entries, key) = (log.len(), log.public_key().clone());
    drop(log);
    let start = Instant::now();
    drop(AccessLog::open(folder)?);
    let opened = start.elapsed();
    let start = Instant::now();
    verify::verify_log(folder, &key, &[])?;
    println!("{entries} entries: opened in {opened:.1?}, verified in {:.1?}", start.elapsed());
    Ok(())
}
