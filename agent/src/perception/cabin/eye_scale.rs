//! The one scale on which both eye networks are read, so that one limit means the same for both.
//!
//! The scale is that of the rendered eyes which the own network learned from: 0.045 and 1.25 times
//! the part of the eyeball seen between the lids, over the square of the eye's true width. Shut
//! is 0.045, a common open eye 0.25; at 0.13 two fifths of that eye's gap are left.
//!
//! The pack's network draws a gap of up to 0.17 into shut eyes, and the same into half open ones.
//! So the gap it draws is replaced by the mean truth of the rendered eyes into which it draws that
//! gap. `models/train/scale.py` derives the numbers, from rendered eyes alone.

/// Gaps over widths as the pack's network draws them.
const DRAWN: [f32; 7] = [0.04, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28];
/// What is true then, in the mean; straight between them, and at the ends as there.
const MEANS: [f32; 7] = [0.052, 0.058, 0.071, 0.122, 0.200, 0.256, 0.291];

/// The gap over the width that the pack's network drew, brought to the scale. `nearer_deg`: how far
/// the head is turned so that this eye comes nearer; negative for the far eye.
///
/// The far eye's outline is narrower than the eye, not lower, and so its gap over its width too
/// large. The near eye's is drawn nearly as wide as from the front (0.206 from the front, 0.222 at
/// 40 degrees of turn, for the same true gaps).
pub(super) fn of_drawn(gap: f32, nearer_deg: f32) -> f32 {
    let gap = gap * nearer_deg.min(0.0).to_radians().cos();
    let [first, ..] = MEANS;
    let pieces = DRAWN.array_windows().zip(MEANS.array_windows());
    pieces.fold(first, |scaled, ([x0, x1], [y0, y1])| {
        scaled + ((gap - x0) / (x1 - x0)).clamp(0.0, 1.0) * (y1 - y0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_become_what_is_true() {
        for (gap, nearer_deg, want) in [
            (0.0, 0.0, 0.052),
            (0.08, 0.0, 0.058),
            (0.14, 0.0, 0.0965),
            (0.16, 40.0, 0.122),
            (0.20, 0.0, 0.200),
            // The far eye, drawn too narrow.
            (0.24, -33.56, 0.200),
            (0.26, 0.0, 0.2735),
            (0.5, 0.0, 0.291),
        ] {
            let got = of_drawn(gap, nearer_deg);
            assert!((got - want).abs() < 1e-4, "{gap} at {nearer_deg}: {got}");
        }
    }

    proptest! {
        #[test]
        fn a_larger_gap_is_never_less_open(a in 0.0_f32..0.5, b in 0.0_f32..0.5, turn in -60.0_f32..60.0) {
            let (small, large) = (of_drawn(a.min(b), turn), of_drawn(a.max(b), turn));
            prop_assert!(small <= large && (0.05..0.3).contains(&small) && large < 0.3);
        }
    }
}
