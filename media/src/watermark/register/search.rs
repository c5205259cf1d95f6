//! The search as a whole: guesses, the way through the leak, the time map, and the final alignment.

use std::{collections::HashMap, time::Duration};

use super::{
    FrameMap, Gray, Limits, Reference, RegisterError, Registration, border, check,
    features::{Features, Finder, LEAST_MATCHES, map_of, matches},
    homography::Homography,
    plane::LeakFrame,
    real,
    time_map::{Costs, Line, line_near, lines},
    track::{Fit, Templates, seconds},
};

/// Frames of the leak in which the screen is looked for.
const PROBES: usize = 10;
/// Of these, in every so manieth without features too.
const BORDERS_EVERY: usize = 3;
/// Features of a frame of the leak.
const FEATURES: i32 = 600;
/// Maps of a probe that are looked at, those with the most matches.
const MAPS: usize = 3;
/// Frames that the time map is made from.
const TIMED: usize = 60;
/// Frames are followed at most this close together, seconds.
const FOLLOWED_EVERY_S: f64 = 0.025;
/// The least likeness of a probe to go on with.
const LEAST_ALIKE: f64 = 0.15;
/// Another line, or the other way round, is tried if it is worth this part of the best.
const WORTH: f64 = 0.6;
/// Or, once each was looked at closely, if it is not less alike than the best by this.
const AS_ALIKE: f64 = 0.03;
/// Frames that are looked at closely for the time map.
const SHARPENED: usize = 20;
/// Frames of the original to both sides that each of these is laid on.
const AROUND: usize = 3;
/// Lost frames that are looked for by features again.
const FOUND_AGAIN: usize = 12;

/// Lays the leak on the original; the best way first, at most [`Limits::most`]. None where nothing
/// of the original was found.
///
/// # Errors
/// [`RegisterError`] for a leak of no frames, too many, or such as cannot be worked on.
pub fn register(
    reference: &Reference,
    leak: &[Gray],
    limits: &Limits,
) -> Result<Vec<Registration>, RegisterError> {
    check(leak)?;
    let mut search = Search {
        templates: Templates::new(reference),
        reference,
        leak,
        limits,
        finder: Finder::new(FEATURES)?,
    };
    let probes = search.probes()?;
    let best = |mirrored: bool| {
        let same = |(_, fit): &&(usize, Fit)| fit.map.is_mirrored(reference.size) == mirrored;
        probes.iter().filter(same).max_by(|a, b| a.1.alike.total_cmp(&b.1.alike)).copied()
    };
    let mut starts: Vec<(usize, Fit)> = [best(false), best(true)].into_iter().flatten().collect();
    starts.sort_by(|a, b| b.1.alike.total_cmp(&a.1.alike));
    let most_alike = starts.first().map_or(0.0, |start| start.1.alike);
    starts.retain(|start| start.1.alike >= LEAST_ALIKE.max(0.75 * most_alike));
    let mut out = Vec::new();
    for start in starts {
        out.extend(search.from(start, &probes)?);
    }
    out.retain(|found| found.quality >= limits.least_quality);
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out.truncate(limits.most.max(1));
    Ok(out)
}

struct Search<'a> {
    templates: Templates<'a>,
    reference: &'a Reference,
    leak: &'a [Gray],
    limits: &'a Limits,
    finder: Finder,
}

impl Search<'_> {
    /// The best fits of some frames of the leak, spread over it.
    fn probes(&mut self) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let count = PROBES.min(self.leak.len());
        let mut out = Vec::new();
        for probe in 0..count {
            let n = (2 * probe + 1) * self.leak.len() / (2 * count);
            let Some(gray) = self.leak.get(n) else { continue };
            let mut maps = self.maps_by_features(gray)?;
            if probe % BORDERS_EVERY == 0 || count < BORDERS_EVERY {
                maps.extend(border::guesses(gray, self.reference.size)?);
            }
            let frame = LeakFrame::new(gray)?;
            for mirrored in [false, true] {
                let mut best: Option<Fit> = None;
                for map in maps.iter().filter(|m| m.is_mirrored(self.reference.size) == mirrored) {
                    let fit = self.judged(&frame, map)?;
                    if fit.alike > best.map_or(0.0, |best| best.alike) {
                        best = Some(fit);
                    }
                }
                out.extend(best.map(|fit| (n, fit)));
            }
        }
        Ok(out)
    }

    /// By matched features, as it is and mirrored.
    fn maps_by_features(&mut self, gray: &Gray) -> Result<Vec<Homography>, RegisterError> {
        let across = f64::from(gray.width) - 1.0;
        let flip = Homography([-1.0, 0.0, across, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let ways = [
            (Homography::IDENTITY, self.finder.find(gray)?),
            (flip, self.finder.find(&flipped(gray))?),
        ];
        let keys: Vec<&Features> = self.reference.keys.iter().map(|(_, key)| key).collect();
        let mut out = Vec::new();
        for (way, features) in &ways {
            out.extend(self.maps_of(&keys, features, way, gray)?);
        }
        Ok(out)
    }

    /// The maps with the most matches among these features of the original.
    fn maps_of(
        &self,
        keys: &[&Features],
        features: &Features,
        way: &Homography,
        gray: &Gray,
    ) -> Result<Vec<Homography>, RegisterError> {
        let mut all: Vec<_> = keys.iter().map(|key| matches(key, features)).collect();
        all.retain(|pairs| pairs.len() >= LEAST_MATCHES);
        all.sort_by_key(|pairs| std::cmp::Reverse(pairs.len()));
        let mut out = Vec::new();
        for pairs in all.iter().take(MAPS) {
            if let Some((map, _)) = map_of(pairs)? {
                let map = way.after(&map);
                if map.is_plausible(self.reference.size, (gray.width, gray.height)) {
                    out.push(map);
                }
            }
        }
        Ok(out)
    }

    /// How well a guess fits, at the frame of the original where it fits best.
    fn judged(&mut self, frame: &LeakFrame, map: &Homography) -> Result<Fit, RegisterError> {
        let search = self.reference.search;
        let mut fit = Fit { map: *map, at_s: 0.0, alike: 0.0 };
        for _ in 0..2 {
            let Some(bytes) = self.templates.bytes(frame, &fit.map)? else { break };
            let at_s = self.reference.time_s(self.reference.best(&bytes).0);
            let next = self.templates.refine(frame, &fit.map, at_s, search..=search + 1)?;
            if next.alike <= fit.alike {
                break;
            }
            fit = next;
        }
        Ok(fit)
    }

    /// All registrations from one fit of one frame.
    fn from(
        &mut self,
        start: (usize, Fit),
        probes: &[(usize, Fit)],
    ) -> Result<Vec<Registration>, RegisterError> {
        let mirrored = start.1.map.is_mirrored(self.reference.size);
        let same = |(_, fit): &&(usize, Fit)| fit.map.is_mirrored(self.reference.size) == mirrored;
        let known: HashMap<usize, Fit> = probes.iter().filter(same).copied().collect();
        let (mut steps, mut last) = (Vec::new(), f64::NEG_INFINITY);
        for n in 0..self.leak.len() {
            let now = seconds(self.leak, n);
            if now - last >= FOLLOWED_EVERY_S || n == start.0 || known.contains_key(&n) {
                steps.push(n);
                last = now;
            }
        }
        let back = steps.iter().rev().copied().filter(|n| *n < start.0);
        let mut fits = self.templates.follow(self.leak, back, start, &known)?;
        fits.reverse();
        fits.push(start);
        let on = steps.iter().copied().filter(|n| *n > start.0);
        fits.extend(self.templates.follow(self.leak, on, start, &known)?);
        let lines = self.timed(&fits, self.limits.most)?;
        let best = lines.first().map_or(0.0, |line| line.cost);
        let mut judged = Vec::new();
        for line in lines.into_iter().filter(|line| line.cost <= WORTH * best) {
            judged.push(self.sharpened(&fits, line)?);
        }
        judged.sort_by(|a, b| b.1.total_cmp(&a.1));
        let most_alike = judged.first().map_or(0.0, |(_, alike)| *alike);
        let mut out = Vec::new();
        for (line, _) in judged.into_iter().filter(|(_, alike)| *alike >= most_alike - AS_ALIKE) {
            out.push(self.finished(mirrored, &fits, line)?);
        }
        Ok(out)
    }

    /// The line moved by some frames of the original to where the leak, aligned to each of them anew,
    /// is most alike, and how alike. Where the original's camera moves, a map that was found with a
    /// frame too late hides that it is too late.
    fn sharpened(
        &mut self,
        fits: &[(usize, Fit)],
        line: Line,
    ) -> Result<(Line, f64), RegisterError> {
        let (search, last) = (self.reference.search, self.reference.frames.len());
        let every = fits.len().div_ceil(SHARPENED).max(1);
        let (mut best, mut alike) = (line, 0.0);
        for _ in 0..2 {
            let line = best;
            let mut rows = Vec::new();
            let mut sum = 0.0;
            for (n, fit) in fits.iter().skip(every / 2).step_by(every) {
                let Some(gray) = self.leak.get(*n) else { continue };
                let frame = LeakFrame::new(gray)?;
                let leak_s = gray.at.as_secs_f64();
                let middle = self.reference.nearest(line.at(leak_s));
                let tried = middle.saturating_sub(AROUND)..(middle + AROUND + 1).min(last);
                let mut costs = vec![1.0; last];
                let mut most = 0.0_f64;
                for (n, cost) in costs.iter_mut().enumerate().take(tried.end).skip(tried.start) {
                    let at_s = self.reference.time_s(n);
                    let levels = search.saturating_sub(1)..=search;
                    let found = self.templates.refine(&frame, &fit.map, at_s, levels)?.alike;
                    *cost = super::narrow(1.0 - found.max(0.0));
                    most = most.max(found);
                }
                sum += most;
                rows.push(Costs { leak_s, costs, weight: most });
            }
            alike = sum / real(rows.len().max(1));
            let range = (line.at(0.0) - 0.5, line.at(0.0) + 0.5);
            let found = line_near(&rows, &self.reference.times_s, self.limits.speed_within, range);
            let Some(found) = found else { break };
            best = found;
            let moved = (best.at(0.0) - line.at(0.0)).abs();
            if moved < 0.02 {
                break;
            }
        }
        Ok((best, alike))
    }

    /// The lines through time that these fits allow.
    fn timed(&self, fits: &[(usize, Fit)], most: usize) -> Result<Vec<Line>, RegisterError> {
        let every = fits.len().div_ceil(TIMED).max(1);
        let mut rows = Vec::new();
        for (n, fit) in fits.iter().step_by(every) {
            let Some(gray) = self.leak.get(*n) else { continue };
            let Some(bytes) = self.templates.bytes(&LeakFrame::new(gray)?, &fit.map)? else {
                continue;
            };
            let (_, costs) = self.reference.best(&bytes);
            rows.push(Costs { leak_s: gray.at.as_secs_f64(), costs, weight: fit.alike.max(0.0) });
        }
        Ok(lines(&rows, &self.reference.times_s, self.limits.speed_within, most))
    }

    /// Every frame, aligned at all levels along a line.
    fn finished(
        &mut self,
        mirrored: bool,
        fits: &[(usize, Fit)],
        line: Line,
    ) -> Result<Registration, RegisterError> {
        let mut done = self.aligned(fits, &line)?;
        self.mend(&mut done, &line)?;
        let mut frames = Vec::with_capacity(done.len());
        for (n, fit) in done {
            let Some(gray) = self.leak.get(n) else { continue };
            let fit = self.snapped(gray, fit, &line)?;
            frames.push(FrameMap {
                leak: n,
                at: Duration::try_from_secs_f64(fit.at_s.max(0.0)).unwrap_or_default(),
                homography: fit.map.0,
                quality: fit.alike.clamp(0.0, 1.0),
            });
        }
        let quality =
            frames.iter().map(|frame| frame.quality).sum::<f64>() / real(self.leak.len().max(1));
        Ok(Registration { mirrored, offset_s: line.offset_s, speed: line.speed, frames, quality })
    }

    /// The fit with the frame of the original that the leak's shows, if it is not a time between two:
    /// screens and phones show a frame earlier or later than the line says.
    fn snapped(&mut self, gray: &Gray, fit: Fit, line: &Line) -> Result<Fit, RegisterError> {
        let at_s = line.at(gray.at.as_secs_f64()).clamp(0.0, self.reference.end_s());
        let fit = Fit { at_s, ..fit };
        let frame = LeakFrame::new(gray)?;
        let snapped_s = self.templates.snapped(&frame, &fit.map, at_s, 1)?;
        if self.reference.nearest(snapped_s) == self.reference.nearest(at_s) {
            return Ok(Fit { at_s: snapped_s, ..fit });
        }
        // The map was found with the other frame.
        let other = self.templates.refine(&frame, &fit.map, snapped_s, 0..=1)?;
        Ok(if other.alike > fit.alike { other } else { fit })
    }

    /// Each frame within the original's time, from the map of the nearest frame that was followed.
    fn aligned(
        &mut self,
        fits: &[(usize, Fit)],
        line: &Line,
    ) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let mut out: Vec<(usize, Fit)> = Vec::new();
        for (n, gray) in self.leak.iter().enumerate() {
            let at_s = line.at(gray.at.as_secs_f64());
            if at_s < -0.1 || at_s > self.reference.end_s() + 0.1 {
                continue;
            }
            let Some(near) = nearest(fits, n) else { continue };
            let frame = LeakFrame::new(gray)?;
            let search = self.reference.search;
            let fit = self.templates.refine(&frame, &near.map, at_s, 0..=search)?;
            out.push((n, fit));
        }
        Ok(out)
    }

    /// Frames that fit badly are tried again from what lies before and after them, and by features.
    fn mend(&mut self, done: &mut [(usize, Fit)], line: &Line) -> Result<(), RegisterError> {
        let mut qualities: Vec<f64> = done.iter().map(|(_, fit)| fit.alike).collect();
        if qualities.is_empty() {
            return Ok(());
        }
        let middle = qualities.len() / 2;
        let (_, usual, _) = qualities.select_nth_unstable_by(middle, f64::total_cmp);
        let least = 0.75 * *usual;
        let good: Vec<(usize, Fit)> =
            done.iter().filter(|(_, fit)| fit.alike >= least).copied().collect();
        let mut again = FOUND_AGAIN;
        for (n, fit) in done.iter_mut().filter(|(_, fit)| fit.alike < least) {
            let Some(gray) = self.leak.get(*n) else { continue };
            let frame = LeakFrame::new(gray)?;
            let at_s = line.at(gray.at.as_secs_f64());
            let mut maps: Vec<Homography> =
                between(&good, *n, self.reference.size).into_iter().collect();
            if let Some(left) = again.checked_sub(1) {
                again = left;
                let near = self.reference.nearest(at_s);
                let key = self.reference.keys.iter().min_by_key(|(key, _)| key.abs_diff(near));
                let keys: Vec<&Features> = key.into_iter().map(|(_, key)| key).collect();
                let features = self.finder.find(gray)?;
                maps.extend(self.maps_of(&keys, &features, &Homography::IDENTITY, gray)?);
            }
            for map in maps {
                let search = self.reference.search;
                let other = self.templates.refine(&frame, &map, at_s, 0..=search)?;
                if other.alike > fit.alike {
                    *fit = other;
                }
            }
        }
        Ok(())
    }
}

fn nearest(fits: &[(usize, Fit)], n: usize) -> Option<Fit> {
    let after = fits.partition_point(|(other, _)| *other < n);
    let near = [after.checked_sub(1).and_then(|before| fits.get(before)), fits.get(after)];
    near.into_iter().flatten().min_by_key(|(other, _)| other.abs_diff(n)).map(|(_, fit)| *fit)
}

/// The map between those of the frames before and after, corner by corner.
fn between(fits: &[(usize, Fit)], n: usize, size: (u32, u32)) -> Option<Homography> {
    let after = fits.partition_point(|(other, _)| *other < n);
    let (a, b) = (fits.get(after.checked_sub(1)?)?, fits.get(after)?);
    let part = real(n.saturating_sub(a.0)) / real(b.0.saturating_sub(a.0).max(1));
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.1.map.corners(size)?, b.1.map.corners(size)?);
    let mix = |p: (f64, f64), q: (f64, f64)| (p.0 + (q.0 - p.0) * part, p.1 + (q.1 - p.1) * part);
    let to = [mix(a0, b0), mix(a1, b1), mix(a2, b2), mix(a3, b3)];
    Homography::of_corners(super::homography::corners_of(size), to).ok()
}

/// Left and right exchanged.
fn flipped(gray: &Gray) -> Gray {
    let width = crate::rounding::index(gray.width).max(1);
    let luma = gray.luma.chunks(width).flat_map(|row| row.iter().rev().copied()).collect();
    Gray { luma, ..*gray }
}
