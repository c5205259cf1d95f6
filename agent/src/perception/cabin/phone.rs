//! The driver's phone, by the project's own network.
//!
//! It is looked for a few times a second; what it said holds in between, for events of a phone
//! ask for seconds.
//!
//! INVARIANT: a doubtful picture is *not seen*, never a phone.

use std::time::Duration;

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::{
    perception::{NotSeen, PhoneUse, Seen},
    time::MonoTime,
};

use crate::perception::{
    PerceptionError,
    model::{Model, finite},
    tensors::{light_is_bad, luma},
    yunet::Face,
};

/// Side of the input, pixels.
const INPUT_SIDE: u32 = 128;
/// The network sees a square of this many face sides: head, shoulders and the hands before them.
const CUT_SIDES: f32 = 2.6;
/// Its middle lies this many face sides below the face's.
const DOWN_SIDES: f32 = 0.5;
/// About 3 times a second at 10 looks a second. Own choice.
const EVERY: Duration = Duration::from_millis(290);
/// What was said longer ago holds no more: the face was lost in between. Own choice.
const HOLDS_FOR: Duration = Duration::from_millis(600);
/// Below this share the network is in doubt. Own choice: validate.
const MIN_SHARE: f32 = 0.6;

/// The network and what it said last.
pub(crate) struct Phone {
    net: Box<dyn Model>,
    input: Vec<f32>,
    last: Option<(MonoTime, Seen<PhoneUse>)>,
}

impl Phone {
    pub(crate) fn new(net: Box<dyn Model>) -> Self {
        Self { net, input: Vec::new(), last: None }
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
        let [x, y] = face.middle();
        let square = Square::upright(x, y + DOWN_SIDES * face.side(), CUT_SIDES * face.side());
        let cut = picture.cut(square, INPUT_SIDE)?;
        let said = if light_is_bad(cut.view().luma_stats()) {
            Seen::Unknown(NotSeen::BadLight)
        } else {
            luma(&cut, false, &mut self.input);
            let given = self.net.run(&self.input, &["phone"])?;
            finite(given.first()).map_or(Seen::Unknown(NotSeen::ModelFailed), phone_use)
        };
        self.last = Some((now, said));
        Ok(said)
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

/// What the shares of none, at the ear, in the hand say. A general detector that finds a phone in
/// the same square would be joined here: it finds few, but those are right.
fn phone_use(shares: [f32; 3]) -> Seen<PhoneUse> {
    let [none, ear, hand] = shares;
    let uses = [(PhoneUse::None, none), (PhoneUse::AtEar, ear), (PhoneUse::InHand, hand)];
    let best = uses.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    match best {
        Some((value, share)) if share >= MIN_SHARE => {
            Seen::Known { value, confidence: share.min(1.0) }
        }
        Some(_) | None => Seen::Unknown(NotSeen::FaceUnclear),
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;
    use crate::{infer::InferError, perception::model::fake::Always};

    #[test]
    fn shares_become_a_statement_or_a_doubt() {
        for (shares, want) in [
            ([0.9, 0.05, 0.05], Ok((PhoneUse::None, 0.9))),
            ([0.1, 0.8, 0.1], Ok((PhoneUse::AtEar, 0.8))),
            ([0.1, 0.2, 0.7], Ok((PhoneUse::InHand, 0.7))),
            ([0.3, 0.3, 0.4], Err(NotSeen::FaceUnclear)),
            ([0.0, 0.0, 0.0], Err(NotSeen::FaceUnclear)),
        ] {
            let want = match want {
                Ok((value, confidence)) => Seen::Known { value, confidence },
                Err(why) => Seen::Unknown(why),
            };
            assert_eq!(phone_use(shares), want, "{shares:?}");
        }
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
        let mut phone = Phone::new(Box::new(Counting(std::sync::Arc::clone(&runs))));
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        assert_eq!(phone.without_face(at(0)), Seen::Unknown(NotSeen::NoFace));
        for ms in (0..2000).step_by(100) {
            let seen = phone.observe(at(ms), &picture.view(), &face).unwrap();
            assert_eq!(seen.known(), Some(&PhoneUse::AtEar));
        }
        assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed), 7);
        assert!(phone.without_face(at(2000)).known().is_some());
        assert_eq!(phone.without_face(at(2600)), Seen::Unknown(NotSeen::NoFace));

        let mut broken = Phone::new(Box::new(Always(vec![("phone", vec![f32::NAN; 3])])));
        let seen = broken.observe(at(0), &picture.view(), &face).unwrap();
        assert_eq!(seen, Seen::Unknown(NotSeen::ModelFailed));
        let black = I420Picture::black(320, 240).unwrap();
        let mut phone = Phone::new(Box::new(Always(vec![("phone", vec![0.0, 0.0, 1.0])])));
        let seen = phone.observe(at(0), &black.view(), &face).unwrap();
        assert_eq!(seen, Seen::Unknown(NotSeen::BadLight));
    }
}
