//! A recording, marked as its viewers have it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use temoin_media::{
    frame::I420Picture,
    watermark::{
        Embedder, Grid,
        detect::Evidence,
        register::Gray,
        residual::{Luma, residual_of_itself},
    },
};
use temoin_proto::sealed::TrackName;

use super::{BOUND, LONGEST, Length, PLAIN_KBIT, VIEW, WORKING, key};
use crate::{
    attacks::{
        Attack, Clip, Severity, clip,
        clip::{Coding, Rate},
    },
    peers::{self, Plane},
};

/// What the other mark says.
const PEER_PAYLOAD: u64 = 0x5eed_cafe_0123_4567;

/// A recording, marked with the view's key, as its viewer has it.
pub(super) struct Scene {
    pub(super) name: String,
    pub(super) original: Clip,
    pub(super) copy: Clip,
    pub(super) psnr_db: Vec<f64>,
}

impl Scene {
    /// Reads a recording and marks it.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let whole = Clip::read(path)?;
        let original = clip::cut(&whole, Duration::ZERO, LONGEST);
        let marked = marked(&original, 0)?;
        let pairs = original.pictures.iter().zip(&marked.pictures);
        let psnr_db = pairs.map(|((_, before), (_, after))| psnr(before, after)).collect();
        let copy = marked.coded(&VIEW)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("clip").to_owned();
        Ok(Self { name, original, copy, psnr_db })
    }

    /// A part of the viewer's copy, filmed. The seed says where it begins.
    pub(super) fn leak(&self, severity: Severity, length: Length, seed: u64) -> Result<Clip> {
        filmed(&self.copy, severity, length, seed)
    }

    /// Whether the blind mark of another kind is found in the same leak, and the part of its bits that
    /// are wrong.
    pub(super) fn peer(&self, severity: Severity, length: Length) -> Result<(bool, f64)> {
        let mut marked = self.original.clone();
        for (_, picture) in &mut marked.pictures {
            peers::embed(picture, Plane::Luma, PEER_PAYLOAD);
        }
        let leak = filmed(&marked.coded(&VIEW)?, severity, length, 0)?;
        let read = peers::read(&leak, self.original.size()?, Plane::Luma)?;
        Ok((read.finds(PEER_PAYLOAD, BOUND), read.bit_errors(PEER_PAYLOAD)))
    }
    /// The copies of so many viewers, the first of them this one's.
    pub(super) fn copies(&self, viewers: u128) -> Result<Vec<Clip>> {
        let others = (1..viewers).map(|view| marked(&self.original, view)?.coded(&VIEW));
        std::iter::once(Ok(self.copy.clone())).chain(others).collect()
    }

    /// How well the mark is found in a plain re-encode without the original, as the unit's is.
    pub(super) fn plain_unit_z(&self) -> Result<f64> {
        let coding = Coding { rate: Rate::Kbit(PLAIN_KBIT), shorter_side: None, ..Coding::site(0) };
        let plain = grays(&self.copy.coded(&coding)?, Some(WORKING))?;
        let first = plain.first().context("no pictures")?;
        let grid = Grid::of(first.width, first.height);
        let (width, height) = (usize::try_from(first.width)?, usize::try_from(first.height)?);
        let seen = vec![true; width * height];
        let mut evidence = Evidence::new(grid);
        for gray in &plain {
            let luma: Vec<f32> = gray.luma.iter().map(|y| f32::from(*y)).collect();
            let luma = Luma { width, height, luma: &luma };
            if let Some(left) = residual_of_itself(grid, luma, &seen) {
                evidence.add(gray.at, &left);
            }
        }
        Ok(evidence.finish().z(&key(0).signs(TrackName::Road)))
    }
}

fn filmed(copy: &Clip, severity: Severity, length: Length, seed: u64) -> Result<Clip> {
    let whole_s = copy.end_s();
    let part = match length {
        Length::Full => return Attack::Camcord(severity).apply(copy, seed),
        Length::Three => 3.0,
        Length::Six => 6.0,
    };
    let from_s = (whole_s - part).max(0.0) * (seed % 4) as f64 / 3.0_f64.max(seed as f64);
    let (from, part) = (Duration::from_secs_f64(from_s), Duration::from_secs_f64(part));
    Attack::Camcord(severity).apply(&clip::cut(copy, from, part), seed)
}

/// The clip with a view's mark.
fn marked(clip: &Clip, view: u128) -> Result<Clip> {
    let (width, height) = clip.size()?;
    let mut embedder = Embedder::new(&key(view), TrackName::Road, width, height);
    let mut marked = clip.clone();
    for (at, picture) in &mut marked.pictures {
        embedder.mark(picture, *at);
    }
    Ok(marked)
}

/// Luma alone, scaled so that the shorter side is this.
pub(super) fn grays(clip: &Clip, shorter: Option<u32>) -> Result<Vec<Gray>> {
    let (width, height) = clip.size()?;
    let even = |side: u32, wanted: u32| (side * wanted / width.min(height)).max(2) / 2 * 2;
    let size =
        shorter.map_or((width, height), |wanted| (even(width, wanted), even(height, wanted)));
    clip.pictures
        .iter()
        .map(|(at, picture)| {
            let scaled = picture.view().resize(size.0, size.1)?;
            let luma = scaled.view().luma().to_vec();
            Ok(Gray { width: size.0, height: size.1, luma, at: *at })
        })
        .collect()
}

fn psnr(a: &I420Picture, b: &I420Picture) -> f64 {
    let pairs = a.view().luma().iter().zip(b.view().luma());
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in pairs {
        sum += f64::from(a.abs_diff(*b)).powi(2);
        n += 1.0;
    }
    10.0 * (255.0_f64.powi(2) / (sum / n)).log10()
}
