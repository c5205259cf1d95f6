//! Which time of the original each frame of the leak shows: one line, offset and speed, that all
//! frames agree on, searched for as a whole, because a single frame of a still scene fits anywhere.

use super::real;

/// Speeds are tried in these steps: over ten seconds less than a frame.
const SPEED_STEP: f64 = 0.0025;
/// Two lines that are this far apart in the middle are two answers, seconds.
const APART_S: f64 = 0.4;
/// Where everything fits alike, speed 1 is the likeliest: part of the cost for a whole of speed.
const PLAIN: f64 = 0.02;

/// How badly one frame of the leak fits each frame of the original.
pub(super) struct Costs {
    /// When the leak shows it, seconds.
    pub(super) leak_s: f64,
    /// For each frame of the original, lower is better.
    pub(super) costs: Vec<f32>,
    /// How much it is worth.
    pub(super) weight: f64,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// The original's time of the leak's begin, seconds.
    pub(super) offset_s: f64,
    /// Seconds of the original in one of the leak.
    pub(super) speed: f64,
    /// Mean cost against that of any time: below 0 is better.
    pub(super) cost: f64,
}

impl Line {
    /// The original's time at a time of the leak, seconds.
    pub(super) fn at(&self, leak_s: f64) -> f64 {
        self.offset_s + self.speed * leak_s
    }
}

/// The lines that fit best, the best first, at most `most`. `times_s` are those of the original's
/// frames, rising.
pub(super) fn lines(rows: &[Costs], times_s: &[f64], speed_within: f64, most: usize) -> Vec<Line> {
    let (from, to) = (f64::NEG_INFINITY, f64::INFINITY);
    fitted(rows, times_s, speed_within, most, (from, to))
}

/// The best line whose offset is in this range, seconds.
pub(super) fn line_near(
    rows: &[Costs],
    times_s: &[f64],
    speed_within: f64,
    offsets_s: (f64, f64),
) -> Option<Line> {
    fitted(rows, times_s, speed_within, 1, offsets_s).into_iter().next()
}

fn fitted(
    rows: &[Costs],
    times_s: &[f64],
    speed_within: f64,
    most: usize,
    offsets_s: (f64, f64),
) -> Vec<Line> {
    let rows: Vec<Costs> = rows.iter().filter_map(centred).collect();
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    let (Some(first), Some(last)) = (times_s.first(), times_s.last()) else { return Vec::new() };
    if rows.is_empty() || total <= 0.0 {
        return Vec::new();
    }
    let middle = rows.iter().map(|row| row.leak_s * row.weight).sum::<f64>() / total;
    let frame_s = (last - first) / real(times_s.len().saturating_sub(1).max(1));
    let step = (frame_s / 2.0).clamp(0.005, 0.05);
    let speeds = speeds(speed_within);
    let cost = |mid: f64, speed: f64| {
        let mut sum = 0.0;
        for row in &rows {
            let at = mid + speed * (row.leak_s - middle);
            sum += row.weight * cost_at(&row.costs, times_s, at);
        }
        sum / total + PLAIN * (speed - 1.0).abs() * 0.01
    };
    let best_at = |mid: f64| {
        let of = |speed: &f64| Line {
            offset_s: mid - speed * middle,
            speed: *speed,
            cost: cost(mid, *speed),
        };
        let near = |line: &Line| line.offset_s >= offsets_s.0 && line.offset_s <= offsets_s.1;
        speeds.iter().map(of).filter(near).min_by(|a, b| a.cost.total_cmp(&b.cost))
    };
    let steps = crate::rounding::round_u32((last - first) / step);
    let mut all: Vec<(f64, Line)> = (0..=steps)
        .map(|n| first + f64::from(n) * step)
        .filter_map(|mid| best_at(mid).map(|line| (mid, line)))
        .collect();
    all.sort_by(|a, b| a.1.cost.total_cmp(&b.1.cost));
    let mut found: Vec<(f64, Line)> = Vec::new();
    for (mid, line) in all {
        if found.len() >= most.max(1) {
            break;
        }
        if found.iter().all(|(other, _)| (other - mid).abs() >= APART_S) {
            found.push((mid, line));
        }
    }
    found.into_iter().map(|(_, line)| line).collect()
}

/// 1 first, then outwards.
fn speeds(within: f64) -> Vec<f64> {
    let steps = crate::rounding::round_u32(within.clamp(0.0, 0.5) / SPEED_STEP);
    let mut out = vec![1.0];
    out.extend((1..=steps).flat_map(|n| {
        let by = f64::from(n) * SPEED_STEP;
        [1.0 - by, 1.0 + by]
    }));
    out
}

/// Costs around their median, so that a frame outside of the original costs neither less nor more.
fn centred(row: &Costs) -> Option<Costs> {
    let mut sorted = row.costs.clone();
    let middle = sorted.len() / 2;
    if sorted.is_empty() || row.weight.is_nan() || row.weight <= 0.0 {
        return None;
    }
    let (_, median, _) = sorted.select_nth_unstable_by(middle, f32::total_cmp);
    let median = *median;
    let costs = row.costs.iter().map(|cost| cost - median).collect();
    Some(Costs { leak_s: row.leak_s, costs, weight: row.weight })
}

/// Between two frames.
fn cost_at(costs: &[f32], times_s: &[f64], at: f64) -> f64 {
    let after = times_s.partition_point(|time| *time <= at);
    let Some(before) = after.checked_sub(1) else { return 0.0 };
    let (Some(t0), Some(c0)) = (times_s.get(before), costs.get(before)) else { return 0.0 };
    let (Some(t1), Some(c1)) = (times_s.get(after), costs.get(after)) else {
        // The last frame is shown for a while.
        return if at - t0 < 0.1 { f64::from(*c0) } else { 0.0 };
    };
    let part = ((at - t0) / (t1 - t0).max(1e-9)).clamp(0.0, 1.0);
    f64::from(*c0) * (1.0 - part) + f64::from(*c1) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A still scene: each frame's cost has a shallow dip, and a third of them are wrong.
    fn rows(offset: f64, speed: f64, times: &[f64]) -> Vec<Costs> {
        (0..30)
            .map(|n| {
                let leak_s = f64::from(n) * 0.2;
                let truth =
                    if n % 3 == 2 { f64::from(n * 7 % 12) } else { offset + speed * leak_s };
                let dip = |at: &f64| {
                    super::super::narrow(1.0 - 0.1 * (-((at - truth) / 0.1).powi(2)).exp())
                };
                Costs { leak_s, costs: times.iter().map(dip).collect(), weight: 1.0 }
            })
            .collect()
    }

    #[test]
    fn the_line_that_most_agree_on_is_found() {
        let times: Vec<f64> = (0..300).map(|n| f64::from(n) / 25.0).collect();
        for (offset, speed) in [(0.0, 1.0), (3.21, 0.95), (2.5, 1.05), (5.5, 1.02)] {
            let found = lines(&rows(offset, speed, &times), &times, 0.08, 3);
            let best = found.first().unwrap();
            let (begin, end) = (best.at(0.0) - offset, best.at(5.8) - offset - speed * 5.8);
            assert!(begin.abs() < 0.04 && end.abs() < 0.04, "{offset} {speed}: {best:?}");
            assert!(found.len() > 1 && found.iter().skip(1).all(|line| line.cost > best.cost));
        }
        assert!(lines(&[], &times, 0.08, 3).is_empty());
        assert!(lines(&rows(0.0, 1.0, &[]), &[], 0.08, 3).is_empty());
    }
}
