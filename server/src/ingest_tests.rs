//! Units against a real server over real TLS: idempotence, resuming, and what is refused.

use temoin_proto::{events::EventKind, ids::EventId, wire};
use tonic::Code;

use super::*;
use crate::{
    db::{events::ClipState, units::UnitStatus},
    test_fleet::{START_MS, TestFleet, TestUnit, event_at},
};

/// Tracks of several chunks, without being a video: ingest never looks inside.
fn tracks() -> Vec<(TrackName, Vec<u8>)> {
    let bytes =
        |seed: usize, len: usize| (0..len).map(|i| u8::try_from(i * seed % 251).unwrap()).collect();
    vec![(TrackName::Cabin, bytes(3, 300_000)), (TrackName::Signals, bytes(5, 1000))]
}

async fn state(fleet: &TestFleet, id: EventId) -> ClipState {
    fleet.app.db().event(id).await.unwrap().unwrap().clip
}

#[tokio::test]
async fn an_event_is_stored_once_and_only_by_its_unit() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let mut other = fleet.unit("van-2", "north").await;
    let event = event_at(START_MS);
    van.report(&event).await.unwrap();
    van.report(&event).await.unwrap();
    assert_eq!(other.report(&event).await.unwrap_err().code(), Code::AlreadyExists);
    let stored = fleet.app.db().event(event.id).await.unwrap().unwrap();
    assert_eq!((stored.record, stored.unit), (event.clone(), van.id.clone()));
    let told = fleet.happened.lock().unwrap().clone();
    assert_eq!(told, [Happening::Event(event.id, EventKind::HarshBraking, van.id.clone())]);
    let nonsense = wire::Event { kind: "joy".into(), ..wire::Event::from(&event) };
    for event in [Some(nonsense), None] {
        let refused = van.client.report_event(wire::ReportEventRequest { event }).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn without_the_certificate_of_an_enrolled_unit_nothing_works() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let event = event_at(START_MS);
    let server = fleet.serve().await;

    let bare = server.channel(None).await;
    let mut bare = wire::fleet_service_client::FleetServiceClient::new(bare);
    let request = wire::ReportEventRequest { event: Some((&event).into()) };
    let refused = bare.report_event(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    fleet.app.db().revoke_unit(&van.id).await.unwrap();
    assert_eq!(van.report(&event).await.unwrap_err().code(), Code::PermissionDenied, "revoked");
    assert!(fleet.app.db().event(event.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_code_enrols_one_unit_once() {
    let fleet = TestFleet::new().await;
    let db = fleet.app.db();
    let server = fleet.serve().await;
    let van: temoin_proto::ids::UnitId = "van-1".parse().unwrap();
    db.add_unit(&van, "north", None).await.unwrap();
    let enrol = |code: String| {
        let (server, van) = (server.clone(), van.clone());
        async move { TestUnit::enrol(&server, van, &code).await.map(drop).map_err(|e| e.code()) }
    };
    let now_ms = fleet.app.now_ms();
    let code = crate::enrol::new_code(db, &van, now_ms + 1000).await.unwrap();
    assert_eq!(enrol("WRON-GCOD-EXXX".into()).await, Err(Code::PermissionDenied));
    assert_eq!(enrol(code.clone()).await, Ok(()));
    assert_eq!(db.unit(&van).await.unwrap().unwrap().status, UnitStatus::Enrolled);
    assert_eq!(enrol(code).await, Err(Code::PermissionDenied), "used");
    let late = crate::enrol::new_code(db, &van, now_ms + 1000).await.unwrap();
    fleet.pass(std::time::Duration::from_secs(1));
    assert_eq!(enrol(late).await, Err(Code::PermissionDenied), "expired");
    for _ in 0..20 {
        assert!(enrol("WRON-GCOD-EXXX".into()).await.is_err());
    }
    assert_eq!(enrol("WRON-GCOD-EXXX".into()).await, Err(Code::ResourceExhausted), "guessing");
}

#[tokio::test]
async fn a_clip_goes_on_where_it_stopped_across_restarts() {
    let mut fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let event = event_at(START_MS);
    let clip = van.clip(&event, &tracks());
    let cabin = clip.sealed[0].1.clone();
    assert_eq!(van.begin(&clip).await.unwrap_err().code(), Code::FailedPrecondition, "no event");
    van.report(&event).await.unwrap();
    assert_eq!(state(&fleet, event.id).await, ClipState::Waiting);
    let begun = van.begin(&clip).await.unwrap();
    assert!(!begun.complete && begun.offsets.iter().all(|o| o.durable_len == 0));
    assert_eq!(van.send(&clip, TrackName::Cabin, 0, &cabin[..123_456]).await.unwrap(), 123_456);

    fleet = fleet.restart().await;
    van.reconnect(&fleet.serve().await).await;
    assert_eq!(van.begin(&clip).await.unwrap().offsets[0].durable_len, 123_456);
    for (offset, why) in [(0, "again from the start"), (123_455, "before"), (123_457, "after")] {
        let refused = van.send(&clip, TrackName::Cabin, offset, b"x").await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{why}");
    }
    let early = van.finish(&clip).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "not all sent: {early}");
    van.send(&clip, TrackName::Cabin, 123_456, &cabin[123_456..]).await.unwrap();
    van.send(&clip, TrackName::Signals, 0, &clip.sealed[1].1).await.unwrap();

    // As if the server had died between moving the first track and the commit.
    let key = ObjectKey { clip: clip.manifest.clip, track: TrackName::Cabin };
    let upload = fleet.app.partials().upload(key).await;
    fleet.app.objects().put_file(key, upload.path()).await.unwrap();
    drop(upload);
    fleet = fleet.restart().await;
    van.reconnect(&fleet.serve().await).await;
    let offsets = van.begin(&clip).await.unwrap().offsets;
    let whole: Vec<u64> = clip.manifest.tracks.iter().map(|t| t.sealed_len).collect();
    assert_eq!(offsets.iter().map(|o| o.durable_len).collect::<Vec<_>>(), whole);
    assert_eq!(state(&fleet, event.id).await, ClipState::Waiting, "not visible before the end");
    van.finish(&clip).await.unwrap();
    van.finish(&clip).await.unwrap();
    assert!(van.begin(&clip).await.unwrap().complete);
    assert!(matches!(state(&fleet, event.id).await, ClipState::Ready { .. }));
    let object = fleet.app.objects().get_range(key, 0..cabin.len() as u64).await.unwrap();
    assert!(object == cabin, "the object is what was sent");
    let told = fleet.happened.lock().unwrap().clone();
    let clips = told.iter().filter(|h| matches!(h, Happening::Clip(..))).count();
    assert_eq!(clips, 1, "told once");
    let left = std::fs::read_dir(fleet.config.path("partial")).unwrap().count();
    assert_eq!(left, 0, "no uploads left over");
}

#[tokio::test]
async fn a_wrong_hash_is_never_visible_and_can_be_sent_again() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let event = event_at(START_MS);
    let clip = van.clip(&event, &tracks()[1..]);
    let sealed = clip.sealed[0].1.clone();
    van.report(&event).await.unwrap();
    van.begin(&clip).await.unwrap();
    let mut spoilt = sealed.clone();
    spoilt[7] ^= 1;
    van.send(&clip, TrackName::Signals, 0, &spoilt).await.unwrap();
    assert_eq!(van.finish(&clip).await.unwrap_err().code(), Code::DataLoss);
    assert_eq!(state(&fleet, event.id).await, ClipState::Waiting);
    assert_eq!(van.begin(&clip).await.unwrap().offsets[0].durable_len, 0, "thrown away");
    let long = [sealed.as_slice(), b"more"].concat();
    let refused = van.send(&clip, TrackName::Signals, 0, &long).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "longer than the manifest");
    let at = van.begin(&clip).await.unwrap().offsets[0].durable_len;
    let at = usize::try_from(at).unwrap();
    van.send(&clip, TrackName::Signals, at, &sealed[at..]).await.unwrap();
    van.finish(&clip).await.unwrap();
}

#[tokio::test]
async fn manifests_count_only_with_the_right_signature_and_unit() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let mut other = fleet.unit("van-2", "north").await;
    let event = event_at(START_MS);
    van.report(&event).await.unwrap();
    let clip = van.clip(&event, &tracks());

    let refused = other.begin(&clip).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "signed by another unit's key");
    let mut foreign = van.clip(&event, &tracks());
    foreign.manifest.unit = other.id.clone();
    foreign.signed = foreign.manifest.sign(&van.key);
    let refused = van.begin(&foreign).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "in another unit's name");
    let mut own = other.clip(&event, &tracks());
    own.manifest.unit = other.id.clone();
    own.signed = own.manifest.sign(&other.key);
    let refused = other.begin(&own).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "for another unit's event");

    van.begin(&clip).await.unwrap();
    let mut changed = van.clip(&event, &tracks());
    changed.manifest.clip = clip.manifest.clip;
    changed.signed = changed.manifest.sign(&van.key);
    let refused = van.begin(&changed).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists, "another manifest for the same clip");
    for track in [TrackName::Road, TrackName::Cabin] {
        let refused = other.send(&clip, track, 0, b"x").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "another unit's clip");
    }
    let refused = van.send(&clip, TrackName::Road, 0, b"x").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "no such track");
    assert_eq!(other.finish(&clip).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_lost_clip_is_said_to_be_lost() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let mut other = fleet.unit("van-2", "north").await;
    let first = event_at(START_MS);
    let mut second = event_at(START_MS + 100);
    second.clip = first.clip.clone();
    van.report(&first).await.unwrap();
    van.report(&second).await.unwrap();
    let clip_id = bytes::Bytes::copy_from_slice(first.clip.as_ref().unwrap().as_bytes());
    let lost = wire::ReportLostClipRequest { clip_id, reason: "disk_full".into() };
    let refused = other.client.report_lost_clip(lost.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for _ in 0..2 {
        van.client.report_lost_clip(lost.clone()).await.unwrap();
    }
    for event in [&first, &second] {
        assert_eq!(state(&fleet, event.id).await, ClipState::Absent("disk_full".into()));
    }
    // It came after all: what is here is shown.
    let clip = van.clip(&first, &tracks());
    van.deliver(&first, &clip).await;
    van.client.report_lost_clip(lost).await.unwrap();
    for event in [&first, &second] {
        assert!(matches!(state(&fleet, event.id).await, ClipState::Ready { .. }));
    }
}

#[tokio::test]
async fn heartbeats_carry_health_up_and_orders_down() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let admin = fleet.user("ada", crate::authz::Role::FleetAdmin, "north").await;
    let driver = fleet.user("ann", crate::authz::Role::Driver, "north").await;
    let beat = wire::HeartbeatRequest {
        agent_version: "1".into(),
        unit_unix_ms: START_MS - 5000,
        privacy_state: "recording".into(),
        spool_clips: 2,
        spool_bytes: u64::MAX,
        health: vec![wire::HealthItem {
            part: "gnss".into(),
            state: "degraded".into(),
            text: "no\u{7} fix".into(),
        }],
        results: Vec::new(),
        driven: Vec::new(),
    };
    assert!(van.client.heartbeat(beat.clone()).await.unwrap().into_inner().commands.is_empty());
    let wrong = wire::HeartbeatRequest { privacy_state: "secret".into(), ..beat.clone() };
    assert_eq!(van.client.heartbeat(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    let mark = wire::DistanceMark { driven_m: -1.0, ..wire::DistanceMark::default() };
    for driven in [vec![mark], vec![wire::DistanceMark::default(); 513]] {
        let wrong = wire::HeartbeatRequest { driven, ..beat.clone() };
        assert_eq!(van.client.heartbeat(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }

    let order = crate::show::Order::SetSpeedLimit { limit_kmh: Some(80.0) };
    assert_eq!(fleet.app.command_unit(&driver, "van-1", order).await.unwrap_err().status(), 404);
    assert!(fleet.app.units(&driver).await.is_err());
    let command = fleet.app.command_unit(&admin, "van-1", order).await.unwrap();
    for _ in 0..2 {
        let given = van.client.heartbeat(beat.clone()).await.unwrap().into_inner().commands;
        assert_eq!(given.len(), 1, "given until answered");
        assert_eq!(given[0].command_id.as_ref(), command.as_bytes());
    }
    let answer = wire::CommandResult {
        command_id: bytes::Bytes::copy_from_slice(command.as_bytes()),
        done: true,
        text: "set".into(),
    };
    let answered = wire::HeartbeatRequest { results: vec![answer], ..beat };
    assert!(van.client.heartbeat(answered).await.unwrap().into_inner().commands.is_empty());

    let [unit] = fleet.app.units(&admin).await.unwrap().try_into().unwrap();
    assert_eq!((unit.clock_error_ms, unit.spool_clips, unit.silent), (Some(-5000), 2, false));
    assert_eq!(unit.health[0].text, "no fix");
    assert_eq!(
        (unit.commands[0].done, unit.commands[0].words.as_str()),
        (Some(true), "Speed limit 80 km/h")
    );
    fleet.pass(std::time::Duration::from_secs(121));
    assert!(fleet.app.units(&admin).await.unwrap()[0].silent);
}

#[tokio::test]
async fn a_unit_that_comes_back_does_not_wait_for_its_dead_connection() {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let event = event_at(START_MS);
    let clip = van.clip(&event, &tracks());
    van.report(&event).await.unwrap();
    van.begin(&clip).await.unwrap();
    let first = UploadTrackRequest {
        clip_id: bytes::Bytes::copy_from_slice(clip.manifest.clip.as_bytes()),
        track: "cabin".into(),
        offset: 0,
        data: bytes::Bytes::from_static(b"the beginning"),
    };
    let hangs = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
    let mut client = van.client.clone();
    let hanging = tokio::spawn(async move { client.upload_track(hangs).await });
    let came_back = async {
        while van.begin(&clip).await.unwrap().offsets[0].durable_len == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), came_back).await.unwrap();
    assert_eq!(hanging.await.unwrap().unwrap_err().code(), Code::Aborted);
}
