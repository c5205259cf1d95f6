//! Thins a camera to at most so many frames a second without moving any frame in time.

/// Lets at most one frame into each slot of `1/fps` seconds, the first that comes.
#[derive(Debug)]
pub(crate) struct FrameGrid {
    fps: u32,
    last_slot: Option<i64>,
}

/// Stamps of a camera that runs at exactly the wanted rate are rounded to whole milliseconds in
/// some containers: half of that keeps every frame in its own slot.
const ROUNDING_NS: i128 = 600_000;

impl FrameGrid {
    pub(crate) fn new(fps: u32) -> Self {
        Self { fps, last_slot: None }
    }

    /// Whether the frame at `pts_ns` is to be kept.
    pub(crate) fn admits(&mut self, pts_ns: u64) -> bool {
        let slot = (i128::from(pts_ns) + ROUNDING_NS) * i128::from(self.fps) / 1_000_000_000;
        let slot = i64::try_from(slot).unwrap_or(i64::MAX);
        let admitted = self.last_slot.is_none_or(|last| slot > last);
        if admitted {
            self.last_slot = Some(slot);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        // (frames/s in, frames/s asked for, frames kept of 10 s)
        for (input, asked, kept) in [
            (15, 15, 150),
            (30, 15, 150),
            (25, 15, 150),
            (20, 15, 150),
            (60, 15, 150),
            (10, 15, 100),
        ] {
            let mut grid = FrameGrid::new(asked);
            let n = (0..input * 10)
                // Rounded to milliseconds, as Matroska has it.
                .filter(|i| grid.admits((i * 1000 + input / 2) / input * 1_000_000))
                .count();
            assert_eq!(n, kept, "{input} to {asked}");
        }
    }
}
