//! The road camera as a pinhole above a plane.
//!
//! For a camera at height `h` whose axis points down by `pitch`, a ground point at the depth `z`
//! along the axis lies `f h / (z cos pitch)` pixels below the horizon: depth needs the horizon's
//! row and nothing else of the pitch (Dickmanns and Mysliwetz, *Recursive 3-D road and relative
//! ego-state recognition*, IEEE PAMI 14(2), 1992).

use serde::Deserialize;

/// How the road camera is mounted (`[road_camera]`).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraMount {
    /// Lens above the road, metres. 1.4 is the middle of a van's windscreen.
    pub mount_height_m: f64,
    /// Row of the horizon, parts of the picture's height from the top.
    pub horizon_y: f64,
    /// Field of view across the picture, degrees. 60 is a common dashcam at 1280 of its 1920
    /// pixels. Own choice: measure it.
    pub hfov_deg: f64,
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
            mount_height_m: 1.4,
            horizon_y: 0.5,
            hfov_deg: 60.0,
            focal_px: None,
            front_offset_m: 1.5,
            side_offset_m: 0.0,
            bonnet_y: 1.0,
        }
    }
}

impl CameraMount {
    /// Everything that cannot be, as `key: value: what is needed`.
    pub fn mistakes(&self) -> Vec<String> {
        let keys = [
            ("mount_height_m", self.mount_height_m, 0.5, 4.0),
            ("horizon_y", self.horizon_y, 0.1, 0.9),
            ("hfov_deg", self.hfov_deg, 20.0, 150.0),
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
        if self.bonnet_y <= self.horizon_y + 0.1 {
            said.push(format!(
                "bonnet_y: `{}`: it must be 0.1 below `horizon_y` at least",
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
    /// Row of the horizon as it was configured, pixels.
    pub horizon_px: f64,
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
        let focal_px = mount.focal_px.map_or_else(
            || width_px / 2.0 / (mount.hfov_deg.to_radians() / 2.0).tan(),
            |f| f * width_px / f64::from(video_width_px),
        );
        Some(Self {
            width_px,
            height_px,
            focal_px,
            mount_height_m: mount.mount_height_m,
            horizon_px: mount.horizon_y * height_px,
            front_offset_m: mount.front_offset_m,
            side_offset_m: mount.side_offset_m,
            bonnet_px: mount.bonnet_y * height_px,
        })
    }

    /// Pixels for an angle near the axis.
    pub fn px_of_deg(&self, deg: f64) -> f64 {
        deg.to_radians().tan() * self.focal_px
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

    /// A camera for tests: 1280x720, 60 degrees, 1.4 m.
    pub(crate) fn camera() -> RoadCamera {
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
            mount_height_m: f64::NAN,
            horizon_y: 0.8,
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
            let mount = CameraMount { mount_height_m: height, horizon_y, ..CameraMount::default() };
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
