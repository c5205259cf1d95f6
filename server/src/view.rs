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
//! blurs the whole picture. The decision is asked again with each request and while a stream runs.
//!
//! A crash leaves an entry in the log and perhaps a row; the person opens the clip again, which is
//! another view.

mod paint;
mod read;
mod stream;

use bytes::Bytes;
use serde::Serialize;
use temoin_access_log::LogIndex;
use temoin_keys::Refusal;
use temoin_media::{fmp4::Fmp4Error, h264::H264Error};
use temoin_proto::{
    ids::{ClipId, EventId, ViewId},
    manifest::{Manifest, ManifestError},
    sealed::{ClipKey, SealedError, TrackName},
    time::WallTime,
    wire::ClipSignals,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    app::App,
    authn::Session,
    authz::{EventFacts, Purpose, ViewGrant},
    db::{
        events::{ClipState, StoredEvent},
        limits::Place,
        users::User,
        views::StoredView,
    },
    error::AppError,
    keys::KeyError,
    limit_proposals::place_of,
    log::view_leaf,
    report::Happening,
};

pub use stream::Streams;

/// A view can be streamed for this long after it was opened.
pub const VIEW_MS: i64 = 15 * 60 * 1000;

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

/// A view that was found and permitted, with its proof.
struct Permitted {
    view: StoredView,
    grant: ViewGrant,
    manifest: Manifest,
    proof: LogIndex,
}

impl App {
    /// Opens a view of an event's clip: decides, and logs durably.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where the person may not know of the event, [`AppError::Refused`]
    /// with the reason where they may not watch for this purpose, [`AppError::Log`] where the log
    /// takes no entry; others where the recording cannot be read.
    pub async fn open_view(
        &self,
        session: &Session,
        event: EventId,
        purpose: &str,
    ) -> Result<OpenedView, AppError> {
        let user = self.user_now(session).await?;
        let event = self.permitted_event(&user, event).await?;
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
        let grant = self.grant(&user, &event, purpose)?;
        if !grant.any_picture() {
            return Err(AppError::Refused("Your role may not watch this for that purpose."));
        }
        let (view, proof) = self.log_view(session, &event, clip, purpose).await?;
        self.report().tell(&Happening::View(view.id, clip, purpose));
        let manifest = self.clip_manifest(clip).await?;
        let key = self.clip_key(clip, &proof).await?;
        let mut tracks = Vec::new();
        // The road first: it is what a page shows large.
        let cameras = [TrackName::Road, TrackName::Cabin];
        for track in cameras.iter().filter_map(|name| manifest.track(*name)) {
            if !shows(grant, track.name) {
                continue;
            }
            let size = read::video_size(self, &key, clip, track).await?;
            tracks.push(ViewTrack {
                name: track.name.as_str(),
                codec: self.streams().codec(size).await?,
                blurred: track.name == TrackName::Cabin && grant.blur_driver_face,
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
    ) -> Result<TrackStream, AppError> {
        let permitted = self.permitted_view(session, view).await?;
        if !shows(permitted.grant, track) {
            return Err(AppError::NotFound);
        }
        let Permitted { view, grant, manifest, proof } = permitted;
        let track = manifest.track(track).ok_or(AppError::NotFound)?.clone();
        let slot = self.streams().take(session.id)?;
        let key = self.clip_key(view.clip, &proof).await?;
        let faces = if track.name == TrackName::Cabin && grant.blur_driver_face {
            // No signals at all is no face anywhere: all of the video is blurred.
            let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
            paint::Faces::Blur(paint::FaceTrack::new(&signals.driver_face))
        } else {
            paint::Faces::Show
        };
        let job = stream::Job {
            view: view.id,
            viewer: session.user.short_name.clone(),
            began: WallTime { unix_ms: view.opened_ms, uncertainty_ms: 0 },
            clip: view.clip,
            duration_ms: manifest.duration_ms,
            track,
            key,
            faces,
        };
        let name = job.track.name;
        // Before the first byte: who is shown as having watched has had the chance to.
        self.db().note_streamed(view.id, name).await?;
        let (app, session) = (self.clone(), session.clone());
        let recheck = move || {
            let (app, session) = (app.clone(), session.clone());
            async move { app.still_permitted(&session, view.id, name, grant).await }
        };
        Ok(stream::start(self, job, slot, recheck))
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
        let Permitted { view, grant, manifest, proof } = self.permitted_view(session, view).await?;
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
            position: grant.position.then(|| {
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
        let user = self.user_now(session).await?;
        let purpose = Purpose::Contest;
        let ClipState::Ready { clip, .. } = event.clip else { return Ok(None) };
        if !self.grant(&user, event, purpose)?.position {
            return Err(AppError::Refused("Your role may not see where the event took place."));
        }
        let (view, proof) = self.log_view(session, event, clip, purpose).await?;
        self.report().tell(&Happening::View(view.id, clip, purpose));
        let manifest = self.clip_manifest(clip).await?;
        let key = self.clip_key(clip, &proof).await?;
        let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
        Ok(place_of(&signals.position, manifest.event_ms))
    }

    /// Who the session belongs to as of now: the caller may have read it a while ago.
    async fn user_now(&self, session: &Session) -> Result<User, AppError> {
        self.session_user(&session.id, true).await?.ok_or(AppError::NotFound)
    }

    fn grant(
        &self,
        who: &User,
        event: &StoredEvent,
        purpose: Purpose,
    ) -> Result<ViewGrant, AppError> {
        Ok(self.authz().view_grant(who, &EventFacts::from(event), purpose, self.now_ms())?)
    }

    /// Writes the entry and then the row.
    async fn log_view(
        &self,
        session: &Session,
        event: &StoredEvent,
        clip: ClipId,
        purpose: Purpose,
    ) -> Result<(StoredView, LogIndex), AppError> {
        let (id, opened_ms) = (ViewId::new(), self.now_ms());
        let driver = event.driver.as_ref().map(|d| d.id);
        let ids = (id, clip, event.record.id);
        let leaf = view_leaf(self.db(), ids, session.user.id, driver, purpose, opened_ms).await?;
        let proof = self.log().append(leaf).await?;
        let view = StoredView {
            id,
            log_index: proof.get(),
            clip,
            event: event.record.id,
            user: session.user.id,
            session: Some(session.id.to_vec()),
            purpose,
            opened_ms,
        };
        self.db().add_view(&view).await?;
        Ok((view, proof))
    }

    /// A view of this session that is still permitted, with the proof of its entry.
    async fn permitted_view(&self, session: &Session, id: ViewId) -> Result<Permitted, AppError> {
        let user = self.user_now(session).await?;
        let view = self.db().view(id).await?.ok_or(AppError::NotFound)?;
        let age_ms = self.now_ms() - view.opened_ms;
        if view.session.as_deref() != Some(session.id.as_slice())
            || view.user != user.id
            || !(0..VIEW_MS).contains(&age_ms)
        {
            return Err(AppError::NotFound);
        }
        let event = self.db().event(view.event).await?.ok_or(AppError::NotFound)?;
        let grant = self.grant(&user, &event, view.purpose)?;
        if !grant.any_picture() {
            return Err(AppError::NotFound);
        }
        let proof = self.log().recall(view.log_index).await?;
        if proof.leaf().view != Some(view.id) {
            return Err(AppError::Internal(format!(
                "entry {proof} of the access log is not of view {id}"
            )));
        }
        let manifest = self.clip_manifest(view.clip).await?;
        Ok(Permitted { view, grant, manifest, proof })
    }

    /// Whether a running stream may go on: the session runs, the person may still watch, and with
    /// no stricter obligation than when it began.
    async fn still_permitted(
        &self,
        session: &Session,
        view: ViewId,
        track: TrackName,
        began_with: ViewGrant,
    ) -> Result<bool, AppError> {
        let Some(user) = self.session_user(&session.id, true).await? else { return Ok(false) };
        let Some(view) = self.db().view(view).await? else { return Ok(false) };
        let Some(event) = self.db().event(view.event).await? else { return Ok(false) };
        let grant = self.grant(&user, &event, view.purpose)?;
        Ok(shows(grant, track) && (began_with.blur_driver_face || !grant.blur_driver_face))
    }

    async fn clip_manifest(&self, clip: ClipId) -> Result<Manifest, AppError> {
        let stored = self.db().clip(clip).await?.filter(|c| c.complete);
        let stored = stored.ok_or(AppError::NotFound)?;
        Ok(stored.manifest().map_err(PictureError::from)?)
    }

    async fn clip_key(&self, clip: ClipId, proof: &LogIndex) -> Result<ClipKey, AppError> {
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

/// Whether the grant shows this track as a picture.
const fn shows(grant: ViewGrant, track: TrackName) -> bool {
    match track {
        TrackName::Road => grant.road,
        TrackName::Cabin => grant.cabin,
        // No grant covers other people's faces: such a track is kept and never shown.
        TrackName::Signals | TrackName::CabinUnblurred | TrackName::RoadUnblurred => false,
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
