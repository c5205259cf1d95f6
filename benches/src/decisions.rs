//! What a decision costs in a large fleet: 100,000 drivers and a million clips in the database.
//!
//! Only what one request is about is loaded: the event with its unit, driver and clip. So the
//! decision itself does not know how large the fleet is, and what grows is the look-up by the
//! database's index; both are measured, on events chosen at random.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{Connection as _, sqlite::SqliteConnection};
use temoin_proto::ids::{EventId, UserId};
use temoin_server::{
    authz::{Asker, Authz, ClipAct, EventAct, EventFacts, Purpose, Role},
    db::{Db, users::User},
};

use crate::figures::{Figure, percentile};

const DRIVERS: u32 = 100_000;
const CLIPS: u32 = 1_000_000;
/// Decisions that are timed one by one.
const DECISIONS: u32 = 20_000;
const DEPOTS: u32 = 200;
/// When every event here began, milliseconds since 1970.
const START_MS: i64 = 1_795_176_000_000;

/// The figures of `make bench`; the database is made in a folder for temporary files.
///
/// # Errors
/// Where the database cannot be made, or a decision is not the one that it has to be.
pub async fn figures() -> Result<Vec<Figure>> {
    let folder = tempfile::Builder::new().prefix("temoin-decisions-").tempdir()?;
    let path = folder.path().join("temoin.db");
    fill(&path).await?;
    let db = Db::open(&path).await?;
    let authz = Authz::load()?;
    let (mut decide_us, mut whole_us) = (Vec::new(), Vec::new());
    for n in 0..DECISIONS {
        // Knuth's multiplicative hash: every part of the table, in no order.
        let event = n.wrapping_mul(2_654_435_761) % CLIPS;
        let depot = event % DEPOTS;
        let may = n % 2 == 0;
        let who = dispatcher(if may { depot } else { depot + 1 });
        let began = Instant::now();
        let stored = db.event(event_id(event)?).await?.context("no such event")?;
        let facts = EventFacts::from(&stored);
        let loaded = Instant::now();
        let seen = authz.event(&who, EventAct::See, &facts)?;
        let decided = loaded.elapsed();
        let plays = authz.clip(&who, ClipAct::PlayRoad, &facts, Purpose::Triage)?;
        ensure!((seen, plays) == (may, may), "event {event}: {seen} {plays}, not {may}");
        decide_us.push(decided.as_secs_f64() * 1e6);
        whole_us.push((loaded - began + decided).as_secs_f64() * 1e6);
    }
    db.close().await;
    let set = format!("{DRIVERS} drivers, {CLIPS} clips");
    let of = |name, values: &[f64], percent| -> Result<Figure> {
        Ok(Figure::new(name, percentile(values, percent)?, "us", values.len(), set.clone()))
    };
    Ok(vec![
        of("access.decision_p50_us", &decide_us, 50)?,
        of("access.decision_p99_us", &decide_us, 99)?.goal("below 200"),
        of("access.load_and_decide_p50_us", &whole_us, 50)?,
        of("access.load_and_decide_p99_us", &whole_us, 99)?,
    ])
}

fn dispatcher(depot: u32) -> Asker {
    let user = User {
        id: UserId::from_bytes([7; 16]),
        login: "kai".to_owned(),
        name: "Kai Lindner".to_owned(),
        short_name: "K. Lindner".to_owned(),
        role: Role::Dispatcher,
        depot: Some(format!("depot-{depot}")),
        manager: None,
        disabled: false,
    };
    Asker { user, grants: Vec::new(), now_ms: START_MS + 60_000 }
}

/// The id that [`fill`] gives the event of this number.
fn event_id(number: u32) -> Result<EventId> {
    Ok(format!("{number:08x}-0000-7000-8000-00000000000e").parse()?)
}

/// A fleet of this size, in rows made by the database itself: as a server would have them after a
/// year.
async fn fill(path: &Path) -> Result<()> {
    // The tables are the server's.
    Db::open(path).await?.close().await;
    let address = format!("sqlite://{}", path.display());
    let mut db = SqliteConnection::connect(&address).await?;
    let count = |n: u32| {
        format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})",
            n - 1
        )
    };
    let id = |kind: char| format!("printf('%08x-0000-7000-8000-00000000000{kind}', i)");
    let (user, event, clip) = (id('a'), id('e'), id('c'));
    for statement in [
        "PRAGMA synchronous = OFF".to_owned(),
        "BEGIN".to_owned(),
        format!(
            "{} INSERT INTO depots SELECT 'depot-' || i, 'Depot ' || i FROM n",
            count(DEPOTS + 1)
        ),
        format!(
            "{} INSERT INTO users
             (id, login, name, short_name, role, depot, password_hash, log_salt, created_at)
             SELECT {user}, 'driver-' || i, 'Driver ' || i, 'D' || i, 'driver',
                    'depot-' || (i % {DEPOTS}), '', randomblob(32), 0 FROM n",
            count(DRIVERS)
        ),
        format!(
            "{} INSERT INTO units (id, depot, status)
             SELECT 'van-' || i, 'depot-' || (i % {DEPOTS}), 'enrolled' FROM n",
            count(DRIVERS)
        ),
        format!(
            "{} INSERT INTO shifts (unit, driver, from_at, to_at)
             SELECT 'van-' || i, {user}, 0, 9223372036854775807 FROM n",
            count(DRIVERS)
        ),
        format!(
            "{} INSERT INTO events
             (id, unit, kind, start_at, wall_uncertainty_ms, end_at, severity, confidence, rule,
              numbers, clip, clip_absent_because, received_at)
             SELECT {event}, 'van-' || (i % {DRIVERS}), 'harsh_braking', {START_MS}, 20,
                    {START_MS} + 1000, 'medium', 0.9, 'harsh_braking/1', '[]', {clip}, '', {START_MS}
             FROM n",
            count(CLIPS)
        ),
        format!(
            "{} INSERT INTO clips
             (id, event, unit, manifest, signature, signing_public_key, duration_ms, begun_at,
              complete_at)
             SELECT {clip}, {event}, 'van-' || (i % {DRIVERS}), zeroblob(600), zeroblob(64),
                    zeroblob(32), 24000, {START_MS}, {START_MS} FROM n",
            count(CLIPS)
        ),
        "COMMIT".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut db).await?;
    }
    db.close().await?;
    Ok(())
}
