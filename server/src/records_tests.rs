//! Events and people are forgotten when their time is over, and not before.

use std::time::Duration;

use sqlx::Row as _;
use temoin_proto::{
    convert::{EventRecord, Mark},
    events::EventKind,
    ids::{EventId, RunId},
};

use super::*;
use crate::{
    authz::{GrantKind, Purpose, Role},
    db::limits::{Place, Proposal},
    test_fleet::{START_MS, Scene, event_at, scene},
    view::Opening,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which columns of the whole database hold this text, but for the people's view of the access log.
async fn where_is(s: &Scene, text: &str) -> Vec<String> {
    let path = format!("sqlite://{}", s.fleet.config.database().display());
    let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
    let columns = sqlx::query(
        "SELECT t.name AS tab, c.name AS col FROM sqlite_master t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name <> 'acts'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut found = Vec::new();
    for row in &columns {
        let (table, column): (String, String) = (row.get("tab"), row.get("col"));
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {column} = ?1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(text).fetch_one(&pool).await.unwrap();
        if row.get::<i64, _>("n") > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

/// Whether the database's files hold these bytes, in a free page too.
fn in_files(s: &Scene, bytes: &[u8]) -> bool {
    ["", "-wal"].iter().any(|end| {
        let mut path = s.fleet.config.database().into_os_string();
        path.push(end);
        std::fs::read(path).is_ok_and(|b| b.windows(bytes.len()).any(|w| w == bytes))
    })
}

/// The scene, and whatever can belong to an event: an objection with its answer, viewings, a grant,
/// an order, a distance, and two proposed limits. Returns the events of these.
async fn lived_in(s: &mut Scene) -> [EventId; 3] {
    let app = s.fleet.app.clone();
    let run = RunId::new();
    let driven = [1000.0, 9000.0].map(|driven_m| Mark { run, at_ms: START_MS, driven_m });
    app.db().add_driven(&s.van.id, &driven, app.now_ms()).await.unwrap();
    app.db().note_faults(&s.van.id, &["gnss"], START_MS, START_MS).await.unwrap();
    app.db().note_faults(&s.van.id, &[], START_MS, START_MS + 1000).await.unwrap();
    app.contest_event(&s.driver, s.event.id, "a child ran out").await.unwrap();
    app.answer_contest(&s.manager, s.event.id, true, "seen, and braked late").await.unwrap();
    let session = s.fleet.session(&s.driver).await;
    app.open_view(&session, s.event.id, "own_review", Opening::Watch).await.unwrap();
    let kind = GrantKind::LiftBlur;
    app.ask(&s.manager, kind, s.event.id, Purpose::Coaching, "who else").await.unwrap();
    let mut ids = [s.event.id; 3];
    for (n, id) in ids.iter_mut().enumerate().skip(1) {
        let (kind, start_ms) = (EventKind::Speeding, START_MS + 1000);
        let event = EventRecord { kind, clip: Err("none".into()), ..event_at(start_ms) };
        s.van.report(&event).await.unwrap();
        *id = event.id;
        let place = Place { lat_deg: 44.0, lon_deg: 26.0, heading_deg: 0.0 };
        let words = "there is a sign".to_owned();
        let proposal = Proposal { place, taken_kmh: Some(50.0), proposed_kmh: Some(70.0), words };
        app.db().add_limit_proposal(event.id, s.driver.id, &proposal, START_MS).await.unwrap();
        let number = i64::try_from(n).unwrap();
        app.decide_limit(&s.admin, number, n == 1, "looked it up").await.unwrap();
    }
    ids
}

#[tokio::test]
async fn an_event_is_forgotten_with_all_that_belongs_to_it() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    let events = lived_in(&mut s).await;
    let next = s.fleet.user("bob", Role::Driver, "north").await;
    s.fleet.pass(DAY);
    app.db().set_shift(&s.van.id, next.id, app.now_ms()).await.unwrap();
    assert!(where_is(&s, &s.event.id.to_string()).await.len() > 4);
    assert!(in_files(&s, b"a child ran out"));

    s.fleet.pass(364 * DAY);
    assert_eq!(app.forget_due().await.unwrap(), Forgotten::default(), "not yet");
    s.fleet.pass(Duration::from_millis(1));
    let forgotten = app.forget_due().await.unwrap();
    assert_eq!(forgotten, Forgotten { events: 2, accounts: 0 }, "without recordings");
    assert_eq!(app.delete_due().await.unwrap(), 1);
    assert_eq!(app.forget_due().await.unwrap(), Forgotten { events: 1, accounts: 0 });
    for id in events {
        assert_eq!(where_is(&s, &id.to_string()).await, Vec::<String>::new());
    }
    let clip = s.event.clip.as_ref().unwrap().to_string();
    assert_eq!(where_is(&s, &clip).await, Vec::<String>::new());
    // Nothing in the database leads to the driver but the account, and the shift that is not over
    // for a year yet.
    let driver = s.driver.id.to_string();
    assert_eq!(
        where_is(&s, &driver).await,
        ["users.id", "shifts.driver", "driven.driver", "sessions.user"]
    );
    for text in ["a child ran out", "seen, and braked late", "there is a sign", "who else"] {
        assert!(!in_files(&s, text.as_bytes()), "`{text}` is still in the database's file");
    }
    // The accepted limit is still the units', of nobody.
    let file = app.overrides_file(&s.admin).await.unwrap();
    assert_eq!(file.matches("kmh = 70\n").count(), 1, "{file}");
    assert_eq!(app.limit_proposals(&s.admin).await.unwrap().len(), 1);
    let feed = app.access_log(&s.driver, None).await.unwrap().rows;
    let told: Vec<_> = feed.iter().filter(|r| r.action.as_str() == "event_forgotten").collect();
    assert_eq!(told.len(), 3, "the driver is told");
    assert!(feed.iter().any(|row| row.event == Some(s.event.id) && row.unit.is_none()));
    assert_eq!(app.forget_due().await.unwrap(), Forgotten::default(), "once");

    s.fleet.pass(2 * DAY);
    app.forget_due().await.unwrap();
    assert_eq!(where_is(&s, &driver).await, ["users.id", "sessions.user"]);
    assert_eq!(where_is(&s, "gnss").await, Vec::<String>::new());
    assert!(app.event_page(&s.driver, s.event.id).await.is_err());
    drop(app);
    assert!(s.fleet.restart().await.app.log().is_healthy());
}

#[tokio::test]
async fn what_is_held_is_remembered_with_who_drove() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let hold = app.hold(&officer, s.event.id, "court case 12", "").await.unwrap();
    let next = s.fleet.user("bob", Role::Driver, "north").await;
    app.db().set_shift(&s.van.id, next.id, START_MS + 60_000).await.unwrap();
    app.db().set_user_disabled(&s.driver.login, true, app.now_ms()).await.unwrap();
    s.fleet.pass(800 * DAY);
    assert_eq!(app.delete_due().await.unwrap(), 0);
    assert_eq!(app.forget_due().await.unwrap(), Forgotten::default());
    let event = app.db().event(s.event.id).await.unwrap().unwrap();
    assert_eq!(event.driver.map(|driver| driver.name), Some("Name of ann".to_owned()));
    app.release(&officer, hold).await.unwrap();
    assert_eq!(app.delete_due().await.unwrap(), 1);
    assert_eq!(app.forget_due().await.unwrap(), Forgotten { events: 1, accounts: 1 });
    assert_eq!(app.db().event(s.event.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_recording_of_two_events_is_known_until_both_are_forgotten() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    s.fleet.pass(DAY);
    let later = EventRecord { clip: s.event.clip.clone(), ..event_at(START_MS + 500) };
    s.van.report(&later).await.unwrap();
    let clip = *s.event.clip.as_ref().unwrap();
    s.fleet.pass(364 * DAY + Duration::from_millis(1));
    assert_eq!(app.delete_due().await.unwrap(), 1);
    assert_eq!(app.forget_due().await.unwrap().events, 1);
    assert!(app.db().clip_is_deleted(clip).await.unwrap(), "a unit may still ask");
    s.fleet.pass(DAY);
    assert_eq!(app.forget_due().await.unwrap().events, 1);
    assert!(app.db().clip(clip).await.unwrap().is_none());
}

#[tokio::test]
async fn an_account_that_was_off_for_long_is_erased_and_the_log_stays_whole() {
    let s = scene().await;
    let app = s.fleet.app.clone();
    let session = s.fleet.session(&s.manager).await;
    app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    let entry = app.log().len() - 1;
    let tag = app.db().log_tag(s.manager.id).await.unwrap().unwrap();
    assert_eq!(app.db().log_tags().await.unwrap().get(&tag), Some(&s.manager.id));
    let salt = {
        let path = format!("sqlite://{}", s.fleet.config.database().display());
        let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
        let row = sqlx::query("SELECT log_salt FROM users WHERE login = 'sam'");
        row.fetch_one(&pool).await.unwrap().get::<Vec<u8>, _>("log_salt")
    };
    app.db().set_user_disabled("sam", true, app.now_ms()).await.unwrap();
    s.fleet.pass(200 * DAY);
    // Off already: its time does not begin anew.
    app.db().set_user_disabled("sam", true, app.now_ms()).await.unwrap();
    app.db().set_user_disabled("dan", true, app.now_ms()).await.unwrap();
    s.fleet.pass(165 * DAY + Duration::from_millis(1));
    assert!(in_files(&s, &salt) && in_files(&s, b"Name of sam"));
    assert_eq!(app.forget_due().await.unwrap(), Forgotten { events: 0, accounts: 1 });
    assert!(!in_files(&s, &salt) && !in_files(&s, b"Name of sam"));
    let erased = app.db().user(s.manager.id).await.unwrap().unwrap();
    assert_eq!((erased.name.as_str(), erased.disabled), ("Erased account", true));
    assert!(app.db().set_user_disabled(&erased.login, false, 0).await.is_err(), "it stays off");
    assert!(!app.db().log_tags().await.unwrap().contains_key(&tag), "the entry leads to nobody");
    // The entry is proven as before, and the driver still reads what was done, and in which role.
    app.entry_proof(&s.driver, entry).await.unwrap();
    let feed = app.access_log(&s.driver, None).await.unwrap().rows;
    let view = feed.iter().find(|row| row.index == entry).unwrap();
    assert_eq!(view.role, Some(Role::SafetyManager));
    assert_eq!(view.who.as_deref(), Some("Erased account"));
    assert_eq!(app.forget_due().await.unwrap(), Forgotten::default(), "once");
    let size = app.log().len();
    drop(app);
    assert_eq!(s.fleet.restart().await.app.log().len(), size);
}
