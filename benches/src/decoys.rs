//! Fingerprints of clips that nobody recorded, to search among.
//!
//! Each look of theirs is a real one, half of its words come from anywhere among the real ones, and each bit
//! of what a word says is changed with 1/16. So words come as often as real ones do and stand beside each
//! other as they do, which random words would not, and no scene is there twice.

use anyhow::{Context, Result};
use temoin_media::watermark::fingerprint::{Fingerprint, LOOK_EVERY_MS, Look, Shape, Word};
use temoin_proto::sealed::TrackName;

/// Looks of a clip of 20 s.
const LOOKS: u32 = 14;

/// Numbers that look random and are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let n = usize::try_from(self.bits() >> 33).ok()?;
        all.get(n.checked_rem(all.len())?)
    }

    /// The word, each bit of what it says changed with 1/16.
    fn changed(&mut self, word: Word) -> Word {
        let change = self.bits() & self.bits() & self.bits() & self.bits();
        let change = u32::try_from(change >> 32).unwrap_or(0);
        Word::from_bits(word.bits() ^ (change & !0xfff))
    }
}

/// Makes them, one after the other, the same in every run.
pub struct Decoys<'a> {
    pool: &'a [Look],
    dice: Dice,
}

impl<'a> Decoys<'a> {
    /// Of real looks.
    pub const fn of(pool: &'a [Look]) -> Self {
        Self { pool, dice: Dice(0x7e30_1a5e_ed00_0002) }
    }

    /// The fingerprint of one camera of the next clip, as bytes.
    ///
    /// # Errors
    /// Where there are no looks.
    pub fn fingerprint(&mut self, track: TrackName) -> Result<Vec<u8>> {
        let (pool, dice) = (self.pool, &mut self.dice);
        let mut looks = Vec::new();
        for n in 0..LOOKS {
            let from = dice.one_of(pool).context("no looks")?;
            let words = from.words.iter().map(|word| {
                let elsewhere = dice.bits() >> 63 == 0;
                let other = dice.one_of(pool).and_then(|look| dice.one_of(&look.words));
                let word = other.filter(|_| elsewhere).unwrap_or(word);
                dice.changed(*word)
            });
            looks.push(Look { at_ms: n * LOOK_EVERY_MS, words: words.collect() });
        }
        let shape = Shape::of(1280, 720)?;
        Ok(Fingerprint { track, shape, looks }.to_bytes()?)
    }
}
