//! A few numbers of a picture, for judging the camera that took it.
//!
//! INVARIANT: too coarse to show anybody: [`COLUMNS`] x [`ROWS`] means of the whole picture. They
//! live in RAM like the picture itself, and are never stored, sent or printed.

use crate::{samples::CameraId, time::MonoTime};

/// Cells across a picture.
pub const COLUMNS: usize = 32;
/// Cells down a picture.
pub const ROWS: usize = 18;
/// Cells of a picture.
pub const CELLS: usize = COLUMNS * ROWS;
/// Pixels that are kept to tell a frozen picture from a new one.
pub const SAMPLES: usize = 1024;

/// The statistics of one picture. Luma is 0 to 255.
#[derive(Clone, PartialEq)]
pub struct PictureStats {
    /// Which camera.
    pub camera: CameraId,
    /// The picture's time.
    pub at: MonoTime,
    /// Mean luma of each cell, row by row from the top left; [`CELLS`] of them.
    pub cells: Vec<f32>,
    /// Luma of single pixels all over the picture, always the same ones; [`SAMPLES`] of them.
    pub samples: Vec<u8>,
    /// Detail in each cell: mean squared difference of pixels two apart in a row.
    pub detail: Vec<f32>,
    /// Mean squared difference of pixels 1, 2 and 8 apart in a row, over the whole picture. Noise
    /// adds the same to each, so that their differences are the scene's own.
    pub steps: [f32; 3],
    /// Standard deviation of the noise: that of the quietest tenth of the cells.
    pub noise: f32,
    /// Part of the pixels at the bottom of the scale, 0 to 1.
    pub black: f32,
    /// Part of the pixels at its top, 0 to 1.
    pub white: f32,
    /// Mean luma of the pictures since the last statistics, this one last, each with its time.
    pub brightness: Vec<(MonoTime, f32)>,
}

impl std::fmt::Debug for PictureStats {
    // Never what the picture shows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PictureStats")
            .field("camera", &self.camera)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
