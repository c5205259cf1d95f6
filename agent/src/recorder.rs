//! From a camera's picture to the core's ring: blur of others, the unit's mark, burn-in, encoder. One
//! way for each camera, and a second one past the blur where the fleet switched that on.
//!
//! INVARIANT: while the cabin is hidden, nothing of it reaches an encoder but a blur of the whole picture.
//! INVARIANT: pictures are in RAM only: those that wait ([`crate::privacy_blur`]) and those in the
//! encoders. None reaches an encoder unmarked, none that of a [`Video::Shown`] without the blur of
//! others that is configured, and none that of a [`Video::Unblurred`] unless `blur.keep_unblurred` is set.
//! A crash leaves nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use temoin_agent_core::{
    blur_tracks::Cover,
    gop_ring::{AccessUnit, Video},
};
use temoin_media::{
    burn_in::Label,
    frame::{I420Picture, PictureError},
    h264::{self, Encoder, EncoderConfig, StreamConfig},
    watermark::Embedder,
};
use temoin_proto::{
    mark::MarkKey,
    perception::Sight,
    samples::{CameraId, Frame},
    time::{MonoTime, WallTime},
};

use crate::{
    clip_file::track_name,
    health::{HealthBoard, State},
    outlines::Outlines,
    perception::DriverSeat,
    pipeline::wall_at,
    privacy_blur::{BlurConfig, CameraBlur, blurred, whole},
};

/// How long a stream that ends at once is waited for.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// How pictures are recorded.
pub(crate) struct RecorderConfig {
    /// How each camera's pictures are encoded.
    pub encoder: EncoderConfig,
    /// What of other people is blurred before.
    pub blur: BlurConfig,
    /// Where in the cabin picture the driver sits.
    pub seat: DriverSeat,
    /// What is burnt in beside time and speed: the unit's name.
    pub label: String,
    /// The key of the unit's own forensic mark, of this run.
    pub mark: MarkKey,
}

/// What is burnt into the pictures of this moment.
pub(crate) struct Caption {
    /// Monotonic and wall time of one instant.
    pub now: (MonoTime, WallTime),
    /// The last known speed.
    pub speed_mps: Option<(MonoTime, f64)>,
    /// What is recorded.
    pub recording: &'static str,
}

impl Caption {
    /// Unit, UTC, speed and what is recorded; an unknown speed is said to be unknown.
    fn text(&self, unit: &str, at: MonoTime) -> String {
        let time = wall_at(at, self.now).to_rfc3339();
        let time = time.get(..21).unwrap_or(&time);
        let speed = match self.speed_mps {
            Some((then, mps)) if at.since(then).as_secs() < 2 => format!("{:.0} km/h", mps * 3.6),
            _ => "speed unknown".to_owned(),
        };
        format!("{unit}  {time}Z  {speed}  {}", self.recording)
    }
}

/// One video's encoder.
struct Path {
    encoder: Encoder,
    mark: Embedder,
    label: Label,
    /// The last picture that went in.
    given: MonoTime,
    /// The last one that came out.
    coded: MonoTime,
}

/// See the module.
pub(crate) struct Recorder {
    config: RecorderConfig,
    health: Arc<HealthBoard>,
    /// Every camera that gave a picture to record: what waits before the encoder.
    blurs: BTreeMap<CameraId, CameraBlur>,
    paths: BTreeMap<Video, Path>,
    streams: BTreeMap<Video, Arc<StreamConfig>>,
    outlines: Outlines,
    cabin_hidden: bool,
    /// Pictures of the cabin before it are hidden too: it was when they were taken.
    hidden_before: MonoTime,
}

impl Recorder {
    /// Nothing is recorded yet.
    pub(crate) fn new(config: RecorderConfig, health: Arc<HealthBoard>) -> Self {
        if CameraId::ALL.into_iter().any(|camera| config.blur.keeps_unblurred(camera)) {
            health.set(
                "privacy.unblurred",
                State::Degraded,
                "an unblurred track is kept as the fleet ordered",
            );
        }
        Self {
            config,
            health,
            blurs: BTreeMap::new(),
            paths: BTreeMap::new(),
            streams: BTreeMap::new(),
            outlines: Outlines::default(),
            cabin_hidden: false,
            hidden_before: MonoTime::ZERO,
        }
    }

    /// Whether nothing of the cabin may be seen from `now` on. Pictures that wait are hidden where either
    /// rule hides them.
    pub(crate) fn hide_cabin(&mut self, hidden: bool, now: MonoTime) {
        if self.cabin_hidden && !hidden {
            self.hidden_before = now;
        }
        self.cabin_hidden = hidden;
    }

    fn is_hidden(&self, frame: &Frame) -> bool {
        frame.camera == CameraId::Cabin && (self.cabin_hidden || frame.at < self.hidden_before)
    }

    /// Parameters of each video's stream, as far as they are known.
    pub(crate) const fn streams(&self) -> &BTreeMap<Video, Arc<StreamConfig>> {
        &self.streams
    }

    /// What the last pictures of each camera look like in outline.
    pub(crate) const fn outlines(&self) -> &Outlines {
        &self.outlines
    }

    /// The key of the mark in all pictures of this run.
    pub(crate) const fn mark(&self) -> &MarkKey {
        &self.config.mark
    }

    /// Whether other people are blurred in each video's pictures.
    pub(crate) fn others_blurred(&self) -> BTreeMap<Video, bool> {
        Video::ALL
            .map(|video| match video {
                Video::Shown(camera) => (video, self.config.blur.is_on(camera)),
                Video::Unblurred(_) => (video, false),
            })
            .into()
    }

    /// What perception said of one of the pictures.
    pub(crate) fn look(&mut self, sight: &Sight) {
        self.blur(sight.camera()).look(sight);
    }

    /// A picture to record.
    pub(crate) fn push(&mut self, frame: Frame) {
        let (camera, at) = (frame.camera, frame.at);
        let health = Arc::clone(&self.health);
        let blur = self.blur(camera);
        blur.push(frame);
        blur.report(at, &health);
    }

    fn blur(&mut self, camera: CameraId) -> &mut CameraBlur {
        let RecorderConfig { blur, seat, .. } = &self.config;
        self.blurs.entry(camera).or_insert_with(|| CameraBlur::new(blur, camera, *seat))
    }

    /// When [`Self::encode_due`] must be called if no picture comes before.
    pub(crate) fn deadline(&self) -> Option<MonoTime> {
        self.blurs.values().filter_map(CameraBlur::deadline).min()
    }

    /// Encodes the pictures that need not wait any longer. `now` is a time at which nothing came.
    pub(crate) fn encode_due(&mut self, now: MonoTime, caption: &Caption) {
        for camera in CameraId::ALL {
            while let Some(next) = self.blurs.get_mut(&camera).and_then(|blur| blur.next(now)) {
                self.record(next, caption);
            }
        }
    }

    /// What the encoders finished; what they are still at is waited for so long at most.
    pub(crate) fn collect(&mut self, within: Duration) -> Vec<AccessUnit> {
        let until = Instant::now() + within;
        let mut units = Vec::new();
        for video in Video::ALL {
            while let Some(path) = self.paths.get_mut(&video) {
                let wait = if path.coded < path.given {
                    until.saturating_duration_since(Instant::now())
                } else {
                    Duration::ZERO
                };
                let unit = match path.encoder.next_within(wait) {
                    Ok(Some(unit)) => unit,
                    Ok(None) => break,
                    Err(e) => {
                        self.failed(video, e.to_string());
                        break;
                    }
                };
                path.coded = path.coded.max(unit.at);
                self.note_stream(video);
                units.push(ringed(video, unit));
            }
        }
        units
    }

    /// Ends the streams: what waits before the encoders and in them.
    pub(crate) fn flush(&mut self, caption: &Caption) -> Vec<AccessUnit> {
        for camera in CameraId::ALL {
            while let Some(next) = self.blurs.get_mut(&camera).and_then(CameraBlur::take) {
                self.record(next, caption);
            }
        }
        let mut units = self.collect(Duration::ZERO);
        for (video, mut path) in std::mem::take(&mut self.paths) {
            // Without a first coded picture the stream has no parameters: nobody could read it.
            if path.encoder.stream().is_none() {
                match path.encoder.next_within(FIRST_WITHIN) {
                    Ok(unit) => units.extend(unit.map(|unit| ringed(video, unit))),
                    Err(e) => self.failed(video, e.to_string()),
                }
            }
            if let Some(stream) = path.encoder.stream() {
                self.streams.entry(video).or_insert_with(|| Arc::clone(stream));
            }
            match path.encoder.finish() {
                Ok(rest) => units.extend(rest.into_iter().map(|unit| ringed(video, unit))),
                Err(e) => self.failed(video, e.to_string()),
            }
        }
        units
    }

    /// Forgets what waits and what was seen, as a change of the privacy state asks.
    pub(crate) fn wipe(&mut self) {
        self.blurs.values_mut().for_each(CameraBlur::wipe);
        self.outlines = Outlines::default();
    }

    fn record(&mut self, (frame, cover): (Frame, Option<Cover>), caption: &Caption) {
        let (camera, at) = (frame.camera, frame.at);
        let text = caption.text(&self.config.label, at);
        let hidden = self.is_hidden(&frame);
        if self.config.blur.keeps_unblurred(camera) && !hidden {
            let video = Video::Unblurred(camera);
            let copy = I420Picture::from_frame(frame.clone());
            self.encode_or_say(video, copy, at, &text);
        }
        let picture = if hidden { whole(frame) } else { blurred(frame, cover.as_ref()) };
        if let Ok(picture) = &picture
            && let Err(e) = self.outlines.look(camera, at, &picture.view())
        {
            // The clip is recorded all the same; it is not found by a leak of these seconds.
            tracing::warn!(camera = camera.as_str(), "a picture's outline: {e}");
        }
        self.encode_or_say(Video::Shown(camera), picture, at, &text);
    }

    fn encode_or_say(
        &mut self,
        video: Video,
        picture: Result<I420Picture, PictureError>,
        at: MonoTime,
        text: &str,
    ) {
        let encoded = picture.map_err(Into::into).and_then(|p| self.encode(video, p, at, text));
        if let Err(e) = encoded {
            self.failed(video, format!("picture at {at}: {e}"));
        }
    }

    fn encode(
        &mut self,
        video: Video,
        mut picture: I420Picture,
        at: MonoTime,
        text: &str,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let path = match self.paths.entry(video) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => {
                let (width, height) = (picture.width(), picture.height());
                let encoder =
                    Encoder::new(EncoderConfig { width, height, ..self.config.encoder.clone() })?;
                let mark = Embedder::new(&self.config.mark, track_name(video), width, height);
                let (given, coded) = (MonoTime::ZERO, MonoTime::ZERO);
                e.insert(Path { encoder, mark, label: Label::default(), given, coded })
            }
        };
        // Its time is the unit's own, so that no two clips of a run have the same signs.
        path.mark.mark(&mut picture, at.since(MonoTime::ZERO));
        path.label.draw(&mut picture, text)?;
        path.encoder.push(picture, at)?;
        path.given = at;
        Ok(())
    }

    fn note_stream(&mut self, video: Video) {
        if let Some(stream) = self.paths.get(&video).and_then(|path| path.encoder.stream()) {
            self.streams.entry(video).or_insert_with(|| Arc::clone(stream));
        }
    }

    /// The next picture of this video starts another encoder.
    fn failed(&mut self, video: Video, text: String) {
        self.paths.remove(&video);
        self.health.set(&format!("encoder.{}", video.as_str()), State::Failed, text);
    }
}

fn ringed(video: Video, unit: h264::AccessUnit) -> AccessUnit {
    AccessUnit { video, at: unit.at, key: unit.key, data: unit.data }
}
