//! One plane of a picture in numbers, for filters.
//!
//! INVARIANT: a [`Grey`] has `width * height` values, row by row.

use temoin_media::frame::{I420Picture, PictureError};

use super::{
    light::{floor, level},
    site::planes,
};

/// Grey levels.
#[derive(Debug, Clone)]
pub(super) struct Grey {
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
}

/// A picture's planes.
pub(super) fn split(picture: &I420Picture) -> [Grey; 3] {
    planes(picture)
        .map(|(width, plane)| Grey { width, values: plane.iter().map(|p| f32::from(*p)).collect() })
}

/// A picture of three planes.
///
/// # Errors
/// Where they are not those of a picture.
pub(super) fn join(planes: &[Grey; 3]) -> Result<I420Picture, PictureError> {
    let [luma, ..] = planes;
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let data = planes.iter().flat_map(|plane| plane.values.iter().map(|v| level(v.max(0.0))));
    I420Picture::from_vec(side(luma.width), side(luma.height()), data.collect())
}

impl Grey {
    pub(super) fn height(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// A value; the edge goes on outside.
    pub(super) fn at(&self, x: isize, y: isize) -> f32 {
        let inside = |n: isize, of: usize| n.max(0).unsigned_abs().min(of.saturating_sub(1));
        let n = inside(y, self.height()) * self.width + inside(x, self.width);
        self.values.get(n).copied().unwrap_or_default()
    }

    /// Between the values of a row.
    pub(super) fn between(&self, x: f32, y: isize) -> f32 {
        let left = x.floor();
        let n = signed(floor(left.max(0.0)));
        let (a, b) = (self.at(n, y), self.at(n + 1, y));
        if left < 0.0 { a } else { a + (b - a) * (x - left) }
    }

    /// A new plane: `f` gets the place.
    pub(super) fn of(&self, f: impl Fn(isize, isize) -> f32) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for y in 0..signed(self.height()) {
            values.extend((0..signed(self.width)).map(|x| f(x, y)));
        }
        Self { width: self.width, values }
    }

    /// Each row through a Gaussian.
    pub(super) fn blurred_across(&self, deviation_px: f32) -> Self {
        let reach = signed(floor(deviation_px * 3.0) + 1);
        let weight = |n: isize| (-(n as f32 / deviation_px.max(0.01)).powi(2) / 2.0).exp();
        let weights: Vec<(isize, f32)> = (-reach..=reach).map(|n| (n, weight(n))).collect();
        let sum: f32 = weights.iter().map(|(_, w)| w).sum();
        self.of(|x, y| weights.iter().map(|(n, w)| w * self.at(x + n, y)).sum::<f32>() / sum)
    }

    /// Smoothed but for edges (bilateral, 5 x 5): what differs by more than `levels` counts little.
    pub(super) fn flattened(&self, levels: f32) -> Self {
        let table: Vec<f32> =
            (0..=255_u8).map(|d| (-(f32::from(d) / levels).powi(2) / 2.0).exp()).collect();
        let near = |n: isize| (-(n as f32 / 1.5).powi(2) / 2.0).exp();
        let mut places = Vec::new();
        for dy in -2..=2 {
            places.extend((-2..=2).map(|dx| (dx, dy, near(dx) * near(dy))));
        }
        self.of(|x, y| {
            let own = self.at(x, y);
            let (mut sum, mut weights) = (0.0, 0.0);
            for (dx, dy, near) in &places {
                let value = self.at(x + dx, y + dy);
                let alike = table.get(floor((value - own).abs())).copied().unwrap_or_default();
                sum += value * near * alike;
                weights += near * alike;
            }
            sum / weights
        })
    }
}

/// A place that may become negative.
pub(super) fn signed(n: usize) -> isize {
    isize::try_from(n).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn split_and_joined_is_the_same() {
        let picture = &street(32, 16, 1, 25.0).pictures[0].1;
        assert_eq!(&join(&split(picture)).unwrap(), picture);
    }

    #[test]
    fn flattening_takes_noise_and_keeps_edges() {
        let values = (0..400_u16).map(|n| f32::from(n % 20 / 10 * 100 + n * 7 % 3)).collect();
        let plane = Grey { width: 20, values };
        let flat = plane.flattened(8.0);
        let spread = |p: &Grey, columns: std::ops::Range<isize>| {
            let of: Vec<f32> = columns.map(|x| p.at(x, 10)).collect();
            of.iter().fold(0.0_f32, |m, v| m.max(*v)) - of.iter().fold(999.0_f32, |m, v| m.min(*v))
        };
        assert!(spread(&flat, 2..8) < 0.6 * spread(&plane, 2..8));
        assert!(flat.at(12, 10) - flat.at(7, 10) > 95.0);
        assert!((plane.blurred_across(3.0).at(10, 5) - 50.0).abs() < 12.0);
    }

    #[test]
    fn between_two_values_lies_their_mean() {
        let plane = Grey { width: 4, values: vec![0.0, 10.0, 20.0, 30.0] };
        for (x, want) in [(0.5, 5.0), (2.25, 22.5), (-4.0, 0.0), (9.0, 30.0)] {
            assert!((plane.between(x, 0) - want).abs() < 1e-4, "{x}");
        }
    }
}
