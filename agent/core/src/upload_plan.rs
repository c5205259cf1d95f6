//! The uploader's next action, given what the server answered. One action is under way at a time.
//!
//! Events go first, they are small and urgent; then clips, each by [`Rank`]. Between two chunks
//! the most urgent work is chosen anew, so a sleep overtakes a long clip of a harsh corner.
//!
//! ```text
//! event: report ──durable──▶ (clip settled?) ─▶ delete the record
//! clip:  ask ─▶ send from offset … ─▶ ask until durable ─▶ delete the clip ─▶ settled
//! lost:  report ──durable──▶ settled
//! ```
//! What the unit's own disk refuses rests for a while, and others go on; a clip that it does not give back
//! three times is given up, recorded as lost and told.
//!
//! INVARIANT: nothing is deleted but on the server's word that it is durable, or where the disk does not
//! give it back. A refusal of any kind is not 'uploaded'.
//! INVARIANT: an event's record is deleted only after its clip is settled: the clip's deletion was
//! confirmed, or the server has the report that it is lost.
//! A crash leaves the spool as it is; the offset is asked for anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use temoin_proto::{
    ids::{ClipId, EventId},
    time::MonoTime,
};

use crate::{
    config::{UploadConfig, secs},
    spool_plan::{Lost, LostReason, Rank},
};

/// What the edge does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this event's record.
    ReportEvent(EventId),
    /// Tell that this clip does not exist.
    ReportLost(Lost),
    /// Ask how much of this clip the server has, and whether it is durable.
    AskStatus(ClipId),
    /// Send these bytes.
    SendChunk {
        /// Which clip.
        clip: ClipId,
        /// From here.
        offset: u64,
        /// That many, at least 1.
        len: u64,
    },
    /// Mark the clip as done in its events' records, then delete it from the spool.
    DeleteClip(ClipId),
    /// Record durably that the disk does not give this clip back.
    GiveUp(ClipId),
    /// Delete this event's record.
    DeleteEvent(EventId),
}

/// So many times the disk is asked for a clip. Own choice.
const MOST_UNREAD: u32 = 3;
/// How long what the disk refused rests, seconds: a disk that was remounted, or a bus that hung, is back by
/// then. Own choice.
const DISK_REST_S: f64 = 20.0;

/// What the server or the disk answered to the action under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The report, or the record, is durable.
    Durable,
    /// So much of the clip is there.
    Status {
        /// Bytes from the beginning.
        have_bytes: u64,
        /// Complete, verified and durable.
        durable: bool,
    },
    /// Deleted from the spool.
    Deleted,
    /// It failed.
    Failed(UploadError),
}

/// Why an action failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum UploadError {
    /// No way to the server.
    #[error("the server cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server says: later.
    #[error("the server is busy or starting")]
    Unavailable,
    /// The server has no room.
    #[error("the server has no room")]
    ResourceExhausted,
    /// The server failed.
    #[error("the server failed")]
    Internal,
    /// The server has another offset than the unit thought.
    #[error("the server expects another offset")]
    OffsetMismatch,
    /// The bytes did not arrive as they were sent.
    #[error("the bytes were damaged on the way")]
    Corrupt,
    /// The certificate expired or is unknown.
    #[error("the server does not know this unit: renew the certificate or enrol again")]
    Unauthenticated,
    /// The unit was revoked, or may not do this.
    #[error("the server refuses this unit: it may have been revoked")]
    PermissionDenied,
    /// The server will never take this.
    #[error("the server refuses this item for good")]
    Rejected,
    /// The spool could not be read or written.
    #[error("the spool could not be read or written")]
    Disk,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// Wait, then the same again.
    Retry,
    /// Ask for the offset, after a wait.
    AskAgain,
    /// Stop everything until the edge says that something changed.
    Stop,
    /// Leave this item in the spool, go on with others.
    SetAside,
    /// The same, but try again after a rest.
    Rest,
}

impl UploadError {
    /// Whether the same will be tried again without anyone's doing.
    pub const fn is_retryable(self) -> bool {
        match self.reaction() {
            Reaction::Retry | Reaction::AskAgain | Reaction::Rest => true,
            Reaction::Stop | Reaction::SetAside => false,
        }
    }

    const fn reaction(self) -> Reaction {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::Unavailable
            | Self::ResourceExhausted
            | Self::Internal => Reaction::Retry,
            Self::Disk => Reaction::Rest,
            Self::OffsetMismatch | Self::Corrupt => Reaction::AskAgain,
            Self::Unauthenticated | Self::PermissionDenied => Reaction::Stop,
            Self::Rejected => Reaction::SetAside,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Do this, then call [`Uploader::on_answer`].
    Do(Action),
    /// One action is under way.
    Busy,
    /// Nothing before this time.
    WaitUntil(MonoTime),
    /// Nothing to do.
    Idle,
    /// Stopped; for device health. [`Uploader::resume`] goes on.
    Stopped(UploadError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClipPhase {
    /// To be asked for.
    Ask,
    /// To be sent from here.
    Send { offset: u64 },
    /// Sent; to be asked for until it is durable, not before this time.
    Settle { ask_at: MonoTime },
    /// Durable; to be deleted.
    Delete,
    /// The disk does not give it back; to be recorded.
    GiveUp,
    /// Lost; to be told.
    Lost(LostReason),
}

#[derive(Clone, Copy, Debug)]
struct ClipJob {
    rank: Rank,
    bytes: u64,
    phase: ClipPhase,
    /// How often the disk did not give it back.
    unread: u32,
}

#[derive(Clone, Copy, Debug)]
struct EventJob {
    rank: Rank,
    clip: ClipId,
    clip_done: bool,
    reported: bool,
}

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Event(EventId),
    Clip(ClipId),
}

impl Action {
    const fn item(self) -> Item {
        match self {
            Self::ReportEvent(event) | Self::DeleteEvent(event) => Item::Event(event),
            Self::ReportLost(Lost { clip, .. })
            | Self::AskStatus(clip)
            | Self::SendChunk { clip, .. }
            | Self::DeleteClip(clip)
            | Self::GiveUp(clip) => Item::Clip(clip),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Uploader {
    config: UploadConfig,
    events: BTreeMap<EventId, EventJob>,
    clips: BTreeMap<ClipId, ClipJob>,
    set_aside_events: BTreeSet<EventId>,
    set_aside_clips: BTreeSet<ClipId>,
    /// What the disk refused, until when.
    resting: BTreeMap<Item, MonoTime>,
    under_way: Option<Action>,
    failures: u32,
    not_before: MonoTime,
    stopped: Option<UploadError>,
}

impl Uploader {
    /// Nothing to do yet.
    pub const fn new(config: UploadConfig) -> Self {
        Self {
            config,
            events: BTreeMap::new(),
            clips: BTreeMap::new(),
            set_aside_events: BTreeSet::new(),
            set_aside_clips: BTreeSet::new(),
            resting: BTreeMap::new(),
            under_way: None,
            failures: 0,
            not_before: MonoTime::ZERO,
            stopped: None,
        }
    }

    /// A durable record of an event, and the clip it will get. `clip_done` is what the record
    /// says of the clip's end.
    pub fn add_event(&mut self, event: EventId, rank: Rank, clip: ClipId, clip_done: bool) {
        let job = EventJob { rank, clip, clip_done, reported: false };
        self.events.entry(event).or_insert(job);
    }

    /// A complete clip in the spool. Without a rank (no record names it) it goes last.
    pub fn add_clip(&mut self, clip: ClipId, bytes: u64, rank: Option<Rank>) {
        let rank = rank.unwrap_or(Rank::LAST);
        let job = ClipJob { rank, bytes, phase: ClipPhase::Ask, unread: 0 };
        self.clips.entry(clip).or_insert(job);
    }

    /// A clip that does not exist, or exists no longer. The edge has recorded it durably.
    pub fn add_lost(&mut self, lost: Lost) {
        let named = self.events.values().filter(|e| e.clip == lost.clip).map(|e| e.rank).min();
        let rank = named.unwrap_or(Rank::LAST);
        let job = ClipJob { rank, bytes: 0, phase: ClipPhase::Lost(lost.reason), unread: 0 };
        self.clips.insert(lost.clip, job);
    }

    /// Events and clips that are not settled yet.
    pub fn backlog(&self) -> (usize, usize) {
        (self.events.len(), self.clips.len())
    }

    /// Events and clips that the server refuses for good. They stay in the spool; the next start
    /// tries them again.
    pub fn set_aside(&self) -> (usize, usize) {
        (self.set_aside_events.len(), self.set_aside_clips.len())
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: MonoTime) -> Next {
        if self.under_way.is_some() {
            return Next::Busy;
        }
        if let Some(error) = self.stopped {
            return Next::Stopped(error);
        }
        if now < self.not_before {
            return Next::WaitUntil(self.not_before);
        }
        match self.choose(now) {
            Ok(action) => {
                self.under_way = Some(action);
                Next::Do(action)
            }
            Err(Some(wait)) => Next::WaitUntil(wait),
            Err(None) => Next::Idle,
        }
    }

    /// The most urgent action, or when there will be one.
    fn choose(&self, now: MonoTime) -> Result<Action, Option<MonoTime>> {
        let rests = |item| self.resting.get(&item).is_some_and(|until| *until > now);
        let events = || {
            let may = |id| !self.set_aside_events.contains(id) && !rests(Item::Event(*id));
            self.events.iter().filter(move |(id, _)| may(id))
        };
        let report = events().filter(|(_, e)| !e.reported).min_by_key(|(id, e)| (e.rank, **id));
        if let Some((event, _)) = report {
            return Ok(Action::ReportEvent(*event));
        }
        if let Some((event, _)) = events().find(|(_, e)| e.reported && e.clip_done) {
            return Ok(Action::DeleteEvent(*event));
        }
        let mut wait = self.resting.values().copied().filter(|until| *until > now).min();
        let mut best: Option<(Rank, ClipId, Action)> = None;
        let may = |id: &ClipId| !self.set_aside_clips.contains(id) && !rests(Item::Clip(*id));
        for (&clip, job) in self.clips.iter().filter(|(id, _)| may(id)) {
            let action = match job.phase {
                ClipPhase::Ask => Action::AskStatus(clip),
                ClipPhase::Send { offset } => {
                    let len = job.bytes.saturating_sub(offset).min(self.config.chunk_bytes);
                    Action::SendChunk { clip, offset, len }
                }
                ClipPhase::Settle { ask_at } if ask_at > now => {
                    wait = Some(wait.map_or(ask_at, |w| w.min(ask_at)));
                    continue;
                }
                ClipPhase::Settle { .. } => Action::AskStatus(clip),
                ClipPhase::Delete => Action::DeleteClip(clip),
                ClipPhase::GiveUp => Action::GiveUp(clip),
                ClipPhase::Lost(reason) => Action::ReportLost(Lost { clip, reason }),
            };
            if best.is_none_or(|(rank, id, _)| (job.rank, clip) < (rank, id)) {
                best = Some((job.rank, clip, action));
            }
        }
        best.map(|(_, _, action)| action).ok_or(wait)
    }

    /// Takes the answer to the action under way; one that fits none is ignored. `jitter` from 0 to
    /// 1 spreads the waits of many units.
    pub fn on_answer(&mut self, now: MonoTime, answer: Answer, jitter: f64) {
        let Some(action) = self.under_way.take() else { return };
        match answer {
            Answer::Failed(error) => self.on_failure(now, action, error, jitter),
            Answer::Durable | Answer::Status { .. } | Answer::Deleted => {
                if self.on_success(now, action, answer) {
                    self.failures = 0;
                    self.resting.remove(&action.item());
                } else {
                    self.on_failure(now, action, UploadError::Internal, jitter);
                }
            }
        }
    }

    /// Something changed (a new certificate, the network is back): try again now.
    pub fn resume(&mut self) {
        self.stopped = None;
        self.failures = 0;
        self.not_before = MonoTime::ZERO;
    }

    /// False where the answer does not fit the action: a server that makes no sense.
    fn on_success(&mut self, now: MonoTime, action: Action, answer: Answer) -> bool {
        match (action, answer) {
            (Action::ReportEvent(event), Answer::Durable) => {
                if let Some(job) = self.events.get_mut(&event) {
                    job.reported = true;
                }
                true
            }
            (Action::ReportLost(Lost { clip, .. }), Answer::Durable)
            | (Action::DeleteClip(clip), Answer::Deleted) => {
                self.clips.remove(&clip);
                for job in self.events.values_mut().filter(|e| e.clip == clip) {
                    job.clip_done = true;
                }
                true
            }
            (Action::GiveUp(clip), Answer::Durable) => {
                if let Some(job) = self.clips.get_mut(&clip) {
                    job.phase = ClipPhase::Lost(LostReason::Unreadable);
                }
                true
            }
            (Action::DeleteEvent(event), Answer::Deleted) => {
                self.events.remove(&event);
                true
            }
            (
                Action::AskStatus(clip) | Action::SendChunk { clip, .. },
                Answer::Status { have_bytes, durable },
            ) => self.on_status(now, action, clip, have_bytes, durable),
            (
                Action::ReportEvent(_)
                | Action::ReportLost(_)
                | Action::AskStatus(_)
                | Action::SendChunk { .. }
                | Action::DeleteClip(_)
                | Action::GiveUp(_)
                | Action::DeleteEvent(_),
                Answer::Durable | Answer::Status { .. } | Answer::Deleted | Answer::Failed(_),
            ) => false,
        }
    }

    fn on_status(
        &mut self,
        now: MonoTime,
        action: Action,
        clip: ClipId,
        have_bytes: u64,
        durable: bool,
    ) -> bool {
        let Some(job) = self.clips.get_mut(&clip) else { return true };
        // It was recorded as lost while the answer was on its way: that stands.
        if matches!(job.phase, ClipPhase::Lost(_)) {
            return true;
        }
        let sensible = match action {
            // The server may have less than was sent, never nothing new.
            Action::SendChunk { offset, .. } => have_bytes > offset || durable,
            Action::AskStatus(_)
            | Action::ReportEvent(_)
            | Action::ReportLost(_)
            | Action::DeleteClip(_)
            | Action::GiveUp(_)
            | Action::DeleteEvent(_) => true,
        } && have_bytes <= job.bytes;
        job.phase = if !sensible {
            ClipPhase::Ask
        } else if durable {
            ClipPhase::Delete
        } else if have_bytes == job.bytes {
            ClipPhase::Settle { ask_at: now + secs(self.config.durable_poll_s) }
        } else {
            ClipPhase::Send { offset: have_bytes }
        };
        sensible
    }

    fn on_failure(&mut self, now: MonoTime, action: Action, error: UploadError, jitter: f64) {
        match error.reaction() {
            Reaction::Stop => {
                self.stopped = Some(error);
                return;
            }
            Reaction::SetAside => {
                match action.item() {
                    Item::Event(event) => self.set_aside_events.insert(event),
                    Item::Clip(clip) => self.set_aside_clips.insert(clip),
                };
                return;
            }
            Reaction::Rest => {
                self.resting.insert(action.item(), now + secs(DISK_REST_S));
                if let Action::AskStatus(clip) | Action::SendChunk { clip, .. } = action
                    && let Some(job) = self.clips.get_mut(&clip)
                    && !matches!(job.phase, ClipPhase::Lost(_))
                {
                    job.unread += 1;
                    if job.unread >= MOST_UNREAD {
                        job.phase = ClipPhase::GiveUp;
                    }
                }
                return;
            }
            Reaction::AskAgain => {
                if let Action::SendChunk { clip, .. } = action
                    && let Some(job) = self.clips.get_mut(&clip)
                    && !matches!(job.phase, ClipPhase::Lost(_))
                {
                    job.phase = ClipPhase::Ask;
                }
            }
            Reaction::Retry => {}
        }
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff(jitter);
    }

    /// Doubles from the base up to the cap; between half of it and all of it.
    fn backoff(&self, jitter: f64) -> Duration {
        let doublings = i32::try_from(self.failures.saturating_sub(1).min(30)).unwrap_or(30);
        let full =
            (self.config.backoff_base_s * 2.0_f64.powi(doublings)).min(self.config.backoff_cap_s);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        secs(full * (0.5 + 0.5 * jitter))
    }
}

#[cfg(test)]
#[path = "upload_plan_tests.rs"]
mod tests;
