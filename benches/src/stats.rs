//! Numbers over lists of numbers: how well two groups are told apart, how two curves agree.
//!
//! INVARIANT: what was not measured is not in the lists; whoever calls says how many those were.

/// Probability that one of `high` is above one of `low`; equal ones count half.
pub fn auc<T: Copy + Into<f64>>(high: &[T], low: &[T]) -> f64 {
    let mut low: Vec<f64> = low.iter().map(|l| (*l).into()).collect();
    low.sort_by(f64::total_cmp);
    let high = high.iter().map(|h| -> f64 { (*h).into() });
    let count = high.len();
    let below: usize =
        high.map(|h| low.partition_point(|l| *l < h) + low.partition_point(|l| *l <= h)).sum();
    below as f64 / (2 * count * low.len()).max(1) as f64
}

/// Mean of the shares of `high` at or above a threshold and of `low` below it.
pub fn balanced_accuracy(high: &[f32], low: &[f32], threshold: f64) -> f64 {
    let above = |v: &&f32| f64::from(**v) >= threshold;
    let share = |n: usize, of: &[f32]| n as f64 / of.len().max(1) as f64;
    let right = share(high.iter().filter(above).count(), high);
    (right + 1.0 - share(low.iter().filter(above).count(), low)) / 2.0
}

/// The curve of a detector of `low` values: for each threshold the share of `high` that is called
/// low (false), and of `low` (true). From (0, 0) to (1, 1).
pub fn roc(high: &[f32], low: &[f32]) -> Vec<(f64, f64)> {
    let mut thresholds: Vec<f32> = high.iter().chain(low).copied().collect();
    thresholds.sort_by(f32::total_cmp);
    thresholds.dedup();
    let share =
        |of: &[f32], t: f32| of.iter().filter(|v| **v <= t).count() as f64 / of.len().max(1) as f64;
    std::iter::once((0.0, 0.0))
        .chain(thresholds.iter().map(|t| (share(high, *t), share(low, *t))))
        .collect()
}

/// Pearson's correlation; `None` below two pairs, or where one side does not vary.
pub fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (mx, my) = pairs.iter().fold((0.0, 0.0), |(x, y), pair| (x + pair.0 / n, y + pair.1 / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xx += (x - mx).powi(2);
        yy += (y - my).powi(2);
        xy += (x - mx) * (y - my);
    }
    let spread = (xx * yy).sqrt();
    (pairs.len() >= 2 && spread > 1e-12).then(|| xy / spread)
}

/// How many values lie in each of `bins` equal steps from `from` to `to`; those outside count at
/// the ends.
pub fn histogram(values: &[f32], from: f32, to: f32, bins: usize) -> Vec<u32> {
    let edge = |n: usize| f64::from(from) + f64::from(to - from) * n as f64 / bins as f64;
    let mut counts = vec![0; bins];
    for value in values {
        let above = (1..bins).filter(|n| f64::from(*value) >= edge(*n)).count();
        if let Some(count) = counts.get_mut(above) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_is_the_share_of_pairs_in_order() {
        for (high, low, want) in [
            (vec![0.3, 0.4], vec![0.1, 0.2], 1.0),
            (vec![0.1], vec![0.2], 0.0),
            (vec![0.2], vec![0.2], 0.5),
            (vec![0.1, 0.3], vec![0.2], 0.5),
        ] {
            assert!((auc(&high, &low) - want).abs() < 1e-9, "{high:?} {low:?}");
        }
    }

    #[test]
    fn balanced_accuracy_weighs_both_groups_alike() {
        for (high, low, want) in [
            (vec![0.3, 0.3, 0.3, 0.3], vec![0.05], 1.0),
            (vec![0.3, 0.3, 0.3, 0.3], vec![0.3], 0.5),
            // The threshold itself is open, as in the agent.
            (vec![0.1], vec![0.0999], 1.0),
            (vec![0.3, 0.0], vec![0.0, 0.0], 0.75),
        ] {
            assert!((balanced_accuracy(&high, &low, 0.1) - want).abs() < 1e-6, "{high:?} {low:?}");
        }
    }

    #[test]
    fn a_roc_goes_from_corner_to_corner_and_holds_the_auc() {
        let (high, low) = (vec![0.3, 0.4, 0.2], vec![0.1, 0.2]);
        let curve = roc(&high, &low);
        assert_eq!(curve.first(), Some(&(0.0, 0.0)));
        assert_eq!(curve.last(), Some(&(1.0, 1.0)));
        let area: f64 = curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[1].1 + w[0].1) / 2.0).sum();
        assert!((area - auc(&high, &low)).abs() < 1e-9, "{area}");
    }

    #[test]
    fn correlation_knows_its_sign_and_its_limits() {
        let line = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)];
        assert!((correlation(&line).unwrap() - 1.0).abs() < 1e-9);
        let down: Vec<_> = line.iter().map(|(x, y)| (*x, -y)).collect();
        assert!((correlation(&down).unwrap() + 1.0).abs() < 1e-9);
        assert_eq!(correlation(&[(0.0, 1.0), (1.0, 1.0)]), None);
        assert_eq!(correlation(&line[..1]), None);
        assert_eq!(correlation(&[]), None);
    }

    #[test]
    fn every_value_is_in_one_bin() {
        assert_eq!(histogram(&[-1.0, 0.0, 0.09, 0.1, 0.39, 0.4, 9.0], 0.0, 0.4, 4), [3, 1, 0, 3]);
        assert_eq!(histogram(&[], 0.0, 1.0, 2), [0, 0]);
    }
}
