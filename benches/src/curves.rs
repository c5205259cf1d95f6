//! A measured curve against its labels.

use anyhow::Result;

use crate::{
    figures::{median, percentile},
    stats::correlation,
};

/// A label of less than this many degrees has no sign that one could miss.
const SIGN_FROM_DEG: f64 = 10.0;
/// Labels that span less than this say nothing of correlation: their own spread is as large.
const CORRELATE_FROM_DEG: f64 = 20.0;

/// One moment at which both are known, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The label.
    pub labelled: f64,
    /// What was measured.
    pub measured: f64,
}

/// How well a measured curve agrees with its labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Middle error without its sign, degrees.
    pub median_deg: f64,
    /// 9 of 10 errors are not above this, degrees.
    pub p90_deg: f64,
    /// Pearson's correlation, where the labels span 20 degrees or more and both curves vary.
    pub correlation: Option<f64>,
    /// Where the label is 10 degrees or more to one side: share measured to the same side. `None`
    /// where there is no such label.
    pub same_sign: Option<f64>,
    /// Moments.
    pub moments: usize,
}

/// Compares.
///
/// # Errors
/// Where there is nothing to compare.
pub fn agreement(pairs: &[Pair]) -> Result<Agreement> {
    let errors: Vec<f64> = pairs.iter().map(|p| (p.labelled - p.measured).abs()).collect();
    let turned: Vec<&Pair> = pairs.iter().filter(|p| p.labelled.abs() >= SIGN_FROM_DEG).collect();
    let same = turned.iter().filter(|p| p.labelled * p.measured > 0.0).count();
    let span = |(low, high): (f64, f64), p: &Pair| (low.min(p.labelled), high.max(p.labelled));
    let (low, high) = pairs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), span);
    let points: Vec<_> = pairs.iter().map(|p| (p.labelled, p.measured)).collect();
    Ok(Agreement {
        median_deg: median(&errors)?,
        p90_deg: percentile(&errors, 90)?,
        correlation: correlation(&points).filter(|_| high - low >= CORRELATE_FROM_DEG),
        same_sign: (!turned.is_empty()).then(|| same as f64 / turned.len() as f64),
        moments: pairs.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(of: &[(f64, f64)]) -> Vec<Pair> {
        of.iter()
            .map(|(labelled, measured)| Pair { labelled: *labelled, measured: *measured })
            .collect()
    }

    #[test]
    fn errors_and_signs_are_counted() {
        let seen =
            agreement(&pairs(&[(0.0, -3.0), (20.0, 25.0), (-30.0, -29.0), (40.0, -1.0)])).unwrap();
        assert_eq!((seen.median_deg, seen.p90_deg, seen.moments), (3.0, 41.0, 4));
        assert!((seen.same_sign.unwrap() - 2.0 / 3.0).abs() < 1e-9, "{seen:?}");
        assert!(seen.correlation.unwrap() > 0.5, "{seen:?}");
    }

    #[test]
    fn small_angles_have_no_sign_and_flat_curves_no_correlation() {
        for flat in [[(3.0, -3.0), (3.0, 1.0)], [(-9.0, -9.0), (9.0, 9.0)]] {
            let seen = agreement(&pairs(&flat)).unwrap();
            assert_eq!((seen.same_sign, seen.correlation), (None, None), "{flat:?}");
        }
        assert!(agreement(&[]).is_err());
    }
}
