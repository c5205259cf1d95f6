//! Stories of a driver: how far the van drove and what happened becomes a score; an objection takes
//! an event out of it and the answer brings it back or not; a wrong limit becomes a correction.

use prost::Message as _;
use temoin_proto::{
    convert::{EventRecord, Mark},
    events::{EventKind, Number, Severity},
    ids::{EventId, RunId},
    sealed::TrackName,
    wire::{self, ClipSignals, PositionPoint},
};

use crate::{
    authz::Role,
    db::{acts::Act, users::User},
    error::AppError,
    limit_proposals::ProposalShown,
    score::{ContestState, DAY_MS, LeftOut, Outcome},
    show::EventFilter,
    test_fleet::{START_MS, TestFleet, TestUnit, event_at},
};

struct Scene {
    fleet: TestFleet,
    van: TestUnit,
    driver: User,
    other: User,
    manager: User,
    dispatcher: User,
    admin: User,
}

/// A driver on shift with a van, and people around.
async fn scene() -> Scene {
    let fleet = TestFleet::new().await;
    let van = fleet.unit("van-1", "north").await;
    let driver = fleet.user("ann", Role::Driver, "north").await;
    fleet.app.db().set_shift(&van.id, driver.id, START_MS - 40 * DAY_MS).await.unwrap();
    Scene {
        driver,
        other: fleet.user("bob", Role::Driver, "north").await,
        manager: fleet.user("sam", Role::SafetyManager, "north").await,
        dispatcher: fleet.user("dan", Role::Dispatcher, "north").await,
        admin: fleet.user("ada", Role::FleetAdmin, "north").await,
        van,
        fleet,
    }
}

fn event(kind: EventKind, severity: Severity, start_ms: i64) -> EventRecord {
    EventRecord { kind, severity, clip: Err("none".into()), ..event_at(start_ms) }
}

impl Scene {
    async fn beat(&mut self, faults: &[&str], driven: &[Mark]) {
        let beat = wire::HeartbeatRequest {
            agent_version: "1".into(),
            unit_unix_ms: self.fleet.app.now_ms(),
            privacy_state: "recording".into(),
            health: faults
                .iter()
                .map(|part| wire::HealthItem {
                    part: (*part).into(),
                    state: "degraded".into(),
                    text: "x".into(),
                })
                .collect(),
            driven: driven.iter().map(Into::into).collect(),
            ..wire::HeartbeatRequest::default()
        };
        self.van.client.heartbeat(beat).await.unwrap();
    }

    async fn points(&self) -> Vec<(EventKind, Result<u32, LeftOut>)> {
        let shown = self.fleet.app.my_score(&self.driver).await.unwrap();
        let mut points: Vec<_> = shown.events.iter().map(|e| (e.row.kind, e.points)).collect();
        points.sort_by_key(|(kind, _)| *kind);
        points
    }
}

#[tokio::test]
async fn what_the_van_drove_and_what_happened_becomes_a_score() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    for record in [
        event(EventKind::HarshBraking, Severity::Low, START_MS - 60_000),
        event(EventKind::Speeding, Severity::High, START_MS - 50_000),
        event(EventKind::Drowsiness, Severity::High, START_MS - 40_000),
        // On a day of which the van told no distance, and before the period.
        event(EventKind::PhoneInHand, Severity::High, START_MS - 3 * DAY_MS),
        event(EventKind::PhoneInHand, Severity::High, START_MS - 30 * DAY_MS),
        // The clock was not set: nobody knows who drove.
        EventRecord {
            start: temoin_proto::time::WallTime {
                unix_ms: START_MS - 30_000,
                uncertainty_ms: u64::MAX / 4,
            },
            ..event(EventKind::HarshCornering, Severity::High, START_MS - 30_000)
        },
    ] {
        s.van.report(&record).await.unwrap();
    }
    let run = RunId::new();
    let mark = |km: f64| Mark { run, at_ms: START_MS - 1000, driven_m: km * 1000.0 };
    s.beat(&[], &[mark(150.0)]).await;
    let shown = app.my_score(&s.driver).await.unwrap();
    assert_eq!(shown.sum.outcome, Outcome::TooLittle, "150 km");
    s.beat(&[], &[mark(150.0), mark(350.0)]).await;
    assert_eq!(
        s.points().await,
        [
            (EventKind::HarshBraking, Ok(1)),
            (EventKind::HarshCornering, Err(LeftOut::DeviceFault)),
            (EventKind::Speeding, Ok(6)),
            (EventKind::PhoneInHand, Err(LeftOut::NoDistance)),
            (EventKind::Drowsiness, Err(LeftOut::Tiredness)),
        ]
    );
    let shown = app.my_score(&s.driver).await.unwrap();
    assert!(shown.own && (shown.sum.km - 350.0).abs() < 1e-9);
    assert_eq!(shown.sum.outcome, Outcome::Score { points_per_100_km: 2.0, score: 98.0 });
    // The manager sees the same, as somebody else's.
    let seen = app.driver_score(&s.manager, s.driver.id).await.unwrap();
    assert_eq!((seen.sum, seen.own), (shown.sum, false));
    for (who, driver) in [
        (&s.other, s.driver.id),
        (&s.dispatcher, s.driver.id),
        (&s.admin, s.driver.id),
        (&s.manager, s.manager.id),
        (&s.manager, temoin_proto::ids::UserId::new()),
    ] {
        let refused = app.driver_score(who, driver).await.unwrap_err();
        assert!(matches!(refused, AppError::NotFound), "{}", who.login);
    }
    let names: Vec<_> =
        app.drivers(&s.manager).await.unwrap().drivers.into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["Name of ann", "Name of bob"]);
    for who in [&s.driver, &s.dispatcher, &s.admin] {
        assert!(app.drivers(who).await.is_err(), "{}", who.login);
    }
}

#[tokio::test]
async fn a_driver_is_not_scored_on_a_faulty_unit() {
    let mut s = scene().await;
    let run = RunId::new();
    let mark = Mark { run, at_ms: START_MS, driven_m: 300_000.0 };
    s.beat(&[], &[mark]).await;
    s.fleet.pass(std::time::Duration::from_secs(30));
    s.beat(&["camera.cabin", "upload"], &[]).await;
    // Another van of the same driver does not see the cabin at all, and did not move.
    let mut other = s.fleet.unit("van-2", "north").await;
    s.fleet.app.db().set_shift(&other.id, s.driver.id, START_MS - DAY_MS).await.unwrap();
    std::mem::swap(&mut s.van, &mut other);
    s.beat(&["camera.cabin"], &[Mark { run: RunId::new(), at_ms: START_MS, driven_m: 0.0 }]).await;
    let record = event(EventKind::HarshCornering, Severity::Low, START_MS + 10_000);
    s.van.report(&record).await.unwrap();
    std::mem::swap(&mut s.van, &mut other);
    s.fleet.pass(std::time::Duration::from_secs(30));
    s.beat(&[], &[]).await;
    // The fault came at some time within the first half minute, and was gone within the second.
    for (kind, at_s) in [
        (EventKind::LongDistraction, 20),
        (EventKind::PhoneInHand, 90),
        (EventKind::HarshBraking, 40),
        // Over before the unit's last good word.
        (EventKind::RepeatedDistraction, -60),
    ] {
        let record = event(kind, Severity::Low, START_MS + at_s * 1000);
        s.van.report(&record).await.unwrap();
    }
    assert_eq!(
        s.points().await,
        [
            (EventKind::HarshBraking, Ok(1)),
            (EventKind::HarshCornering, Err(LeftOut::NoDistance)),
            (EventKind::LongDistraction, Err(LeftOut::DeviceFault)),
            (EventKind::RepeatedDistraction, Ok(2)),
            (EventKind::PhoneInHand, Ok(3)),
        ]
    );
}

#[tokio::test]
async fn an_objection_takes_the_event_out_until_it_is_answered() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    s.beat(&[], &[Mark { run: RunId::new(), at_ms: START_MS, driven_m: 300_000.0 }]).await;
    let first = event(EventKind::HarshBraking, Severity::Low, START_MS - 9000);
    let second = event(EventKind::Speeding, Severity::Low, START_MS - 5000);
    s.van.report(&first).await.unwrap();
    s.van.report(&second).await.unwrap();

    // Nobody else contests, nothing empty is taken, and there is nothing to answer yet.
    for (who, status) in [(&s.other, 404), (&s.manager, 403), (&s.dispatcher, 403), (&s.admin, 404)]
    {
        let refused = app.contest_event(who, first.id, "no").await.unwrap_err();
        assert_eq!(refused.status(), status, "{}", who.login);
    }
    for words in ["", " \r\n ", &"x".repeat(501)] {
        assert_eq!(app.contest_event(&s.driver, first.id, words).await.unwrap_err().status(), 400);
    }
    assert!(app.answer_contest(&s.manager, first.id, true, "why").await.is_err());

    app.contest_event(&s.driver, first.id, " a child\u{7} ran out \r\n twice ").await.unwrap();
    app.contest_event(&s.driver, second.id, "the sign says 70").await.unwrap();
    assert!(app.contest_event(&s.driver, first.id, "again").await.is_err(), "once");
    assert_eq!(
        s.points().await,
        [
            (EventKind::HarshBraking, Err(LeftOut::Contested)),
            (EventKind::Speeding, Err(LeftOut::Contested)),
        ]
    );

    // Who neither drove nor answers does not see that there is an objection.
    let page = app.event_page(&s.dispatcher, first.id).await.unwrap();
    assert_eq!((page.objection.contest, page.row.contest), (None, None));
    let list = app.events(&s.dispatcher, &EventFilter::default()).await.unwrap();
    assert!(list.rows.iter().all(|row| row.contest.is_none()));
    let page = app.event_page(&s.manager, first.id).await.unwrap();
    assert_eq!(page.objection.contest.unwrap().words, "a child ran out \n twice");
    assert!(page.objection.may_answer && !page.objection.may_contest);
    let waiting = app.drivers(&s.manager).await.unwrap().waiting;
    assert_eq!(waiting.iter().map(|w| w.row.id).collect::<Vec<_>>(), [first.id, second.id]);

    for who in [&s.driver, &s.dispatcher] {
        assert!(app.answer_contest(who, first.id, false, "so").await.is_err(), "{}", who.login);
    }
    assert!(app.answer_contest(&s.manager, first.id, false, " ").await.is_err(), "a reason");
    app.answer_contest(&s.manager, first.id, false, "seen on the clip").await.unwrap();
    app.answer_contest(&s.manager, second.id, true, "the sign says 50").await.unwrap();
    assert!(!app.event_page(&s.manager, first.id).await.unwrap().objection.may_answer);
    assert!(app.answer_contest(&s.manager, first.id, true, "no after all").await.is_err(), "once");
    assert_eq!(
        s.points().await,
        [(EventKind::HarshBraking, Err(LeftOut::Overturned)), (EventKind::Speeding, Ok(2))]
    );
    let mine = app.my_events(&s.driver, &EventFilter::default()).await.unwrap();
    let states: Vec<_> = mine.rows.iter().map(|m| m.row.contest).collect();
    assert_eq!(states, [Some(ContestState::Upheld), Some(ContestState::Overturned)]);
    let page = app.event_page(&s.driver, first.id).await.unwrap();
    let answer = page.objection.contest.unwrap().answer.unwrap();
    assert_eq!((answer.reason.as_str(), answer.by.as_str()), ("seen on the clip", "Name of sam"));
    assert!(!page.objection.may_contest && !page.objection.may_answer);
    assert!(app.drivers(&s.manager).await.unwrap().waiting.is_empty());
    let (sam, ann) = ("Name of sam", "Name of ann");
    let all = [
        ("contest_answered", Some(sam)),
        ("contest_answered", Some(sam)),
        ("contest", Some(ann)),
        ("contest", Some(ann)),
    ];
    assert_eq!(feed(&s, &s.driver).await, acts(&all));
    assert_eq!(feed(&s, &s.manager).await, acts(&all[..2]), "own acts");
    assert_eq!(feed(&s, &s.dispatcher).await, []);
}

/// What somebody reads of the access log, the newest first: what was done, and by whom.
async fn feed(s: &Scene, who: &User) -> Vec<(String, Option<String>)> {
    let rows = s.fleet.app.access_log(who, None).await.unwrap().rows;
    rows.into_iter().map(|row| (row.action.to_string(), row.who)).collect()
}

fn acts(list: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    list.iter().map(|(act, who)| ((*act).to_owned(), who.map(str::to_owned))).collect()
}

#[tokio::test]
async fn an_order_and_what_the_operator_did_are_in_the_feed_of_whom_they_touch() {
    let s = scene().await;
    let app = &s.fleet.app;
    let before = s.fleet.unit("van-2", "north").await;
    app.db().set_shift(&before.id, s.other.id, START_MS - 2 * DAY_MS).await.unwrap();
    app.db().set_shift(&before.id, s.manager.id, START_MS - DAY_MS).await.unwrap();
    for unit in ["van-1", "van-2"] {
        app.command_unit(&s.admin, unit, crate::show::Order::Identify).await.unwrap();
    }
    // As the command line leaves it.
    for (word, whom) in [("off", &s.dispatcher), ("on", &s.dispatcher), ("off", &s.other)] {
        let action = crate::log::action(&format!("operator_account_{word}")).unwrap();
        let act = Act { driver: Some(whom.id), ..Act::new(action, None, START_MS) };
        app.db().log_later(&act).await.unwrap();
    }
    assert_eq!(feed(&s, &s.other).await, [], "the server has not written it yet");
    for _ in 0..2 {
        app.log().record_waiting(app.db()).await.unwrap();
    }
    let order = ("command", Some("Name of ada"));
    assert_eq!(feed(&s, &s.driver).await, acts(&[order]));
    assert_eq!(feed(&s, &s.manager).await, acts(&[order]), "who drives now, and nobody before");
    assert_eq!(feed(&s, &s.other).await, acts(&[("operator_account_off", None)]));
    assert_eq!(
        feed(&s, &s.dispatcher).await,
        acts(&[("operator_account_on", None), ("operator_account_off", None)]),
        "who is no driver is told as well, once each"
    );
    assert_eq!(app.log().len(), 5);
}

#[tokio::test]
async fn another_depots_manager_sees_neither_drivers_nor_objections() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    let south = s.fleet.user("max", Role::SafetyManager, "south").await;
    let sue = s.fleet.user("sue", Role::Driver, "south").await;
    let contested = event(EventKind::HarshBraking, Severity::Low, START_MS - 9000);
    s.van.report(&contested).await.unwrap();
    app.contest_event(&s.driver, contested.id, "a child ran out").await.unwrap();
    for (manager, drivers, waiting) in [
        (&s.manager, &["Name of ann", "Name of bob"][..], &[contested.id][..]),
        (&south, &["Name of sue"], &[]),
    ] {
        let shown = app.drivers(manager).await.unwrap();
        let names: Vec<_> = shown.drivers.iter().map(|d| d.name.as_str()).collect();
        let ids: Vec<_> = shown.waiting.iter().map(|w| w.row.id).collect();
        assert_eq!((names.as_slice(), ids.as_slice()), (drivers, waiting), "{}", manager.login);
    }
    for (manager, driver) in [(&south, s.driver.id), (&s.manager, sue.id)] {
        let refused = app.driver_score(manager, driver).await.unwrap_err();
        assert!(matches!(refused, AppError::NotFound), "{}", manager.login);
    }
    assert!(app.answer_contest(&south, contested.id, true, "so").await.is_err());
}

/// A speeding event with a clip of nothing but signals, which drive north at 20 m/s.
async fn speeding(s: &mut Scene, start_ms: i64, points: i32) -> EventId {
    let record = EventRecord {
        kind: EventKind::Speeding,
        numbers: vec![Number::new("peak", 66.0, "km/h"), Number::new("limit", 50.0, "km/h")],
        ..event_at(start_ms)
    };
    let signals = ClipSignals {
        position: (0..points)
            .map(|n| PositionPoint {
                offset_ms: n * 200,
                lat_deg: 44.0 + f64::from(n) * 4.0 / 111_200.0,
                lon_deg: 26.0,
            })
            .collect(),
        ..ClipSignals::default()
    };
    let clip = s.van.clip(&record, &[(TrackName::Signals, signals.encode_to_vec())]);
    s.van.deliver(&record, &clip).await;
    record.id
}

#[tokio::test]
async fn a_wrong_limit_becomes_a_correction_without_the_drivers_name() {
    let mut s = scene().await;
    let app = s.fleet.app.clone();
    let here = speeding(&mut s, START_MS - 3000, 10).await;
    let unknown = speeding(&mut s, START_MS - 2000, 10).await;
    let placeless = speeding(&mut s, START_MS - 1000, 0).await;
    let clipless = event(EventKind::Speeding, Severity::Low, START_MS - 500);
    let braking = event(EventKind::HarshBraking, Severity::Low, START_MS - 400);
    s.van.report(&clipless).await.unwrap();
    s.van.report(&braking).await.unwrap();
    let session = s.fleet.session(&s.driver).await;
    let log_before = app.log().len();

    for (who, id, kmh, status) in [
        (&s.driver, braking.id, Some(70.0), 403),
        (&s.driver, clipless.id, Some(70.0), 403),
        (&s.driver, here, Some(900.0), 400),
        (&s.manager, here, Some(70.0), 403),
        (&s.other, here, Some(70.0), 404),
    ] {
        let session = s.fleet.session(who).await;
        let refused = app.propose_limit(&session, id, kmh, "").await.unwrap_err();
        assert_eq!(refused.status(), status, "{}", who.login);
    }
    assert_eq!(app.log().len(), log_before, "nothing was opened for what was refused");
    let refused = app.propose_limit(&session, placeless, None, "").await.unwrap_err();
    assert!(refused.client_text().contains("no position"), "{refused:?}");

    app.propose_limit(&session, here, Some(70.0), "new sign").await.unwrap();
    app.propose_limit(&session, unknown, None, "").await.unwrap();
    assert_eq!(app.log().len(), log_before + 5, "each opening and each proposal is an entry");
    let page = app.event_page(&s.driver, here).await.unwrap();
    assert!(matches!(page.limit, ProposalShown::Made(_)));
    assert_eq!(page.seen.len(), 1, "the driver's own view");
    assert!(page.seen[0].by_you && page.seen[0].watched.is_empty());
    let page = app.event_page(&s.manager, here).await.unwrap();
    assert_eq!(page.limit, ProposalShown::Nothing);
    assert!(app.propose_limit(&session, here, Some(80.0), "").await.is_err(), "once");

    for who in [&s.driver, &s.manager, &s.dispatcher] {
        assert!(app.limit_proposals(who).await.is_err(), "{}", who.login);
        assert!(app.overrides_file(who).await.is_err(), "{}", who.login);
        assert!(app.decide_limit(who, 1, true, "").await.is_err(), "{}", who.login);
    }
    let rows = app.limit_proposals(&s.admin).await.unwrap();
    assert_eq!(rows.len(), 2);
    let text = format!("{rows:?}");
    assert!(!text.contains("ann") && !text.contains(&here.to_string()), "{text}");
    let mine = rows.iter().find(|row| row.proposal.proposed_kmh.is_some()).unwrap();
    assert_eq!(mine.proposal.taken_kmh, Some(50.0));
    // The event lies from 0.5 to 1 s of the clip, at 20 m/s northwards.
    assert!((mine.proposal.place.lat_deg - (44.0 + 15.0 / 111_200.0)).abs() < 5e-5);
    assert!(mine.proposal.place.heading_deg < 0.5);
    let other = rows.iter().find(|row| row.id != mine.id).unwrap();

    assert!(app.overrides_file(&s.admin).await.unwrap().ends_with("version = 1\n"));
    assert!(app.decide_limit(&s.admin, other.id, false, "").await.is_err(), "a reason");
    app.decide_limit(&s.admin, other.id, false, "the map is right").await.unwrap();
    app.decide_limit(&s.admin, mine.id, true, "").await.unwrap();
    assert!(app.decide_limit(&s.admin, mine.id, false, "no").await.is_err(), "once");
    let file = app.overrides_file(&s.admin).await.unwrap();
    assert_eq!(file.matches("[[limit]]").count(), 1);
    assert!(file.contains("kmh = 70\n") && file.contains("lon_deg = 26.000000"), "{file}");
    let page = app.event_page(&s.driver, unknown).await.unwrap();
    let ProposalShown::Made(row) = page.limit else { panic!("made") };
    assert_eq!(row.decision.unwrap().reason, "the map is right");
    let acts_of_limits = |rows: Vec<crate::feed::ActShown>| {
        rows.into_iter().filter(|row| row.action.as_str().starts_with("limit_")).collect::<Vec<_>>()
    };
    let told = acts_of_limits(app.access_log(&s.driver, None).await.unwrap().rows);
    let words: Vec<_> = told.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(words, ["limit_decided", "limit_decided", "limit_proposed", "limit_proposed"]);
    // Who decides reads the log too, and learns nobody's name or event from it.
    let rows = acts_of_limits(app.access_log(&s.admin, None).await.unwrap().rows);
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.driver, row.event, row.unit), (None, None, None));
        assert!(row.who.is_none_or(|who| who == "Name of ada"));
    }
}
