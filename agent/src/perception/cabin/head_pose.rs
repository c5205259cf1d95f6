//! Head pose by two FSA-Nets whose mean is taken (Yang et al., *FSA-Net*, CVPR 2019).
//!
//! The nets give degrees with yaw positive to the *left of the picture*, pitch positive up, roll
//! positive towards the right of the picture. The camera faces the driver and its picture is not
//! mirrored, so the driver's left is the picture's right: yaw and roll change sign on the way to
//! [`HeadPose`]. Checked on `head_turns.mp4` (a face turned to the picture's right gives -56 in
//! the net) and on a picture turned by 15 degrees (the top of the head to the picture's left gives
//! -18).

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::{HeadPose, NotSeen, Seen};

use crate::{
    infer::Runtime,
    model_pack::{ModelPack, ModelRole},
    perception::{
        PerceptionError,
        model::{Model, finite},
        tensors::{bgr_planes, light_is_bad},
        yunet::Face,
    },
};

/// Side of the nets' input, pixels.
const INPUT_SIDE: u32 = 64;
/// The nets see a square of this many of the face's longer side: what they were trained with.
const CUT_SIDES: f32 = 1.3;
/// A face with less of its box in the picture is cut off, and the nets then guess.
const MIN_VISIBLE: f32 = 0.8;
/// A smaller face has too few pixels.
const MIN_FACE_SIDE_PX: f32 = 28.0;
/// Two nets that differ by this in any angle know nothing; half of it is half the confidence. They
/// differ by 1 to 5 degrees on clear faces and by 10 to 26 on blurred and half-hidden ones.
const DISAGREE_DEG: f32 = 30.0;

/// The two nets.
pub struct HeadPoseNetworks {
    nets: [Box<dyn Model>; 2],
    input: Vec<f32>,
}

impl HeadPoseNetworks {
    /// Loads both; `None` where the pack does not hold both.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`].
    pub fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Option<Self>, PerceptionError> {
        match (pack.get(ModelRole::HeadPose1x1), pack.get(ModelRole::HeadPoseVar)) {
            (Some(one), Some(var)) => {
                let (one, var) = (runtime.network(one)?, runtime.network(var)?);
                Ok(Some(Self::new([Box::new(one), Box::new(var)])))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn new(nets: [Box<dyn Model>; 2]) -> Self {
        Self { nets, input: Vec::new() }
    }

    /// The head pose of one face.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`]. A face that cannot be judged is
    /// no error: it is unknown.
    pub fn observe(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
    ) -> Result<Seen<HeadPose>, PerceptionError> {
        #[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
        let size = (picture.width() as f32, picture.height() as f32);
        if face.side() < MIN_FACE_SIDE_PX || face.visible(size) < MIN_VISIBLE {
            return Ok(Seen::Unknown(NotSeen::FaceUnclear));
        }
        let [x, y] = face.middle();
        let cut = picture.cut(Square::upright(x, y, CUT_SIDES * face.side()), INPUT_SIDE)?;
        if light_is_bad(cut.view().luma_stats()) {
            return Ok(Seen::Unknown(NotSeen::BadLight));
        }
        bgr_planes(&cut.view().to_bgr(INPUT_SIDE, INPUT_SIDE)?, 127.5, 128.0, &mut self.input);
        let [one, var] = &mut self.nets;
        let one = angles(one.as_mut(), &self.input)?;
        let var = angles(var.as_mut(), &self.input)?;
        Ok(mean_pose(one, var, face.score))
    }
}

/// Yaw, pitch and roll as the net gives them; not numbers where it gives none.
fn angles(net: &mut dyn Model, input: &[f32]) -> Result<[f32; 3], PerceptionError> {
    Ok(finite(net.run(input, &["output"])?.first()).unwrap_or([f32::NAN; 3]))
}

/// The mean of both nets in our signs, with a confidence that falls as they disagree.
pub fn mean_pose(one: [f32; 3], var: [f32; 3], face_score: f32) -> Seen<HeadPose> {
    let gap = one.iter().zip(var).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let [yaw, pitch, roll] = [0, 1, 2].map(|n: usize| {
        one.get(n).copied().unwrap_or(f32::NAN).midpoint(var.get(n).copied().unwrap_or(f32::NAN))
    });
    let sane = [yaw, pitch, roll].iter().all(|a| a.abs() <= 120.0);
    let confidence = face_score * (1.0 - gap / DISAGREE_DEG);
    // `max` above drops NaN, so that `sane` alone refuses it.
    if sane && confidence > 0.0 {
        let value = HeadPose { yaw_deg: -yaw, pitch_deg: pitch, roll_deg: -roll };
        Seen::Known { value, confidence: confidence.min(1.0) }
    } else {
        Seen::Unknown(NotSeen::FaceUnclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_has_our_signs_and_doubt_grows_with_disagreement() {
        let Seen::Known { value, confidence } =
            mean_pose([-50.0, -20.0, 10.0], [-44.0, -26.0, 4.0], 0.9)
        else {
            panic!("not seen");
        };
        assert_eq!(value, HeadPose { yaw_deg: 47.0, pitch_deg: -23.0, roll_deg: -7.0 });
        assert!((confidence - 0.9 * 0.8).abs() < 1e-6, "{confidence}");
    }

    #[test]
    fn nonsense_is_unknown() {
        for (name, one, var) in [
            ("nets that disagree", [0.0; 3], [0.0, 30.0, 0.0]),
            ("not a number", [f32::NAN, 0.0, 0.0], [0.0; 3]),
            ("neither is", [f32::NAN; 3], [f32::NAN; 3]),
            ("endless", [f32::INFINITY, 0.0, 0.0], [f32::INFINITY, 0.0, 0.0]),
            ("no neck does that", [150.0, 0.0, 0.0], [150.0, 0.0, 0.0]),
        ] {
            assert_eq!(mean_pose(one, var, 0.9), Seen::Unknown(NotSeen::FaceUnclear), "{name}");
        }
    }
}
