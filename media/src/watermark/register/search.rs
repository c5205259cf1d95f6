//! The search as a whole: guesses, the way through the leak, the time map, and the final alignment.

use std::{collections::HashMap, time::Duration};

use super::{
    FrameMap, Gray, Limits, Reference, RegisterError, Registration, border, check,
    features::{Features, Finder, LEAST_MATCHES, map_of, matches},
    homography::Homography,
    plane::LeakFrame,
    real,
    refine::shared,
    time_map::{Costs, Line, line_near, lines},
    track::{Fit, Templates, seconds},
};

/// Frames of the leak in which the screen is looked for.
const PROBES: usize = 10;
/// After so many of them the rest is not looked at if it went well so far.
const SURE_AFTER: usize = 5;
/// A probe that is so alike was found,
const CLEARLY_ALIKE: f64 = 0.45;
/// if the other way round is at most this part as alike: a road is like its mirror image.
const MUCH_BETTER: f64 = 0.75;
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
/// Two frames' maps agree if their corners are this close, part of the leak's longer side: hands shake.
const AGREED: f64 = 0.08;
/// How far a guess may be bent to fit, of half of the longer side. Own choice: validate.
const GUESS_BEND: Option<f64> = Some(0.05);
/// Another line, or the other way round, is tried if it is worth this part of the best.
const WORTH: f64 = 0.45;
/// Or, once each was looked at closely, if it is not less alike than the best by this.
const AS_ALIKE: f64 = 0.03;
/// Frames that are looked at closely for the time map.
const SHARPENED: usize = 12;
/// Frames of the original to both sides that each of these is laid on.
const AROUND: usize = 5;
/// How often the line is moved and looked at anew, at each of two levels.
const CLIMBS: usize = 5;
/// It stays if it moves by less, seconds.
const STILL_S: f64 = 0.06;
/// How far a frame's map bends away from that of the frames around: a pixel of 640. Own choice:
/// validate.
const BEND: Option<f64> = Some(0.003);
/// Frames that a correction is shared by.
const SHARING: usize = 24;
/// Samples that are in the mean at least this part as alike as the best of them were found alike well.
/// Own choice: validate.
const EVEN: f64 = 0.75;
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
    let leak_size = check(leak)?;
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
        let all: Vec<(usize, Fit)> = probes.iter().filter(same).copied().collect();
        most_agreed(&all, reference.size, leak_size)
    };
    let mut starts: Vec<(usize, Fit)> = [best(false), best(true)].into_iter().flatten().collect();
    starts.sort_by(|a, b| b.1.alike.total_cmp(&a.1.alike));
    let most_alike = starts.first().map_or(0.0, |start| start.1.alike);
    starts.retain(|start| start.1.alike >= LEAST_ALIKE.max(0.75 * most_alike));
    let mut judged = Vec::new();
    let mut ways = Vec::new();
    for start in starts {
        let fits = search.followed(start, &probes)?;
        judged.extend(search.judged_lines(&fits)?.into_iter().map(|line| (ways.len(), line)));
        ways.push((start.1.map.is_mirrored(reference.size), fits));
    }
    judged.sort_by(|a, b| b.1.alike.total_cmp(&a.1.alike));
    let most_alike = judged.first().map_or(0.0, |(_, judged)| judged.alike);
    judged.retain(|(_, judged)| judged.alike >= most_alike - AS_ALIKE);
    let mut out = Vec::new();
    for (way, judged) in judged.into_iter().take(limits.most.max(1)) {
        if let Some((mirrored, fits)) = ways.get(way) {
            out.push(search.finished(*mirrored, fits, &judged)?);
        }
    }
    out.retain(|found| found.quality >= limits.least_quality);
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    Ok(out)
}

/// A line that was looked at closely.
struct Judged {
    line: Line,
    /// How alike the leak is along it.
    alike: f64,
    /// Some frames' fits along it.
    samples: Vec<(usize, Fit)>,
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
        let mut out: Vec<(usize, Fit)> = Vec::new();
        // Every other first, so that what is seen early is seen all over the leak.
        let order = (0..count).step_by(2).chain((1..count).step_by(2));
        for (turn, probe) in order.enumerate() {
            if turn >= SURE_AFTER && is_sure(&out, turn) {
                break;
            }
            let n = (2 * probe + 1) * self.leak.len() / (2 * count);
            let Some(gray) = self.leak.get(n) else { continue };
            let mut maps = self.maps_by_features(gray)?;
            if turn % BORDERS_EVERY == 0 {
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
            let next =
                self.templates.refine(frame, &fit.map, at_s, search..=search + 1, GUESS_BEND)?;
            if next.alike <= fit.alike {
                break;
            }
            fit = next;
        }
        Ok(fit)
    }

    /// The fits of all frames, from that of one.
    fn followed(
        &mut self,
        start: (usize, Fit),
        probes: &[(usize, Fit)],
    ) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let mirrored = start.1.map.is_mirrored(self.reference.size);
        let same = |(_, fit): &&(usize, Fit)| fit.map.is_mirrored(self.reference.size) == mirrored;
        let known: HashMap<usize, Fit> = probes.iter().filter(same).copied().collect();
        self.followed_along(start, &known, None)
    }

    /// The same, along a line through time where one is known. `known` are taken up where they are better.
    fn followed_along(
        &mut self,
        start: (usize, Fit),
        known: &HashMap<usize, Fit>,
        line: Option<&Line>,
    ) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let (mut steps, mut last) = (Vec::new(), f64::NEG_INFINITY);
        for n in 0..self.leak.len() {
            let now = seconds(self.leak, n);
            if now - last >= FOLLOWED_EVERY_S || n == start.0 || known.contains_key(&n) {
                steps.push(n);
                last = now;
            }
        }
        let back = steps.iter().rev().copied().filter(|n| *n < start.0);
        let mut fits = self.templates.follow(self.leak, back, start, known, line)?;
        fits.reverse();
        fits.push(start);
        let on = steps.iter().copied().filter(|n| *n > start.0);
        fits.extend(self.templates.follow(self.leak, on, start, known, line)?);
        Ok(fits)
    }

    /// The lines through time that these fits allow, looked at closely, and how alike the leak is.
    fn judged_lines(&mut self, fits: &[(usize, Fit)]) -> Result<Vec<Judged>, RegisterError> {
        let lines = self.timed(fits, self.limits.most)?;
        let best = lines.first().map_or(0.0, |line| line.cost);
        let mut judged: Vec<Judged> = Vec::new();
        for line in lines.into_iter().filter(|line| line.cost <= WORTH * best) {
            let next = self.sharpened(fits, line)?;
            // Two may climb to the same.
            if judged.iter().all(|other| (other.line.offset_s - next.line.offset_s).abs() > 0.1) {
                judged.push(next);
            }
        }
        Ok(judged)
    }

    /// The line moved to where the leak, aligned anew to each of the frames around it, is most alike,
    /// and how alike. Where the original's camera moves, a map that was found with a frame too late
    /// hides that it is too late: a road ahead looks like a larger one of before. So the map is
    /// carried along from frame to frame.
    fn sharpened(&mut self, fits: &[(usize, Fit)], line: Line) -> Result<Judged, RegisterError> {
        let every = fits.len().div_ceil(SHARPENED).max(1);
        let mut samples: Vec<(usize, Fit)> =
            fits.iter().skip(every / 2).step_by(every).copied().collect();
        let search = self.reference.search;
        let (mut best, mut alike) = (line, 0.0);
        for level in [search, search.saturating_sub(1)] {
            for _ in 0..CLIMBS {
                let mut rows = Vec::new();
                for (n, fit) in &mut samples {
                    if let Some(gray) = self.leak.get(*n) {
                        rows.push(self.around(gray, fit, &best, level)?);
                    }
                }
                alike = rows.iter().map(|row| row.weight).sum::<f64>() / real(rows.len().max(1));
                // What does not look like it in small will not in large.
                if alike < self.limits.least_quality {
                    return Ok(Judged { line: best, alike, samples });
                }
                let range = (best.offset_s - 1.0, best.offset_s + 1.0);
                let within = self.limits.speed_within;
                let Some(found) = line_near(&rows, &self.reference.times_s, within, range) else {
                    break;
                };
                let moved = samples.iter().map(|(n, _)| {
                    let leak_s = seconds(self.leak, *n);
                    (found.at(leak_s) - best.at(leak_s)).abs()
                });
                let moved = moved.fold(0.0, f64::max);
                best = found;
                if moved < STILL_S {
                    break;
                }
            }
        }
        Ok(Judged { line: best, alike, samples })
    }

    /// How badly a frame of the leak fits those around the line, each with a map of its own; the best
    /// is left in `fit`.
    fn around(
        &mut self,
        gray: &Gray,
        fit: &mut Fit,
        line: &Line,
        level: usize,
    ) -> Result<Costs, RegisterError> {
        let count = self.reference.frames.len();
        let frame = LeakFrame::new(gray)?;
        let leak_s = gray.at.as_secs_f64();
        let middle = self.reference.nearest(line.at(leak_s));
        // From the frame that the map belongs to, to the line's, if they are close.
        let own = self.reference.nearest(fit.at_s);
        let begin = if own.abs_diff(middle) <= 2 * AROUND { own } else { middle };
        let first = middle.saturating_sub(AROUND).min(begin);
        let end = (middle + AROUND + 1).max(begin + 1).min(count);
        let mut costs = vec![1.0_f32; count];
        let mut best = Fit { alike: 0.0, ..*fit };
        let up: Vec<usize> = (begin..end).collect();
        let down: Vec<usize> = (first..begin).rev().collect();
        let mut at_begin = fit.map;
        for way in [up, down] {
            let mut map = at_begin;
            for n in way {
                let found = self.templates.refine(
                    &frame,
                    &map,
                    self.reference.time_s(n),
                    level..=level,
                    BEND,
                )?;
                if found.alike > 0.0 {
                    map = found.map;
                }
                if n == begin {
                    at_begin = map;
                }
                if let Some(cost) = costs.get_mut(n) {
                    *cost = super::narrow(1.0 - found.alike.max(0.0));
                }
                if found.alike > best.alike {
                    best = found;
                }
            }
        }
        *fit = best;
        Ok(Costs { leak_s, costs, weight: best.alike })
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

    /// The fits as the samples show that they should be at the right time, and then with the one
    /// correction that is best for all.
    fn corrected(
        &mut self,
        fits: &[(usize, Fit)],
        judged: &Judged,
    ) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let mut out = fits.to_vec();
        for (n, fit) in &mut out {
            let Some((m, sample)) = nearest(&judged.samples, *n) else { continue };
            let Some((_, before)) = nearest(fits, m) else { continue };
            if let Some(back) = before.map.inverse() {
                fit.map = fit.map.after(&back.after(&sample.map));
            }
        }
        let every = out.len().div_ceil(SHARING).max(1);
        let search = self.reference.search;
        for level in [search, search.saturating_sub(1)] {
            let mut frames = Vec::new();
            for (n, fit) in out.iter().step_by(every) {
                let Some(gray) = self.leak.get(*n) else { continue };
                let shown = self.reference.nearest(judged.line.at(gray.at.as_secs_f64()));
                frames.push((self.templates.get(level, shown)?, LeakFrame::new(gray)?, fit.map));
            }
            if let Some(correction) = shared(&frames)? {
                for (_, fit) in &mut out {
                    fit.map = fit.map.after(&correction);
                }
            }
        }
        Ok(out)
    }

    /// Followed from the sample that lies best, where most lie worse; `None` where they are alike. The
    /// screen hardly moves: where it is in one frame tells where it is in all, once their times are known.
    fn followed_anew(
        &mut self,
        judged: &Judged,
    ) -> Result<Option<Vec<(usize, Fit)>>, RegisterError> {
        let best = judged.samples.iter().max_by(|a, b| a.1.alike.total_cmp(&b.1.alike));
        match best.copied() {
            Some(best) if judged.alike < EVEN * best.1.alike => {
                let known = judged.samples.iter().copied().collect();
                self.followed_along(best, &known, Some(&judged.line)).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Every frame, aligned at all levels along a line.
    fn finished(
        &mut self,
        mirrored: bool,
        fits: &[(usize, Fit)],
        judged: &Judged,
    ) -> Result<Registration, RegisterError> {
        let line = judged.line;
        let fits = match self.followed_anew(judged)? {
            Some(better) => better,
            None => self.corrected(fits, judged)?,
        };
        let mut done = self.aligned(&fits, &line)?;
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
        let other = self.templates.refine(&frame, &fit.map, snapped_s, 0..=1, BEND)?;
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
            let Some((_, near)) = nearest(fits, n) else { continue };
            let frame = LeakFrame::new(gray)?;
            let search = self.reference.search;
            let fit = self.templates.refine(&frame, &near.map, at_s, 0..=search, BEND)?;
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
                let other = self.templates.refine(&frame, &map, at_s, 0..=search, BEND)?;
                if other.alike > fit.alike {
                    *fit = other;
                }
            }
        }
        Ok(())
    }
}

/// The most alike of those that most others agree with: a flat sky lets a single frame's map slant as
/// it likes.
fn most_agreed(fits: &[(usize, Fit)], size: (u32, u32), leak: (u32, u32)) -> Option<(usize, Fit)> {
    let near = AGREED * f64::from(leak.0.max(leak.1));
    let score = |fit: &Fit| {
        let agree = fits.iter().filter(|(_, other)| other.map.distance(&fit.map, size) < near);
        fit.alike * agree.map(|(_, other)| other.alike).sum::<f64>()
    };
    fits.iter().max_by(|a, b| score(&a.1).total_cmp(&score(&b.1))).copied()
}

/// Whether most of so many probes were found clearly, one way round much better than the other.
fn is_sure(fits: &[(usize, Fit)], turns: usize) -> bool {
    let clear = |(n, fit): &&(usize, Fit)| {
        let others = fits.iter().filter(|(other, _)| other == n);
        let better = others.filter(|(_, other)| other.alike > MUCH_BETTER * fit.alike).count();
        fit.alike >= CLEARLY_ALIKE && better == 1
    };
    fits.iter().filter(clear).count() * 4 >= turns * 3
}

fn nearest(fits: &[(usize, Fit)], n: usize) -> Option<(usize, Fit)> {
    let after = fits.partition_point(|(other, _)| *other < n);
    let near = [after.checked_sub(1).and_then(|before| fits.get(before)), fits.get(after)];
    near.into_iter().flatten().min_by_key(|(other, _)| other.abs_diff(n)).copied()
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

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
