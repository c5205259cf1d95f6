//! What a leak's picture has that the original has not, cell by cell.
//!
//! Both pictures lie in one geometry when they come here. A phone that films a monitor changes
//! brightness and contrast differently in each corner, so the original is fitted to the leak locally
//! (gain and offset over a window of some cells) and what is left is the residual: the mark, and
//! noise. It is clipped at a few times its own spread, so that a caption, a sticker or a misplaced edge
//! counts no more than other cells.
//!
//! Nothing here knows a key: whatever this makes of a leak, it makes without knowing which signs
//! would be liked. The bound of [`super::detect`] rests on that.

use super::grid::Grid;

/// The window of the local fit, in cells to each side: large enough that the fit does not swallow
/// the mark itself (a 25th part of it), small enough for vignettes and reflections.
const FIT_CELLS: f32 = 2.0;
/// The residual is clipped at so many times its median size: three standard deviations of a normal
/// distribution.
const CLIP: f32 = 4.5;
/// Variance of the original below which its contrast says nothing about the leak's gain, grey
/// levels squared.
const FLAT: f32 = 4.0;
/// A cell of which less than this part is seen says nothing.
const LEAST_SEEN: f32 = 0.5;

/// A picture's luma, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// `width * height` grey levels.
    pub luma: &'a [f32],
}

/// The residual of one picture in each cell, row by row; 0 where nothing of it is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct CellResidual {
    /// In grey levels of the original: the leak's gain is taken out.
    pub values: Vec<f32>,
    /// How much each counts, 0 for a cell that is not seen: one over the variance of its pixels.
    pub weights: Vec<f32>,
}

/// The residual of a picture against itself, smoothed: what a mark leaves of which nobody has the pictures
/// without it, as of the unit's. `seen` and the result are as of [`residual`].
pub fn residual_of_itself(grid: Grid, leak: Luma<'_>, seen: &[bool]) -> Option<CellResidual> {
    let flat = vec![0.0; leak.luma.len()];
    residual(grid, Luma { luma: &flat, ..leak }, leak, seen)
}

/// The residual of a leak's picture against the original. `seen` is false where the leak shows
/// nothing of the original. None where the sizes contradict each other or the pictures are smaller
/// than the grid.
pub fn residual(
    grid: Grid,
    original: Luma<'_>,
    leak: Luma<'_>,
    seen: &[bool],
) -> Option<CellResidual> {
    let (width, height) = (original.width, original.height);
    let pixels = width.checked_mul(height)?;
    let fits = (leak.width, leak.height) == (width, height)
        && [original.luma.len(), leak.luma.len(), seen.len()] == [pixels; 3];
    if !fits || width < grid.cols() || height < grid.rows() {
        return None;
    }
    let left = fitted(grid, original, leak, seen);
    let clip = CLIP * median_size(&left, seen)?;
    let mut cells = vec![Sums::default(); grid.cells()];
    for (y, (row, seen)) in left.chunks_exact(width).zip(seen.chunks_exact(width)).enumerate() {
        let first = y * grid.rows() / height * grid.cols();
        for (x, (value, seen)) in row.iter().zip(seen).enumerate() {
            if let Some(cell) = cells.get_mut(first + x * grid.cols() / width) {
                cell.pixels += 1.0;
                if *seen {
                    let value = value.clamp(-clip, clip);
                    cell.seen += 1.0;
                    cell.sum += value;
                    cell.squares += value * value;
                }
            }
        }
    }
    let of = |cell: &Sums| {
        if cell.seen < LEAST_SEEN * cell.pixels || cell.seen < 1.0 {
            return (0.0, 0.0);
        }
        let mean = cell.sum / cell.seen;
        let variance = cell.squares / cell.seen - mean * mean;
        // The noise of a cell that is quieter than all others is still not nothing.
        (mean, 1.0 / (variance + 0.1 * clip * clip).max(f32::MIN_POSITIVE))
    };
    let (values, weights) = cells.iter().map(of).unzip();
    Some(CellResidual { values, weights })
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    pixels: f32,
    seen: f32,
    sum: f32,
    squares: f32,
}

/// The leak less the original as the leak shows it, over the leak's gain.
fn fitted(grid: Grid, original: Luma<'_>, leak: Luma<'_>, seen: &[bool]) -> Vec<f32> {
    let (width, height) = (original.width, original.height);
    let radius = |side: usize, cells: usize| reach(FIT_CELLS * count(side) / count(cells));
    let radius = (radius(width, grid.cols()), radius(height, grid.rows()));
    let pairs = || original.luma.iter().zip(leak.luma).zip(seen);
    let window = |of: &dyn Fn(f32, f32) -> f32| {
        let values = pairs().map(|((o, l), seen)| if *seen { of(*o, *l) } else { 0.0 });
        box_sums(values, width, height, radius)
    };
    let counts = window(&|_, _| 1.0);
    let (o, l) = (window(&|o, _| o), window(&|_, l| l));
    let (oo, ol) = (window(&|o, _| o * o), window(&|o, l| o * l));
    let sums = counts.iter().zip(&o).zip(&l).zip(&oo).zip(&ol);
    pairs()
        .zip(sums)
        .map(|(((original, leak), seen), ((((n, o), l), oo), ol))| {
            if !*seen || *n < 1.0 {
                return 0.0;
            }
            let (mean_o, mean_l) = (o / n, l / n);
            let (variance, covariance) = (oo / n - mean_o * mean_o, ol / n - mean_o * mean_l);
            // Towards a gain of 1 where there is no contrast to tell it by.
            let gain = ((covariance + FLAT) / (variance + FLAT)).clamp(0.2, 3.0);
            ((leak - mean_l) - gain * (original - mean_o)) / gain
        })
        .collect()
}

/// The sums over a window around each pixel, cut at the edges.
fn box_sums(
    values: impl Iterator<Item = f32>,
    width: usize,
    height: usize,
    (across, down): (usize, usize),
) -> Vec<f32> {
    let rows: Vec<f32> = {
        let values: Vec<f32> = values.collect();
        values.chunks_exact(width.max(1)).flat_map(|row| running(row, across)).collect()
    };
    let mut out = vec![0.0; width * height];
    // Column by column, but a row at a time: sums of rows that come in and go out of the window.
    let row = |y: usize| rows.get(y * width..(y + 1) * width).unwrap_or_default();
    let mut sums = vec![0.0_f32; width];
    for y in 0..down.min(height) {
        add(&mut sums, row(y), 1.0);
    }
    for (y, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        if y + down < height {
            add(&mut sums, row(y + down), 1.0);
        }
        if let Some(gone) = y.checked_sub(down + 1) {
            add(&mut sums, row(gone), -1.0);
        }
        out.copy_from_slice(&sums);
    }
    out
}

fn add(sums: &mut [f32], row: &[f32], sign: f32) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += sign * value;
    }
}

/// The running sums of a row over `radius` to each side.
fn running(row: &[f32], radius: usize) -> Vec<f32> {
    let mut sum: f64 = row.iter().take(radius).copied().map(f64::from).sum();
    (0..row.len())
        .map(|x| {
            if let Some(comes) = row.get(x + radius) {
                sum += f64::from(*comes);
            }
            if let Some(gone) = x.checked_sub(radius + 1).and_then(|x| row.get(x)) {
                sum -= f64::from(*gone);
            }
            narrow(sum)
        })
        .collect()
}

/// The median size of what is seen; none where nothing is.
fn median_size(values: &[f32], seen: &[bool]) -> Option<f32> {
    // Every 7th tells as much, and falls on no column of an even width each time.
    let pairs = values.iter().zip(seen).step_by(7);
    let mut sizes: Vec<f32> =
        pairs.filter(|(_, seen)| **seen).map(|(value, _)| value.abs()).collect();
    let middle = sizes.len() / 2;
    if sizes.is_empty() {
        return None;
    }
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f32::total_cmp);
    Some(median.max(0.05))
}

#[expect(clippy::cast_precision_loss, reason = "a count of pixels or cells")]
const fn count(n: usize) -> f32 {
    n as f32
}

/// A radius in whole pixels, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dozen pixels; float casts saturate"
)]
fn reach(pixels: f32) -> usize {
    (pixels.round() as usize).max(1)
}

#[expect(clippy::cast_possible_truncation, reason = "a sum of grey levels")]
const fn narrow(sum: f64) -> f32 {
    sum as f32
}
