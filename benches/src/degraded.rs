//! Pictures made worse on purpose: how many of them read as 'eyes closed' though the eyes are open,
//! and why the others were not seen.
//!
//! Each picture is shown alone, with no picture before it: what a unit remembers can only help it.

use std::collections::BTreeMap;

use anyhow::Result;
use temoin_agent::perception::Perception;
use temoin_hw::replay;
use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{DriverObservation, Seen},
    samples::{CameraId, Frame},
};

use crate::watch;

/// So far apart that nothing is remembered from one picture to the next.
const APART_S: u64 = 60;

/// Makes a picture worse.
pub struct Degradation<'a> {
    /// In the names of figures.
    pub name: &'a str,
    /// What it does.
    pub apply: &'a dyn Fn(&I420Picture) -> Result<I420Picture>,
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
    /// Counts one picture.
    pub fn add(&mut self, seen: &DriverObservation, closed_below: f64, min_confidence: f64) {
        self.pictures += 1;
        match &seen.eyelids {
            Seen::Known { confidence, .. } if f64::from(*confidence) < min_confidence => {
                self.unsure += 1;
            }
            Seen::Known { value, .. } if f64::from(value.0) < closed_below => self.closed += 1,
            Seen::Known { .. } => self.open += 1,
            Seen::Unknown(why) => *self.unseen.entry(watch::word(*why)).or_default() += 1,
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

/// Shows each picture, made worse, to perception.
///
/// # Errors
/// Where a picture cannot be made worse.
pub fn read(
    pictures: &[Frame],
    how: &Degradation<'_>,
    perception: &mut dyn Perception,
    (closed_below, min_confidence): (f64, f64),
    shown: &mut u64,
) -> Result<Reading> {
    let mut reading = Reading::default();
    for frame in pictures {
        let worse = (how.apply)(&I420Picture::from_frame(frame.clone())?)?;
        *shown += 1;
        let at = replay::ZERO + std::time::Duration::from_secs(APART_S * *shown);
        let sight = perception.observe(&worse.into_frame(CameraId::Cabin, at));
        if let Some(seen) = sight.driver() {
            reading.add(seen, closed_below, min_confidence);
        }
    }
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use temoin_agent::perception::HealthStatement;
    use temoin_proto::perception::{EyelidOpening, NotSeen, Observation, Sight};

    use super::*;

    /// Reads the mean luma as an opening: white is wide open, black is closed.
    struct Luma;

    impl Perception for Luma {
        fn observe(&mut self, frame: &Frame) -> Sight {
            let luma = f32::from(*frame.data.first().unwrap());
            let eyelids = if luma == 200.0 {
                Seen::Unknown(NotSeen::Blurred)
            } else {
                Seen::Known { value: EyelidOpening(luma / 1000.0), confidence: 0.9 }
            };
            let seen = DriverObservation::unseen(frame.at, NotSeen::NoFace);
            let observation = Observation::Driver(DriverObservation { eyelids, ..seen });
            Sight { observation, others: Ok(vec![]) }
        }

        fn health(&self) -> Vec<HealthStatement> {
            Vec::new()
        }
    }

    #[test]
    fn closed_open_and_unseen_are_counted_apart() {
        let picture = I420Picture::from_vec(16, 16, vec![120; 384]).unwrap();
        let frames = [picture.into_frame(CameraId::Cabin, replay::ZERO)];
        let mut shown = 0;
        let mut of = |luma: u8, min_confidence: f64| {
            let apply = move |_: &I420Picture| Ok(I420Picture::from_vec(16, 16, vec![luma; 384])?);
            let how = Degradation { name: "luma", apply: &apply };
            let limits = (0.1, min_confidence);
            read(&frames, &how, &mut Luma, limits, &mut shown).unwrap().line()
        };
        assert_eq!(of(50, 0.3), "read as closed 1, open 0, unsure 0; not seen 0: –");
        assert_eq!(of(150, 0.3), "read as closed 0, open 1, unsure 0; not seen 0: –");
        assert_eq!(of(50, 0.95), "read as closed 0, open 0, unsure 1; not seen 0: –");
        assert_eq!(of(200, 0.3), "read as closed 0, open 0, unsure 0; not seen 1: blurred 1");
        assert_eq!(shown, 4);
    }
}
