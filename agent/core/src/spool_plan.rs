//! What to do with the spool folder: at start, when it is full, and in which order it goes up.
//!
//! ```text
//! spool/tmp/<name>           being written; removed at start
//! spool/events/<event_id>    an event's record, durable at the decision
//! spool/clips/<clip_id>/     a complete clip: manifest and sealed tracks; appears by rename
//! spool/so-far/<clip_id>/    a clip as far as it was when the vehicle crashed; appears by rename
//! spool/trash/<name>         renamed away, then removed; emptied at start
//! ```
//! An event's record names the clip that is to come. Deleting renames the clip first and the
//! record last, each after the server said that it is durable.
//!
//! What a crash leaves, and what the plan does:
//! - a file in `tmp`: never complete, removed. Its event's record says what is missing;
//! - a record whose clip never appeared: uploaded, and reported as lost ('unit stopped'), never
//!   silently. The record's `clip_done` tells it from a clip that was uploaded and deleted;
//! - a clip so far, whose whole clip never appeared: takes its place. Else it is removed;
//! - a clip without a record: the server is asked, and only its word deletes it;
//! - anything in `trash`: removed;
//! - a name that is none of ours, or a damaged record: left alone and reported.
//!
//! INVARIANT: no plan removes an event's record or a complete clip without the server's word,
//! but for a full disk, which gives a [`Lost`] for every clip.
//! INVARIANT: order is by [`Standing`], then by the spool's own sequence number, never by wall time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use temoin_proto::{
    events::{EventKind, Severity},
    ids::{ClipId, EventId},
};

/// What is kept and sent before what: a crash before what the driver saved, that before all else, which
/// goes by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Flagged by any other rule.
    Flagged(Severity),
    /// The driver pressed the button.
    DriverSaved,
    /// A collision or a rollover.
    Crash,
}

impl Standing {
    /// That of an event.
    pub const fn of(kind: EventKind, severity: Severity) -> Self {
        match kind {
            EventKind::Collision | EventKind::Rollover => Self::Crash,
            EventKind::DriverSaved => Self::DriverSaved,
            EventKind::HarshBraking
            | EventKind::HarshAcceleration
            | EventKind::HarshCornering
            | EventKind::Speeding
            | EventKind::FollowingTooClose
            | EventKind::RollingStop
            | EventKind::SeatBelt
            | EventKind::Idling
            | EventKind::LongDistraction
            | EventKind::RepeatedDistraction
            | EventKind::PhoneInHand
            | EventKind::Drowsiness
            | EventKind::Microsleep
            | EventKind::Sleep
            | EventKind::Unresponsive => Self::Flagged(severity),
        }
    }
}

/// Place in the queue: the highest standing first, then the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    standing: Reverse<Standing>,
    seq: u64,
}

impl Rank {
    /// Behind all others: of a clip that no record names.
    pub const LAST: Self = Self::new(Standing::Flagged(Severity::Low), u64::MAX);

    /// `seq` counts the records that this spool ever held.
    pub const fn new(standing: Standing, seq: u64) -> Self {
        Self { standing: Reverse(standing), seq }
    }

    /// Standing.
    pub const fn standing(&self) -> Standing {
        self.standing.0
    }

    /// Sequence number.
    pub const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Why a clip does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LostReason {
    /// The unit stopped between the decision and the clip.
    UnitStopped,
    /// The disk was full, and others came before it.
    DiskFull,
    /// No camera gave a picture.
    NoPicture,
    /// Sealing or writing failed.
    WriteFailed,
    /// The disk does not give it back.
    Unreadable,
}

impl LostReason {
    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnitStopped => "unit_stopped",
            Self::DiskFull => "disk_full",
            Self::NoPicture => "no_picture",
            Self::WriteFailed => "write_failed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The record that a clip does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which clip.
    pub clip: ClipId,
    /// Why.
    pub reason: LostReason,
}

/// A name in a folder of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// File or folder name.
    pub name: String,
    /// Bytes, with everything inside.
    pub bytes: u64,
}

/// What an event's record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHead {
    /// Place in the queue.
    pub rank: Rank,
    /// The clip that it was to get.
    pub clip: ClipId,
    /// The clip's end is settled: the server has it, or it was recorded as lost.
    pub clip_done: bool,
}

/// A name in `events`, with its record where it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// File name.
    pub name: String,
    /// The record; None where it is damaged.
    pub head: Option<EventHead>,
}

/// The spool folder at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// `tmp`.
    pub tmp: Vec<RawEntry>,
    /// `events`.
    pub events: Vec<EventEntry>,
    /// `clips`.
    pub clips: Vec<RawEntry>,
    /// `so-far`.
    pub so_far: Vec<RawEntry>,
    /// `trash`.
    pub trash: Vec<RawEntry>,
}

/// One thing to do at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAction {
    /// Remove `tmp/<name>`.
    RemoveTemp(String),
    /// Remove `trash/<name>`.
    RemoveTrash(String),
    /// Remove `so-far/<name>`: the whole clip is there, or its end is settled.
    RemoveSoFar(String),
    /// Move this from `so-far` to `clips`.
    Promote(ClipId),
    /// Queue this event.
    QueueEvent {
        /// Which.
        event: EventId,
        /// What its record says.
        head: EventHead,
    },
    /// Queue this clip. One without a record is asked for first, like any other.
    QueueClip {
        /// Which.
        clip: ClipId,
        /// Its size.
        bytes: u64,
        /// That of its foremost event; None without a record.
        rank: Option<Rank>,
    },
    /// Record durably that this clip is lost, and tell the server.
    RecordLost(Lost),
    /// Leave this file alone and show it in device health.
    ReportStrange {
        /// Folder and name.
        path: String,
    },
}

/// The plan at start: first what is removed, then what is queued.
pub fn plan_start(listing: &Listing) -> Vec<StartAction> {
    let mut actions: Vec<_> =
        listing.tmp.iter().map(|e| StartAction::RemoveTemp(e.name.clone())).collect();
    actions.extend(listing.trash.iter().map(|e| StartAction::RemoveTrash(e.name.clone())));
    let mut ranks: BTreeMap<ClipId, Rank> = BTreeMap::new();
    let mut awaited: BTreeSet<ClipId> = BTreeSet::new();
    let mut events = Vec::new();
    // A damaged record may be the one that names a clip; then that clip has no record, is not
    // lost, and is queued like any other.
    let mut damaged = false;
    for entry in &listing.events {
        match (entry.name.parse::<EventId>(), entry.head) {
            (Ok(event), Some(head)) => {
                let rank = ranks.entry(head.clip).or_insert(head.rank);
                *rank = head.rank.min(*rank);
                if !head.clip_done {
                    awaited.insert(head.clip);
                }
                events.push((head.rank, event, head));
            }
            (id, _) => {
                damaged |= id.is_ok();
                actions.push(strange("events", &entry.name));
            }
        }
    }
    events.sort_by_key(|&(rank, event, _)| (rank, event));
    actions
        .extend(events.into_iter().map(|(_, event, head)| StartAction::QueueEvent { event, head }));
    let mut clips = BTreeMap::new();
    for entry in &listing.clips {
        match entry.name.parse::<ClipId>() {
            Ok(clip) => {
                awaited.remove(&clip);
                clips.insert(clip, entry.bytes);
            }
            Err(_) => actions.push(strange("clips", &entry.name)),
        }
    }
    for entry in &listing.so_far {
        match entry.name.parse::<ClipId>() {
            Ok(clip)
                if awaited.remove(&clip)
                    || (damaged && !ranks.contains_key(&clip) && !clips.contains_key(&clip)) =>
            {
                actions.push(StartAction::Promote(clip));
                clips.insert(clip, entry.bytes);
            }
            Ok(_) => actions.push(StartAction::RemoveSoFar(entry.name.clone())),
            Err(_) => actions.push(strange("so-far", &entry.name)),
        }
    }
    let mut queue: Vec<_> =
        clips.into_iter().map(|(clip, bytes)| (ranks.get(&clip).copied(), clip, bytes)).collect();
    queue.sort_unstable_by_key(|(rank, clip, _)| (rank.is_none(), *rank, *clip));
    actions.extend(queue.into_iter().map(|(rank, clip, bytes)| StartAction::QueueClip {
        clip,
        bytes,
        rank,
    }));
    actions.extend(
        awaited
            .into_iter()
            .map(|clip| StartAction::RecordLost(Lost { clip, reason: LostReason::UnitStopped })),
    );
    actions
}

fn strange(folder: &str, name: &str) -> StartAction {
    StartAction::ReportStrange { path: format!("{folder}/{name}") }
}

/// A clip that is in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredClip {
    /// Which.
    pub clip: ClipId,
    /// Its size.
    pub bytes: u64,
    /// Its place in the queue.
    pub rank: Rank,
}

/// Whether a new clip may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaPlan {
    /// After these were recorded as lost and deleted; none where it simply fits.
    Admit(Vec<Lost>),
    /// No: what is there comes before it. It is recorded as lost itself.
    Refuse(Lost),
}

/// Makes room for `incoming`: what has the lowest standing goes first, of that the oldest. Only what has
/// a lower standing than the new clip, or the same and is older, makes way; if all that is not enough,
/// nothing is deleted for it.
pub fn plan_quota(stored: &[StoredClip], incoming: &StoredClip, quota_bytes: u64) -> QuotaPlan {
    let mut used = stored.iter().fold(0_u64, |sum, c| sum.saturating_add(c.bytes));
    let mut victims: Vec<_> =
        stored.iter().filter(|c| c.rank.standing() <= incoming.rank.standing()).collect();
    victims.sort_by_key(|c| (c.rank.standing(), c.rank.seq(), c.clip));
    let mut lost = Vec::new();
    let mut victims = victims.into_iter();
    while used.saturating_add(incoming.bytes) > quota_bytes {
        let Some(victim) = victims.next() else {
            return QuotaPlan::Refuse(Lost { clip: incoming.clip, reason: LostReason::DiskFull });
        };
        used = used.saturating_sub(victim.bytes);
        lost.push(Lost { clip: victim.clip, reason: LostReason::DiskFull });
    }
    QuotaPlan::Admit(lost)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clip(n: u8) -> ClipId {
        ClipId::from_bytes([n; 16])
    }

    fn event(n: u8) -> EventId {
        EventId::from_bytes([n; 16])
    }

    fn raw(name: impl ToString) -> RawEntry {
        RawEntry { name: name.to_string(), bytes: 10 }
    }

    fn head(severity: Severity, seq: u64, n: u8, clip_done: bool) -> EventHead {
        EventHead { rank: Rank::new(Standing::Flagged(severity), seq), clip: clip(n), clip_done }
    }

    fn entry(n: u8, head: EventHead) -> EventEntry {
        EventEntry { name: event(n).to_string(), head: Some(head) }
    }

    #[test]
    fn an_empty_spool_needs_nothing() {
        assert_eq!(plan_start(&Listing::default()), []);
    }

    #[test]
    fn everything_a_crash_can_leave() {
        let low = head(Severity::Low, 1, 1, false);
        let high = head(Severity::High, 2, 2, false);
        let done = head(Severity::Medium, 3, 3, true);
        let listing = Listing {
            tmp: vec![raw("half")],
            events: vec![
                entry(1, low),
                entry(2, high),
                entry(3, done),
                EventEntry { name: event(4).to_string(), head: None },
                EventEntry { name: "core".into(), head: Some(low) },
            ],
            clips: vec![raw(clip(9)), raw(clip(1)), raw("../x")],
            so_far: vec![raw(clip(1)), raw(clip(3)), raw("y")],
            trash: vec![raw("old")],
        };
        let strange = |path: String| StartAction::ReportStrange { path };
        assert_eq!(
            plan_start(&listing),
            [
                StartAction::RemoveTemp("half".into()),
                StartAction::RemoveTrash("old".into()),
                strange(format!("events/{}", event(4))),
                strange("events/core".into()),
                StartAction::QueueEvent { event: event(2), head: high },
                StartAction::QueueEvent { event: event(3), head: done },
                StartAction::QueueEvent { event: event(1), head: low },
                strange("clips/../x".into()),
                StartAction::RemoveSoFar(clip(1).to_string()),
                StartAction::RemoveSoFar(clip(3).to_string()),
                strange("so-far/y".into()),
                StartAction::QueueClip { clip: clip(1), bytes: 10, rank: Some(low.rank) },
                StartAction::QueueClip { clip: clip(9), bytes: 10, rank: None },
                StartAction::RecordLost(Lost { clip: clip(2), reason: LostReason::UnitStopped }),
            ]
        );
    }

    #[test]
    fn what_there_is_so_far_stands_in_for_a_clip_that_never_came() {
        let awaited = head(Severity::High, 1, 1, false);
        let mut listing = Listing {
            events: vec![entry(1, awaited)],
            so_far: vec![raw(clip(1)), raw(clip(2))],
            ..Listing::default()
        };
        let queued = |n, rank| StartAction::QueueClip { clip: clip(n), bytes: 10, rank };
        let event_1 = StartAction::QueueEvent { event: event(1), head: awaited };
        assert_eq!(
            plan_start(&listing),
            [
                event_1.clone(),
                StartAction::Promote(clip(1)),
                StartAction::RemoveSoFar(clip(2).to_string()),
                queued(1, Some(awaited.rank)),
            ]
        );
        // The record that cannot be read may be the one that names the other.
        let damaged = event(2).to_string();
        listing.events.push(EventEntry { name: damaged.clone(), head: None });
        assert_eq!(
            plan_start(&listing),
            [
                strange("events", &damaged),
                event_1,
                StartAction::Promote(clip(1)),
                StartAction::Promote(clip(2)),
                queued(1, Some(awaited.rank)),
                queued(2, None),
            ]
        );
    }

    #[test]
    fn a_shared_clip_is_queued_once_at_its_most_severe() {
        let (low, high) = (head(Severity::Low, 1, 1, false), head(Severity::High, 2, 1, false));
        let listing = Listing {
            events: vec![entry(1, low), entry(2, high)],
            clips: vec![raw(clip(1))],
            ..Listing::default()
        };
        let queued: Vec<_> = plan_start(&listing)
            .into_iter()
            .filter(|a| matches!(a, StartAction::QueueClip { .. } | StartAction::RecordLost(_)))
            .collect();
        let expected = StartAction::QueueClip { clip: clip(1), bytes: 10, rank: Some(high.rank) };
        assert_eq!(queued, [expected]);
    }

    #[test]
    fn the_least_severe_and_oldest_makes_way() {
        use Severity::{High, Low, Medium};
        let stored = |n, severity, seq| StoredClip {
            clip: clip(n),
            bytes: 10,
            rank: Rank::new(Standing::Flagged(severity), seq),
        };
        let spool =
            [stored(1, Medium, 1), stored(2, Low, 3), stored(3, Low, 2), stored(4, High, 4)];
        let lost = |n| Lost { clip: clip(n), reason: LostReason::DiskFull };
        for (severity, quota, expected) in [
            (Low, 50, QuotaPlan::Admit(vec![])),
            (Low, 40, QuotaPlan::Admit(vec![lost(3)])),
            (High, 30, QuotaPlan::Admit(vec![lost(3), lost(2)])),
            (High, 20, QuotaPlan::Admit(vec![lost(3), lost(2), lost(1)])),
            (Low, 20, QuotaPlan::Refuse(lost(9))),
            (High, 9, QuotaPlan::Refuse(lost(9))),
        ] {
            assert_eq!(plan_quota(&spool, &stored(9, severity, 9), quota), expected, "{quota}");
        }
    }

    #[test]
    fn a_crash_stays_before_what_the_driver_saved_and_that_before_all_else() {
        use EventKind::{Collision, DriverSaved, HarshBraking, Microsleep, Rollover, Sleep};
        use Severity::{High, Low};
        let rank = |(kind, severity, seq)| Rank::new(Standing::of(kind, severity), seq);
        let mut ranks = [
            (Microsleep, High, 1),
            (HarshBraking, Low, 2),
            (DriverSaved, Low, 3),
            (Rollover, High, 4),
            (HarshBraking, High, 5),
            (DriverSaved, High, 6),
            (Collision, Low, 7),
        ];
        ranks.sort_by_key(|of| rank(*of));
        assert_eq!(ranks.map(|(_, _, seq)| seq), [4, 7, 3, 6, 1, 5, 2]);

        let stored = |n, kind, severity| StoredClip {
            clip: clip(n),
            bytes: 10,
            rank: rank((kind, severity, u64::from(n))),
        };
        let lost = |n| Lost { clip: clip(n), reason: LostReason::DiskFull };
        let spool = [stored(1, Collision, Low), stored(2, DriverSaved, Low)];
        for (incoming, expected) in [
            (stored(9, Sleep, High), QuotaPlan::Refuse(lost(9))),
            (stored(9, DriverSaved, Low), QuotaPlan::Admit(vec![lost(2)])),
            (stored(9, Collision, Low), QuotaPlan::Admit(vec![lost(2)])),
        ] {
            assert_eq!(plan_quota(&spool, &incoming, 20), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_vanishes_silently(
            events in prop::collection::vec((0_u8..20, 0_u8..8, any::<bool>(), any::<bool>()), 0..20),
            clips in prop::collection::btree_set(0_u8..8, 0..8),
            so_far in prop::collection::btree_set(0_u8..8, 0..8),
        ) {
            let listing = Listing {
                events: events
                    .iter()
                    .map(|&(e, c, done, readable)| EventEntry {
                        name: event(e).to_string(),
                        head: readable.then(|| head(Severity::Low, u64::from(e), c, done)),
                    })
                    .collect(),
                clips: clips.iter().map(|&c| raw(clip(c))).collect(),
                so_far: so_far.iter().map(|&c| raw(clip(c))).collect(),
                ..Listing::default()
            };
            let plan = plan_start(&listing);
            for &(e, c, done, readable) in &events {
                if !readable { continue; }
                let queued = plan.iter().any(|a| matches!(a, StartAction::QueueEvent { event: x, .. } if *x == event(e)));
                let has_clip = plan.iter().any(|a| matches!(a, StartAction::QueueClip { clip: x, .. } if *x == clip(c)));
                let lost = plan.iter().any(|a| matches!(a, StartAction::RecordLost(l) if l.clip == clip(c)));
                prop_assert!(queued);
                prop_assert!(done || has_clip != lost);
            }
            for &c in &clips {
                let queued = plan.iter().filter(|a| matches!(a, StartAction::QueueClip { clip: x, .. } if *x == clip(c)));
                prop_assert_eq!(queued.count(), 1);
            }
            for &c in &so_far {
                let promoted = plan.iter().filter(|a| matches!(a, StartAction::Promote(x) if *x == clip(c)));
                let removed = plan.iter().filter(|a| matches!(a, StartAction::RemoveSoFar(x) if *x == clip(c).to_string()));
                prop_assert_eq!(promoted.count() + removed.count(), 1);
                let awaited = events.iter().any(|&(_, x, done, readable)| readable && !done && x == c);
                prop_assert!(clips.contains(&c) || !awaited || plan.contains(&StartAction::Promote(clip(c))));
            }
        }
    }
}
