//! Eye crops: how well open eyes are told from closed ones.
//!
//! A crop that was not measured (too dark, blurred, no outline) is in no group: it says 'not seen',
//! not 'closed'. How many those are is a figure of its own, so that nobody gains by seeing little.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use temoin_media::frame::{I420Picture, I420View};
use temoin_proto::perception::NotSeen;

use crate::stats::{auc, balanced_accuracy};

/// Side of the eye crops, pixels, for the eyelid model to cut from.
const CROP_PX: u32 = 224;
/// What a picture file is called.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "bmp"];

/// What was measured of a set of crops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Openings {
    /// Openings of the open eyes that were measured.
    pub open: Vec<f32>,
    /// Openings of the closed eyes that were measured.
    pub closed: Vec<f32>,
    /// Crops of open eyes.
    pub open_crops: usize,
    /// Crops of closed eyes.
    pub closed_crops: usize,
    /// Files that are no pictures; they are in no other number.
    pub unreadable: usize,
}

impl Openings {
    /// Crops.
    pub const fn crops(&self) -> usize {
        self.open_crops + self.closed_crops
    }

    /// Crops that were measured.
    pub const fn measured(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// Probability that an open eye measures more open than a closed one.
    pub fn auc(&self) -> f64 {
        auc(&self.open, &self.closed)
    }

    /// Mean of the shares of open eyes read as open and of closed eyes read as closed, of those
    /// measured.
    pub fn balanced_accuracy(&self, closed_below: f64) -> f64 {
        balanced_accuracy(&self.open, &self.closed, closed_below)
    }

    /// Share of all crops of open eyes that were read as closed: what makes a false alert.
    pub fn open_read_closed(&self, closed_below: f64) -> f64 {
        let closed = self.open.iter().filter(|v| f64::from(**v) < closed_below).count();
        closed as f64 / self.open_crops.max(1) as f64
    }

    /// Share of all crops of closed eyes that were read as closed.
    pub fn closed_found(&self, closed_below: f64) -> f64 {
        let closed = self.closed.iter().filter(|v| f64::from(**v) < closed_below).count();
        closed as f64 / self.closed_crops.max(1) as f64
    }
}

/// Measures one crop.
pub type Measure<'a> = &'a mut dyn FnMut(&I420View<'_>) -> Result<Result<f32, NotSeen>>;

/// Measures every crop of `Open` and `Closed` in this folder; the case of the names is free.
///
/// # Errors
/// Where the crops, or the program ffmpeg, which decodes them, cannot be used.
pub fn measure(folder: &Path, measure: Measure<'_>) -> Result<Openings> {
    let mut unreadable = 0;
    let mut of = |name: &str| -> Result<(usize, Vec<f32>)> {
        let folder = subfolder(folder, name)?;
        let (mut crops, mut openings) = (0, Vec::new());
        for (ending, files) in endings(&folder)? {
            let mut pictures = decoded(&folder.join(format!("*.{ending}")), true)?;
            if pictures.len() != files.len() {
                // One bad file ends a run over many: one by one then, which takes longer.
                pictures.clear();
                for file in &files {
                    pictures.extend(decoded(file, false)?);
                }
                unreadable += files.len().saturating_sub(pictures.len());
            }
            crops += pictures.len();
            for crop in pictures {
                openings.extend(measure(&crop.view())?.ok());
            }
        }
        Ok((crops, openings))
    };
    let (open_crops, open) = of("open")?;
    let (closed_crops, closed) = of("closed")?;
    ensure!(!open.is_empty() && !closed.is_empty(), "no eye was measured");
    Ok(Openings { open, closed, open_crops, closed_crops, unreadable })
}

fn subfolder(folder: &Path, name: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let its = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_dir() && its.eq_ignore_ascii_case(name) {
            return Ok(path);
        }
    }
    bail!("`{}` has no folder `{name}`", folder.display())
}

/// The pictures in a folder, by their ending.
fn endings(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut endings = BTreeMap::<String, Vec<PathBuf>>::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = entry?.path();
        let Some(ending) = file.extension().and_then(|e| e.to_str()) else { continue };
        if PICTURES.contains(&ending.to_ascii_lowercase().as_str()) {
            endings.entry(ending.to_owned()).or_default().push(file);
        }
    }
    Ok(endings)
}

/// A picture, or all that a pattern names, made square, whatever their sizes; as many as can be
/// read.
fn decoded(files: &Path, pattern: bool) -> Result<Vec<I420Picture>> {
    let input: &[&str] =
        if pattern { &["-f", "image2", "-pattern_type", "glob"] } else { &["-f", "image2"] };
    let output = Command::new("ffmpeg")
        .args(["-v", "quiet", "-nostdin"])
        .args(input)
        .arg("-i")
        .arg(files)
        .args(["-vf", &format!("scale={CROP_PX}:{CROP_PX}"), "-pix_fmt", "yuv420p"])
        .args(["-f", "rawvideo", "-"])
        .output()
        .context("the program ffmpeg is needed to read the eye crops")?;
    let side = usize::try_from(CROP_PX)?;
    output
        .stdout
        .chunks_exact(side * side * 3 / 2)
        .map(|p| Ok(I420Picture::from_vec(CROP_PX, CROP_PX, p.to_vec())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_open_nor_closed() {
        let seen = Openings {
            open: vec![0.25, 0.05, 0.3],
            closed: vec![0.02, 0.2],
            open_crops: 4,
            closed_crops: 4,
            unreadable: 0,
        };
        assert_eq!((seen.crops(), seen.measured()), (8, 5));
        assert!((seen.open_read_closed(0.1) - 0.25).abs() < 1e-9);
        assert!((seen.closed_found(0.1) - 0.25).abs() < 1e-9);
        assert!((seen.balanced_accuracy(0.1) - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-9);
        assert!((seen.auc() - 5.0 / 6.0).abs() < 1e-9, "{}", seen.auc());
    }

    #[test]
    fn crops_of_any_size_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        for (name, luma, size) in [("Open", "white", "60x40"), ("CLOSED", "black", "33x51")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            let made = Command::new("ffmpeg")
                .args(["-v", "error", "-f", "lavfi", "-i", &format!("color={luma}:s={size}")])
                .args(["-frames:v", "1", "-y"])
                .arg(folder.path().join(name).join("a.png"))
                .status();
            if !made.is_ok_and(|s| s.success()) {
                println!("skipped: no ffmpeg");
                return;
            }
        }
        let mut light = |picture: &I420View<'_>| Ok(Ok(picture.luma_stats().mean / 1000.0));
        let seen = measure(folder.path(), &mut light).unwrap();
        assert_eq!((seen.open.len(), seen.closed.len(), seen.crops()), (1, 1, 2));
        assert!((seen.auc() - 1.0).abs() < 1e-9, "{seen:?}");
        fs::write(folder.path().join("Open/0.png"), "no picture").unwrap();
        let seen = measure(folder.path(), &mut light).unwrap();
        assert_eq!((seen.crops(), seen.unreadable), (2, 1), "{seen:?}");
        let mut blind = |_: &I420View<'_>| Ok(Err(NotSeen::BadLight));
        assert!(measure(folder.path(), &mut blind).is_err());
    }
}
