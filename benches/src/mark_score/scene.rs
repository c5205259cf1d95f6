//! A recording, marked as its viewers have it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use temoin_media::{
    burn_in::ViewMark,
    watermark::{
        Embedder, Grid,
        detect::Evidence,
        register::Gray,
        residual::{Luma, residual_of_itself},
    },
};
use temoin_proto::{ids::ViewId, sealed::TrackName, time::WallTime};

use super::{
    BOUND, LONGEST, Length, PLAIN_KBIT, VIEW, WORKING, find, key,
    likeness::{Curve, Loss, decibels, mse, rate_kbit, ssim},
};
use crate::{
    attacks::{Attack, Clip, clip, clip::Coding, random::Random, site::Part},
    peers::{self, Plane},
};

/// What the other mark says.
const PEER_PAYLOAD: u64 = 0x5eed_cafe_0123_4567;

/// A recording, marked with the view's key, as its viewer has it.
pub(super) struct Scene {
    pub(super) name: String,
    pub(super) original: Clip,
    pub(super) copy: Clip,
    /// What a unit keeps of it for the search.
    pub(super) fingerprint: Vec<u8>,
    /// With the mark, not coded yet.
    marked: Clip,
}

/// How far marked pictures are from unmarked ones.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) psnr_db: Vec<f64>,
    pub(super) ssim: Vec<f64>,
}

impl Scene {
    /// Reads a recording and marks it; made smaller first, so that its shorter side has so many pixels,
    /// where that is given. None where it is not larger.
    pub(super) fn of(path: &Path, shorter: Option<u32>) -> Result<Option<Self>> {
        let whole = Clip::read(path)?;
        let mut original = clip::cut(&whole, Duration::ZERO, LONGEST);
        let (width, height) = original.size()?;
        if let Some(wanted) = shorter {
            if wanted >= width.min(height) {
                return Ok(None);
            }
            for (_, picture) in &mut original.pictures {
                let size = smaller((width, height), wanted);
                *picture = picture.view().resize(size.0, size.1)?;
            }
        }
        let marked = marked(&original, 0)?;
        let copy = marked.coded(&VIEW)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("clip").to_owned();
        let fingerprint = find::fingerprint(&original)?;
        Ok(Some(Self { name, original, copy, fingerprint, marked }))
    }

    /// Pixels along the shorter side.
    pub(super) fn shorter_side(&self) -> Result<u32> {
        let (width, height) = self.original.size()?;
        Ok(width.min(height))
    }

    /// How far the marked pictures are from the unmarked ones, before coding.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        for ((_, before), (_, after)) in self.original.pictures.iter().zip(&self.marked.pictures) {
            seen.psnr_db.push(decibels(mse(before, after)));
            seen.ssim.push(ssim(before, after));
        }
        seen
    }

    /// What the mark costs the portal's coder: in the mean over its qualities, and at the rate that a view
    /// without the mark has.
    pub(super) fn coding_loss(&self) -> Result<[Loss; 2]> {
        let plain = Curve::of(&self.original, &self.original)?;
        let own = Curve::of(&self.marked, &self.marked)?;
        let original = Curve::of(&self.marked, &self.original)?;
        let (_, bytes) = self.original.coded_with_size(&VIEW)?;
        let of_view = rate_kbit(bytes, &self.original).log10();
        let at_view = plain.decibels_at(of_view);
        Ok([
            Loss { own_db: plain.above(&own), original_db: plain.above(&original) },
            Loss {
                own_db: at_view - own.decibels_at(of_view),
                original_db: at_view - original.decibels_at(of_view),
            },
        ])
    }

    /// What becomes of the viewer's copy.
    pub(super) fn leak(&self, attack: Attack, seed: u64) -> Result<Clip> {
        attack.apply(&self.copy, seed)
    }

    /// Whether the blind mark of another kind is found in the same leak, and the part of its bits that
    /// are wrong.
    pub(super) fn blind_peer(&self, attack: Attack) -> Result<(bool, f64)> {
        let mut marked = self.original.clone();
        for (_, picture) in &mut marked.pictures {
            peers::embed(picture, Plane::Luma, PEER_PAYLOAD);
        }
        let leak = attack.apply(&marked.coded(&VIEW)?, 0)?;
        let read = peers::read(&leak, self.original.size()?, Plane::Luma)?;
        Ok((read.finds(PEER_PAYLOAD, BOUND), read.bit_errors(PEER_PAYLOAD)))
    }

    /// Whether a visible mark that stands in a corner, and one that moves as the portal's does, is whole in
    /// the leak's picture: that one at some time.
    pub(super) fn visible_peers(&self, attack: Attack, seed: u64) -> Result<(bool, bool)> {
        let size = self.original.size()?;
        let (width, height) = size;
        let view = ViewId::from_bytes(u128::from(seed).to_be_bytes());
        let began = WallTime { unix_ms: 0, uncertainty_ms: 0 };
        let moving = ViewMark::new(&view, "Sam Ortiz", began, width, height)?;
        let at = |left: u32, top: u32| {
            let (w, h) = moving.size();
            let part = |pixels: u32, of: u32| pixels as f32 / of as f32;
            Part {
                x: part(left, width),
                y: part(top, height),
                w: part(w, width),
                h: part(h, height),
            }
        };
        let (w, h) = moving.size();
        let corner = at(width.saturating_sub(w), height.saturating_sub(h));
        let fixed = attack.shows(corner, size, seed);
        let moved = self.original.pictures.iter().any(|(time, _)| {
            let (left, top) = moving.place(*time, &[]);
            attack.shows(at(left, top), size, seed)
        });
        Ok((fixed, moved))
    }

    /// The copies of so many viewers, the first of them this one's.
    pub(super) fn copies(&self, viewers: u128) -> Result<Vec<Clip>> {
        let others = (1..viewers).map(|view| marked(&self.original, view)?.coded(&VIEW));
        std::iter::once(Ok(self.copy.clone())).chain(others).collect()
    }

    /// How well the mark is found in a plain re-encode without the original, as the unit's is.
    pub(super) fn plain_unit_z(&self) -> Result<f64> {
        let coding = Coding { shorter_side: None, ..Coding::site(PLAIN_KBIT) };
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

/// What is left of a leak when it is trimmed; the seed says where it begins.
pub(super) fn trimmed(leak: &Clip, length: Length, seed: u64) -> Clip {
    let part_s = match length {
        Length::Full => return leak.clone(),
        Length::Three => 3.0,
        Length::Six => 6.0,
    };
    let from_s =
        (leak.end_s() - part_s).max(0.0) * f64::from(Random::of(seed, length.name()).part());
    clip::cut(leak, Duration::from_secs_f64(from_s), Duration::from_secs_f64(part_s))
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
    let size = shorter.map_or((width, height), |wanted| smaller((width, height), wanted));
    clip.pictures
        .iter()
        .map(|(at, picture)| {
            let scaled = picture.view().resize(size.0, size.1)?;
            let luma = scaled.view().luma().to_vec();
            Ok(Gray { width: size.0, height: size.1, luma, at: *at })
        })
        .collect()
}

/// The same shape with so many pixels along the shorter side, both sides even.
fn smaller((width, height): (u32, u32), shorter: u32) -> (u32, u32) {
    let even = |side: u32| (side * shorter / width.min(height)).max(2) / 2 * 2;
    (even(width), even(height))
}
