//! What of a disk's writes is on it when the power goes.

use std::ops::Range;

use super::write_log::{Entry, Kind};

/// A disk tears a write at such boundaries.
const PAGE: u64 = 4096;

/// Numbers that look random, the same each time (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than this; 0 where there is nothing less.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from((self.next() >> 11) % end).unwrap_or(0)
    }
}

/// Part of a write that reached the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) entry: usize,
    pub(super) bytes: Range<u64>,
}

/// The power goes before entry `at`. All entries before the first number are on the disk whole: there
/// was a flush behind them. Of those between, these parts are, in this order: a disk writes them as it likes.
pub(super) fn cut(entries: &[Entry], at: usize, dice: &mut Dice) -> (usize, Vec<Part>) {
    let before = entries.get(..at).unwrap_or(entries);
    let flushed = before.iter().rposition(|entry| entry.kind == Kind::Flush).map_or(0, |n| n + 1);
    let mut order: Vec<usize> = (flushed..before.len()).collect();
    // Fisher and Yates.
    for n in (1..order.len()).rev() {
        order.swap(n, dice.below(n + 1));
    }
    let mut parts = Vec::new();
    for entry in order {
        let Some(Entry { kind, bytes, .. }) = entries.get(entry).copied() else { continue };
        let fate = match kind {
            Kind::Flush | Kind::Discard => continue,
            Kind::Forced => 0,
            Kind::Write => dice.below(3),
        };
        match fate {
            0 => parts.push(Part { entry, bytes: 0..bytes }),
            1 => {
                let mut from = 0;
                while from < bytes {
                    let to = (from + PAGE).min(bytes);
                    if dice.below(2) == 0 {
                        parts.push(Part { entry, bytes: from..to });
                    }
                    from = to;
                }
            }
            _ => {}
        }
    }
    (flushed, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_is_whole_and_the_rest_is_anything() {
        let write = |bytes| Entry { kind: Kind::Write, disk: 0, bytes, log: 0 };
        let flush = Entry { kind: Kind::Flush, ..write(0) };
        let forced = Entry { kind: Kind::Forced, ..write(512) };
        let entries = [write(512), flush, write(12_288), forced, write(512), flush];
        let mut seen = [0; 4];
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (flushed, parts) = cut(&entries, 5, &mut Dice::new(seed));
            assert_eq!(flushed, 2);
            assert!(parts.iter().any(|part| part.entry == 3), "it was on the disk at once");
            orders.insert(parts.iter().map(|part| part.entry).collect::<Vec<_>>());
            let of: Vec<&Part> = parts.iter().filter(|part| part.entry == 2).collect();
            let kept: u64 = of.iter().map(|part| part.bytes.end - part.bytes.start).sum();
            seen[usize::try_from(kept / 4096).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| *n > 5), "none, some and all of it: {seen:?}");
        assert!(orders.contains(&vec![4, 3]) && orders.contains(&vec![3, 4]), "in any order");
        assert_eq!(cut(&entries, 6, &mut Dice::new(1)), (6, Vec::new()), "all was flushed");
    }
}
