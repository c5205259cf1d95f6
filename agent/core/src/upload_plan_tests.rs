//! A server of a few lines, faults, and the invariants of [`super`].

use proptest::prelude::*;

use super::*;
use crate::spool_plan::Standing;
use temoin_proto::events::Severity;

fn clip(n: u8) -> ClipId {
    ClipId::from_bytes([n; 16])
}

fn event(n: u8) -> EventId {
    EventId::from_bytes([n; 16])
}

fn config() -> UploadConfig {
    UploadConfig { chunk_bytes: 100, ..UploadConfig::default() }
}

/// What a fleet server would keep.
#[derive(Default)]
struct Server {
    events: BTreeSet<EventId>,
    lost: BTreeSet<ClipId>,
    clips: BTreeMap<ClipId, u64>,
    durable: BTreeSet<ClipId>,
    actions: Vec<Action>,
}

impl Server {
    /// Carries `action` out; a clip of `bytes` is durable at the second asking after its end.
    fn answer(&mut self, action: Action, bytes: u64) -> Answer {
        self.actions.push(action);
        match action {
            Action::ReportEvent(e) => {
                self.events.insert(e);
                Answer::Durable
            }
            Action::ReportLost(l) => {
                self.lost.insert(l.clip);
                Answer::Durable
            }
            Action::AskStatus(c) => {
                let have_bytes = *self.clips.get(&c).unwrap_or(&0);
                let durable = have_bytes == bytes;
                if durable {
                    self.durable.insert(c);
                }
                Answer::Status { have_bytes, durable }
            }
            Action::SendChunk { clip, offset, len } => {
                let have = self.clips.entry(clip).or_default();
                if *have != offset {
                    return Answer::Failed(UploadError::OffsetMismatch);
                }
                *have += len;
                Answer::Status { have_bytes: *have, durable: false }
            }
            Action::DeleteClip(c) => {
                assert!(self.durable.contains(&c), "deleted without the server's word");
                Answer::Deleted
            }
            Action::GiveUp(_) => Answer::Durable,
            Action::DeleteEvent(e) => {
                assert!(self.events.contains(&e), "deleted without the server's word");
                Answer::Deleted
            }
        }
    }
}

/// Runs until idle or stopped; `fault` may replace the n-th answer, carried out or not.
fn run(
    uploader: &mut Uploader,
    server: &mut Server,
    bytes: u64,
    fault: impl Fn(usize) -> Option<(UploadError, bool)>,
) -> (Next, MonoTime) {
    let (mut now, mut n) = (MonoTime::ZERO, 0);
    for _ in 0..100_000 {
        match uploader.next(now) {
            Next::Do(action) => {
                let answer = match fault(n) {
                    Some((error, false)) => Answer::Failed(error),
                    Some((error, true)) => {
                        server.answer(action, bytes);
                        Answer::Failed(error)
                    }
                    None => server.answer(action, bytes),
                };
                uploader.on_answer(now, answer, 0.5);
                n += 1;
            }
            Next::WaitUntil(until) => {
                assert!(until > now);
                now = until;
            }
            end @ (Next::Idle | Next::Stopped(_)) => return (end, now),
            Next::Busy => panic!("nothing is under way"),
        }
    }
    panic!("does not end");
}

fn one_event_and_clip(bytes: u64) -> Uploader {
    let mut uploader = Uploader::new(config());
    let rank = Rank::new(Standing::Flagged(Severity::Low), 1);
    uploader.add_event(event(1), rank, clip(1), false);
    uploader.add_clip(clip(1), bytes, Some(rank));
    uploader
}

#[test]
fn an_event_and_its_clip_go_up_and_are_deleted() {
    let (mut uploader, mut server) = (one_event_and_clip(250), Server::default());
    let (end, now) = run(&mut uploader, &mut server, 250, |_| None);
    assert_eq!((end, uploader.backlog()), (Next::Idle, (0, 0)));
    assert!(now.as_secs_f64() < 1.0, "{now}");
    let chunk = |offset, len| Action::SendChunk { clip: clip(1), offset, len };
    assert_eq!(
        server.actions,
        [
            Action::ReportEvent(event(1)),
            Action::AskStatus(clip(1)),
            chunk(0, 100),
            chunk(100, 100),
            chunk(200, 50),
            Action::AskStatus(clip(1)),
            Action::DeleteClip(clip(1)),
            Action::DeleteEvent(event(1)),
        ]
    );
}

#[test]
fn it_resumes_where_the_server_is() {
    let (mut uploader, mut server) = (one_event_and_clip(250), Server::default());
    server.clips.insert(clip(1), 130);
    run(&mut uploader, &mut server, 250, |_| None);
    let first = server.actions.iter().find(|a| matches!(a, Action::SendChunk { .. }));
    assert_eq!(first, Some(&Action::SendChunk { clip: clip(1), offset: 130, len: 100 }));
}

#[test]
fn a_refusal_is_not_uploaded() {
    for error in [UploadError::PermissionDenied, UploadError::Unauthenticated] {
        for n in 0..8 {
            let (mut uploader, mut server) = (one_event_and_clip(250), Server::default());
            let fault = |i| (i == n).then_some((error, false));
            let (end, _) = run(&mut uploader, &mut server, 250, fault);
            assert_eq!(end, Next::Stopped(error));
            assert_ne!(uploader.backlog(), (0, 0));
            uploader.resume();
            assert_eq!(run(&mut uploader, &mut server, 250, |_| None).0, Next::Idle);
            assert_eq!(uploader.backlog(), (0, 0));
        }
    }
    let (mut uploader, mut server) = (one_event_and_clip(250), Server::default());
    let fault = |n| (n == 2).then_some((UploadError::Rejected, false));
    assert_eq!(run(&mut uploader, &mut server, 250, fault).0, Next::Idle);
    assert_eq!((uploader.set_aside(), uploader.backlog()), ((0, 1), (1, 1)));
}

#[test]
fn a_chunk_that_brings_nothing_on_is_a_failure() {
    let mut uploader = one_event_and_clip(250);
    let nothing = Answer::Status { have_bytes: 0, durable: false };
    for answer in [Answer::Durable, nothing, nothing] {
        assert!(matches!(uploader.next(MonoTime::ZERO), Next::Do(_)));
        uploader.on_answer(MonoTime::ZERO, answer, 0.5);
    }
    let Next::WaitUntil(until) = uploader.next(MonoTime::ZERO) else { panic!("waits") };
    assert_eq!(uploader.next(until), Next::Do(Action::AskStatus(clip(1))));
}

#[test]
fn the_severe_overtakes_between_two_chunks() {
    let mut uploader = one_event_and_clip(1000);
    let mut server = Server::default();
    for _ in 0..3 {
        let Next::Do(action) = uploader.next(MonoTime::ZERO) else { panic!("has work") };
        uploader.on_answer(MonoTime::ZERO, server.answer(action, 1000), 0.5);
    }
    let rank = Rank::new(Standing::Flagged(Severity::High), 2);
    uploader.add_event(event(2), rank, clip(2), false);
    uploader.add_clip(clip(2), 100, Some(rank));
    assert_eq!(uploader.next(MonoTime::ZERO), Next::Do(Action::ReportEvent(event(2))));
    assert_eq!(uploader.next(MonoTime::ZERO), Next::Busy);
    uploader.on_answer(MonoTime::ZERO, Answer::Durable, 0.5);
    assert_eq!(uploader.next(MonoTime::ZERO), Next::Do(Action::AskStatus(clip(2))));
}

#[test]
fn a_lost_clip_is_told_before_its_event_goes() {
    let mut uploader = Uploader::new(config());
    let mut server = Server::default();
    uploader.add_event(event(1), Rank::new(Standing::Flagged(Severity::Low), 1), clip(1), false);
    assert_eq!(run(&mut uploader, &mut server, 0, |_| None).0, Next::Idle);
    assert_eq!(uploader.backlog(), (1, 0), "the clip is still to come");
    let lost = Lost { clip: clip(1), reason: LostReason::UnitStopped };
    uploader.add_lost(lost);
    run(&mut uploader, &mut server, 0, |_| None);
    assert_eq!(
        server.actions.get(1..),
        Some(&[Action::ReportLost(lost), Action::DeleteEvent(event(1))][..])
    );
}

#[test]
fn a_clip_that_the_disk_does_not_give_back_holds_up_no_other_and_is_told() {
    let mut uploader = one_event_and_clip(100);
    let rank = Rank::new(Standing::Flagged(Severity::Low), 2);
    uploader.add_event(event(2), rank, clip(2), false);
    uploader.add_clip(clip(2), 100, Some(rank));
    let (mut now, mut actions, mut other_up) = (MonoTime::ZERO, vec![], None);
    let mut server = Server::default();
    loop {
        match uploader.next(now) {
            Next::Do(action) => {
                actions.push(action);
                let answer = if action == Action::AskStatus(clip(1)) {
                    Answer::Failed(UploadError::Disk)
                } else {
                    server.answer(action, 100)
                };
                uploader.on_answer(now, answer, 0.5);
                if action == Action::DeleteClip(clip(2)) {
                    other_up = Some(now);
                }
            }
            Next::WaitUntil(until) => now = until,
            Next::Idle => break,
            end @ (Next::Busy | Next::Stopped(_)) => panic!("{end:?}"),
        }
    }
    assert_eq!(uploader.backlog(), (0, 0));
    assert!(other_up.is_some_and(|at| at.as_secs_f64() < 5.0), "{other_up:?}");
    assert_eq!(actions.iter().filter(|a| **a == Action::AskStatus(clip(1))).count(), 3);
    let lost = Lost { clip: clip(1), reason: LostReason::Unreadable };
    assert_eq!(
        actions.get(actions.len() - 3..),
        Some(
            &[Action::GiveUp(clip(1)), Action::ReportLost(lost), Action::DeleteEvent(event(1))][..]
        )
    );
}

#[test]
fn a_disk_that_cannot_be_written_holds_up_no_upload() {
    let mut uploader = one_event_and_clip(100);
    let rank = Rank::new(Standing::Flagged(Severity::Low), 2);
    uploader.add_event(event(2), rank, clip(2), false);
    uploader.add_clip(clip(2), 100, Some(rank));
    let (mut now, mut server) = (MonoTime::ZERO, Server::default());
    while server.durable.len() < 2 {
        match uploader.next(now) {
            Next::Do(action) => {
                let answer = if matches!(action, Action::DeleteClip(_)) {
                    Answer::Failed(UploadError::Disk)
                } else {
                    server.answer(action, 100)
                };
                uploader.on_answer(now, answer, 0.5);
            }
            Next::WaitUntil(until) => now = until,
            end @ (Next::Busy | Next::Idle | Next::Stopped(_)) => panic!("{end:?}"),
        }
    }
    assert!(now.as_secs_f64() < 5.0, "{now}");
    // It is written again: what rests is done.
    assert_eq!(run(&mut uploader, &mut server, 100, |_| None).0, Next::Idle);
    assert_eq!(uploader.backlog(), (0, 0));
}

#[test]
fn waits_double_up_to_the_cap_and_spread() {
    let waits = |jitter: f64| {
        let mut uploader = one_event_and_clip(1);
        let mut now = MonoTime::ZERO;
        (0..12)
            .map(|_| {
                assert!(matches!(uploader.next(now), Next::Do(_)));
                uploader.on_answer(now, Answer::Failed(UploadError::Unreachable), jitter);
                let Next::WaitUntil(until) = uploader.next(now) else { panic!("waits") };
                let wait = until.since(now).as_secs_f64();
                now = until;
                wait
            })
            .collect::<Vec<_>>()
    };
    let most = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0];
    assert_eq!(waits(1.0), most);
    assert_eq!(waits(0.0), most.map(|w| w / 2.0));
    assert_eq!(waits(f64::NAN), most);
}

#[test]
fn a_server_that_makes_no_sense_makes_nothing_go() {
    for answer in [
        Answer::Durable,
        Answer::Deleted,
        Answer::Status { have_bytes: 9000, durable: false },
        Answer::Status { have_bytes: 9000, durable: true },
    ] {
        let mut uploader = one_event_and_clip(250);
        uploader.next(MonoTime::ZERO);
        uploader.on_answer(MonoTime::ZERO, Answer::Durable, 0.5);
        assert_eq!(uploader.next(MonoTime::ZERO), Next::Do(Action::AskStatus(clip(1))));
        uploader.on_answer(MonoTime::ZERO, answer, 0.5);
        assert!(matches!(uploader.next(MonoTime::ZERO), Next::WaitUntil(_)), "{answer:?}");
        assert_eq!(uploader.backlog(), (1, 1));
    }
}

proptest! {
    /// Whatever fails, before or after the server did its part, everything arrives in the end and
    /// nothing is deleted before.
    #[test]
    fn faults_only_delay(
        bytes in 0_u64..700,
        faults in prop::collection::vec(prop::option::of((0_usize..8, any::<bool>())), 0..40),
    ) {
        let errors = [
            UploadError::Unreachable, UploadError::Timeout, UploadError::Unavailable,
            UploadError::ResourceExhausted, UploadError::Internal, UploadError::OffsetMismatch,
            UploadError::Corrupt, UploadError::Disk,
        ];
        prop_assert!(errors.iter().all(|e| e.is_retryable()));
        let (mut uploader, mut server) = (one_event_and_clip(bytes), Server::default());
        let fault = |n: usize| {
            let (error, done) = (*faults.get(n)?)?;
            Some((*errors.get(error)?, done))
        };
        let (end, _) = run(&mut uploader, &mut server, bytes, fault);
        prop_assert_eq!((end, uploader.backlog()), (Next::Idle, (0, 0)));
        prop_assert!(server.events.contains(&event(1)));
        if server.lost.contains(&clip(1)) {
            let unread = faults.iter().flatten().filter(|(error, _)| errors[*error] == UploadError::Disk);
            prop_assert!(unread.count() >= 3, "given up too soon");
        } else {
            prop_assert!(server.durable.contains(&clip(1)));
            prop_assert_eq!(server.clips.get(&clip(1)).copied().unwrap_or(0), bytes);
        }
    }
}
