//! The driver's phone, by the project's own network and by the pack's detector of things.
//!
//! Both look a few times a second; what was said holds in between, for events of a phone ask for
//! seconds. Neither is good enough alone. The own network, trained on rendered pictures, finds
//! three quarters of rendered phones at 0.5 and then sees one in 10 to 14 % of empty hands; at 0.9
//! it finds 11 to 33 %, with less than 1 % false. The detector (YOLOX-nano, COCO's kind 67) finds
//! 48 of 255 held phones at 0.2, with 6 false in 326. So:
//!
//! | own network: a phone | detector | said |
//! |---|---|---|
//! | 0.5 and more | 0.2 and more | a phone: two that do not share their mistakes |
//! | 0.9 and more | nothing, or not there | a phone |
//! | below 0.5, or not there | 0.5 and more | a phone |
//! | 0.5 to 0.9 | nothing, or not there | in doubt |
//! | below 0.5, or not there | 0.2 to 0.5 | in doubt |
//! | below 0.5 | nothing, or not there | none |
//!
//! INVARIANT: a doubtful picture is *not seen*, never a phone.

use std::time::Duration;

use temoin_media::{
    bgr::Square,
    frame::{I420View, PictureError},
};
use temoin_proto::{
    perception::{NotSeen, PhoneUse, Seen},
    time::MonoTime,
};

use crate::perception::{
    PerceptionError,
    cabin::face_state::rendered_square,
    model::{Model, finite},
    tensors::{light_is_bad, luma},
    yolox::{self, Found, Kind},
    yunet::Face,
};

/// Side of the own network's input, pixels.
const INPUT_SIDE: u32 = 128;
/// The own network sees a square of this many sides of a rendered face: head, shoulders and the
/// hands before them.
const CUT_SIDES: f32 = 2.6;
/// Its middle lies this many sides of a rendered face below the face's.
const DOWN_SIDES: f32 = 0.5;
/// The detector sees a square of this many face sides, so much below the face's middle. Own
/// choice: hands before the chest are in it, a phone is 40 of its 416 pixels high and more.
const DETECTOR_SIDES: f32 = 3.0;
/// See [`DETECTOR_SIDES`].
const DETECTOR_DOWN_SIDES: f32 = 0.7;
/// A phone is 0.13 to 0.17 m long and a face 0.2 to 0.25 m; held towards the camera it looks
/// larger, from its edge smaller. What is longer or shorter than this, in face sides, is none.
const PHONE_SIDES: std::ops::RangeInclusive<f32> = 0.15..=1.3;
/// About 3 times a second at 10 looks a second. Own choice.
const EVERY: Duration = Duration::from_millis(290);
/// What was said longer ago holds no more: the face was lost in between. Own choice.
const HOLDS_FOR: Duration = Duration::from_millis(600);
/// The own network takes it for a phone. Own choice: validate.
const LIKELY: f32 = 0.5;
/// And is sure. Own choice: validate.
const SURE: f32 = 0.9;
/// The detector takes it for a phone: its published use. Own choice: validate.
const DETECTED: f32 = 0.2;
/// And is sure. Own choice: validate.
const DETECTED_SURE: f32 = 0.5;

/// What the detector says of a square.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Detected {
    /// How sure it is; 0 where there is nothing.
    score: f32,
    /// Whether it is beside the face.
    at_ear: bool,
}

/// The networks and what was said last.
pub(crate) struct Phone {
    own: Option<Box<dyn Model>>,
    detector: Option<Box<dyn Model>>,
    input: Vec<f32>,
    last: Option<(MonoTime, Seen<PhoneUse>)>,
}

impl Phone {
    /// By the own network, the detector of the pack, or both; `None` where there is neither.
    pub(crate) fn of(
        own: Option<Box<dyn Model>>,
        detector: Option<Box<dyn Model>>,
    ) -> Option<Self> {
        let there = own.is_some() || detector.is_some();
        there.then_some(Self { own, detector, input: Vec::new(), last: None })
    }

    /// Whether both networks are there.
    pub(crate) const fn is_whole(&self) -> bool {
        self.own.is_some() && self.detector.is_some()
    }

    /// The phone of the driver with this face.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`].
    pub(crate) fn observe(
        &mut self,
        now: MonoTime,
        picture: &I420View<'_>,
        face: &Face,
    ) -> Result<Seen<PhoneUse>, PerceptionError> {
        if let Some((at, said)) = self.last
            && at <= now
            && now.since(at) < EVERY
        {
            return Ok(said);
        }
        let said = self.look(picture, face)?;
        self.last = Some((now, said));
        Ok(said)
    }

    fn look(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
    ) -> Result<Seen<PhoneUse>, PerceptionError> {
        let square = rendered_square(face, CUT_SIDES, DOWN_SIDES);
        let cut = picture.cut(square, INPUT_SIDE)?;
        if light_is_bad(cut.view().luma_stats()) {
            return Ok(Seen::Unknown(NotSeen::BadLight));
        }
        let shares = match &mut self.own {
            Some(net) => {
                luma(&cut, false, &mut self.input);
                let given = net.run(&self.input, &["phone"])?;
                let Some(shares) = finite(given.first()) else {
                    return Ok(Seen::Unknown(NotSeen::ModelFailed));
                };
                Some(shares)
            }
            None => None,
        };
        Ok(fused(shares, self.detect(picture, face)?))
    }

    fn detect(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
    ) -> Result<Option<Detected>, PerceptionError> {
        let Some(net) = &mut self.detector else { return Ok(None) };
        let ([x, y], side) = (face.middle(), face.side());
        let square = Square::upright(x, y + DETECTOR_DOWN_SIDES * side, DETECTOR_SIDES * side);
        let bgr = match picture.cut_bgr(square, u32::from(yolox::INPUT_SIDE)) {
            Err(PictureError::Outside) => return Ok(Some(Detected { score: 0.0, at_ear: false })),
            bgr => bgr?,
        };
        let scale = square.side / f32::from(yolox::INPUT_SIDE);
        let found = yolox::look(net.as_mut(), &bgr, &mut self.input, &[Kind::Phone], DETECTED)?;
        let phones = found.iter().map(|f| f.placed(scale, square.corner()));
        // The surest comes first.
        let mut phones = phones.filter(|f| PHONE_SIDES.contains(&(f.w.max(f.h) / side)));
        let detected = |f: Found| Detected { score: f.score, at_ear: is_at_ear(&f, face) };
        Ok(Some(phones.next().map_or(Detected { score: 0.0, at_ear: false }, detected)))
    }

    /// What holds where the face was not found.
    pub(crate) fn without_face(&self, now: MonoTime) -> Seen<PhoneUse> {
        match self.last {
            // A phone before the face is what hides it: the last word holds for a moment.
            Some((at, said)) if at <= now && now.since(at) < HOLDS_FOR => said,
            Some(_) | None => Seen::Unknown(NotSeen::NoFace),
        }
    }
}

/// Whether a phone is as high as the face and beside it.
fn is_at_ear(phone: &Found, face: &Face) -> bool {
    let [x, y] = face.middle();
    let side = face.side();
    let (aside, below) = (phone.x + phone.w / 2.0 - x, phone.y + phone.h / 2.0 - y);
    aside.abs() <= 0.8 * side && below.abs() <= 0.5 * side
}

/// The table above. `shares`: none, at the ear, in the hand; `None` for a network that is not
/// there.
fn fused(shares: Option<[f32; 3]>, detected: Option<Detected>) -> Seen<PhoneUse> {
    let known = |value, confidence: f32| Seen::Known { value, confidence: confidence.min(1.0) };
    let score = detected.map_or(0.0, |d| d.score);
    let place = |at_ear| if at_ear { PhoneUse::AtEar } else { PhoneUse::InHand };
    if let Some([_, ear, hand]) = shares {
        let held = ear + hand;
        if held >= LIKELY && score >= DETECTED {
            return known(place(ear >= hand), 1.0 - (1.0 - held.min(1.0)) * (1.0 - score));
        }
        if held >= SURE {
            return known(place(ear >= hand), held);
        }
    }
    match (shares, detected) {
        (_, Some(Detected { score, at_ear })) if score >= DETECTED_SURE => {
            known(place(at_ear), score)
        }
        (Some([none, ..]), _) if none > 1.0 - LIKELY && score < DETECTED => {
            known(PhoneUse::None, none)
        }
        // The detector overlooks four of five: its silence is no answer.
        (Some(_) | None, _) => Seen::Unknown(NotSeen::FaceUnclear),
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;
    use crate::{infer::InferError, perception::model::fake::Always};

    #[test]
    fn two_doubts_are_an_answer_and_one_is_none() {
        use PhoneUse::{AtEar, InHand, None as NoPhone};
        let (ear, hand) = (Some([0.3, 0.6, 0.1]), Some([0.3, 0.1, 0.6]));
        let (none, sure) = (Some([0.9, 0.05, 0.05]), Some([0.05, 0.35, 0.6]));
        let at = |score, at_ear| Some(Detected { score, at_ear });
        let nothing = at(0.0, false);
        for (name, shares, detected, want) in [
            ("both", ear, at(0.3, false), Some((AtEar, 0.79))),
            ("both, in the hand", hand, at(0.3, true), Some((InHand, 0.79))),
            ("doubt alone", ear, nothing, None),
            ("doubt, and no detector", ear, None, None),
            ("sure alone", sure, nothing, Some((InHand, 0.95))),
            ("sure, and no detector", sure, None, Some((InHand, 0.95))),
            ("a sure detector", none, at(0.6, true), Some((AtEar, 0.6))),
            ("a sure detector alone", None, at(0.6, false), Some((InHand, 0.6))),
            ("a doubtful detector", none, at(0.3, false), None),
            ("a doubtful detector alone", None, at(0.3, false), None),
            ("none", none, nothing, Some((NoPhone, 0.9))),
            ("none, and no detector", none, None, Some((NoPhone, 0.9))),
            ("the detector sees nothing, alone", None, nothing, None),
            ("no shares", Some([0.0; 3]), nothing, None),
        ] {
            match (fused(shares, detected), want) {
                (Seen::Known { value, confidence }, Some((use_, sure))) => {
                    assert!(value == use_ && (confidence - sure).abs() < 1e-3, "{name}: {value:?}");
                }
                (Seen::Unknown(why), None) => assert_eq!(why, NotSeen::FaceUnclear, "{name}"),
                (got, want) => panic!("{name}: {got:?}, not {want:?}"),
            }
        }
    }

    /// YOLOX that sees one phone in a cell of its coarsest grid: its score, its side in pixels.
    fn detector(score: f32, cell: usize, side: f32) -> Box<dyn Model> {
        let mut numbers = vec![0.0; 3549 * 85];
        let at = (52 * 52 + 26 * 26 + cell) * 85;
        let log = (side / 32.0).ln();
        numbers[at..at + 5].copy_from_slice(&[0.5, 0.5, log, log, 1.0]);
        numbers[at + 5 + 67] = score;
        Box::new(Always(vec![(yolox::OUTPUT, numbers)]))
    }

    #[test]
    fn the_detectors_phone_has_a_place_and_a_size() {
        let luma = (0..320 * 240).map(|n: u32| u8::try_from(60 + n * 7 % 120).unwrap());
        let data = luma.chain(std::iter::repeat_n(128, 320 * 240 / 2)).collect();
        let picture = I420Picture::from_vec(320, 240, data).unwrap();
        let face = Face { score: 0.9, x: 120.0, y: 30.0, w: 80.0, h: 100.0, points: [[0.0; 2]; 5] };
        // The square is 300 wide around (160, 150): a cell of 13 is 23 pixels of the picture.
        for (name, cell, side, score, want) in [
            ("beside the face", 3 * 13 + 8, 60.0, 0.8, Some(PhoneUse::AtEar)),
            ("before the chest", 9 * 13 + 6, 60.0, 0.8, Some(PhoneUse::InHand)),
            ("as large as a head", 6 * 13 + 6, 300.0, 0.8, Some(PhoneUse::None)),
            ("a speck", 6 * 13 + 6, 9.0, 0.8, Some(PhoneUse::None)),
            ("a doubt", 9 * 13 + 6, 60.0, 0.3, None),
        ] {
            let own = Box::new(Always(vec![("phone", vec![0.9, 0.05, 0.05])]));
            let mut phone = Phone::of(Some(own), Some(detector(score, cell, side))).unwrap();
            let seen = phone.observe(MonoTime::ZERO, &picture.view(), &face).unwrap();
            assert_eq!(seen.known().copied(), want, "{name}");
        }
        assert!(Phone::of(None, None).is_none());
    }

    /// Counts its runs.
    struct Counting(std::sync::Arc<std::sync::atomic::AtomicU32>);

    impl Model for Counting {
        fn run(&mut self, _: &[f32], _: &[&str]) -> Result<Vec<Vec<f32>>, InferError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(vec![vec![0.0, 1.0, 0.0]])
        }
    }

    #[test]
    fn it_looks_three_times_a_second_and_forgets() {
        let luma = (0..320 * 240).map(|n: u32| u8::try_from(60 + n * 7 % 120).unwrap());
        let data = luma.chain(std::iter::repeat_n(128, 320 * 240 / 2)).collect();
        let picture = I420Picture::from_vec(320, 240, data).unwrap();
        let face = Face { score: 0.9, x: 120.0, y: 60.0, w: 80.0, h: 100.0, points: [[0.0; 2]; 5] };
        let runs = std::sync::Arc::default();
        let mut phone =
            Phone::of(Some(Box::new(Counting(std::sync::Arc::clone(&runs)))), None).unwrap();
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        assert_eq!(phone.without_face(at(0)), Seen::Unknown(NotSeen::NoFace));
        for ms in (0..2000).step_by(100) {
            let seen = phone.observe(at(ms), &picture.view(), &face).unwrap();
            assert_eq!(seen.known(), Some(&PhoneUse::AtEar));
        }
        assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed), 7);
        assert!(phone.without_face(at(2000)).known().is_some());
        assert_eq!(phone.without_face(at(2600)), Seen::Unknown(NotSeen::NoFace));

        let own = |shares| Some(Box::new(Always(vec![("phone", shares)])) as Box<dyn Model>);
        let mut broken = Phone::of(own(vec![f32::NAN; 3]), None).unwrap();
        let seen = broken.observe(at(0), &picture.view(), &face).unwrap();
        assert_eq!(seen, Seen::Unknown(NotSeen::ModelFailed));
        let black = I420Picture::black(320, 240).unwrap();
        let mut phone = Phone::of(own(vec![0.0, 0.0, 1.0]), None).unwrap();
        let seen = phone.observe(at(0), &black.view(), &face).unwrap();
        assert_eq!(seen, Seen::Unknown(NotSeen::BadLight));
    }
}
