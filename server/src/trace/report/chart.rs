//! The distribution of scores, laid out: where each bar, tick and line stands. Pure, for both writers.
//!
//! INVARIANT: every position is between 0 and 1; what the axis does not hold is said to be beyond it.

use super::{Scores, figures::figure};

/// The width of a bin of [`Scores`].
const BIN: f64 = 0.5;
/// Named scores up to here are drawn to scale; one beyond stands at the axis' end, else the bars would
/// be too narrow to be seen. Own choice.
const TO_SCALE: f64 = 60.0;
/// A bin or a threshold beyond this is no score: a file has no more than some 100,000 signs, and a score
/// is at most their root.
const NO_SCORE: f64 = 1000.0;
/// Rows for labels above the bars.
const ROWS: usize = 8;
/// What a letter of a label takes of the width, about.
const LETTER: f64 = 0.011;
/// Ticks that find room.
const TICKS: f64 = 14.0;

/// A chart. Positions from 0 (left, bottom) to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Tick>,
    /// The threshold and the named scores.
    pub(super) lines: Vec<Line>,
    /// Rows that the labels of the lines take.
    pub(super) rows: usize,
    /// Views in the highest bar.
    pub(super) most: u64,
}

/// Views whose score is in one bin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) height: f64,
}

/// A score on the axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// A score that is marked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) at: f64,
    pub(super) named: bool,
    /// None where there was no room for another one.
    pub(super) label: Option<Label>,
}

/// What is written at a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) text: String,
    /// From the top.
    pub(super) row: usize,
    /// It stands to the left of the line.
    pub(super) leftwards: bool,
}

/// The bins that are scores; the other's views are not drawn.
pub(super) fn drawn(scores: &Scores) -> impl Iterator<Item = (f64, u64)> {
    let real = |&(low, n): &(f64, u64)| low.abs() <= NO_SCORE && n > 0;
    scores.bins.iter().copied().filter(real)
}

/// Lays out the scores of others, the threshold, and the scores of the named views in their order. None
/// where there is no score of another view.
pub(super) fn lay_out(scores: &Scores, threshold_z: f64, named: &[f64]) -> Option<Chart> {
    let most = drawn(scores).map(|(_, n)| n).max()?;
    let mut low = -1.0_f64;
    let mut high = 1.0_f64;
    for (bin, _) in drawn(scores) {
        low = low.min(bin);
        high = high.max(bin + BIN);
    }
    let threshold = (threshold_z.abs() <= NO_SCORE).then_some(threshold_z);
    for z in threshold.iter().chain(named.iter().filter(|z| z.abs() <= TO_SCALE)) {
        low = low.min(z - 0.5);
        high = high.max(z + 0.5);
    }
    if named.iter().any(|z| *z > TO_SCALE) {
        high *= 1.2;
    }
    let place = |z: f64| ((z - low) / (high - low)).clamp(0.0, 1.0);
    #[expect(clippy::cast_precision_loss, reason = "the height of a bar")]
    let height = |n: u64| n as f64 / most as f64;
    let bars = drawn(scores).map(|(bin, n)| Bar {
        left: place(bin),
        right: place(bin + BIN),
        height: height(n),
    });
    let mut lines = Lines::default();
    if let Some(z) = threshold {
        lines.add(place(z), format!("threshold {}", figure(z, 2)), false);
    }
    for (number, z) in (1..).zip(named) {
        // An infinite one is drawn at the end; one that is no number nowhere.
        if !z.is_nan() {
            let beyond = if *z > high { " (beyond)" } else { "" };
            let text = format!("view {number}: {}{beyond}", figure(*z, 2));
            lines.add(place(*z), text, true);
        }
    }
    Some(Chart {
        bars: bars.collect(),
        ticks: ticks(low, high).map(|z| Tick { at: place(z), label: figure(z, 0) }).collect(),
        rows: lines.taken.len(),
        lines: lines.lines,
        most,
    })
}

/// Round scores from `low` to `high`.
fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
        .into_iter()
        .find(|step| (high - low) / step <= TICKS)
        .unwrap_or(500.0);
    let first = (low / step).ceil();
    // Adding 0 makes no tick of minus zero.
    (0..20_u32).map(move |k| (first + f64::from(k)) * step + 0.0).take_while(move |z| *z <= high)
}

/// Lines, and the stretches that the labels of each row take.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    taken: Vec<Vec<(f64, f64)>>,
}

impl Lines {
    fn add(&mut self, at: f64, text: String, named: bool) {
        #[expect(clippy::cast_precision_loss, reason = "a label has few letters")]
        let width = (text.chars().count() + 2) as f64 * LETTER;
        let leftwards = at + width > 1.0;
        let (from, to) = if leftwards { (at - width, at) } else { (at, at + width) };
        let free = |row: &Vec<(f64, f64)>| row.iter().all(|(a, b)| to <= *a || from >= *b);
        let row = self.taken.iter().position(free).unwrap_or(self.taken.len());
        if row == self.taken.len() && row < ROWS {
            self.taken.push(Vec::new());
        }
        let label = self.taken.get_mut(row).map(|stretches| {
            stretches.push((from, to));
            Label { text, row, leftwards }
        });
        self.lines.push(Line { at, named, label });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(bins: &[(f64, u64)]) -> Scores {
        Scores { bins: bins.to_vec(), best: None }
    }

    #[test]
    fn everything_stands_inside_the_chart() {
        let bins = scores(&[(-3.5, 2), (-0.5, 40), (0.0, 38), (3.0, 1)]);
        let few = [9.1, 9.2, 40.0];
        let many = vec![9.0; 40];
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 61.0];
        let thresholds = [8.3, 0.0, -5.0, f64::NAN, f64::INFINITY, 1e9];
        for named in [&[][..], &few, &many, &odd] {
            for threshold in thresholds {
                let chart = lay_out(&bins, threshold, named).unwrap();
                let inside = |x: f64| (0.0..=1.0).contains(&x);
                for bar in &chart.bars {
                    assert!(inside(bar.left) && inside(bar.right) && bar.left < bar.right);
                    assert!(bar.height > 0.0 && bar.height <= 1.0);
                }
                assert!(chart.ticks.len() >= 2 && chart.ticks.len() <= 20);
                assert!(chart.ticks.iter().all(|t| inside(t.at)));
                assert!(chart.lines.iter().all(|l| inside(l.at)));
                assert!(chart.rows <= ROWS);
                let real = named.iter().filter(|z| !z.is_nan()).count();
                assert_eq!(chart.lines.len(), real + usize::from(threshold.abs() <= NO_SCORE));
            }
        }
    }

    #[test]
    fn no_scores_no_chart() {
        for bins in [&[][..], &[(0.0, 0)], &[(f64::NAN, 3)], &[(f64::INFINITY, 3)], &[(1e9, 3)]] {
            assert_eq!(lay_out(&scores(bins), 8.3, &[9.0]), None, "{bins:?}");
        }
    }

    #[test]
    fn labels_of_one_row_do_not_meet() {
        let chart = lay_out(&scores(&[(0.0, 1)]), 8.3, &[8.4, 8.5, 30.0]).unwrap();
        let row = |k: usize| chart.lines.get(k).and_then(|l| l.label.as_ref()).unwrap().row;
        assert_eq!([row(0), row(1), row(2)], [0, 1, 2]);
        assert_eq!(row(3), 0, "it stands far from the threshold");
    }

    #[test]
    fn a_score_beyond_the_axis_says_so() {
        let chart = lay_out(&scores(&[(0.0, 1)]), 8.3, &[102.0]).unwrap();
        let line = chart.lines.last().unwrap();
        assert_eq!(line.at, 1.0);
        assert_eq!(line.label.as_ref().unwrap().text, "view 1: 102.00 (beyond)");
    }
}
