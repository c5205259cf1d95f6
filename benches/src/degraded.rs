//! Pictures made worse on purpose: how many of them read as 'eyes closed' though the eyes are open,
//! and why the others were not seen.
//!
//! Each picture is shown alone, with no picture before it: what a unit remembers can only help it.

use std::collections::BTreeMap;

use anyhow::Result;
use temoin_agent::perception::{DriverSeat, Perception};
use temoin_agent_core::{config::CoreConfig, driver::DriverWatch, lids::Lids};
use temoin_hw::replay;
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{DriverObservation, PictureBox, Seen},
    samples::{CameraId, Frame},
};
use temoin_tests::{
    degrade::Place,
    worse::{Hides, Way, ways},
};

use crate::{
    figures::Figure,
    labels::{EyeState, FaceLabel, letterboxed},
    packs::Pack,
    perception::Scores,
    watch::{self, CLIP_SPEED_MPS, seconds},
};

/// Pictures of a clip that are made worse, a second, and at most.
const STILLS_HZ: f64 = 1.0;
const STILLS: usize = 30;

/// So far apart that nothing is remembered from one picture to the next.
const APART_S: u64 = 60;

/// A picture in which both eyes are open.
struct OpenEyed {
    frame: Frame,
    /// Right and left, pixels.
    eyes: [Place; 2],
    /// Where it is from, for people.
    from: String,
}

/// What was read in a set of pictures in which all eyes are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Pictures.
    pub pictures: usize,
    /// Read as open.
    pub open: usize,
    /// Read as closed, falsely.
    pub closed: usize,
    /// Read so unsurely that the agent takes no notice.
    pub unsure: usize,
    /// Not seen, for each reason.
    pub unseen: BTreeMap<String, usize>,
}

impl Reading {
    /// Counts one picture, as a driver's first: the unit knows nothing of the driver.
    pub fn add(&mut self, seen: &DriverObservation, rules: &CoreConfig) {
        self.pictures += 1;
        let mut watch = DriverWatch::new(rules);
        watch.step(seen, Some(CLIP_SPEED_MPS));
        match (watch.state().map(|state| state.lids), &seen.eyelids) {
            (Some(Lids::Closed { .. }), _) => self.closed += 1,
            (Some(Lids::Open), _) => self.open += 1,
            (Some(Lids::Unknown) | None, Seen::Known { .. }) => self.unsure += 1,
            (Some(Lids::Unknown) | None, Seen::Unknown(why)) => {
                *self.unseen.entry(watch::word(*why)).or_default() += 1;
            }
        }
    }

    fn join(&mut self, other: &Self) {
        self.pictures += other.pictures;
        self.open += other.open;
        self.closed += other.closed;
        self.unsure += other.unsure;
        for (why, n) in &other.unseen {
            *self.unseen.entry(why.clone()).or_default() += n;
        }
    }

    /// Pictures whose eyes were not seen.
    pub fn unseen(&self) -> usize {
        self.unseen.values().sum()
    }

    /// In a line: `read as closed 0, open 12, unsure 0; not seen 3: bad_light 3`.
    pub fn line(&self) -> String {
        let reasons: Vec<String> =
            self.unseen.iter().map(|(why, n)| format!("{why} {n}")).collect();
        format!(
            "read as closed {}, open {}, unsure {}; not seen {}: {}",
            self.closed,
            self.open,
            self.unsure,
            self.unseen(),
            if reasons.is_empty() { "–".to_owned() } else { reasons.join(", ") },
        )
    }
}

/// Shows a picture to perception with nothing before it; `shown` counts them.
fn show(
    picture: I420Picture,
    perception: &mut dyn Perception,
    shown: &mut u64,
) -> Option<DriverObservation> {
    *shown += 1;
    let at = replay::ZERO + std::time::Duration::from_secs(APART_S * *shown);
    perception.observe(&picture.into_frame(CameraId::Cabin, at)).driver().copied()
}

/// Where the eyes lie in a labelled face of so many pixels a side of the picture: a tenth of its
/// height above its middle, a third of its height apart.
fn eyes_of(face: &PictureBox, width: f32, height: f32) -> [Place; 2] {
    let (x, y) = ((face.x + face.w / 2.0) * width, (face.y + face.h / 2.0) * height);
    let tall = face.h * height;
    [[x - tall / 6.0, y - 0.1 * tall], [x + tall / 6.0, y - 0.1 * tall]]
}

impl Scores<'_> {
    /// Pictures with open eyes, as they are and made worse: none may read as closed.
    ///
    /// # Errors
    /// Where labels are wrong or a picture cannot be made worse.
    pub fn degraded(&mut self) -> Result<()> {
        let rules = CoreConfig::default();
        let pictures = self.open_eyed()?;
        if pictures.is_empty() {
            self.note("perception.degraded.*: no picture is labelled with open eyes");
            return Ok(());
        }
        let mut all = vec![Way {
            name: "none".to_owned(),
            hides: Hides::Nothing,
            apply: Box::new(|p, _, _| p),
        }];
        all.extend(ways());
        for pack in Pack::ALL {
            let end = pack.suffix();
            let mut perception = match pack.cabin(DriverSeat::default()) {
                Ok(perception) => perception,
                Err(e) => {
                    self.note(format!("perception.degraded.*.{end}: {e:#}"));
                    continue;
                }
            };
            let mut shown = 0;
            let mut kinds: Vec<(String, Reading)> = Vec::new();
            for way in &all {
                let (mut reading, mut wrong) = (Reading::default(), Vec::new());
                for OpenEyed { frame, eyes, from } in &pictures {
                    let picture = I420Picture::from_frame(frame.clone())?;
                    let worse = (way.apply)(picture, *eyes, shown * 7919 + 1);
                    let Some(seen) = show(worse, &mut perception, &mut shown) else { continue };
                    let before = reading.closed;
                    reading.add(&seen, &rules);
                    if reading.closed > before {
                        let opening = seen.eyelids.known().map_or(f32::NAN, |o| o.0);
                        wrong.push(format!("{from} ({opening:.2})"));
                    }
                }
                if !wrong.is_empty() {
                    let wrong = wrong.join(", ");
                    self.note(format!("{}, {end}: falsely read as closed: {wrong}", way.name));
                }
                match kinds.iter_mut().find(|(kind, _)| kind == way.kind()) {
                    Some((_, sum)) => sum.join(&reading),
                    None => kinds.push((way.kind().to_owned(), reading)),
                }
            }
            let closed: usize = kinds.iter().map(|(_, reading)| reading.closed).sum();
            for (kind, reading) in &kinds {
                let of = |what: &str, n: usize| {
                    let name = format!("perception.degraded.{kind}.{what}.{end}");
                    let share = n as f64 / reading.pictures.max(1) as f64;
                    Figure::new(name, share, "1", reading.pictures, "open eyes, made worse")
                };
                let open = of("open_ratio", reading.open);
                self.push(of("closed_ratio", reading.closed).goal("0"));
                self.push(open);
                self.note(format!("{kind}, {end}: {}", reading.line()));
            }
            let name = format!("perception.degraded.false_closed.{end}");
            let count = pictures.len() * all.len();
            let set = format!("open eyes, as they are and worse in {} ways", all.len() - 1);
            self.push(Figure::new(name, closed as f64, "pictures", count, set).goal("0"));
        }
        Ok(())
    }

    /// Pictures of the cabin clips whose labels say that the eyes are open.
    fn open_eyed(&self) -> Result<Vec<OpenEyed>> {
        let mut open = Vec::new();
        for clip in watch::clips(&self.data.join("driver_video"), CameraId::Cabin)? {
            let Some(labels) = self.face_labels(&clip)? else { continue };
            for frame in watch::pictures(&clip, STILLS_HZ, STILLS)? {
                let at_s = seconds(frame.at);
                let label = FaceLabel::at(&labels.rows, at_s);
                if let Some(label) = label.filter(|l| l.eyes == EyeState::Open) {
                    let size = (frame.width, frame.height);
                    let face = letterboxed(&label.face, labels.size, size);
                    #[expect(clippy::cast_precision_loss, reason = "sides of a picture")]
                    let eyes = eyes_of(&face, size.0 as f32, size.1 as f32);
                    open.push(OpenEyed { frame, eyes, from: format!("{} {at_s:.1} s", clip.name) });
                }
            }
        }
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use temoin_agent::perception::HealthStatement;
    use temoin_proto::perception::{EyelidOpening, HeadPose, NotSeen, Observation, PerEye, Sight};

    use super::*;

    /// Reads the first luma as an opening: 100 so unsurely that it does not count, 200 not at all.
    struct Luma;

    impl Perception for Luma {
        fn observe(&mut self, frame: &Frame) -> Sight {
            let luma = f32::from(*frame.data.first().unwrap());
            let eyelids = if luma == 200.0 {
                Seen::Unknown(NotSeen::Blurred)
            } else {
                let confidence = if luma == 100.0 { 0.1 } else { 0.9 };
                Seen::Known { value: EyelidOpening(luma / 1000.0), confidence }
            };
            let seen = DriverObservation::unseen(frame.at, NotSeen::NoFace);
            let ahead = HeadPose { yaw_deg: 0.0, pitch_deg: 0.0, roll_deg: 0.0 };
            let head = Seen::Known { value: ahead, confidence: 0.9 };
            let eyes = PerEye { right: eyelids, left: eyelids };
            let seen = DriverObservation { head, eyelids, eyes, ..seen };
            Sight { observation: Observation::Driver(seen), others: Ok(vec![]) }
        }

        fn health(&self) -> Vec<HealthStatement> {
            Vec::new()
        }
    }

    #[test]
    fn closed_open_and_unseen_are_counted_apart() {
        let rules = CoreConfig::default();
        let mut shown = 0;
        let mut of = |luma: u8| {
            let picture = I420Picture::from_vec(16, 16, vec![luma; 384]).unwrap();
            let seen = show(picture, &mut Luma, &mut shown).unwrap();
            let mut reading = Reading::default();
            reading.add(&seen, &rules);
            reading
        };
        let all = [50, 250, 100, 200].map(&mut of);
        let lines: Vec<String> = all.iter().map(Reading::line).collect();
        assert_eq!(
            lines,
            [
                "read as closed 1, open 0, unsure 0; not seen 0: –",
                "read as closed 0, open 1, unsure 0; not seen 0: –",
                "read as closed 0, open 0, unsure 1; not seen 0: –",
                "read as closed 0, open 0, unsure 0; not seen 1: blurred 1",
            ]
        );
        let mut sum = Reading::default();
        all.iter().for_each(|reading| sum.join(reading));
        assert_eq!((sum.pictures, sum.open, sum.closed, sum.unsure, sum.unseen()), (4, 1, 1, 1, 1));
        assert_eq!(shown, 4);
    }

    #[test]
    fn eyes_lie_in_the_upper_half_of_a_face() {
        let face = PictureBox { x: 0.4, y: 0.2, w: 0.2, h: 0.6 };
        let [right, left] = eyes_of(&face, 1000.0, 500.0);
        assert_eq!((right, left), ([450.0, 220.0], [550.0, 220.0]));
    }
}
