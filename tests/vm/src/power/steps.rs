//! What the spool is made to do, the same each time, and what must be there after so many steps.

use anyhow::Result;
use temoin_agent::seal::SealedClip;
use temoin_agent_core::spool_plan::{Lost, LostReason};
use temoin_proto::{
    convert::EventRecord,
    events::{EventKind, Severity},
    ids::{ClipId, EventId},
    manifest::{Manifest, Track, WrappedKey},
    sealed::{TrackName, sealed_len},
    time::WallTime,
    wire,
};

use super::cut::Dice;

/// Events that happen.
pub(super) const EVENTS: u32 = 22;
/// So many events later a clip is with the server.
const UPLOADED_AFTER: u32 = 4;
/// Every so manieth clip is never made.
const LOST_EVERY: u32 = 7;
/// And every so manieth stays.
const STAYS_EVERY: u32 = 5;
/// Every so manieth is kept twice as far as it is, before all of it is there: as when the vehicle crashes.
const CRASH_EVERY: u32 = 4;

/// What is done to the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    PutEvent(u32),
    PutSoFar(u32, Part),
    PutClip(u32),
    Lose(u32),
    Settle(u32),
    DropClip(u32),
    DropEvent(u32),
}

/// How much of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    First,
    More,
    Whole,
}

/// All of it.
pub(super) fn all() -> Vec<Step> {
    let mut all = Vec::new();
    let is_lost = |n: u32| n % LOST_EVERY == 3;
    for n in 0..EVENTS {
        all.push(Step::PutEvent(n));
        if n % CRASH_EVERY == 2 && !is_lost(n) {
            all.extend([Part::First, Part::More].map(|part| Step::PutSoFar(n, part)));
        }
        all.push(if is_lost(n) { Step::Lose(n) } else { Step::PutClip(n) });
        let Some(old) = n.checked_sub(UPLOADED_AFTER).filter(|old| old % STAYS_EVERY != 0) else {
            continue;
        };
        all.push(Step::Settle(old));
        if !is_lost(old) {
            all.push(Step::DropClip(old));
        }
        all.push(Step::DropEvent(old));
    }
    all
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    Be,
    Not,
    /// The step was not done when the power went.
    Either,
}

impl Must {
    pub(super) fn allows(self, there: bool) -> bool {
        match self {
            Self::Be => there,
            Self::Not => !there,
            Self::Either => true,
        }
    }
}

/// What must be there of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) event: Must,
    pub(super) clip: Must,
    /// How much of the clip is there, where it is: this, or this.
    pub(super) parts: [Option<Part>; 2],
    pub(super) lost: Must,
    pub(super) settled: Must,
}

/// What must be there of event `n` once these steps are finished and another may have begun.
pub(super) fn must(finished: &[Step], begun: Option<Step>, n: u32) -> Of {
    let mut of = Of {
        event: Must::Not,
        clip: Must::Not,
        parts: [None; 2],
        lost: Must::Not,
        settled: Must::Not,
    };
    let changes = |step: Step, of: &mut Of, done: bool| {
        let or = |must| if done { must } else { Must::Either };
        let put = |of: &mut Of, part| {
            let [before, _] = of.parts;
            // What was there so far stays until more is.
            if before.is_none() || done {
                of.clip = or(Must::Be);
            }
            of.parts = if done { [Some(part), None] } else { [before, Some(part)] };
        };
        match step {
            Step::PutEvent(m) if m == n => of.event = or(Must::Be),
            Step::PutSoFar(m, part) if m == n => put(of, part),
            Step::PutClip(m) if m == n => put(of, Part::Whole),
            Step::Lose(m) if m == n => of.lost = or(Must::Be),
            Step::Settle(m) if m == n => {
                of.settled = or(Must::Be);
                // Whoever is known to know need not be told.
                if of.lost != Must::Not {
                    of.lost = or(Must::Not);
                }
            }
            Step::DropClip(m) if m == n => of.clip = or(Must::Not),
            Step::DropEvent(m) if m == n => of.event = or(Must::Not),
            Step::PutEvent(_)
            | Step::PutSoFar(..)
            | Step::PutClip(_)
            | Step::Lose(_)
            | Step::Settle(_)
            | Step::DropClip(_)
            | Step::DropEvent(_) => {}
        }
    };
    for step in finished {
        changes(*step, &mut of, true);
    }
    if let Some(step) = begun {
        changes(step, &mut of, false);
    }
    of
}

/// An id that nothing else has.
const fn id(kind: u128, n: u32) -> [u8; 16] {
    #[expect(clippy::as_conversions, reason = "`from` is not const")]
    let n = n as u128;
    ((0x0198_u128 << 112) | (7 << 76) | (2 << 62) | (kind << 32) | n).to_be_bytes()
}

pub(super) const fn event_id(n: u32) -> EventId {
    EventId::from_bytes(id(1, n))
}

pub(super) const fn clip_id(n: u32) -> ClipId {
    ClipId::from_bytes(id(2, n))
}

pub(super) fn event(n: u32) -> EventRecord {
    EventRecord {
        id: event_id(n),
        kind: EventKind::HarshBraking,
        start: WallTime { unix_ms: i64::from(n) * 60_000, uncertainty_ms: 1 },
        end_unix_ms: i64::from(n) * 60_000 + 900,
        severity: if n.is_multiple_of(4) { Severity::High } else { Severity::Medium },
        confidence: 1.0,
        rule: "power-cut/1".into(),
        numbers: Vec::new(),
        clip: Ok(clip_id(n)),
    }
}

pub(super) const fn lost(n: u32) -> Lost {
    Lost { clip: clip_id(n), reason: LostReason::DiskFull }
}

/// How long a clip's tracks are in the clear, bytes: as of ten seconds of both cameras.
fn lengths(n: u32, part: Part) -> [(TrackName, u64); 3] {
    let parts_of_4 = match part {
        Part::First => 1,
        Part::More => 2,
        Part::Whole => 4,
    };
    let road = (1_500_000 + u64::from(n * 277_777 % 1_200_000)) * parts_of_4 / 4;
    let signals = 20_000 + u64::from(n * 997 % 9000);
    [(TrackName::Road, road), (TrackName::Cabin, road * 2 / 3), (TrackName::Signals, signals)]
}

/// Bytes of a clip's sealed tracks together.
pub(super) fn clip_bytes(n: u32, part: Part) -> u64 {
    lengths(n, part).iter().map(|(_, plain)| sealed_len(*plain)).sum()
}

/// A sealed clip: to whoever has no key its bytes are random.
pub(super) fn clip(n: u32, part: Part) -> Result<SealedClip> {
    let mut dice = Dice::new(u64::from(n) + 1000);
    let mut tracks = Vec::new();
    let mut about = Vec::new();
    for (name, plain_len) in lengths(n, part) {
        let sealed_len = sealed_len(plain_len);
        let mut bytes: Vec<u8> =
            (0..sealed_len.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
        bytes.truncate(usize::try_from(sealed_len)?);
        tracks.push((name, bytes));
        about.push(Track {
            name,
            media_type: "video/mp4".into(),
            plain_len,
            sealed_len,
            sealed_sha256: [0; 32],
            others_blurred: None,
        });
    }
    let manifest = Manifest {
        clip: clip_id(n),
        event: event_id(n),
        unit: "van-1".parse()?,
        start: event(n).start,
        duration_ms: 10_000,
        event_ms: (5000, 5900),
        tracks: about,
        wrapped_key: WrappedKey {
            key_id: "k".into(),
            encapsulated: vec![0; 32],
            ciphertext: vec![0; 48],
        },
        agent_version: "0".into(),
        fingerprints: Vec::new(),
    };
    let manifest = wire::SignedManifest {
        manifest: prost::Message::encode_to_vec(&wire::Manifest::from(&manifest)).into(),
        signature: vec![0; 64].into(),
    };
    Ok(SealedClip { clip: clip_id(n), event: event_id(n), manifest, tracks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_did_must_be_there_and_what_it_was_doing_may() {
        let steps = all();
        let nothing = must(&[], None, 7);
        assert_eq!((nothing.event, nothing.clip, nothing.parts), (Must::Not, Must::Not, [None; 2]));
        assert_eq!(must(&[], None, 0), nothing);
        assert_eq!(must(&[], steps.first().copied(), 0), Of { event: Must::Either, ..nothing });
        let put = [Step::PutEvent(1), Step::PutClip(1)];
        let whole = [Some(Part::Whole), None];
        let there = Of { event: Must::Be, clip: Must::Be, parts: whole, ..nothing };
        assert_eq!(must(&put, None, 1), there);
        assert_eq!(must(&put, None, 2), nothing);
        let dropped = must(&put, Some(Step::DropClip(1)), 1);
        assert_eq!(dropped, Of { clip: Must::Either, ..there });
        let last = must(&steps, None, 1);
        assert_eq!((last.event, last.clip), (Must::Not, Must::Not), "with the server");
        assert_eq!(must(&steps, None, 0).clip, Must::Be, "kept");
        assert_eq!(must(&steps, None, 10).lost, Must::Be, "and said so");
        let crash = [Step::PutEvent(2), Step::PutSoFar(2, Part::First)];
        let first = Of { parts: [Some(Part::First), None], ..there };
        assert_eq!(must(&crash, None, 2), first);
        let begun = must(&crash[..1], Some(crash[1]), 2);
        let parts = [None, Some(Part::First)];
        assert_eq!(begun, Of { clip: Must::Either, parts, ..there });
        let parts = [Some(Part::First), Some(Part::Whole)];
        assert_eq!(must(&crash, Some(Step::PutClip(2)), 2), Of { parts, ..there });
        assert!(steps.contains(&Step::PutSoFar(2, Part::More)));
        let lost = [Step::PutEvent(3), Step::Lose(3)];
        assert_eq!(must(&lost, None, 3).lost, Must::Be);
        assert_eq!(must(&lost, Some(Step::Settle(3)), 3).lost, Must::Either, "it may be settled");
        assert_eq!(must(&[lost[0], lost[1], Step::Settle(3)], None, 3).lost, Must::Not);
    }
}
