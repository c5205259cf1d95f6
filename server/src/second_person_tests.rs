//! The second person from end to end: asked for, decided by the right one, used, and over by
//! itself; each step in the log and before the driver's eyes.

use std::time::Duration;

use temoin_access_log::Action;
use temoin_proto::sealed::TrackName;

use super::*;
use crate::{
    show::EventFilter,
    test_fleet::{START_MS, Scene, scene},
    view::Opening,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Whether this person can open the clip with other people as they are.
async fn sees_others(s: &Scene, user: &User, purpose: Purpose) -> bool {
    let session = s.fleet.session(user).await;
    let opened = s
        .fleet
        .app
        .open_view(&session, s.event.id, purpose.as_str(), Opening::Watch)
        .await
        .unwrap();
    let names: Vec<_> = opened.tracks.iter().map(|t| t.name).collect();
    let offered = names.contains(&"road_unblurred") && names.contains(&"cabin_unblurred");
    let track = TrackName::RoadUnblurred;
    let given = s.fleet.app.stream_track(&session, opened.view_id, track).await.is_ok();
    assert_eq!(offered, given, "{names:?}");
    given
}

#[tokio::test]
async fn a_blur_is_lifted_by_two_and_only_for_a_day() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let colleague = s.fleet.user("kim", Role::SafetyManager, "north").await;
    let elsewhere = s.fleet.user("lee", Role::SafetyManager, "south").await;
    let (event, kind, purpose) = (s.event.id, GrantKind::LiftBlur, Purpose::Collision);
    assert!(!sees_others(&s, &s.manager, purpose).await);
    // Who has no use for it cannot ask, and nothing is asked without a reason.
    for (who, words, status) in [
        (&s.driver, "why", 403),
        (&s.dispatcher, "why", 403),
        (&s.stranger, "why", 404),
        (&s.auditor, "why", 404),
        (&s.manager, "  ", 400),
    ] {
        let refused = app.ask(who, kind, event, purpose, words).await.unwrap_err();
        assert_eq!(refused.status(), status, "{}", who.login);
    }
    let id = app.ask(&s.manager, kind, event, purpose, "who ran over the road").await.unwrap();
    assert!(!sees_others(&s, &s.manager, purpose).await, "asking gives nothing");
    // Nobody approves their own; others of no right do not know of it.
    for (who, status) in [
        (&s.manager, 403),
        (&s.driver, 404),
        (&s.dispatcher, 404),
        (&s.admin, 404),
        (&elsewhere, 404),
        (&s.auditor, 403),
    ] {
        let refused = app.decide(who, id, true, "").await.unwrap_err();
        assert_eq!(refused.status(), status, "{}", who.login);
    }
    for (who, waits) in [(&colleague, true), (&officer, true), (&s.manager, false)] {
        let asks = app.asks(who).await.unwrap();
        assert_eq!(asks.iter().any(|ask| ask.may_decide), waits, "{}", who.login);
    }
    app.decide(&colleague, id, true, "").await.unwrap();
    assert!(app.decide(&officer, id, false, "no").await.is_err(), "decided once");
    assert!(sees_others(&s, &s.manager, purpose).await);
    assert!(!sees_others(&s, &colleague, purpose).await, "who approves gets nothing");
    // The asker sees where it stands, the driver that it happened.
    let page = app.event_page(&s.manager, event).await.unwrap();
    assert!(matches!(page.asked[0].state, GrantState::Live { .. }));
    assert_eq!(page.asked[0].row.decided_by.as_deref(), Some("Name of kim"));
    let feed = app.access_log(&s.driver, None).await.unwrap().rows;
    let told: Vec<_> =
        feed.iter().map(|act| (act.action.as_str(), act.who.as_deref().unwrap_or(""))).collect();
    for expected in [("ask_lift_blur", "Name of sam"), ("approve_lift_blur", "Name of kim")] {
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
    s.fleet.pass(24 * HOUR);
    assert!(!sees_others(&s, &s.manager, purpose).await, "a day later it is over by itself");
}

#[tokio::test]
async fn a_subordinate_is_no_second_person() {
    let s = scene().await;
    let app = &s.fleet.app;
    let mut kim = s.fleet.user("kim", Role::SafetyManager, "north").await;
    let (event, kind) = (s.event.id, GrantKind::Export);
    let id = app.ask(&s.manager, kind, event, Purpose::Collision, "insurer").await.unwrap();
    kim.manager = Some(s.manager.id);
    assert_eq!(app.decide(&kim, id, true, "").await.unwrap_err().status(), 403);
    kim.manager = None;
    app.decide(&kim, id, true, "").await.unwrap();
}

#[tokio::test]
async fn nobody_decides_too_late_and_what_is_refused_stays_refused() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let (event, kind, purpose) = (s.event.id, GrantKind::Export, Purpose::Collision);
    let late = app.ask(&s.manager, kind, event, purpose, "insurer").await.unwrap();
    let refused = app.ask(&s.manager, kind, event, purpose, "insurer").await.unwrap();
    let taken_back = app.ask(&s.manager, kind, event, purpose, "insurer").await.unwrap();
    assert_eq!(app.decide(&officer, refused, false, "").await.unwrap_err().status(), 400);
    app.decide(&officer, refused, false, "ask the insurer first").await.unwrap();
    app.end(&s.manager, taken_back).await.unwrap();
    s.fleet.pass(72 * HOUR);
    for id in [late, refused, taken_back] {
        assert_eq!(app.decide(&officer, id, true, "").await.unwrap_err().status(), 403);
    }
    let states: Vec<_> = app.asks(&s.manager).await.unwrap().iter().map(|a| a.state).collect();
    assert_eq!(states, [GrantState::Ended, GrantState::Refused, GrantState::Lapsed]);
    let session = s.fleet.session(&s.manager).await;
    let export = app.open_view(&session, event, "collision", Opening::Export).await;
    assert_eq!(export.unwrap_err().status(), 403);
}

#[tokio::test]
async fn an_export_takes_a_second_person_and_is_a_different_entry() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let (event, purpose) = (s.event.id, Purpose::Collision);
    let session = s.fleet.session(&s.manager).await;
    let refused = app.open_view(&session, event, "collision", Opening::Export).await.unwrap_err();
    assert_eq!(refused.status(), 403);
    let id = app.ask(&s.manager, GrantKind::Export, event, purpose, "insurer").await.unwrap();
    app.decide(&officer, id, true, "").await.unwrap();
    let opened = app.open_view(&session, event, "collision", Opening::Export).await.unwrap();
    let leaf = app.log().recall(opened.log_index).await.unwrap().leaf().clone();
    assert_eq!((leaf.action, leaf.grant), (Action::EXPORT, Some(id)));
    let other = app.open_view(&session, event, "coaching", Opening::Export).await;
    assert_eq!(other.unwrap_err().status(), 403, "it was granted for a collision");
    let track = app.stream_track(&session, opened.view_id, TrackName::Road).await.unwrap();
    assert_eq!(track.how, Opening::Export);
    drop(track);
    // Taken away: the next request for the same view is refused.
    app.end(&officer, id).await.unwrap();
    let gone = app.stream_track(&session, opened.view_id, TrackName::Road).await;
    assert_eq!(gone.err().map(|e| e.status()), Some(404));
    // A driver takes the own recording away without anybody's leave.
    let session = s.fleet.session(&s.driver).await;
    assert!(app.open_view(&session, event, "own_review", Opening::Export).await.is_ok());
}

#[tokio::test]
async fn a_request_covers_what_it_names_and_the_driver_is_told() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let session = s.fleet.session(&officer).await;
    let open = || app.open_view(&session, s.event.id, "request", Opening::Watch);
    assert_eq!(open().await.unwrap_err().status(), 404, "without a request");
    assert!(app.events(&officer, &EventFilter::default()).await.unwrap().rows.is_empty());
    let scope = |from_ms: i64, to_ms: i64, driver: Option<&str>, unit: Option<&str>| RequestScope {
        unit: unit.map(|u| u.parse().unwrap()),
        driver: driver.map(str::to_owned),
        from_ms,
        to_ms,
    };
    let hour = 3_600_000;
    for (who, number, scope, status) in [
        (&s.manager, "R-1", scope(0, 1, None, Some("van-1")), 404),
        (&officer, "", scope(0, 1, None, Some("van-1")), 400),
        (&officer, "R-1", scope(0, 1, None, None), 400),
        (&officer, "R-1", scope(1, 1, None, Some("van-1")), 400),
        (&officer, "R-1", scope(i64::MIN, i64::MAX, None, Some("van-1")), 400),
        (&officer, "R-1", scope(0, 1, None, Some("van-9")), 400),
        (&officer, "R-1", scope(0, 1, Some("sam"), None), 400),
    ] {
        let refused = app.register_request(who, number, &scope, "police").await.unwrap_err();
        assert_eq!(refused.status(), status, "{number} {scope:?}");
    }
    let elsewhere = scope(START_MS - 3 * hour, START_MS - hour, Some("ann"), None);
    app.register_request(&officer, "R-1", &elsewhere, "police").await.unwrap();
    assert_eq!(open().await.unwrap_err().status(), 404, "another time");
    let covers = scope(START_MS - hour, START_MS + hour, Some("ann"), Some("van-1"));
    let id = app.register_request(&officer, "R-2", &covers, "police, file 7").await.unwrap();
    assert_eq!(app.events(&officer, &EventFilter::default()).await.unwrap().rows.len(), 1);
    let opened = open().await.unwrap();
    let leaf = app.log().recall(opened.log_index).await.unwrap().leaf().clone();
    assert_eq!(leaf.grant, Some(id), "the entry names the request");
    let other_purpose = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await;
    assert_eq!(other_purpose.unwrap_err().status(), 403);
    // Taking it away takes the auditor as well.
    let export = app.open_view(&session, s.event.id, "request", Opening::Export).await;
    assert_eq!(export.unwrap_err().status(), 403);
    let ask = app.ask(&officer, GrantKind::Export, s.event.id, Purpose::Request, "to the police");
    let ask = ask.await.unwrap();
    app.decide(&s.auditor, ask, true, "").await.unwrap();
    app.open_view(&session, s.event.id, "request", Opening::Export).await.unwrap();
    let feed = app.access_log(&s.driver, None).await.unwrap().rows;
    let registered = feed.iter().rfind(|act| act.action.as_str() == "register_request").unwrap();
    assert_eq!(
        (registered.who.as_deref(), registered.number.as_str()),
        (Some("Name of pat"), "R-1")
    );
    assert!(feed.iter().any(|act| act.action == Action::VIEW && act.number == "R-2"));
    s.fleet.pass(31 * 24 * HOUR);
    assert!(app.events(&officer, &EventFilter::default()).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn break_glass_takes_two_and_lasts_an_hour() {
    let s = scene().await;
    let app = &s.fleet.app;
    let officer = s.fleet.user("pat", Role::PrivacyOfficer, "north").await;
    let session = s.fleet.session(&officer).await;
    let open = || app.open_view(&session, s.event.id, "request", Opening::Watch);
    let (kind, purpose) = (GrantKind::BreakGlass, Purpose::Request);
    for who in [&s.manager, &s.admin, &s.driver, &s.dispatcher] {
        assert!(app.ask(who, kind, s.event.id, purpose, "now").await.is_err(), "{}", who.login);
    }
    // Whether there is such an event is not told.
    let unknown = app.ask(&officer, kind, EventId::new(), purpose, "now").await.unwrap_err();
    assert_eq!(unknown.status(), 404);
    let id = app.ask(&officer, kind, s.event.id, purpose, "missing person").await.unwrap();
    assert_eq!(open().await.unwrap_err().status(), 404);
    app.decide(&s.auditor, id, true, "").await.unwrap();
    open().await.unwrap();
    s.fleet.pass(HOUR);
    assert!(open().await.is_err());
}

#[tokio::test]
async fn the_vendor_sees_a_unit_only_while_the_fleet_lets_them() {
    let s = scene().await;
    let app = &s.fleet.app;
    let vendor = s.fleet.user("vic", Role::VendorSupport, "north").await;
    assert!(app.units(&vendor).await.unwrap().is_empty());
    assert_eq!(app.ask_diagnostics(&s.admin, "van-1", "x").await.unwrap_err().status(), 404);
    assert_eq!(app.ask_diagnostics(&vendor, "van-9", "x").await.unwrap_err().status(), 400);
    let id = app.ask_diagnostics(&vendor, "van-1", "no GNSS").await.unwrap();
    assert!(app.units(&vendor).await.unwrap().is_empty());
    app.decide(&s.admin, id, true, "").await.unwrap();
    let units = app.units(&vendor).await.unwrap();
    assert_eq!((units.len(), units[0].may_command), (1, false));
    assert!(app.events(&vendor, &EventFilter::default()).await.is_err());
    let session = s.fleet.session(&vendor).await;
    let view = app.open_view(&session, s.event.id, "request", Opening::Watch).await;
    assert_eq!(view.unwrap_err().status(), 404, "no picture");
    app.end(&s.admin, id).await.unwrap();
    assert!(app.units(&vendor).await.unwrap().is_empty(), "taken away at once");
}
