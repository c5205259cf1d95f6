//! Attacks with tools that everybody has on the screen: a recorder, a layout with another video, a cut to
//! portrait.

use anyhow::{Context, Result};
use temoin_media::frame::I420Picture;

use super::{
    clip::{Clip, Coding, Rate, time},
    light::{even, floor, index, level, narrow, whole},
    random::Random,
    site::{Part, cropped, paint, planes},
};

/// Refreshes of the monitor, and pictures of the recorder, a second.
const REFRESH_HZ: f64 = 60.0;
const RECORDER_HZ: f64 = 30.0;
/// A player hides its bar after so long.
const BAR_S: f64 = 3.0;

/// Recorded off the screen: in a window of any size, with the pointer in it and at first the player's
/// bar, at the recorder's own rate, and coded well.
pub(super) fn recorded(clip: &Clip, seed: u64) -> Result<Clip> {
    let mut random = Random::of(seed, "recorder");
    let (width, height) = clip.size()?;
    let scale = f64::from(random.within([0.6, 1.3]));
    let window = (even(f64::from(width) * scale), even(f64::from(height) * scale));
    let first_s = f64::from(random.part()) / RECORDER_HZ;
    let pointer = [random.within([0.1, 0.9]), random.within([0.1, 0.9])];
    let mut pictures = Vec::new();
    let mut n = 0_u32;
    while first_s + f64::from(n) / RECORDER_HZ < clip.end_s() {
        let at_s = first_s + f64::from(n) / RECORDER_HZ;
        let refresh_s = (at_s * REFRESH_HZ).floor() / REFRESH_HZ;
        let shown = clip.shown_at(refresh_s).context("the clip has no pictures")?;
        let mut picture = shown.view().resize(window.0, window.1)?;
        if at_s < BAR_S {
            bar(&mut picture, narrow(at_s / clip.end_s()));
        }
        arrow(&mut picture, pointer);
        pictures.push((time(f64::from(n) / RECORDER_HZ), picture));
        n += 1;
    }
    let coding = Coding { rate: Rate::Quality(24), shorter_side: None, ..Coding::phone(0) };
    Clip { pictures }.coded(&coding)
}

/// A player's bar with how far it has played.
fn bar(picture: &mut I420Picture, played: f32) {
    paint(picture, Part { x: 0.0, y: 0.93, w: 1.0, h: 0.07 }, |u, v| {
        let line = (0.955..0.965).contains(&v) && (0.05..0.95).contains(&u);
        Some(match (line, (u - 0.05) / 0.9 < played) {
            (true, true) => [120, 90, 220],
            (true, false) => [150, 128, 128],
            (false, _) => [30, 128, 128],
        })
    });
}

/// A mouse pointer: a white triangle.
fn arrow(picture: &mut I420Picture, [x, y]: [f32; 2]) {
    let shape = picture.width() as f32 / picture.height() as f32;
    paint(picture, Part { x, y, w: 0.03 / shape, h: 0.03 }, |u, v| {
        let (right, down) = ((u - x) * shape / 0.03, (v - y) / 0.03);
        (right > 0.0 && down > right).then_some([235, 128, 128])
    });
}

/// Shown small in a corner or in the middle of another video.
pub(super) fn in_another(clip: &Clip, seed: u64) -> Result<Clip> {
    let mut random = Random::of(seed, "another");
    let (width, height) = clip.size()?;
    // Layouts of streamers and of 'reaction' videos: the smaller picture has 40 to 65 % of the sides.
    let scale = f64::from(random.within([0.4, 0.65]));
    let (w, h) = (even(f64::from(width) * scale), even(f64::from(height) * scale));
    let free = |random: &mut Random, of: u32, side: u32| {
        whole(f64::from(of - side) * f64::from(random.within([0.03, 0.97])) / 2.0) * 2
    };
    let (x, y) = (free(&mut random, width, w), free(&mut random, height, h));
    let waves = [(); 3].map(|()| (random.within([3.0, 12.0]), random.signed([3.0, 12.0])));
    let mut pictures = Vec::with_capacity(clip.pictures.len());
    for (at, picture) in &clip.pictures {
        let small = picture.view().resize(w, h)?;
        let mut large = I420Picture::black(width, height)?;
        let t = at.as_secs_f32();
        paint(&mut large, Part::WHOLE, |u, v| {
            let [a, b, c] = waves.map(|(p, q)| (p * u + q * v + 0.7 * t).sin());
            Some([level(110.0 + 40.0 * a + 25.0 * b * c), level(128.0 + 20.0 * b), 120])
        });
        put(&mut large, &small, (x, y))?;
        pictures.push((*at, large));
    }
    Ok(Clip { pictures })
}

/// Puts a picture on another, at even places.
fn put(on: &mut I420Picture, small: &I420Picture, (x, y): (u32, u32)) -> Result<()> {
    let stride = index(on.width());
    let to = on.planes_mut();
    let each = [(to.y, 1), (to.u, 2), (to.v, 2)].into_iter().zip(planes(small));
    for ((plane, step), (width, from)) in each {
        let (x, y, stride) = (index(x) / step, index(y) / step, stride / step);
        for (row, from) in plane.chunks_exact_mut(stride).skip(y).zip(from.chunks_exact(width)) {
            let place = row.get_mut(x..x + width).context("the small picture lies outside")?;
            place.copy_from_slice(from);
        }
    }
    Ok(())
}

/// The part that is left of a portrait crop: a third of the width, all of the height.
pub(super) fn portrait_part(seed: u64) -> Part {
    let x = Random::of(seed, "portrait").within([0.0, 2.0 / 3.0]);
    Part { x, y: 0.0, w: 1.0 / 3.0, h: 1.0 }
}

/// Cut to portrait, and made large enough for a phone's screen.
pub(super) fn portrait(clip: &Clip, seed: u64) -> Result<Clip> {
    let part = portrait_part(seed);
    let mut pictures = Vec::with_capacity(clip.pictures.len());
    for (at, picture) in &clip.pictures {
        let cut = cropped(picture, part)?;
        let scale = (1280.0 / f64::from(cut.height())).max(1.0);
        let side = |side: u32| even(f64::from(side) * scale);
        pictures.push((*at, cut.view().resize(side(cut.width()), side(cut.height()))?));
    }
    Ok(Clip { pictures })
}

/// Which way viewers put their copies together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collusion {
    /// The mean of all copies, pixel by pixel.
    Average,
    /// The middle between the darkest and the brightest of each pixel.
    MinMax,
    /// Of each pixel the darkest or the brightest, by chance.
    EitherEnd,
    /// Tiles of the picture, each from one of them.
    PatchedInSpace,
    /// Stretches of time, each from one of them.
    PatchedInTime,
}

/// Tiles across and down of [`Collusion::PatchedInSpace`], and length of a stretch of
/// [`Collusion::PatchedInTime`]: own choice, about what a person would cut.
const TILES: (usize, usize) = (4, 3);
const STRETCH_S: f32 = 1.0;

impl Collusion {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Average, Self::MinMax, Self::EitherEnd, Self::PatchedInSpace, Self::PatchedInTime];

    /// Its name, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::MinMax => "min-max",
            Self::EitherEnd => "either-end",
            Self::PatchedInSpace => "patched-in-space",
            Self::PatchedInTime => "patched-in-time",
        }
    }
}

/// One clip of several viewers' copies of the same clip. It is neither filmed nor uploaded yet:
/// [`super::Attack`] does that.
///
/// # Errors
/// Where there is no copy, or they differ in size or number of pictures.
pub fn collude(copies: &[Clip], how: Collusion, seed: u64) -> Result<Clip> {
    let first = copies.first().context("there is no copy")?;
    let size = first.size()?;
    for copy in copies {
        anyhow::ensure!(
            copy.size()? == size && copy.pictures.len() == first.pictures.len(),
            "copies of one clip have one size and as many pictures"
        );
    }
    let mut random = Random::of(seed, "collusion");
    let tiles: Vec<usize> = (0..TILES.0 * TILES.1).map(|_| random.below(copies.len())).collect();
    let from = random.below(copies.len());
    let mut pictures = Vec::with_capacity(first.pictures.len());
    for (n, (at, _)) in first.pictures.iter().enumerate() {
        let all: Vec<&I420Picture> =
            copies.iter().filter_map(|c| Some(&c.pictures.get(n)?.1)).collect();
        let picture = match how {
            Collusion::Average => by_pixel(&all, |values| {
                let sum: u32 = values.iter().map(|v| u32::from(*v)).sum();
                level(sum as f32 / values.len() as f32)
            })?,
            Collusion::MinMax => by_pixel(&all, |values| {
                let (low, high) = ends(values);
                low.midpoint(high)
            })?,
            Collusion::EitherEnd => by_pixel(&all, |values| {
                let (low, high) = ends(values);
                if random.bits() & 1 == 0 { low } else { high }
            })?,
            Collusion::PatchedInSpace => patched(&all, &tiles)?,
            Collusion::PatchedInTime => {
                let stretch = floor(at.as_secs_f32() / STRETCH_S);
                let of = (from + stretch) % copies.len();
                (*all.get(of).context("there is no copy")?).clone()
            }
        };
        pictures.push((*at, picture));
    }
    Ok(Clip { pictures })
}

fn ends(values: &[u8]) -> (u8, u8) {
    (values.iter().copied().min().unwrap_or(0), values.iter().copied().max().unwrap_or(0))
}

fn by_pixel(all: &[&I420Picture], mut pick: impl FnMut(&[u8]) -> u8) -> Result<I420Picture> {
    let first = all.first().context("there is no copy")?;
    let mut values = vec![0; all.len()];
    let mut data = Vec::with_capacity(first.data().len());
    for n in 0..first.data().len() {
        for (to, picture) in values.iter_mut().zip(all) {
            *to = picture.data().get(n).copied().unwrap_or_default();
        }
        data.push(pick(&values));
    }
    Ok(I420Picture::from_vec(first.width(), first.height(), data)?)
}

fn patched(all: &[&I420Picture], tiles: &[usize]) -> Result<I420Picture> {
    let first = all.first().context("there is no copy")?;
    let each: Vec<[(usize, &[u8]); 3]> = all.iter().map(|p| planes(p)).collect();
    let mut data = Vec::with_capacity(first.data().len());
    for (k, (width, plane)) in planes(first).into_iter().enumerate() {
        let height = plane.len() / width;
        for n in 0..plane.len() {
            let (x, y) = (n % width, n / width);
            let tile = y * TILES.1 / height * TILES.0 + x * TILES.0 / width;
            let copy = tiles.get(tile).and_then(|of| each.get(*of)?.get(k)?.1.get(n));
            data.push(copy.copied().unwrap_or_default());
        }
    }
    Ok(I420Picture::from_vec(first.width(), first.height(), data)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    fn copies() -> Vec<Clip> {
        let of = |add: u8| {
            let mut clip = street(64, 36, 50, 25.0);
            for (_, picture) in &mut clip.pictures {
                picture.planes_mut().y.iter_mut().for_each(|p| *p += add);
            }
            clip
        };
        vec![of(0), of(1), of(6)]
    }

    /// What was added to the first copy, of the luma of a picture.
    fn added(clip: &Clip, n: usize) -> Vec<u8> {
        let own = street(64, 36, 50, 25.0);
        let pairs = clip.pictures[n].1.view().luma().iter().zip(own.pictures[n].1.view().luma());
        pairs.map(|(a, b)| a - b).collect()
    }

    #[test]
    fn each_collusion_is_what_it_is_called() {
        let copies = copies();
        for (how, allowed) in [
            (Collusion::Average, &[2][..]),
            (Collusion::MinMax, &[3]),
            (Collusion::EitherEnd, &[0, 6]),
            (Collusion::PatchedInSpace, &[0, 1, 6]),
            (Collusion::PatchedInTime, &[0, 1, 6]),
        ] {
            let clip = collude(&copies, how, 4).unwrap();
            clip.check().unwrap();
            assert_eq!(clip, collude(&copies, how, 4).unwrap());
            let mut seen: Vec<u8> = (0..50).flat_map(|n| added(&clip, n)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.iter().all(|a| allowed.contains(a)), "{}: {seen:?}", how.name());
            assert!(seen.len() >= allowed.len().min(2), "{}: {seen:?}", how.name());
        }
        let stretches = collude(&copies, Collusion::PatchedInTime, 1).unwrap();
        assert!(added(&stretches, 3).windows(2).all(|w| w[0] == w[1]));
        assert_ne!(added(&stretches, 3), added(&stretches, 30));
        assert!(collude(&[], Collusion::Average, 1).is_err());
        assert!(
            collude(&[street(64, 36, 2, 9.0), street(64, 36, 3, 9.0)], Collusion::Average, 1)
                .is_err()
        );
    }

    #[test]
    fn a_recorder_has_its_own_rate_and_size() {
        let clip = street(96, 54, 6, 12.0);
        let leak = recorded(&clip, 2).unwrap();
        leak.check().unwrap();
        assert!((leak.mean_fps() - RECORDER_HZ).abs() < 0.1);
        assert!((13..=16).contains(&leak.pictures.len()), "{}", leak.pictures.len());
        assert_ne!(leak.size().unwrap(), clip.size().unwrap());
    }

    #[test]
    fn in_another_video_it_is_whole_and_small() {
        let clip = street(160, 90, 2, 12.0);
        let leak = in_another(&clip, 2).unwrap();
        assert_eq!(leak.size().unwrap(), (160, 90));
        let small = |n: usize| clip.pictures[n].1.clone();
        assert_ne!(leak.pictures[0].1, small(0));
        assert_ne!(leak, in_another(&clip, 3).unwrap());
    }

    #[test]
    fn portrait_is_a_third_of_the_width() {
        let clip = street(96, 54, 2, 12.0);
        let leak = portrait(&clip, 2).unwrap();
        let (width, height) = leak.size().unwrap();
        assert_eq!(height, 1280);
        assert!(width.abs_diff(1280 * 32 / 54) <= 2, "{width}");
    }
}
