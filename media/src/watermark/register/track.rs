//! Follows the screen through the leak, frame by frame, from one frame in which it was found.

use std::{collections::HashMap, rc::Rc};

use super::{
    Gray, Reference, RegisterError,
    homography::Homography,
    plane::LeakFrame,
    refine::{LEAST_SEEN, Template, refine_through},
    time_map::Line,
};

/// Templates that are kept: both neighbours of a frame at each level.
const KEPT: usize = 32;
/// Another frame of the original is taken for a better one if its cost is below this part.
const BETTER: f32 = 0.97;
/// How far the screen bends from one frame to the next: a third of a pixel of 640. Own choice:
/// validate.
const BEND: Option<f64> = Some(0.001);
/// A frame that is less alike than this part of those before is lost.
const LOST: f64 = 0.6;

/// The original's templates, made when they are wanted.
pub(super) struct Templates<'a> {
    pub(super) reference: &'a Reference,
    made: HashMap<(usize, usize), Rc<Template>>,
}

/// A frame of the leak on a frame of the original.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) map: Homography,
    /// The original's time, seconds.
    pub(super) at_s: f64,
    /// How alike, -1 to 1.
    pub(super) alike: f64,
}

impl<'a> Templates<'a> {
    pub(super) fn new(reference: &'a Reference) -> Self {
        Self { reference, made: HashMap::new() }
    }

    /// Of a frame at a level.
    pub(super) fn get(
        &mut self,
        level: usize,
        frame: usize,
    ) -> Result<Rc<Template>, RegisterError> {
        if let Some(made) = self.made.get(&(level, frame)) {
            return Ok(Rc::clone(made));
        }
        if self.made.len() >= KEPT {
            self.made.clear();
        }
        let gray = self.reference.frames.get(frame).ok_or(RegisterError::NoFrames)?;
        let size = self.reference.levels.get(level).ok_or(RegisterError::NoFrames)?;
        let template = Rc::new(Template::new(gray, size)?);
        self.made.insert((level, frame), Rc::clone(&template));
        Ok(template)
    }

    /// A better map at these levels, the largest of which is the first; held to the given one as
    /// `bend` says.
    pub(super) fn refine(
        &mut self,
        leak: &LeakFrame,
        map: &Homography,
        at_s: f64,
        levels: std::ops::RangeInclusive<usize>,
        bend: Option<f64>,
    ) -> Result<Fit, RegisterError> {
        let frame = self.reference.nearest(at_s);
        let last = self.reference.levels.len().saturating_sub(1);
        let mut templates = Vec::new();
        for level in levels {
            templates.push(self.get(level.min(last), frame)?);
        }
        let templates: Vec<&Template> = templates.iter().map(Rc::as_ref).collect();
        let (map, alike) = refine_through(&templates, leak, map, bend)?;
        let good = map.is_plausible(self.reference.size, leak.size());
        Ok(Fit { map, at_s, alike: if good { alike } else { 0.0 } })
    }

    /// The leak's small bytes under a map; `None` where it shows too little of the original.
    pub(super) fn bytes(
        &self,
        leak: &LeakFrame,
        map: &Homography,
    ) -> Result<Option<Vec<u8>>, RegisterError> {
        let level =
            self.reference.levels.get(self.reference.search).ok_or(RegisterError::NoFrames)?;
        let plane = leak.plane_at(map, level)?;
        let seen = plane.known.iter().filter(|known| **known).count();
        let enough = super::real(seen) >= LEAST_SEEN * super::real(level.area());
        Ok(enough.then(|| plane.bytes()))
    }

    /// The time of the frame that fits best among those within some of this one; the given time if
    /// none is clearly better.
    pub(super) fn snapped(
        &self,
        leak: &LeakFrame,
        map: &Homography,
        at_s: f64,
        within: usize,
    ) -> Result<f64, RegisterError> {
        let Some(bytes) = self.bytes(leak, map)? else { return Ok(at_s) };
        let middle = self.reference.nearest(at_s);
        let first = middle.saturating_sub(within);
        let end = (middle + within + 1).min(self.reference.frames.len());
        let costs = self.reference.costs(&bytes, first..end);
        let own = costs.get(middle - first).copied().unwrap_or(f32::INFINITY);
        let best = costs.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        // Where the next frames are clearly worse, it is this frame and not a time between.
        let worst = costs.iter().copied().fold(0.0, f32::max);
        Ok(match best {
            Some((n, cost)) if *cost < BETTER * own => self.reference.time_s(first + n),
            Some((_, cost)) if *cost < BETTER * worst => self.reference.time_s(middle),
            _ => at_s,
        })
    }

    /// Follows it through these frames of the leak, in their order; along a line through time where one
    /// is known. `known` are fits that were found otherwise: they are taken up where they are better.
    pub(super) fn follow(
        &mut self,
        leak: &[Gray],
        order: impl Iterator<Item = usize>,
        start: (usize, Fit),
        known: &HashMap<usize, Fit>,
        line: Option<&Line>,
    ) -> Result<Vec<(usize, Fit)>, RegisterError> {
        let search = self.reference.search;
        let (mut before_s, mut last) = (seconds(leak, start.0), start.1);
        let mut usual = last.alike;
        let mut out = Vec::new();
        for n in order {
            let Some(gray) = leak.get(n) else { continue };
            let frame = LeakFrame::new(gray)?;
            let now_s = gray.at.as_secs_f64();
            let at_s = line.map_or(last.at_s + now_s - before_s, |line| line.at(now_s));
            let at_s = at_s.clamp(0.0, self.reference.end_s());
            before_s = now_s;
            let mut fit = self.refine(&frame, &last.map, at_s, search..=search, BEND)?;
            if fit.alike < LOST * usual {
                fit = self.refine(&frame, &last.map, at_s, search..=search + 1, BEND)?;
            }
            if let Some(other) = known.get(&n)
                && other.alike > fit.alike + 0.03
            {
                fit = *other;
            }
            if fit.alike < LOST * usual {
                // The map stays where it was; time goes on.
                last.at_s = at_s;
                continue;
            }
            if line.is_none() {
                fit.at_s = self.snapped(&frame, &fit.map, fit.at_s, 2)?;
            }
            usual += 0.1 * (fit.alike - usual);
            last = fit;
            out.push((n, fit));
        }
        Ok(out)
    }
}

/// When a frame of the leak is shown, seconds.
pub(super) fn seconds(leak: &[Gray], n: usize) -> f64 {
    leak.get(n).map_or(0.0, |gray| gray.at.as_secs_f64())
}
