//! The only way to pixels.
//!
//! ```text
//! authorize → log (durable) → unwrap the key → open chunks → decode → blur → mark → encode → send
//! ```
//!
//! INVARIANT: no byte of a recording leaves without all three: a permit of the policy engine, an
//! entry of the access log that was durable before, and the viewing's mark in every picture. The
//! types hold it up: [`crate::keys::Keys::unwrap`] takes the log's proof, `stream` takes the
//! unwrapped key, and what comes out of it has been through `paint`.
//!
//! INVARIANT: it fails closed. A fault anywhere ends the view; a face whose place is not known
//! blurs the whole picture. Each request is signed by the browser that signed in
//! ([`crate::binding`]): a stolen cookie alone shows nothing. The decision is asked again with each request and while a stream runs.
//!
//! A crash leaves an entry in the log and perhaps a row; the person opens the clip again, which is
//! another view.

mod original;
mod paint;
mod read;
mod stream;

use bytes::Bytes;
use serde::Serialize;
use temoin_access_log::{Action, LogIndex};
use temoin_keys::Refusal;
use temoin_media::{fmp4::Fmp4Error, h264::H264Error};
use temoin_proto::{
    ids::{ClipId, EventId, GrantId, ViewId},
    manifest::{Manifest, ManifestError},
    mark::MarkKey,
    sealed::{ClipKey, SealedError, TrackName},
    time::WallTime,
    wire::ClipSignals,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    app::App,
    authn::Session,
    authz::{Asker, EventFacts, GrantKind, Permit, Purpose},
    db::{
        acts::Act,
        events::{ClipState, StoredEvent},
        limits::Place,
        views::StoredView,
    },
    error::{AppError, chain},
    keys::KeyError,
    limit_proposals::place_of,
    report::Happening,
    show::Unseen,
};

use stream::Supervise;

pub use stream::Streams;

/// A view can be streamed for this long after it was opened.
pub const VIEW_MS: i64 = 15 * 60 * 1000;

/// A cookie alone shows nothing: it may have been taken to another browser.
const NOT_BOUND: AppError = AppError::Refused(
    "This browser cannot show that it is the one that signed in, so no picture is shown. Sign out, \
     allow scripts on this site, and sign in again.",
);

/// Why a stored recording could not be shown. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The stored manifest is not what the unit signed.
    #[error("the stored manifest of a clip does not verify: {0}")]
    Manifest(#[from] ManifestError),
    /// The key or a chunk does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The video cannot be read.
    #[error("the recording is not a video that can be read: {0}")]
    Fmp4(#[from] Fmp4Error),
    /// The video cannot be decoded or encoded.
    #[error("the recording cannot be decoded or encoded: {0}")]
    H264(#[from] H264Error),
    /// A picture cannot be marked or blurred.
    #[error("a picture cannot be marked: {0}")]
    Paint(#[from] temoin_media::frame::PictureError),
    /// The signals are not what they should be.
    #[error("the signals of the clip cannot be read: {0}")]
    Signals(String),
    /// A track is too short to be a video.
    #[error("the track `{0}` ends before its first picture")]
    Short(&'static str),
}

/// One camera of an opened view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewTrack {
    /// `road` or `cabin`.
    pub name: &'static str,
    /// The media type of its stream, with the codec.
    pub codec: String,
    /// Whether the driver's face is blurred in it.
    pub blurred: bool,
}

/// A view that was opened: its log entry is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenedView {
    /// The view.
    pub view_id: ViewId,
    /// The cameras that may be streamed.
    pub tracks: Vec<ViewTrack>,
    /// Length of the recording.
    pub duration_ms: u64,
    /// Where the event begins and ends in the recording.
    pub event_ms: [u64; 2],
    /// The view's entry in the access log.
    pub log_index: u64,
}

/// What is drawn under the video. Times are milliseconds from the recording's start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewSignals {
    /// Length of the recording.
    pub duration_ms: u64,
    /// Where the event begins and ends.
    pub event_ms: [u64; 2],
    /// Time and speed in m/s.
    pub speed: Vec<(i32, f32)>,
    /// Time, longitudinal and lateral acceleration in g.
    pub acceleration: Vec<(i32, f32, f32)>,
    /// Time, latitude and longitude in degrees; absent where this person may not see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Vec<(i32, f64, f64)>>,
}

/// The bytes of one camera's fragmented MP4, as they are made.
pub type TrackStream = ReceiverStream<Result<Bytes, std::io::Error>>;

/// What a view is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// To watch it in the page.
    Watch,
    /// To take it away as a file, which is marked as a view is.
    Export,
}

impl Opening {
    const fn action(self) -> Action {
        match self {
            Self::Watch => Action::VIEW,
            Self::Export => Action::EXPORT,
        }
    }

    /// What the entry of a view says.
    fn of(proof: &LogIndex) -> Self {
        if proof.leaf().action == Action::EXPORT { Self::Export } else { Self::Watch }
    }

    const fn is_allowed(self, permit: Permit) -> bool {
        permit.any_picture()
            && match self {
                Self::Watch => true,
                Self::Export => permit.export,
            }
    }
}

/// A camera of an opened view, on its way.
#[derive(Debug)]
pub struct OpenedTrack {
    /// Its bytes.
    pub stream: TrackStream,
    /// To watch, or to take away.
    pub how: Opening,
}

impl Asker {
    /// The grant that a view rests on: the request's, or the export's.
    fn used_grant(&self, event: &EventFacts, purpose: Purpose, how: Opening) -> Option<GrantId> {
        let mut live = self
            .grants
            .iter()
            .filter(|g| g.is_live(self.now_ms) && g.covers(event) && g.purpose == purpose);
        live.find(|g| match g.kind {
            GrantKind::Export => how == Opening::Export,
            GrantKind::Request | GrantKind::BreakGlass => how == Opening::Watch,
            GrantKind::LiftBlur
            | GrantKind::Retention
            | GrantKind::Deletion
            | GrantKind::Diagnostics
            | GrantKind::Trace => false,
        })
        .map(|g| g.id)
    }
}

/// What is opened, and what for.
struct Opened {
    clip: ClipId,
    purpose: Purpose,
    how: Opening,
    grant: Option<GrantId>,
}

/// A view that was found and permitted, with its proof.
struct Permitted {
    view: StoredView,
    permit: Permit,
    manifest: Manifest,
    proof: LogIndex,
}

impl App {
    /// Opens a view of an event's clip: decides, and logs durably. A refusal is logged too: the
    /// driver sees who tried.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where the person may not know of the event, [`AppError::Refused`]
    /// with the reason where they may not watch for this purpose, [`AppError::Unwitnessed`],
    /// [`AppError::Log`] where the log
    /// takes no entry; others where the recording cannot be read.
    pub async fn open_view(
        &self,
        session: &Session,
        event: EventId,
        purpose: &str,
        how: Opening,
    ) -> Result<OpenedView, AppError> {
        let who = self.asker_of(session).await?;
        if !session.proven {
            return self.refuse_view(&who, None, None, NOT_BOUND).await;
        }
        if how == Opening::Export && !self.is_fresh(session) {
            return Err(AppError::Refused("Give your password or a code again before an export."));
        }
        let event = match self.event_for(&who, event).await {
            Ok(event) => event,
            Err(Unseen { event, error }) => {
                return self.refuse_view(&who, event.as_ref(), None, error).await;
            }
        };
        let purpose: Purpose = purpose
            .parse()
            .map_err(|_| AppError::Refused("Say what you want to watch this for."))?;
        let clip = match &event.clip {
            ClipState::Ready { clip, .. } => *clip,
            ClipState::Waiting => {
                return Err(AppError::Refused("The recording has not arrived from the van yet."));
            }
            ClipState::Absent(_) => {
                return Err(AppError::Refused("There is no recording of this event."));
            }
        };
        let facts = EventFacts::from(&event);
        let permit = self.authz().permit(&who, &facts, purpose)?;
        if !how.is_allowed(permit) {
            let reason = match how {
                Opening::Watch => "Your role may not watch this for that purpose.",
                Opening::Export => "Exporting this takes the leave of a second person.",
            };
            return self
                .refuse_view(&who, Some(&event), Some(purpose), AppError::Refused(reason))
                .await;
        }
        if let Err(error) = self.witnessed() {
            return self.refuse_view(&who, Some(&event), Some(purpose), error).await;
        }
        let grant = who.used_grant(&facts, purpose, how);
        let what = Opened { clip, purpose, how, grant };
        let (view, manifest, key) = self.begin_view(session, &event, what).await?;
        let mut tracks = Vec::new();
        // The road first: it is what a page shows large.
        let cameras = [
            TrackName::Road,
            TrackName::Cabin,
            TrackName::RoadUnblurred,
            TrackName::CabinUnblurred,
        ];
        for track in cameras.iter().filter_map(|name| manifest.track(*name)) {
            if !shows(permit, track.name) {
                continue;
            }
            let size = read::video_size(self, &key, clip, track).await?;
            tracks.push(ViewTrack {
                name: track.name.as_str(),
                codec: self.streams().codec(size).await?,
                blurred: is_cabin(track.name) && permit.blur_driver_face,
            });
        }
        Ok(OpenedView {
            view_id: view.id,
            tracks,
            duration_ms: manifest.duration_ms,
            event_ms: manifest.event_ms.into(),
            log_index: view.log_index,
        })
    }

    /// Logs that somebody was refused a view, then refuses. What does not exist is logged as well,
    /// so that it takes as long.
    async fn refuse_view(
        &self,
        who: &Asker,
        event: Option<&StoredEvent>,
        purpose: Option<Purpose>,
        error: AppError,
    ) -> Result<OpenedView, AppError> {
        if let Err(too_many) = self.guard().brake_refusals(who.user.id) {
            // Waiting would not help where it is not about the person.
            let not_theirs = matches!(error, AppError::Unwitnessed(_));
            return Err(if not_theirs { error } else { too_many });
        }
        let mut act = Act::new(Action::VIEW_REFUSED, Some(who.user.id), who.now_ms);
        if let Some(event) = event {
            act.event = Some(event.record.id);
            act.clip = event.record.clip.as_ref().ok().copied();
            act.driver = event.driver.as_ref().map(|d| d.id);
        }
        act.purpose = purpose;
        self.log().record(self.db(), &act).await?;
        Err(error)
    }

    /// Streams one camera of an opened view.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is no such view of this session, it is too old, or the
    /// decision is no longer yes; [`AppError::Busy`] where too many streams run.
    pub async fn stream_track(
        &self,
        session: &Session,
        view: ViewId,
        track: TrackName,
    ) -> Result<OpenedTrack, AppError> {
        let permitted = self.permitted_view(session, view).await?;
        if !shows(permitted.permit, track) {
            return Err(AppError::NotFound);
        }
        let Permitted { view, permit, manifest, proof } = permitted;
        let how = Opening::of(&proof);
        let track = manifest.track(track).ok_or(AppError::NotFound)?.clone();
        let slot = self.streams().take(session.id)?;
        let (key, mark) = self.clip_keys(view.clip, &proof).await?;
        let mark = mark.ok_or_else(|| {
            AppError::Internal(format!("the key service gave view {} no mark", view.id))
        })?;
        let scene = if is_cabin(track.name) {
            // No signals at all is no face anywhere: all of a video with blur is blurred.
            let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
            let face = paint::FaceTrack::new(&signals.driver_face);
            if permit.blur_driver_face {
                paint::Scene::BlurredDriver(face)
            } else {
                paint::Scene::Driver(face)
            }
        } else {
            paint::Scene::Road
        };
        let job = stream::Job {
            view: view.id,
            viewer: session.user.short_name.clone(),
            began: WallTime { unix_ms: view.opened_ms, uncertainty_ms: 0 },
            clip: view.clip,
            duration_ms: manifest.duration_ms,
            track,
            key,
            mark,
            scene,
        };
        let watching = Watching {
            app: self.clone(),
            session: session.clone(),
            view: view.id,
            track: job.track.name,
            how,
            began_with: permit,
        };
        // Before the first byte: who is shown as having watched has had the chance to.
        watching.note(0).await?;
        Ok(OpenedTrack { stream: stream::start(self, job, slot, watching), how })
    }

    /// The signals of an opened view.
    ///
    /// # Errors
    /// As [`App::stream_track`].
    pub async fn view_signals(
        &self,
        session: &Session,
        view: ViewId,
    ) -> Result<ViewSignals, AppError> {
        let Permitted { view, permit, manifest, proof } =
            self.permitted_view(session, view).await?;
        let key = self.clip_key(view.clip, &proof).await?;
        let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
        Ok(ViewSignals {
            duration_ms: manifest.duration_ms,
            event_ms: manifest.event_ms.into(),
            speed: signals.speed.iter().map(|p| (p.offset_ms, p.mps)).collect(),
            acceleration: signals
                .acceleration
                .iter()
                .map(|p| (p.offset_ms, p.longitudinal_g, p.lateral_g))
                .collect(),
            position: permit.position.then(|| {
                signals.position.iter().map(|p| (p.offset_ms, p.lat_deg, p.lon_deg)).collect()
            }),
        })
    }

    /// Where an event took place, out of the signals of its clip. Logged as a view for a contested
    /// event, though no picture is read: it is the driver's recording that is opened.
    ///
    /// # Errors
    /// As [`App::open_view`]; [`AppError::Refused`] where this person may not see positions.
    pub(crate) async fn event_place(
        &self,
        session: &Session,
        event: &StoredEvent,
    ) -> Result<Option<Place>, AppError> {
        let who = self.asker_of(session).await?;
        let purpose = Purpose::Contest;
        let ClipState::Ready { clip, .. } = event.clip else { return Ok(None) };
        if !self.authz().permit(&who, &EventFacts::from(event), purpose)?.position {
            return Err(AppError::Refused("Your role may not see where the event took place."));
        }
        let what = Opened { clip, purpose, how: Opening::Watch, grant: None };
        let (_, manifest, key) = self.begin_view(session, event, what).await?;
        let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
        Ok(place_of(&signals.position, manifest.event_ms))
    }

    /// Who the session belongs to, and what they hold, as of now: the caller may have read it a
    /// while ago.
    async fn asker_of(&self, session: &Session) -> Result<Asker, AppError> {
        let user = self.session_user(&session.id, true).await?.ok_or(AppError::NotFound)?;
        self.asker(&user).await
    }

    /// Writes the entry, then the row, and only then gets the key.
    async fn begin_view(
        &self,
        session: &Session,
        event: &StoredEvent,
        Opened { clip, purpose, how, grant }: Opened,
    ) -> Result<(StoredView, Manifest, ClipKey), AppError> {
        self.witnessed()?;
        let act = Act {
            driver: event.driver.as_ref().map(|d| d.id),
            event: Some(event.record.id),
            clip: Some(clip),
            view: Some(ViewId::new()),
            grant,
            purpose: Some(purpose),
            ..Act::new(how.action(), Some(session.user.id), self.now_ms())
        };
        let proof = self.log().record(self.db(), &act).await?;
        let view = StoredView {
            session: Some(session.id.to_vec()),
            ..crate::log::view_of(&act, proof.get())
                .ok_or_else(|| AppError::Internal("an act of viewing is no view".to_owned()))?
        };
        self.db().add_view(&view).await?;
        self.report().tell(&Happening::View(view.id, clip, purpose));
        let manifest = self.clip_manifest(clip).await?;
        let key = self.clip_key(clip, &proof).await?;
        Ok((view, manifest, key))
    }

    /// A view of this session that is still permitted, with the proof of its entry.
    async fn permitted_view(&self, session: &Session, id: ViewId) -> Result<Permitted, AppError> {
        if !session.proven {
            return Err(NOT_BOUND);
        }
        let who = self.asker_of(session).await?;
        let view = self.db().view(id).await?.ok_or(AppError::NotFound)?;
        let age_ms = who.now_ms - view.opened_ms;
        if view.session.as_deref() != Some(session.id.as_slice())
            || view.user != who.user.id
            || !(0..VIEW_MS).contains(&age_ms)
        {
            return Err(AppError::NotFound);
        }
        let event = self.db().event(view.event).await?.ok_or(AppError::NotFound)?;
        let permit = self.authz().permit(&who, &EventFacts::from(&event), view.purpose)?;
        self.witnessed()?;
        let proof = self.log().recall(view.log_index).await?;
        if !Opening::of(&proof).is_allowed(permit) {
            return Err(AppError::NotFound);
        }
        if proof.leaf().view != Some(view.id) {
            return Err(AppError::Internal(format!(
                "entry {proof} of the access log is not of view {id}"
            )));
        }
        let manifest = self.clip_manifest(view.clip).await?;
        Ok(Permitted { view, permit, manifest, proof })
    }

    async fn clip_manifest(&self, clip: ClipId) -> Result<Manifest, AppError> {
        let stored = self.db().clip(clip).await?.filter(|c| c.complete);
        let stored = stored.ok_or(AppError::NotFound)?;
        Ok(stored.manifest().map_err(PictureError::from)?)
    }

    pub(crate) async fn clip_key(
        &self,
        clip: ClipId,
        proof: &LogIndex,
    ) -> Result<ClipKey, AppError> {
        Ok(self.clip_keys(clip, proof).await?.0)
    }

    /// The clip's key, and the key of the mark of the view that the entry names.
    async fn clip_keys(
        &self,
        clip: ClipId,
        proof: &LogIndex,
    ) -> Result<(ClipKey, Option<MarkKey>), AppError> {
        let wrapped = self.db().wrapped_key(clip).await?.ok_or(AppError::NotFound)?;
        match self.keys().unwrap(clip, &wrapped, proof).await {
            Err(KeyError::Refused(Refusal::Destroyed)) => Err(AppError::NotFound),
            key => Ok(key?),
        }
    }

    async fn signals(
        &self,
        key: &ClipKey,
        manifest: &Manifest,
    ) -> Result<Option<ClipSignals>, AppError> {
        match manifest.track(TrackName::Signals) {
            None => Ok(None),
            Some(track) => read::signals(self, key, manifest.clip, track).await.map(Some),
        }
    }
}

/// One camera of a view while it is watched.
struct Watching {
    app: App,
    session: Session,
    view: ViewId,
    track: TrackName,
    how: Opening,
    began_with: Permit,
}

impl Watching {
    /// Notes how much was sent, milliseconds of video.
    async fn note(&self, sent_ms: u64) -> Result<(), AppError> {
        let now_ms = self.app.now_ms();
        Ok(self.app.db().note_watched(self.view, self.track, sent_ms, now_ms).await?)
    }
}

impl Supervise for Watching {
    /// The session runs, the log is witnessed, the person may still watch, and with no stricter
    /// obligation than when it began.
    async fn go_on(&self, sent_ms: u64) -> Result<bool, AppError> {
        let app = &self.app;
        self.note(sent_ms).await?;
        app.witnessed()?;
        let Some(user) = app.session_user(&self.session.id, true).await? else { return Ok(false) };
        let Some(view) = app.db().view(self.view).await? else { return Ok(false) };
        let Some(event) = app.db().event(view.event).await? else { return Ok(false) };
        let who = app.asker(&user).await?;
        let permit = app.authz().permit(&who, &EventFacts::from(&event), view.purpose)?;
        let as_strict = self.began_with.blur_driver_face || !permit.blur_driver_face;
        Ok(self.how.is_allowed(permit) && shows(permit, self.track) && as_strict)
    }

    async fn ended(&self, sent_ms: u64) {
        if let Err(error) = self.note(sent_ms).await {
            tracing::error!(view = %self.view, error = %chain(&error), "how much was watched is not noted");
        }
    }
}

/// Whether the permit shows this track as a picture.
const fn shows(permit: Permit, track: TrackName) -> bool {
    match track {
        TrackName::Road => permit.road,
        TrackName::Cabin => permit.cabin,
        TrackName::RoadUnblurred => permit.road && permit.others,
        TrackName::CabinUnblurred => permit.cabin && permit.others,
        TrackName::Signals => false,
    }
}

/// Whether the driver's face is in it.
const fn is_cabin(track: TrackName) -> bool {
    match track {
        TrackName::Cabin | TrackName::CabinUnblurred => true,
        TrackName::Road | TrackName::RoadUnblurred | TrackName::Signals => false,
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
