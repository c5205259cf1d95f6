//! How the camera of a labelled road clip was mounted, as far as its labels tell.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use temoin_agent_core::road::camera::{CameraMount, RoadCamera};
use temoin_proto::perception::PictureBox;

use crate::{
    blur_score::looked_at,
    figures::median,
    labels::{self, letterboxed},
    watch::Clip,
};

/// A row of `cameras.csv`.
#[derive(Deserialize)]
struct CameraRow {
    clip: String,
    focal_px: f64,
    of_width_px: f64,
    mount_height_m: f64,
}

/// The mount that a clip's labels tell, for the pictures that the unit looks at: the horizon where
/// the lines of the lane meet, and lens and height where `cameras.csv` has them. `None` where
/// nobody labelled its lane.
///
/// # Errors
/// Where the labels are wrong.
pub fn labelled(checkout: &Path, clip: &Clip) -> Result<Option<CameraMount>> {
    let Some(text) = labels::read(checkout, &format!("{}_lanes", clip.name))? else {
        return Ok(None);
    };
    let lanes = labels::lanes(&text).with_context(|| clip.name.clone())?;
    let rows: Vec<f64> = lanes.rows.iter().map(|l| l.horizon_y).collect();
    let horizon_y = place_y(median(&rows)?, lanes.size);
    let mut mount = CameraMount { horizon_y: Some(horizon_y), ..CameraMount::default() };
    if let Some(text) = labels::read(checkout, "cameras")?
        && let Some(camera) = camera(&text, &clip.name)?
    {
        let looked_at_px = f64::from(looked_at().0);
        mount.focal_px = Some(camera.focal_px * looked_at_px / camera.of_width_px);
        mount.mount_height_m = Some(camera.mount_height_m);
    }
    Ok(Some(mount))
}

/// The camera of a mount, for the pictures that the unit looks at.
///
/// # Errors
/// Where it is no mount.
pub fn camera_of(mount: &CameraMount) -> Result<RoadCamera> {
    let size = looked_at();
    RoadCamera::new(mount, size.0, size).with_context(|| mount.mistakes().join("; "))
}

/// Where a row of a recording, as a part of its height, lies in the pictures that the unit looks at.
pub(crate) fn place_y(row: f64, from: (u32, u32)) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "a part of 0 to 1")]
    let row = PictureBox { x: 0.0, y: row as f32, w: 1.0, h: 0.0 };
    f64::from(letterboxed(&row, from, looked_at()).y)
}

fn camera(text: &str, clip: &str) -> Result<Option<CameraRow>> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    for row in reader.deserialize() {
        let row: CameraRow = row.context("cameras.csv")?;
        if row.clip == clip {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use temoin_proto::samples::CameraId;

    use super::*;

    #[test]
    fn what_is_labelled_is_the_mount() {
        let checkout = tempfile::tempdir().unwrap();
        let folder = checkout.path().join("tests/data/labels");
        fs::create_dir_all(&folder).unwrap();
        let clip = Clip { file: PathBuf::new(), name: "r".to_owned(), camera: CameraId::Road };
        assert_eq!(labelled(checkout.path(), &clip).unwrap(), None);
        let lanes = "# r.mp4: 960x540\n\
            t_s,left_bottom_x,left_60_x,right_bottom_x,right_60_x,horizon_y\n\
            0.0,0.2,0.45,1.0,0.55,0.5\n0.4,0.2,0.45,1.0,0.55,0.6\n0.8,0.2,0.45,1.0,0.55,0.6\n";
        fs::write(folder.join("r_lanes.csv"), lanes).unwrap();
        let mount = labelled(checkout.path(), &clip).unwrap().unwrap();
        assert!((mount.horizon_y.unwrap() - 0.6).abs() < 1e-6 && mount.focal_px.is_none());
        let cameras = "clip,focal_px,of_width_px,mount_height_m\nr,500,640,1.3\nq,1,1,1\n";
        fs::write(folder.join("cameras.csv"), cameras).unwrap();
        let mount = labelled(checkout.path(), &clip).unwrap().unwrap();
        assert_eq!((mount.focal_px, mount.mount_height_m), (Some(1000.0), Some(1.3)));
        assert!(camera_of(&mount).unwrap().focal_error < 0.1);
    }
}
