//! The road camera as a pinhole above a plane.
//!
//! For a camera at height `h` whose axis points down by `pitch`, a ground point at the depth `z`
//! along the axis lies `f h / (z cos pitch)` pixels below the horizon: depth needs the horizon's
//! row and nothing else of the pitch (Dickmanns and Mysliwetz, *Recursive 3-D road and relative
//! ego-state recognition*, IEEE PAMI 14(2), 1992).

use serde::Deserialize;

/// How the road camera is mounted (`[road_camera]`). What nobody measured is `None`: it is guessed
/// with an error that is as wide as mounts differ, and that error shows in every distance.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraMount {
    /// Lens above the road, metres.
    pub mount_height_m: Option<f64>,
    /// Row of the horizon, parts of the picture's height from the top.
    pub horizon_y: Option<f64>,
    /// Field of view across the picture, degrees.
    pub hfov_deg: Option<f64>,
    /// Focal length in pixels of a picture of `video.width`; goes before `hfov_deg`.
    pub focal_px: Option<f64>,
    /// From the lens forward to the vehicle's front, metres.
    pub front_offset_m: f64,
    /// Lens to the left of the vehicle's middle, metres; negative to the right.
    pub side_offset_m: f64,
    /// Below this part of the picture's height it shows the own bonnet; 1 where it does not.
    pub bonnet_y: f64,
}

impl Default for CameraMount {
    fn default() -> Self {
        Self {
            mount_height_m: None,
            horizon_y: None,
            hfov_deg: None,
            focal_px: None,
            front_offset_m: 1.5,
            side_offset_m: 0.0,
            bonnet_y: 1.0,
        }
    }
}

/// A number of the mount: what it is, and one standard deviation of that.
#[derive(Clone, Copy, Debug)]
struct Guess {
    value: f64,
    sigma: f64,
}

impl Guess {
    const fn or(self, measured: Option<f64>, sigma: f64) -> Self {
        match measured {
            Some(value) => Self { value, sigma },
            None => self,
        }
    }
}

/// A windscreen's middle, metres: 1.2 in cars to 1.7 in large vans; the error is in parts.
const HEIGHT: Guess = Guess { value: 1.4, sigma: 0.12 };
/// What is left where it was measured: tyres and load. Own choice: validate.
const MEASURED_HEIGHT_ERROR: f64 = 0.03;
/// The middle of the picture, parts of its height; the error is in degrees. A lens that somebody
/// stuck on by eye shows the horizon between 35 % and 65 %. Own choice: validate.
const HORIZON: Guess = Guess { value: 0.5, sigma: 3.0 };
/// One standard deviation of what an installer measures, degrees. Own choice: validate.
const MEASURED_HORIZON_DEG: f64 = 1.0;
/// Across the picture, degrees; the error is in parts of the focal length: 50 to 70 degrees. A
/// wider lens must be told, for nothing in the picture tells it. Own choice: validate.
const FIELD_OF_VIEW: Guess = Guess { value: 60.0, sigma: 0.2 };
/// Of a data sheet, or of a measurement with a tape, in parts.
const MEASURED_FOCAL_ERROR: f64 = 0.02;

impl CameraMount {
    /// Everything that cannot be, as `key: value: what is needed`.
    pub fn mistakes(&self) -> Vec<String> {
        let keys = [
            ("mount_height_m", self.mount_height_m.unwrap_or(HEIGHT.value), 0.5, 4.0),
            ("horizon_y", self.horizon_y.unwrap_or(HORIZON.value), 0.1, 0.9),
            ("hfov_deg", self.hfov_deg.unwrap_or(FIELD_OF_VIEW.value), 20.0, 150.0),
            ("focal_px", self.focal_px.unwrap_or(1000.0), 100.0, 10_000.0),
            ("front_offset_m", self.front_offset_m, 0.0, 5.0),
            ("side_offset_m", self.side_offset_m, -1.5, 1.5),
            ("bonnet_y", self.bonnet_y, 0.5, 1.0),
        ];
        let mut said: Vec<String> = keys
            .into_iter()
            .filter(|(_, value, low, high)| !(low..=high).contains(&value))
            .map(|(key, value, low, high)| {
                format!("{key}: `{value}`: a number from {low} to {high} is needed")
            })
            .collect();
        if self.bonnet_y <= self.horizon_y.unwrap_or(HORIZON.value) + 0.1 {
            said.push(format!(
                "bonnet_y: `{}`: it must be 0.1 below `horizon_y` at least (0.5 where nobody \
                 measured it)",
                self.bonnet_y
            ));
        }
        said
    }
}

/// The camera for pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoadCamera {
    /// Width of the pictures, pixels.
    pub width_px: f64,
    /// Height of the pictures, pixels.
    pub height_px: f64,
    /// Focal length, pixels.
    pub focal_px: f64,
    /// Lens above the road, metres.
    pub mount_height_m: f64,
    /// One standard deviation of it, in parts.
    pub height_error: f64,
    /// One standard deviation of the focal length, in parts.
    pub focal_error: f64,
    /// Row of the horizon as it was configured, pixels.
    pub horizon_px: f64,
    /// One standard deviation of it, degrees.
    pub horizon_sigma_deg: f64,
    /// From the lens forward to the vehicle's front, metres.
    pub front_offset_m: f64,
    /// Lens to the left of the vehicle's middle, metres.
    pub side_offset_m: f64,
    /// The first row that shows the own bonnet, pixels.
    pub bonnet_px: f64,
}

impl RoadCamera {
    /// A mounted camera whose pictures have this size; `video_width_px` is the width that
    /// [`CameraMount::focal_px`] was measured at. `None` where no picture can have that size.
    pub fn new(
        mount: &CameraMount,
        video_width_px: u32,
        (width_px, height_px): (u32, u32),
    ) -> Option<Self> {
        if width_px < 64 || height_px < 48 || video_width_px == 0 || !mount.mistakes().is_empty() {
            return None;
        }
        let (width_px, height_px) = (f64::from(width_px), f64::from(height_px));
        let height = HEIGHT.or(mount.mount_height_m, MEASURED_HEIGHT_ERROR);
        let horizon = HORIZON.or(mount.horizon_y, MEASURED_HORIZON_DEG);
        let field = FIELD_OF_VIEW.or(mount.hfov_deg, MEASURED_FOCAL_ERROR);
        let by_field = Guess {
            value: width_px / 2.0 / (field.value.to_radians() / 2.0).tan(),
            sigma: field.sigma,
        };
        let measured = mount.focal_px.map(|f| f * width_px / f64::from(video_width_px));
        let focal = by_field.or(measured, MEASURED_FOCAL_ERROR);
        Some(Self {
            width_px,
            height_px,
            focal_px: focal.value,
            mount_height_m: height.value,
            height_error: height.sigma,
            focal_error: focal.sigma,
            horizon_px: horizon.value * height_px,
            horizon_sigma_deg: horizon.sigma,
            front_offset_m: mount.front_offset_m,
            side_offset_m: mount.side_offset_m,
            bonnet_px: mount.bonnet_y * height_px,
        })
    }

    /// Whether an installer measured the horizon.
    pub const fn horizon_is_measured(&self) -> bool {
        self.horizon_sigma_deg <= MEASURED_HORIZON_DEG
    }

    /// Pixels for an angle near the axis.
    pub fn px_of_deg(&self, deg: f64) -> f64 {
        deg.to_radians().tan() * self.focal_px
    }

    /// The angle of so many pixels near the axis, degrees.
    pub fn deg_of_px(&self, px: f64) -> f64 {
        (px / self.focal_px).atan().to_degrees()
    }

    /// The column that the axis goes through.
    pub fn middle_px(&self) -> f64 {
        self.width_px / 2.0
    }

    /// The tangent of the pitch, positive down, where the horizon is at this row.
    fn pitch(&self, horizon_px: f64) -> f64 {
        (self.height_px / 2.0 - horizon_px) / self.focal_px
    }

    /// `f h / cos(pitch)`: a ground point at this many pixels below the horizon is 1 m deep.
    pub fn depth_scale(&self, horizon_px: f64) -> f64 {
        self.focal_px * self.mount_height_m * self.pitch(horizon_px).hypot(1.0)
    }

    /// From the lens forward along the road to what is `depth_m` deep along the axis and stands on
    /// the ground.
    pub fn forward_m(&self, depth_m: f64, horizon_px: f64) -> f64 {
        let pitch = self.pitch(horizon_px);
        depth_m * pitch.hypot(1.0) - self.mount_height_m * pitch
    }

    /// The ground point at a pixel below the horizon: metres forward from the lens and to its
    /// left.
    pub fn ground(&self, u: f64, v: f64, horizon_px: f64) -> Option<(f64, f64)> {
        let below = v - horizon_px;
        // Nearer to the horizon than half a pixel nothing can be said. NaN is refused as well.
        if below.is_nan() || below < 0.5 {
            return None;
        }
        let depth_m = self.depth_scale(horizon_px) / below;
        let left_m = (self.middle_px() - u) * depth_m / self.focal_px;
        let forward_m = self.forward_m(depth_m, horizon_px);
        (left_m.is_finite() && forward_m.is_finite()).then_some((forward_m, left_m))
    }

    /// The pixel of a point: metres forward from the lens, to its left, and above the road.
    pub fn pixel(&self, forward_m: f64, left_m: f64, up_m: f64, horizon_px: f64) -> (f64, f64) {
        let pitch = self.pitch(horizon_px).atan();
        let (sin, cos) = pitch.sin_cos();
        let down_m = self.mount_height_m - up_m;
        let depth_m = forward_m * cos + down_m * sin;
        let below_axis_m = down_m * cos - forward_m * sin;
        let u = self.middle_px() - left_m * self.focal_px / depth_m;
        (u, self.height_px / 2.0 + below_axis_m * self.focal_px / depth_m)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A mount that somebody measured.
    pub(crate) fn measured() -> CameraMount {
        CameraMount {
            mount_height_m: Some(1.4),
            horizon_y: Some(0.5),
            hfov_deg: Some(60.0),
            ..CameraMount::default()
        }
    }

    /// A camera for tests: 1280x720, 60 degrees, 1.4 m, all of it measured.
    pub(crate) fn camera() -> RoadCamera {
        RoadCamera::new(&measured(), 1280, (1280, 720)).unwrap()
    }

    /// The same, and nobody measured it.
    pub(crate) fn unmeasured() -> RoadCamera {
        RoadCamera::new(&CameraMount::default(), 1280, (1280, 720)).unwrap()
    }

    #[test]
    fn focal_length_follows_the_size() {
        let mount = CameraMount { focal_px: Some(1000.0), ..CameraMount::default() };
        let half = RoadCamera::new(&mount, 1280, (640, 360)).unwrap();
        assert!((half.focal_px - 500.0).abs() < 1e-9);
        let camera = camera();
        assert!((camera.focal_px - 640.0 / 30_f64.to_radians().tan()).abs() < 1e-9);
        assert_eq!(RoadCamera::new(&mount, 1280, (0, 0)), None);
    }

    #[test]
    fn what_nobody_measured_is_the_same_and_less_sure() {
        let (known, guessed) = (camera(), unmeasured());
        assert!((known.focal_px - guessed.focal_px).abs() < 1e-9);
        assert!((known.horizon_px - guessed.horizon_px).abs() < 1e-9);
        assert!(guessed.horizon_sigma_deg >= 3.0 * known.horizon_sigma_deg);
        assert!(known.horizon_is_measured() && !guessed.horizon_is_measured());
        assert!(guessed.height_error >= 3.0 * known.height_error);
        assert!(guessed.focal_error >= 3.0 * known.focal_error);
        // Either of the two tells the lens.
        let focal = CameraMount { focal_px: Some(900.0), ..CameraMount::default() };
        let focal = RoadCamera::new(&focal, 1280, (1280, 720)).unwrap();
        assert!((focal.focal_error - known.focal_error).abs() < 1e-9);
    }

    #[test]
    fn a_level_camera_is_simple() {
        let camera = camera();
        // 1.4 m below the horizon at 14 m: a tenth of the focal length.
        let (forward, left) = camera.ground(640.0, 360.0 + camera.focal_px / 10.0, 360.0).unwrap();
        assert!((forward - 14.0).abs() < 1e-9 && left.abs() < 1e-9, "{forward} {left}");
        assert_eq!(camera.ground(640.0, 360.0, 360.0), None);
        assert_eq!(camera.ground(640.0, f64::NAN, 360.0), None);
    }

    #[test]
    fn impossible_mounts_are_named() {
        let mount = CameraMount {
            mount_height_m: Some(f64::NAN),
            horizon_y: Some(0.8),
            bonnet_y: 0.85,
            ..CameraMount::default()
        };
        let said = mount.mistakes();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("mount_height_m") && said[1].contains("bonnet_y"), "{said:?}");
        assert_eq!(RoadCamera::new(&mount, 1280, (1280, 720)), None);
    }

    proptest! {
        #[test]
        fn what_is_projected_is_found_again(
            forward in 4.0..150.0_f64,
            left in -8.0..8.0_f64,
            horizon_y in 0.3..0.7_f64,
            height in 1.0..3.0_f64,
        ) {
            let mount = CameraMount {
                mount_height_m: Some(height),
                horizon_y: Some(horizon_y),
                ..CameraMount::default()
            };
            let camera = RoadCamera::new(&mount, 1280, (1280, 720)).unwrap();
            let (u, v) = camera.pixel(forward, left, 0.0, camera.horizon_px);
            let (f, l) = camera.ground(u, v, camera.horizon_px).unwrap();
            prop_assert!((f - forward).abs() < 1e-6 * forward && (l - left).abs() < 1e-6, "{f} {l}");
            // Something very far away is at the horizon.
            let (_, far) = camera.pixel(1e9, 0.0, 0.0, camera.horizon_px);
            prop_assert!((far - camera.horizon_px).abs() < 1e-3);
        }
    }
}
