//! Tracing a leak: which recording a file shows, and whose view of it.
//!
//! ```text
//! file ─► decoder process ─► fingerprint ─► a few recordings ─► each: log `trace`, key, lay on it,
//!         (sandboxed)                                            evidence, keys of views, scores ─► verdict
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`file`](mod@file) | the file, in memory |
//! | `decode` | its pictures, by a process that can do nothing else |
//! | `search` | which recordings it may show |
//! | `compare` | laid on one of them, and compared with the views |
//! | [`found`] | what is kept of it |
//! | [`report`] | what is told of it |
//! | `socket` | the command line's way in |
//!
//! INVARIANT: only under a grant that a second person gave. Each recording that the file is compared with
//! has an entry `trace` in the access log first, which its driver sees; the key service gives the keys of
//! views against that entry only. No picture of a recording leaves.
//!
//! INVARIANT: in how many ways views are compared with the file is fixed before the first is, and paid
//! for in the bound; so it may stop early.
//!
//! A crash loses the file and what was found so far; the trace's row says so, and it is traced again.

mod compare;
mod decode;
pub mod file;
pub mod found;
mod pictures;
pub mod report;
mod search;
mod shown;
pub(crate) mod socket;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use temoin_access_log::Action;
use temoin_media::watermark::register::{Gray, RegisterError};
use temoin_proto::{
    ids::{EventId, GrantId, TraceId, UserId, ViewId},
    sealed::TrackName,
};

use crate::{
    app::App,
    authz::{Asker, FleetAct, GrantKind, Purpose},
    db::{acts::Act, traces::StoredTrace, users::User},
    error::{AppError, chain},
    grants::{Grant, GrantState},
    log::{action, blocking},
};

use compare::Laid;
use decode::{DecodeError, Part};
use file::LeakFile;
use found::{ComparedClip, Judge};
use report::LaidPicture;
use search::{Candidate, Seen};

pub(crate) use decode::find as find_decoder;
pub use found::{Ended, Found};
pub use shown::{TraceShown, TraceState};

/// The chance of naming anybody innocent in a whole trace, where the configuration says nothing.
pub const BOUND: f64 = 1e-9;
/// Recordings that a file is laid on at most.
const MOST_CLIPS: usize = 8;
/// How the leak's pictures are compared: longer side (pixels), pictures a second, length (seconds).
const LEAK_SIDE: u16 = 854;
const LEAK_FPS: u32 = 30;
const LEAK_S: u32 = 20;
/// A recording that is not longer is compared whole; of others, this much around what the leak shows.
const WHOLE: Duration = Duration::from_secs(60);
const AROUND: Duration = Duration::from_secs(5);
/// Traces whose pictures are held.
const HELD: usize = 4;

/// The trace that runs, and the pictures of the last ones. Pictures of a leak lie nowhere else.
#[derive(Debug, Default)]
pub struct Traces {
    running: Mutex<Option<(TraceId, String)>>,
    pictures: Mutex<VecDeque<(TraceId, Arc<Vec<LaidPicture>>)>>,
}

impl Traces {
    fn running(&self) -> std::sync::MutexGuard<'_, Option<(TraceId, String)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one place.
    fn take(self: &Arc<Self>, id: TraceId) -> Result<Place, AppError> {
        let mut running = self.running();
        if running.is_some() {
            return Err(AppError::Busy("Another trace runs. Try again when it has ended."));
        }
        *running = Some((id, "The file is looked at".to_owned()));
        Ok(Place(Arc::clone(self)))
    }

    /// The trace that runs, and what it does.
    fn now(&self) -> Option<(TraceId, String)> {
        self.running().clone()
    }

    fn hold(&self, id: TraceId, pictures: Vec<LaidPicture>) {
        let mut held = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        held.truncate(HELD - 1);
        held.push_front((id, pictures.into()));
    }

    fn held(&self, id: TraceId) -> Arc<Vec<LaidPicture>> {
        let held = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.iter().find(|(held, _)| *held == id);
        found.map(|(_, pictures)| Arc::clone(pictures)).unwrap_or_default()
    }
}

/// The place of the trace that runs; dropping it gives it back.
struct Place(Arc<Traces>);

impl Place {
    fn says(&self, step: impl Into<String>) {
        if let Some((_, now)) = self.0.running().as_mut() {
            *now = step.into();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.running() = None;
    }
}

/// Why a trace ended without a word on the file.
#[derive(Debug, thiserror::Error)]
enum TraceError {
    /// The file is none, or nothing can be seen in it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its pictures cannot be compared.
    #[error("the pictures of the file cannot be compared: {0}")]
    Register(#[from] RegisterError),
    /// Inside.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<crate::db::DbError> for TraceError {
    fn from(error: crate::db::DbError) -> Self {
        Self::App(error.into())
    }
}

/// A trace that begins.
struct Order {
    id: TraceId,
    /// Who does it; none where it is done on the command line.
    by: Option<UserId>,
    grant: GrantId,
    file: Arc<LeakFile>,
    /// Where who asks knows which event it shows.
    event: Option<EventId>,
}

impl App {
    /// Begins to trace a file. The report is there when it has ended: [`App::trace_shown`].
    ///
    /// # Errors
    /// [`AppError::NotFound`] for whose office it is not, [`AppError::Refused`] without a live grant,
    /// [`AppError::Busy`] while another trace runs.
    pub async fn begin_trace(
        &self,
        who: &User,
        file: LeakFile,
        event: Option<EventId>,
    ) -> Result<TraceId, AppError> {
        let who = self.asker(who).await?;
        let grant = self.grant_to_trace(&who, |_| true)?;
        self.start_trace(Some(who.user.id), grant, file, event).await
    }

    /// The same on the command line of the server, by nobody who is known, under somebody's grant.
    ///
    /// # Errors
    /// As [`App::begin_trace`].
    pub(crate) async fn begin_trace_under(
        &self,
        grant: GrantId,
        file: LeakFile,
        event: Option<EventId>,
    ) -> Result<TraceId, AppError> {
        let row = self.db().grant(grant).await?.ok_or(AppError::NotFound)?;
        let asker = self.db().user(row.grant.asker).await?.ok_or(AppError::NotFound)?;
        let asker = self.asker(&asker).await?;
        let grant = self.grant_to_trace(&asker, |held| held.id == grant)?;
        self.start_trace(None, grant, file, event).await
    }

    /// Refuses whoever may not trace a file now.
    ///
    /// # Errors
    /// As [`App::begin_trace`].
    pub async fn may_trace(&self, who: &User) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        self.grant_to_trace(&who, |_| true).map(drop)
    }

    /// Where the last asking of this person to trace stands; `Ended` where there is none. None for whose
    /// office it is not.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn own_trace_grant(&self, who: &User) -> Result<Option<GrantState>, AppError> {
        let asker = self.asker(who).await?;
        if !self.authz().fleet(&asker, FleetAct::TraceLeak)?
            && !self.authz().may_ask_trace(&asker)?
        {
            return Ok(None);
        }
        let asks = self.asks(who).await?;
        let own = asks.iter().find(|ask| ask.own && ask.row.grant.kind == GrantKind::Trace);
        Ok(Some(own.map_or(GrantState::Ended, |ask| ask.state)))
    }

    fn grant_to_trace(
        &self,
        who: &Asker,
        which: impl Fn(&Grant) -> bool,
    ) -> Result<GrantId, AppError> {
        let live = |g: &&Grant| g.kind == GrantKind::Trace && g.is_live(who.now_ms) && which(g);
        let may = self.authz().fleet(who, FleetAct::TraceLeak)?;
        match who.grants.iter().find(live) {
            Some(grant) if may => Ok(grant.id),
            Some(_) | None if self.authz().may_ask_trace(who)? || may => Err(AppError::Refused(
                "A second person has to let you trace, and that must not have ended.",
            )),
            Some(_) | None => Err(AppError::NotFound),
        }
    }

    async fn start_trace(
        &self,
        by: Option<UserId>,
        grant: GrantId,
        file: LeakFile,
        event: Option<EventId>,
    ) -> Result<TraceId, AppError> {
        self.witnessed()?;
        let order = Order { id: TraceId::new(), by, grant, file: Arc::new(file), event };
        let place = self.traces().take(order.id)?;
        let now_ms = self.now_ms();
        let act = Act {
            grant: Some(grant),
            purpose: Some(Purpose::Request),
            ..Act::new(action("trace_begun")?, by, now_ms)
        };
        self.log().record(self.db(), &act).await?;
        let stored = StoredTrace {
            id: order.id,
            grant,
            at_ms: now_ms,
            sha256: order.file.sha256,
            bytes: order.file.len,
            ended: None,
        };
        self.db().add_trace(&stored).await?;
        let (app, id) = (self.clone(), order.id);
        tokio::spawn(async move { app.run_trace(order, place).await });
        Ok(id)
    }

    async fn run_trace(self, order: Order, place: Place) {
        let ended = match self.traced(&order, &place).await {
            Ok((found, pictures)) => {
                self.traces().hold(order.id, pictures);
                Ended::Found(Box::new(found))
            }
            Err(error) => Ended::Failed(told(order.id, &error)),
        };
        if let Err(error) = self.db().end_trace(order.id, &ended, self.now_ms()).await {
            tracing::error!(trace = %order.id, error = %chain(&error), "how a trace ended is not kept");
        }
        drop(place);
    }

    async fn traced(
        &self,
        order: &Order,
        place: &Place,
    ) -> Result<(Found, Vec<LaidPicture>), TraceError> {
        let mut seen = Seen::default();
        let mut candidates = Vec::new();
        let mut searched = 0;
        let mut next = Some(0.0);
        while let Some(from_s) = next
            && candidates.is_empty()
        {
            let file = Arc::clone(&order.file);
            let looked = blocking(move || search::look(&file, from_s)).await?;
            let Some(looked) = search::or_end(looked, from_s)? else { break };
            seen.add(&looked);
            next = looked.next_s();
            place.says("Recordings are searched for it");
            (candidates, searched) = self.candidates(looked, order.event).await?;
        }
        candidates.truncate(MOST_CLIPS);
        let mut clips = Vec::new();
        let mut looks = 0;
        for candidate in candidates {
            let Some((event, driver)) = self.db().event_of(candidate.clip).await? else { continue };
            let views = self.db().views_of(candidate.clip).await?;
            looks += (views.len() as u64 + 1) * TRACKS_OF_A_CAMERA * compare::most_ways();
            clips.push(ClipToCompare { candidate, event, driver, views });
        }
        // A recording that nobody viewed is opened only where the others tell of no view and no unit.
        clips.sort_by_key(|clip| clip.views.is_empty());
        let bound = self.config().trace.bound;
        let mut judge = Judge::new(bound, looks.max(1));
        let (mut compared, mut pictures, mut best) = (Vec::new(), Vec::new(), 0.0);
        let of = clips.len();
        for (n, clip) in clips.into_iter().enumerate() {
            if judge.has_unit() && clip.views.is_empty() {
                break;
            }
            place.says(format!("It is compared with recording {} of {of} at most", n + 1));
            let Some((row, laid)) = self.compare(order, clip, &mut judge).await? else { continue };
            let quality = row.ways.iter().map(|way| way.quality).fold(0.0, f64::max);
            compared.push(row);
            if quality > best {
                (best, pictures) = (quality, laid);
            }
            // A good fit is no reason to stop: two events within a few seconds give two recordings of
            // the same pictures, and the view may be of the other.
            if judge.has_named() {
                break;
            }
        }
        let (named, unit, others) = judge.finish();
        let found = Found {
            seconds: seen.seconds,
            pictures: seen.pictures,
            searched,
            bound,
            looks,
            named,
            unit,
            compared,
            others,
        };
        Ok((found, pictures))
    }

    /// Compares the file with one recording and its views. None where it is gone in the meantime, or begins
    /// after the file's end.
    async fn compare(
        &self,
        order: &Order,
        clip: ClipToCompare,
        judge: &mut Judge,
    ) -> Result<Option<(ComparedClip, Vec<LaidPicture>)>, TraceError> {
        let ClipToCompare { candidate, event, driver, views } = clip;
        self.witnessed()?;
        let Some(stored) = self.db().clip(candidate.clip).await?.filter(|clip| clip.complete)
        else {
            return Ok(None);
        };
        let act = Act {
            driver,
            event: Some(event),
            clip: Some(candidate.clip),
            grant: Some(order.grant),
            purpose: Some(Purpose::Request),
            ..Act::new(Action::TRACE, order.by, self.now_ms())
        };
        let proof = self.log().record(self.db(), &act).await?;
        let manifest = stored.manifest().map_err(|e| AppError::Picture(e.into()))?;
        let key = self.clip_key(candidate.clip, &proof).await?;
        let tracks: Vec<TrackName> = tracks_of(candidate.track)
            .into_iter()
            .filter(|track| manifest.track(*track).is_some())
            .collect();
        let Some(shown) = tracks.first().copied() else { return Ok(None) };
        let span = span(&candidate, Duration::from_millis(manifest.duration_ms));
        let originals = self.originals(key, manifest, shown, span).await?;
        let file = Arc::clone(&order.file);
        let laid = blocking(move || -> Result<Option<Laid>, TraceError> {
            let Some(leak) = leak(&file, &candidate)? else { return Ok(None) };
            Ok(Some(Laid::new(originals.pictures, leak)?))
        });
        let Some(laid) = laid.await?? else { return Ok(None) };
        // The evidence is complete: from here on keys are looked at.
        let marks =
            self.keys().marks(candidate.clip, &views, &proof).await.map_err(AppError::from)?;
        let scored = blocking(move || -> Result<_, TraceError> {
            let scores = laid.scores(&marks, &tracks);
            let unit = match &originals.unit_mark {
                Some((mark, begin)) => Some(laid.unit(mark, *begin, &tracks)?),
                None => None,
            };
            let pictures = if laid.quality() > 0.0 { laid.pictures()? } else { Vec::new() };
            Ok((laid.ways(&scores), scores, unit, pictures))
        });
        let (ways, scores, unit, pictures) = scored.await??;
        for (view, in_each_way) in views.iter().zip(&scores) {
            judge.view(*view, in_each_way.iter().copied().fold(0.0, f64::max));
        }
        if let Some(z) = unit {
            judge.unit(&stored.unit, event, z);
        }
        let row = ComparedClip {
            clip: candidate.clip,
            event,
            road: candidate.track == TrackName::Road,
            likeness: candidate.likeness,
            views: views.len() as u64,
            ways,
        };
        Ok(Some((row, pictures)))
    }
}

/// Why a trace failed, for who handed the file in; what concerns the server goes to its log.
fn told(id: TraceId, error: &TraceError) -> String {
    match error {
        TraceError::App(_) | TraceError::Decode(DecodeError::Start { .. }) => {
            tracing::error!(trace = %id, error = %chain(error), "a trace failed");
            "The server failed. Its log says why; then trace the file again.".to_owned()
        }
        TraceError::Decode(DecodeError::File(_) | DecodeError::Late) | TraceError::Register(_) => {
            tracing::info!(trace = %id, "a file could not be traced");
            error.to_string()
        }
    }
}

/// A view's pictures can be of the track with others blurred, or of the one without.
const TRACKS_OF_A_CAMERA: u64 = 2;

struct ClipToCompare {
    candidate: Candidate,
    event: EventId,
    driver: Option<UserId>,
    views: Vec<ViewId>,
}

const fn tracks_of(camera: TrackName) -> [TrackName; 2] {
    match camera {
        TrackName::Road | TrackName::RoadUnblurred => [TrackName::Road, TrackName::RoadUnblurred],
        TrackName::Cabin | TrackName::CabinUnblurred | TrackName::Signals => {
            [TrackName::Cabin, TrackName::CabinUnblurred]
        }
    }
}

/// The part of the recording that the leak may show.
fn span(candidate: &Candidate, whole: Duration) -> Range<Duration> {
    match candidate.offset_s {
        Some(offset_s) if whole > WHOLE => {
            let from = Duration::from_secs_f64(offset_s.max(0.0));
            let to = from + Duration::from_secs(LEAK_S.into()) + AROUND;
            from.saturating_sub(AROUND)..to
        }
        Some(_) | None => Duration::ZERO..whole.min(WHOLE * 2) + AROUND,
    }
}

/// The part of the file that shows the recording, as it is compared; none where the file ends before.
fn leak(file: &LeakFile, candidate: &Candidate) -> Result<Option<Vec<Gray>>, DecodeError> {
    // Before the recording's begin there is nothing to compare.
    let before_s = candidate.offset_s.map_or(0.0, |offset_s| (-offset_s - 1.0).max(0.0));
    let part = Part {
        side: LEAK_SIDE,
        fps: LEAK_FPS,
        from_s: candidate.from_s + before_s,
        most_s: LEAK_S,
    };
    let mut pictures = Vec::new();
    let decoded = decode::decode(file, part, |leaked| {
        pictures.push(candidate.bars.cut(&leaked.picture, leaked.at));
    });
    match decoded {
        // The file could be played when it was searched.
        Err(DecodeError::File(_)) if part.from_s > 0.0 && pictures.is_empty() => Ok(None),
        decoded => decoded.map(|()| Some(pictures)),
    }
}

#[cfg(test)]
mod tests;
