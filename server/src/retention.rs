//! How long recordings are kept: planned, then executed.
//!
//! ```text
//! plan ──► entry `delete` ──► key destroyed, nobody sees it ──► objects deleted ──► entry `deleted`
//! ```
//! A recording is kept for the days of its kind of event, longer only by a second person's leave or
//! a legal hold, and never longer than the fleet's maximum, but for a hold.
//!
//! INVARIANT: from the entry `delete` on nobody can watch the clip, whatever fails after it; a held
//! clip is never deleted. A crash leaves a deletion that the next round ends. What is in a backup
//! of the database cannot be opened: see `docs/keys.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use temoin_access_log::Action;
use temoin_proto::{
    events::EventKind,
    ids::{ClipId, EventId, HoldId, UnitId, UserId},
    sealed::TrackName,
};

use crate::{
    app::App,
    authz::{Asker, EventAct, EventFacts},
    contest::written,
    db::{
        acts::Act,
        events::StoredEvent,
        retention::{Deleting, Hold},
        users::User,
    },
    error::AppError,
    objects::ObjectKey,
};

const DAY_MS: i64 = 24 * 3_600_000;
/// How much longer a clip is kept by a second person's leave, days.
const EXTENDED_DAYS: i64 = 30;
/// A score is made of the last four weeks; what it rests on stays a while longer.
const LEAST_RECORDS_DAYS: u32 = 35;

/// How long recordings are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days for every kind of event that is not named.
    pub days: u32,
    /// Days that nothing but a legal hold goes beyond.
    pub most_days: u32,
    /// Days by kind of event, such as `collision = 90`.
    pub kinds: BTreeMap<EventKind, u32>,
    /// Days after which what is known without pictures is forgotten too: events and what belongs to
    /// them, distances, shifts, grants, accounts that are off. Not before the recording is gone.
    pub records_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, most_days: 180, kinds: BTreeMap::new(), records_days: 365 }
    }
}

impl Retention {
    /// Everything that is wrong.
    pub fn mistakes(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if !(1..=3650).contains(&self.most_days) {
            wrong.push("retention.most_days has to be 1 to 3650".to_owned());
        }
        if !(self.most_days.max(LEAST_RECORDS_DAYS)..=3650).contains(&self.records_days) {
            wrong.push(format!(
                "retention.records_days has to be {LEAST_RECORDS_DAYS} to 3650 and at least \
                 most_days: {}",
                self.most_days
            ));
        }
        let named = self.kinds.iter().map(|(kind, days)| (format!("kinds.{kind}"), *days));
        for (name, days) in named.chain([("days".to_owned(), self.days)]) {
            if !(1..=self.most_days).contains(&days) {
                wrong
                    .push(format!("retention.{name} has to be 1 to most_days: {}", self.most_days));
            }
        }
        wrong
    }

    /// What came at this moment or later is not due before `until_ms`.
    pub fn came_before_ms(&self, until_ms: i64) -> i64 {
        let least = self.kinds.values().copied().min().unwrap_or(self.days).min(self.days);
        until_ms.saturating_sub(i64::from(least) * DAY_MS).saturating_add(1)
    }

    /// What came before this moment is forgotten at `now_ms`.
    pub fn records_before_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::from(self.records_days) * DAY_MS)
    }

    /// When a clip has to go, milliseconds since 1970, but for a hold.
    pub fn expiry_ms(&self, clip: &Aged) -> i64 {
        let days = clip
            .kinds
            .iter()
            .map(|kind| self.kinds.get(kind).copied().unwrap_or(self.days))
            .max()
            .unwrap_or(self.days);
        let after = |days: u32| clip.came_ms.saturating_add(i64::from(days) * DAY_MS);
        after(days).max(clip.keep_until_ms.unwrap_or(i64::MIN)).min(after(self.most_days))
    }
}

/// A clip with what decides how long it is kept. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// The clip.
    pub clip: ClipId,
    /// The first of the events that name it.
    pub event: EventId,
    /// The unit.
    pub unit: UnitId,
    /// The kinds of the events that name it.
    pub kinds: Vec<EventKind>,
    /// When it came, by the server's clock.
    pub came_ms: i64,
    /// Extended until then.
    pub keep_until_ms: Option<i64>,
    /// A legal hold runs.
    pub held: bool,
}

/// What becomes of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The clip.
    pub clip: Aged,
    /// When it goes; where it is held, when it would.
    pub at_ms: i64,
}

/// What goes until a moment, the first to go first; held ones too, which stay.
pub fn plan(clips: Vec<Aged>, retention: &Retention, until_ms: i64) -> Vec<Planned> {
    let mut planned: Vec<Planned> = clips
        .into_iter()
        .map(|clip| Planned { at_ms: retention.expiry_ms(&clip), clip })
        .filter(|planned| planned.at_ms <= until_ms)
        .collect();
    planned.sort_by_key(|planned| (planned.at_ms, planned.clip.clip));
    planned
}

/// Why a clip is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Its time is over.
    Expired,
    /// The driver asked, and this person decided.
    Asked(UserId),
}

impl App {
    /// Deletes what is due, and ends deletions that a crash cut off. Returns how many ended.
    ///
    /// # Errors
    /// [`AppError`]: what is left is tried again in the next round.
    pub async fn delete_due(&self) -> Result<usize, AppError> {
        let now_ms = self.now_ms();
        let retention = &self.config().retention;
        let clips = self.db().aged_clips(retention.came_before_ms(now_ms), None).await?;
        for planned in plan(clips, retention, now_ms) {
            if !planned.clip.held {
                self.begin_deletion(planned.clip.clip, planned.clip.event, Because::Expired)
                    .await?;
            }
        }
        self.end_deletions().await
    }

    /// Logs that a clip is to be deleted, and makes it invisible. A held one stays.
    async fn begin_deletion(
        &self,
        clip: ClipId,
        event: EventId,
        because: Because,
    ) -> Result<(), AppError> {
        if !self.running_holds(clip).await?.is_empty() {
            return Err(AppError::Refused("This recording is kept for a legal ground."));
        }
        let (actor, why) = match because {
            Because::Expired => (None, "it was deleted when its time was over"),
            Because::Asked(by) => (Some(by), "it was deleted early, as its driver asked"),
        };
        let act = self.act_on_clip(Action::DELETE, actor, clip, event).await?;
        let proof = self.log().record(self.db(), &act).await?;
        self.db().begin_deletion(clip, proof.get(), why).await?;
        Ok(())
    }

    /// Destroys keys and objects of every clip whose deletion has begun.
    async fn end_deletions(&self) -> Result<usize, AppError> {
        let deleting = self.db().deleting().await?;
        for clip in &deleting {
            self.end_deletion(clip).await?;
        }
        if !deleting.is_empty() {
            self.db().fold().await?;
        }
        Ok(deleting.len())
    }

    async fn end_deletion(&self, deleting: &Deleting) -> Result<(), AppError> {
        let Deleting { clip, event, log_index } = *deleting;
        let proof = self.log().recall(log_index).await?;
        if proof.leaf().clip != Some(clip) || proof.leaf().action != Action::DELETE {
            return Err(AppError::Internal(format!(
                "entry {proof} of the access log does not say that clip {clip} is deleted"
            )));
        }
        // First, so that not even a backup of the database opens it again.
        self.keys().destroy(clip, &proof).await?;
        for track in TrackName::ALL {
            let key = ObjectKey { clip, track };
            let upload = self.partials().upload(key).await;
            crate::log::blocking(move || upload.discard()).await??;
            self.objects().delete(key).await?;
        }
        self.db().end_deletion(clip, self.now_ms()).await?;
        // The receipt. After a crash before it the next round writes it; twice does no harm.
        let act = self.act_on_clip(Action::DELETED, None, clip, event).await?;
        self.log().record(self.db(), &act).await?;
        Ok(())
    }

    async fn act_on_clip(
        &self,
        action: Action,
        actor: Option<UserId>,
        clip: ClipId,
        event: EventId,
    ) -> Result<Act, AppError> {
        let driver = self.db().event(event).await?.and_then(|e| e.driver).map(|d| d.id);
        let act = Act::new(action, actor, self.now_ms());
        Ok(Act { driver, event: Some(event), clip: Some(clip), ..act })
    }

    /// The holds of a clip that run.
    async fn running_holds(&self, clip: ClipId) -> Result<Vec<Hold>, AppError> {
        let mut holds = self.db().holds_of(clip).await?;
        holds.retain(|hold| hold.released_ms.is_none());
        Ok(holds)
    }

    /// Deletes the clip of an event before its time, decided by this person.
    pub(crate) async fn delete_early(&self, who: &Asker, event: EventId) -> Result<(), AppError> {
        let event = self.db().event(event).await?.ok_or(AppError::NotFound)?;
        if !self.authz().event(who, EventAct::DeleteClip, &EventFacts::from(&event))? {
            return Err(AppError::Refused("Your role does not delete recordings."));
        }
        let clip = clip_of(&event)?;
        self.begin_deletion(clip, event.record.id, Because::Asked(who.user.id)).await?;
        self.end_deletions().await?;
        Ok(())
    }

    /// Keeps the clip of an event longer, as a second person has granted.
    pub(crate) async fn extend(&self, event: EventId) -> Result<(), AppError> {
        let event = self.db().event(event).await?.ok_or(AppError::NotFound)?;
        let until_ms = self.now_ms().saturating_add(EXTENDED_DAYS * DAY_MS);
        if self.db().keep_until(clip_of(&event)?, until_ms).await? {
            Ok(())
        } else {
            Err(AppError::Refused("This recording is deleted already."))
        }
    }

    /// Keeps the clip of an event for a legal ground. The driver is told, unless a legal ground for
    /// not telling is named.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn hold(
        &self,
        who: &User,
        event: EventId,
        ground: &str,
        not_told: &str,
    ) -> Result<HoldId, AppError> {
        let who = self.asker(who).await?;
        let event = self.db().event(event).await?.ok_or(AppError::NotFound)?;
        if !self.authz().event(&who, EventAct::HoldClip, &EventFacts::from(&event))? {
            return Err(AppError::NotFound);
        }
        let clip = clip_of(&event)?;
        let ground = written(ground, "The legal ground")?;
        let not_told = if not_told.trim().is_empty() {
            String::new()
        } else {
            written(not_told, "The ground for not telling")?
        };
        let mut act =
            self.act_on_clip(Action::HOLD, Some(who.user.id), clip, event.record.id).await?;
        if !not_told.is_empty() {
            act.driver = None;
        }
        self.log().record(self.db(), &act).await?;
        let hold = Hold {
            id: HoldId::new(),
            clip,
            event: event.record.id,
            ground,
            not_told,
            by: who.user.id,
            by_name: who.user.name.clone(),
            at_ms: who.now_ms,
            released_ms: None,
        };
        if self.db().add_hold(&hold).await? {
            Ok(hold.id)
        } else {
            Err(AppError::Refused("This recording is deleted already."))
        }
    }

    /// Releases a hold: the clip goes when its time is over.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`].
    pub async fn release(&self, who: &User, id: HoldId) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        let hold = self.db().hold(id).await?.ok_or(AppError::NotFound)?;
        let event = self.db().event(hold.event).await?.ok_or(AppError::NotFound)?;
        if !self.authz().event(&who, EventAct::HoldClip, &EventFacts::from(&event))? {
            return Err(AppError::NotFound);
        }
        let mut act =
            self.act_on_clip(Action::RELEASE, Some(who.user.id), hold.clip, hold.event).await?;
        if !hold.not_told.is_empty() {
            act.driver = None;
        }
        self.log().record(self.db(), &act).await?;
        self.db().release_hold(id, who.user.id, who.now_ms).await?;
        Ok(())
    }

    /// The holds that run, for who may hold.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn holds(&self, who: &User) -> Result<Vec<Hold>, AppError> {
        let who = self.asker(who).await?;
        let mut shown = Vec::new();
        for hold in self.db().holds().await? {
            let Some(event) = self.db().event(hold.event).await? else { continue };
            if self.authz().event(&who, EventAct::HoldClip, &EventFacts::from(&event))? {
                shown.push(hold);
            }
        }
        Ok(shown)
    }

    /// What an event's page says of how long the clip is kept: when it goes, and the hold that this
    /// person may know of.
    pub(crate) async fn kept(&self, event: &StoredEvent) -> Result<Option<Kept>, AppError> {
        let Ok(clip) = clip_of(event) else { return Ok(None) };
        let aged = self.db().aged_clips(i64::MAX, Some(clip)).await?;
        let Some(aged) = aged.first() else { return Ok(None) };
        let holds = self.running_holds(clip).await?;
        let hold = holds.into_iter().find(|hold| hold.not_told.is_empty());
        Ok(Some(Kept { until_ms: self.config().retention.expiry_ms(aged), hold }))
    }
}

/// How long a clip is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// When it goes, milliseconds since 1970, but for a hold.
    pub until_ms: i64,
    /// The hold that runs and may be told.
    pub hold: Option<Hold>,
}

fn clip_of(event: &StoredEvent) -> Result<ClipId, AppError> {
    event
        .record
        .clip
        .as_ref()
        .copied()
        .map_err(|_| AppError::Refused("There is no recording of this event."))
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
