//! Recordings go when their time is over, and nothing of them comes back.

use std::time::Duration;

use super::*;
use crate::{
    authz::{GrantKind, Purpose, Role},
    show::ClipShown,
    test_fleet::{Scene, scene},
    view::Opening,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn aged(kinds: &[EventKind], keep_until_ms: Option<i64>) -> Aged {
    Aged {
        clip: ClipId::from_bytes([1; 16]),
        event: EventId::from_bytes([2; 16]),
        unit: "van-1".parse().unwrap(),
        kinds: kinds.to_vec(),
        came_ms: 0,
        keep_until_ms,
        held: false,
    }
}

#[test]
fn each_kind_has_its_time_and_the_longest_counts() {
    let retention = Retention {
        days: 30,
        most_days: 100,
        kinds: BTreeMap::from([(EventKind::Collision, 90), (EventKind::DriverSaved, 7)]),
        ..Retention::default()
    };
    assert_eq!(retention.mistakes(), Vec::<String>::new());
    use EventKind as K;
    for (kinds, keep_until_days, days) in [
        (&[K::HarshBraking][..], None, 30),
        (&[K::Collision], None, 90),
        (&[K::DriverSaved], None, 7),
        (&[K::DriverSaved, K::HarshBraking, K::Collision], None, 90),
        (&[K::DriverSaved], Some(20), 20),
        (&[K::HarshBraking], Some(20), 30),
        // The fleet's maximum.
        (&[K::HarshBraking], Some(500), 100),
    ] {
        let clip = aged(kinds, keep_until_days.map(|d: i64| d * DAY_MS));
        assert_eq!(retention.expiry_ms(&clip), days * DAY_MS, "{kinds:?} {keep_until_days:?}");
        let due = |at_ms| plan(vec![clip.clone()], &retention, at_ms).len();
        assert_eq!((due(days * DAY_MS - 1), due(days * DAY_MS)), (0, 1), "{kinds:?}");
        assert!(clip.came_ms < retention.came_before_ms(days * DAY_MS), "it is looked at in time");
    }
    for wrong in [
        Retention { days: 0, ..Retention::default() },
        Retention { days: 181, ..Retention::default() },
        Retention { most_days: 0, ..Retention::default() },
        Retention { most_days: 366, ..Retention::default() },
        Retention { days: 1, most_days: 30, records_days: 34, ..Retention::default() },
        Retention { records_days: 3651, ..Retention::default() },
        Retention { kinds: BTreeMap::from([(K::Collision, 200)]), ..Retention::default() },
    ] {
        assert!(!wrong.mistakes().is_empty(), "{wrong:?}");
    }
}

/// Everything that could give the clip back.
async fn left(s: &Scene) -> Vec<&'static str> {
    let app = &s.fleet.app;
    let clip = *s.event.clip.as_ref().unwrap();
    let mut left = Vec::new();
    if app.db().wrapped_key(clip).await.unwrap().is_some() {
        left.push("the wrapped key");
    }
    let stored = app.db().clip(clip).await.unwrap().unwrap();
    if !stored.signed.manifest.is_empty() || stored.complete {
        left.push("the manifest");
    }
    for track in TrackName::ALL {
        if app.objects().len(ObjectKey { clip, track }).await.unwrap().is_some() {
            left.push(track.as_str());
        }
    }
    let session = s.fleet.session(&s.driver).await;
    if app.open_view(&session, s.event.id, "own_review", Opening::Watch).await.is_ok() {
        left.push("a view");
    }
    left
}

#[tokio::test]
async fn a_recording_goes_after_its_days_with_a_receipt() {
    let mut s = scene().await;
    // What erases the key in the file, as somebody finds it who steals the disk.
    let clip = *s.event.clip.as_ref().unwrap();
    let secret = s.fleet.app.db().wrapped_key(clip).await.unwrap().unwrap().ciphertext;
    let in_files = |s: &Scene| {
        let folder = s.fleet.config.database();
        ["", "-wal"].iter().any(|end| {
            let mut path = folder.clone().into_os_string();
            path.push(end);
            std::fs::read(path).is_ok_and(|b| b.windows(secret.len()).any(|w| w == secret))
        })
    };
    assert!(in_files(&s));
    s.fleet.pass(30 * DAY - Duration::from_secs(1));
    assert_eq!(s.fleet.app.delete_due().await.unwrap(), 0);
    assert!(left(&s).await.len() > 3);
    s.fleet.pass(Duration::from_secs(1));
    assert_eq!(s.fleet.app.delete_due().await.unwrap(), 1);
    assert_eq!(left(&s).await, Vec::<&str>::new());
    assert!(!in_files(&s), "the key is still in the database's file");
    assert_eq!(s.fleet.app.delete_due().await.unwrap(), 0, "once");
    let feed = s.fleet.app.access_log(&s.driver, None).await.unwrap().rows;
    let acts: Vec<_> = feed.iter().map(|act| act.action.as_str()).collect();
    assert!(acts.contains(&"delete") && acts.contains(&"deleted"), "{acts:?}");
    let page = s.fleet.app.event_page(&s.driver, s.event.id).await.unwrap();
    let ClipShown::Absent(why) = &page.row.clip else { panic!("{:?}", page.row.clip) };
    assert!(why.contains("time was over"), "{why}");
    assert_eq!(page.kept, None);
    // The unit sends it again: it may forget it, and nothing comes back.
    let manifest = s.van.clip(&s.event, &[(TrackName::Road, b"again".to_vec())]);
    assert!(s.van.begin(&manifest).await.unwrap().complete);
    assert_eq!(left(&s).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_off_is_ended_and_shows_nothing_meanwhile() {
    let s = scene().await;
    let clip = *s.event.clip.as_ref().unwrap();
    s.fleet.pass(30 * DAY);
    s.fleet.app.begin_deletion(clip, s.event.id, Because::Expired).await.unwrap();
    let remains = left(&s).await;
    assert!(!remains.contains(&"a view") && !remains.contains(&"the wrapped key"), "{remains:?}");
    let Scene { fleet, van, driver, dispatcher, manager, auditor, stranger, admin, event } = s;
    let fleet = fleet.restart().await;
    let s = Scene { fleet, van, driver, dispatcher, manager, auditor, stranger, admin, event };
    assert_eq!(s.fleet.app.delete_due().await.unwrap(), 1);
    assert_eq!(left(&s).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_hold_keeps_it_and_the_driver_reads_why_unless_a_ground_forbids_it() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    for who in [&s.manager, &s.admin, &s.auditor, &s.driver] {
        assert!(app.hold(who, s.event.id, "court", "").await.is_err(), "{}", who.login);
    }
    assert_eq!(app.hold(&officer, s.event.id, " ", "").await.unwrap_err().status(), 400);
    let told = app.hold(&officer, s.event.id, "court case 12", "").await.unwrap();
    let page = app.event_page(&s.driver, s.event.id).await.unwrap();
    assert_eq!(page.kept.unwrap().hold.unwrap().ground, "court case 12");
    let secret = app.hold(&officer, s.event.id, "inquiry", "criminal code 12").await.unwrap();
    app.release(&officer, told).await.unwrap();
    let page = app.event_page(&s.driver, s.event.id).await.unwrap();
    assert_eq!(page.kept.unwrap().hold, None, "a ground forbids telling");
    let holds = app.access_log(&s.driver, None).await.unwrap().rows;
    let holds = holds.iter().filter(|act| act.action == Action::HOLD).count();
    assert_eq!(holds, 1, "the one that may be told");
    s.fleet.pass(400 * DAY);
    assert_eq!(app.delete_due().await.unwrap(), 0);
    let ask = app.ask(&s.driver, GrantKind::Deletion, s.event.id, Purpose::OwnReview, "mine").await;
    let decided = app.decide(&officer, ask.unwrap(), true, "").await;
    assert_eq!(decided.unwrap_err().status(), 403, "not while it is held");
    app.release(&officer, secret).await.unwrap();
    assert_eq!(app.delete_due().await.unwrap(), 1);
}

#[tokio::test]
async fn a_driver_asks_and_the_privacy_officer_deletes() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let (event, kind, purpose) = (s.event.id, GrantKind::Deletion, Purpose::OwnReview);
    for who in [&s.manager, &s.dispatcher] {
        assert!(app.ask(who, kind, event, purpose, "x").await.is_err(), "{}", who.login);
    }
    let id = app.ask(&s.driver, kind, event, purpose, "my child is in it").await.unwrap();
    for who in [&s.driver, &s.manager, &s.auditor, &s.admin] {
        assert!(app.decide(who, id, true, "").await.is_err(), "{}", who.login);
    }
    assert!(left(&s).await.len() > 3);
    app.decide(&officer, id, true, "").await.unwrap();
    assert_eq!(left(&s).await, Vec::<&str>::new());
}

#[tokio::test]
async fn keeping_longer_takes_two() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let scope = crate::second_person::RequestScope {
        unit: Some(s.van.id.clone()),
        driver: None,
        from_ms: 0.max(s.event.start.unix_ms - 1000),
        to_ms: s.event.start.unix_ms + 1000,
    };
    app.register_request(&officer, "R-1", &scope, "insurer").await.unwrap();
    let before = app.event_page(&officer, s.event.id).await.unwrap().kept.unwrap().until_ms;
    s.fleet.pass(20 * DAY);
    let (kind, purpose) = (GrantKind::Retention, Purpose::Request);
    let id = app.ask(&officer, kind, s.event.id, purpose, "still open").await.unwrap();
    assert!(app.decide(&officer, id, true, "").await.is_err());
    app.decide(&s.auditor, id, true, "").await.unwrap();
    let after = app.event_page(&s.driver, s.event.id).await.unwrap().kept.unwrap().until_ms;
    assert_eq!(after - before, 20 * DAY_MS, "30 days from now instead of 30 from then");
    s.fleet.pass(20 * DAY);
    assert_eq!(app.delete_due().await.unwrap(), 0);
    s.fleet.pass(10 * DAY);
    assert_eq!(app.delete_due().await.unwrap(), 1);
}

/// Copies a folder with all that is in it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn last_weeks_backup_gives_nothing_back() {
    let s = scene().await;
    let backup = tempfile::tempdir().unwrap();
    let clip = *s.event.clip.as_ref().unwrap();
    let app = &s.fleet.app;
    let wrapped = app.db().wrapped_key(clip).await.unwrap().unwrap();
    app.db().fold().await.unwrap();
    std::fs::copy(s.fleet.config.database(), backup.path().join("temoin.db")).unwrap();
    copy(&s.fleet.config.path("objects"), &backup.path().join("objects"));
    s.fleet.pass(31 * DAY);
    assert_eq!(app.delete_due().await.unwrap(), 1);
    // The key service has it from the log, and opens it for no entry any more.
    let act = Act { clip: Some(clip), ..Act::new(Action::VIEW, Some(s.driver.id), app.now_ms()) };
    let proof = app.log().record(app.db(), &act).await.unwrap();
    assert!(app.keys().unwrap(clip, &wrapped, &proof).await.is_err());

    let Scene { fleet, van, driver, dispatcher, manager, auditor, stranger, admin, event } = s;
    let fleet = fleet
        .restart_after(|config| {
            let database = config.database();
            for end in ["-wal", "-shm"] {
                let mut path = database.clone().into_os_string();
                path.push(end);
                drop(std::fs::remove_file(path));
            }
            std::fs::copy(backup.path().join("temoin.db"), &database).unwrap();
            copy(&backup.path().join("objects"), &config.path("objects"));
        })
        .await;
    let s = Scene { fleet, van, driver, dispatcher, manager, auditor, stranger, admin, event };
    let app = &s.fleet.app;
    let remains = left(&s).await;
    assert!(!remains.contains(&"a view") && !remains.contains(&"the wrapped key"), "{remains:?}");
    assert!(app.objects().len(ObjectKey { clip, track: TrackName::Road }).await.unwrap().is_some());
    assert_eq!(app.delete_due().await.unwrap(), 1, "its objects go again");
    assert_eq!(left(&s).await, Vec::<&str>::new());
}
