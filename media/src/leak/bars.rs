//! The black bars that the decoder puts around a leak's pictures, to make them square, and those that it
//! had before.

use std::time::Duration;

use crate::{frame::I420Picture, rounding::index, watermark::register::Gray};

/// Luma of a bar, at most: black, and what coding makes of it.
const BLACK: u8 = 24;
/// Less than this of a side is never cut to, parts of 1: a night drive is dark all over.
const LEAST: f64 = 0.15;

/// What of square pictures is not black bars, in pixels from each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bars {
    /// The side that it was seen in.
    side: u32,
    across: u32,
    down: u32,
}

/// Looks for bars in one picture after the other.
#[derive(Debug, Default)]
pub struct BarSearch {
    seen: Option<Bars>,
}

impl BarSearch {
    /// Looks at a square picture.
    pub fn look(&mut self, picture: &I420Picture) {
        let view = picture.view();
        let (side, luma) = (picture.width(), view.luma());
        let width = index(side);
        let rows: Vec<&[u8]> = luma.chunks_exact(width.max(1)).collect();
        let dark_row = |row: &[u8]| row.iter().all(|y| *y <= BLACK);
        let dark_column = |x: usize| rows.iter().all(|row| row.get(x).is_none_or(|y| *y <= BLACK));
        let count = |n: usize| u32::try_from(n).unwrap_or(0);
        let top = rows.iter().take_while(|row| dark_row(row)).count();
        let bottom = rows.iter().rev().take_while(|row| dark_row(row)).count();
        let left = (0..width).take_while(|x| dark_column(*x)).count();
        let right = (0..width).rev().take_while(|x| dark_column(*x)).count();
        let now = Bars { side, across: count(left.min(right)), down: count(top.min(bottom)) };
        // All black: says nothing.
        if now.is_all() {
            return;
        }
        self.seen = Some(self.seen.map_or(now, |seen| Bars {
            side,
            across: seen.across.min(now.across),
            down: seen.down.min(now.down),
        }));
    }

    /// The bars of all pictures that it looked at.
    pub fn found(&self) -> Bars {
        self.seen.unwrap_or(Bars { side: 1, across: 0, down: 0 })
    }
}

impl Bars {
    fn is_all(self) -> bool {
        let left =
            |bar: u32| f64::from(self.side.saturating_sub(2 * bar)) / f64::from(self.side.max(1));
        left(self.across) < LEAST || left(self.down) < LEAST
    }

    /// The luma of a square picture, of this or of another size, without the bars.
    pub fn cut(self, picture: &I420Picture, at: Duration) -> Gray {
        let side = picture.width();
        let bar = |bar: u32| {
            let scaled = u64::from(bar) * u64::from(side) / u64::from(self.side.max(1));
            // Half of a pixel more or less is no matter; an even side is.
            u32::try_from(scaled).unwrap_or(0).min(side / 2 - 1) / 2 * 2
        };
        let (across, down) = (bar(self.across), bar(self.down));
        let (width, height) = (side - 2 * across, picture.height().saturating_sub(2 * down));
        let view = picture.view();
        let rows = view.luma().chunks_exact(index(side).max(1));
        let luma = rows
            .skip(index(down))
            .take(index(height))
            .filter_map(|row| row.get(index(across)..index(across + width)))
            .flatten()
            .copied()
            .collect();
        Gray { width, height, luma, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey picture in a black square.
    fn barred(side: u32, across: u32, down: u32, luma: u8) -> I420Picture {
        let mut picture = I420Picture::black(side, side).unwrap();
        let (side, across, down) = (side as usize, across as usize, down as usize);
        for (n, y) in picture.planes_mut().y.iter_mut().enumerate() {
            let (x, row) = (n % side, n / side);
            let inside = (across..side - across).contains(&x) && (down..side - down).contains(&row);
            *y = if inside { luma } else { 16 };
        }
        picture
    }

    #[test]
    fn bars_are_what_is_black_in_all_pictures() {
        for (across, down) in [(0, 40), (30, 0), (0, 0)] {
            let mut search = BarSearch::default();
            // It begins black, and its upper part stays dark for a while.
            search.look(&barred(160, 0, 0, 16));
            search.look(&barred(160, across, down + 10, 90));
            search.look(&barred(160, across, down, 90));
            let bars = search.found();
            assert_eq!((bars.across, bars.down), (across, down));
            let cut = bars.cut(&barred(320, 2 * across, 2 * down, 90), Duration::ZERO);
            assert_eq!((cut.width, cut.height), (320 - 4 * across, 320 - 4 * down));
            assert!(cut.luma.iter().all(|y| *y == 90), "{across} {down}");
            assert_eq!(cut.luma.len(), (cut.width * cut.height) as usize);
        }
    }

    #[test]
    fn what_is_black_all_over_is_not_cut() {
        let mut search = BarSearch::default();
        search.look(&barred(160, 0, 0, 16));
        search.look(&barred(160, 0, 75, 90));
        let cut = search.found().cut(&barred(160, 0, 0, 16), Duration::ZERO);
        assert_eq!((cut.width, cut.height), (160, 160));
    }
}
