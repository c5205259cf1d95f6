//! Floating point to whole pixels.

/// The nearest whole number; NaN becomes 0 and what does not fit the nearest that does.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate, which is wanted here")]
pub(crate) fn round_i32(x: f64) -> i32 {
    x.round() as i32
}

/// The nearest whole number, at least 0.
pub(crate) fn round_u32(x: f64) -> u32 {
    u32::try_from(round_i32(x).max(0)).unwrap_or(0)
}

/// The next even number at or below `x`, but at least 2.
pub(crate) const fn even_at_least_2(x: u32) -> u32 {
    let even = x & !1;
    if even < 2 { 2 } else { even }
}

/// A count of pixels as an index; pictures are at most 4096 wide, so this never saturates.
pub(crate) fn index(x: u32) -> usize {
    usize::try_from(x).unwrap_or(usize::MAX)
}

/// A count of pixels as OpenCV wants it; pictures are at most 4096 wide, so this never saturates.
pub(crate) fn cv(x: u32) -> i32 {
    i32::try_from(x).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_saturates() {
        assert_eq!(round_i32(f64::NAN), 0);
        assert_eq!(round_i32(1e300), i32::MAX);
        assert_eq!(round_u32(-3.2), 0);
        assert_eq!(round_u32(2.5), 3);
        assert_eq!((even_at_least_2(0), even_at_least_2(7)), (2, 6));
    }
}
