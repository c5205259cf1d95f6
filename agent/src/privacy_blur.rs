//! Blurs other people before a picture reaches the encoder.
//!
//! Perception looks at fewer pictures than there are, and later. So each camera's pictures wait for
//! a short time before they are encoded: a picture goes on when others were looked for in it or in
//! a later one, or when it has waited for the whole lookahead. So a face that appears is blurred
//! from its first picture on. What is blurred is [`BlurTracks`]' decision.
//!
//! INVARIANT: no picture of a camera whose blur is on leaves [`CameraBlur`] without it; where the
//! blur fails, the picture is dropped.
//! INVARIANT: pictures wait in RAM only, at most `MOST_WAITING` of them and `MOST_BYTES` of a
//! camera, and leave in the order of their coming with their own times.
//! A crash leaves nothing.
//!
//! The fleet's standing order for what is blurred belongs where [`BlurConfig`] is handed to
//! [`CameraBlur::new`]: with a change, pictures that wait leave under the old rule.

use std::{collections::VecDeque, time::Duration};

use serde::Deserialize;
use temoin_agent_core::blur_tracks::{BlurRules, BlurTracks, Cover, Keep, Rest, Watch};
use temoin_media::{
    blur::{blur_all_but, blur_area, blur_picture},
    frame::{I420Picture, PictureError},
};
use temoin_proto::{
    perception::{NotSeen, PictureBox, Sight},
    samples::{CameraId, Frame},
    time::MonoTime,
};

use crate::{
    health::{HealthBoard, State},
    perception::{DriverSeat, road},
};

/// Pictures of a camera that may wait, whatever the lookahead: 0.5 s at 60 a second.
const MOST_WAITING: usize = 30;
/// Bytes of a camera's pictures that may wait: 17 pictures of 1280x720. Larger or more of them
/// go on earlier, with what is known by then.
const MOST_BYTES: usize = 24 << 20;
/// Nothing looked for others for this long: device health says so. The start of perception takes
/// some seconds on a unit that builds its engines.
const SAY_BLIND_AFTER: Duration = Duration::from_secs(3);
/// Others are looked for again for this long: device health says that.
const SAY_LOOKING_AFTER: Duration = Duration::from_secs(5);

/// Blurring of other people, before encoding.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlurConfig {
    /// Everybody but the driver in the cabin picture.
    pub cabin_others: bool,
    /// Faces in the road picture.
    pub road_faces: bool,
    /// Number plates in the road picture.
    pub road_plates: bool,
    /// How long a face or plate stays blurred after it was last seen; after as long without any
    /// look for others the whole picture is blurred. Own choice: 5 looks of the road camera.
    pub hold_s: f64,
    /// How long a picture waits for perception before it is encoded. Own choice: two looks of the
    /// road camera, at 5 Hz.
    pub lookahead_s: f64,
    /// Added on each side of a face or plate, in parts of its sides: hair, ears, chin. Own choice.
    pub margin: f64,
    /// Seal, beside each camera's blurred video, one with others as they are. Nobody's view shows
    /// it. Device health says that it is on.
    pub keep_unblurred: bool,
}

impl Default for BlurConfig {
    fn default() -> Self {
        Self {
            cabin_others: true,
            road_faces: true,
            road_plates: true,
            hold_s: 1.0,
            lookahead_s: 0.4,
            margin: 0.25,
            keep_unblurred: false,
        }
    }
}

impl BlurConfig {
    /// What is wrong, each with its key.
    pub fn mistakes(&self) -> Vec<String> {
        [
            ("hold_s", self.hold_s, 0.2, 10.0),
            ("lookahead_s", self.lookahead_s, 0.0, 1.0),
            ("margin", self.margin, 0.0, 1.0),
        ]
        .into_iter()
        // NaN is in no range.
        .filter(|(_, value, low, high)| !(*low..=*high).contains(value))
        .map(|(key, value, low, high)| {
            format!("blur.{key}: `{value}`: a number from {low} to {high} is needed")
        })
        .collect()
    }

    /// Whether anything is blurred in this camera's pictures.
    pub const fn is_on(&self, camera: CameraId) -> bool {
        match camera {
            CameraId::Cabin => self.cabin_others,
            CameraId::Road => self.road_faces || self.road_plates,
        }
    }

    /// Whether a video of this camera without blur is sealed as well.
    pub const fn keeps_unblurred(&self, camera: CameraId) -> bool {
        self.keep_unblurred && self.is_on(camera)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a margin of 0 to 1")]
    fn rules(&self, camera: CameraId, seat: DriverSeat) -> BlurRules {
        let secs = |s| Duration::try_from_secs_f64(s).unwrap_or_default();
        let (faces, plates, keep) = match camera {
            CameraId::Cabin => (true, true, keep(seat)),
            CameraId::Road => (self.road_faces, self.road_plates, Keep::Nothing),
        };
        BlurRules {
            faces,
            plates,
            hold: secs(self.hold_s),
            backwards: secs(self.lookahead_s),
            margin: self.margin as f32,
            keep,
        }
    }
}

/// A seat that is all of the picture says nothing of where others are.
fn keep(seat: DriverSeat) -> Keep {
    if seat == DriverSeat::default() {
        Keep::DriverFace
    } else {
        Keep::Seat(PictureBox { x: seat.x, y: seat.y, w: seat.w, h: seat.h })
    }
}

/// What device health was told last, and since when the opposite holds.
#[derive(Debug, Default)]
struct Said {
    looking: Option<bool>,
    other_since: Option<MonoTime>,
}

/// One camera's pictures on their way to the encoder.
pub struct CameraBlur {
    part: &'static str,
    /// The part of device health that says how others are looked for.
    finder: Option<&'static str>,
    /// None: this camera's pictures are not blurred, and do not wait.
    tracks: Option<BlurTracks>,
    lookahead: Duration,
    waiting: VecDeque<Frame>,
    bytes: usize,
    newest: MonoTime,
    said: Said,
}

impl CameraBlur {
    /// Nothing waits. `seat` is where the driver sits in the cabin picture.
    pub fn new(config: &BlurConfig, camera: CameraId, seat: DriverSeat) -> Self {
        let rules = config.rules(camera, seat);
        Self {
            part: match camera {
                CameraId::Cabin => "privacy.blur.cabin",
                CameraId::Road => "privacy.blur.road",
            },
            finder: match camera {
                CameraId::Cabin => None,
                CameraId::Road => Some(road::OTHERS),
            },
            tracks: config.is_on(camera).then(|| BlurTracks::new(rules)),
            lookahead: rules.backwards,
            waiting: VecDeque::new(),
            bytes: 0,
            newest: MonoTime::ZERO,
            said: Said::default(),
        }
    }

    /// A picture came, to be recorded.
    pub fn push(&mut self, frame: Frame) {
        self.newest = self.newest.max(frame.at);
        self.bytes += frame.data.len();
        self.waiting.push_back(frame);
    }

    /// What perception said of one of this camera's pictures.
    pub fn look(&mut self, sight: &Sight) {
        let Some(tracks) = &mut self.tracks else { return };
        let driver = sight.driver().and_then(|seen| seen.face.known().copied());
        tracks.look(sight.at(), sight.others.as_deref().map_err(|why| *why), driver);
    }

    /// The next picture that need not wait any longer, with what is to be blurred in it. `now` is
    /// a time at which nothing came; a picture's own time counts as well.
    pub fn next(&mut self, now: MonoTime) -> Option<(Frame, Option<Cover>)> {
        let first = self.waiting.front()?.at;
        let now = now.max(self.newest);
        let due = match &self.tracks {
            None => true,
            Some(tracks) => {
                tracks.looked_until().is_some_and(|until| first <= until)
                    || now.since(first) > self.lookahead
                    || self.waiting.len() > MOST_WAITING
                    || self.bytes > MOST_BYTES
            }
        };
        if due { self.take() } else { None }
    }

    /// The next picture, whether it is due or not: nothing more will come.
    pub fn take(&mut self) -> Option<(Frame, Option<Cover>)> {
        let frame = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.data.len());
        let cover = self.tracks.as_ref().map(|tracks| tracks.cover(frame.at));
        Some((frame, cover))
    }

    /// When [`Self::next`] must be asked again if nothing comes before.
    pub fn deadline(&self) -> Option<MonoTime> {
        // Due only once it is older than the lookahead.
        self.waiting.front().map(|f| f.at + self.lookahead + Duration::from_millis(1))
    }

    /// Forgets pictures and areas.
    pub fn wipe(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
        if let Some(tracks) = &mut self.tracks {
            tracks.clear();
        }
    }

    /// Tells device health whether others are looked for in the picture at `at`.
    pub fn report(&mut self, at: MonoTime, health: &HealthBoard) {
        let watch = self.tracks.as_ref().map(|tracks| tracks.watch(at));
        let looking = match watch {
            None => {
                let text = "switched off in the configuration: others are recorded as they are";
                return health.set(self.part, State::Ok, text);
            }
            Some(Watch::Looking) => true,
            Some(Watch::Blind(_)) => false,
        };
        let Said { looking: said, other_since } = &mut self.said;
        if *said == Some(looking) {
            *other_since = None;
        } else {
            let since = *other_since.get_or_insert(at);
            let after = match (*said, looking) {
                (None, true) => Duration::ZERO,
                (_, true) => SAY_LOOKING_AFTER,
                (_, false) => SAY_BLIND_AFTER,
            };
            if at.since(since) < after {
                return;
            }
            *said = Some(looking);
            *other_since = None;
        }
        match watch {
            None => {}
            Some(Watch::Looking) => match self.finder.and_then(|part| health.state(part)) {
                None | Some(State::Ok) => health.set(
                    self.part,
                    State::Ok,
                    "others that are found are blurred before encoding",
                ),
                Some(State::Degraded | State::Failed) => health.set(
                    self.part,
                    State::Degraded,
                    "others are blurred before encoding as far as they are found, and without the \
                     model pack many are not: see `perception.others`, run `make models`",
                ),
            },
            // Every night: as it should be.
            Some(Watch::Blind(Some(NotSeen::BadLight))) => health.set(
                self.part,
                State::Ok,
                "too dark or too bright to look for others: the whole picture is blurred",
            ),
            Some(Watch::Blind(why)) => health.set(
                self.part,
                State::Degraded,
                format!(
                    "others cannot be looked for ({}): the whole picture is blurred",
                    why.map_or("perception gives no answer", reason)
                ),
            ),
        }
    }
}

const fn reason(why: NotSeen) -> &'static str {
    match why {
        NotSeen::NoModel => "no model for it is installed: run `make models`",
        NotSeen::ModelFailed => "the model failed",
        NotSeen::BadLight => "too dark or too bright",
        NotSeen::Blurred => "the picture is too blurred",
        NotSeen::NoFace
        | NotSeen::FaceUnclear
        | NotSeen::EyesUnclear
        | NotSeen::Covered
        | NotSeen::NoMarkings
        | NotSeen::TooFar => "perception did not look",
    }
}

/// The frame as a picture with others blurred.
///
/// # Errors
/// [`PictureError`]: the picture must then go nowhere.
pub fn blurred(frame: Frame, cover: Option<&Cover>) -> Result<I420Picture, PictureError> {
    let mut picture = I420Picture::from_frame(frame)?;
    let Some(cover) = cover else { return Ok(picture) };
    if let Rest::Blurred { keep } = &cover.rest {
        blur_all_but(&mut picture, keep.as_ref())?;
    }
    for area in &cover.areas {
        blur_area(&mut picture, &area.area)?;
    }
    Ok(picture)
}

/// The picture with nothing in it that anybody can make out.
///
/// # Errors
/// [`PictureError`]: the picture must then go nowhere.
pub fn whole(frame: Frame) -> Result<I420Picture, PictureError> {
    let mut picture = I420Picture::from_frame(frame)?;
    blur_picture(&mut picture)?;
    Ok(picture)
}

#[cfg(test)]
#[path = "privacy_blur_tests.rs"]
mod tests;
