//! The secret of one forensic mark, and the signs that it stands for.
//!
//! A mark is a pattern of cells, and each cell is made a little brighter or darker for half a second
//! (a *slot*). Which of the two is one sign. The signs of a slot are bits, the highest of each byte
//! first, of the blocks
//!
//! `HMAC-SHA256(key, "temoin mark signs v1\0" ‖ track name ‖ 0 ‖ slot (u32) ‖ block (u32))`
//!
//! for block 0, 1, ...; numbers are big endian. A set bit is brighter. So who lacks the key of a
//! view cannot tell its signs from fair coins, and those of two views have nothing to do with each
//! other: that is all that the bound on false accusations rests on (`docs/forensic-mark.md`).
//!
//! The key of a view is `HMAC-SHA256(secret, "temoin view mark v1\0" ‖ view id)`, and the secret
//! never leaves the key service.

use ring::{
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{ids::ViewId, sealed::TrackName};

const SIGNS_CONTEXT: &[u8] = b"temoin mark signs v1\0";
const VIEW_CONTEXT: &[u8] = b"temoin view mark v1\0";

/// 32 bytes that one mark is made from. Never printed, erased when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MarkKey([u8; 32]);

impl std::fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkKey(..)")
    }
}

impl MarkKey {
    /// A fresh random one; none where the system gives no random bytes.
    pub fn generate() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of a view, where `self` is the fleet's secret.
    pub fn of_view(&self, view: ViewId) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(VIEW_CONTEXT);
        context.update(view.as_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// What gives the signs of a track.
    pub fn signs(&self, track: TrackName) -> Signs {
        Signs { key: hmac::Key::new(hmac::HMAC_SHA256, &self.0), track }
    }
}

/// Gives the signs of one mark on one track.
#[derive(Debug, Clone)]
pub struct Signs {
    key: hmac::Key,
    track: TrackName,
}

impl Signs {
    /// Fills `bits` with the signs of a slot: cell 0 is the highest bit of the first byte.
    pub fn fill(&self, slot: u32, bits: &mut [u8]) {
        for (block, part) in (0_u32..).zip(bits.chunks_mut(digest::SHA256_OUTPUT_LEN)) {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(SIGNS_CONTEXT);
            context.update(self.track.as_str().as_bytes());
            context.update(&[0]);
            context.update(&slot.to_be_bytes());
            context.update(&block.to_be_bytes());
            for (to, from) in part.iter_mut().zip(context.sign().as_ref()) {
                *to = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(key: &MarkKey, track: TrackName, slot: u32) -> [u8; 80] {
        let mut bits = [0; 80];
        key.signs(track).fill(slot, &mut bits);
        bits
    }

    #[test]
    fn the_signs_are_those_of_the_documented_blocks() {
        let key = MarkKey::from_bytes([7; 32]);
        let block = |n: u8| {
            let mut data = b"temoin mark signs v1\0road\0".to_vec();
            data.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, n]);
            let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
            hmac::sign(&key, &data).as_ref().to_vec()
        };
        let whole = [block(0), block(1), block(2)].concat();
        assert_eq!(bits(&key, TrackName::Road, 9).as_slice(), &whole[..80]);
    }

    #[test]
    fn views_tracks_and_slots_have_signs_of_their_own() {
        let secret = MarkKey::generate().unwrap();
        let view = ViewId::new();
        let key = secret.of_view(view);
        assert_eq!(key, secret.of_view(view));
        let others = [
            bits(&secret.of_view(ViewId::new()), TrackName::Road, 0),
            bits(&MarkKey::generate().unwrap().of_view(view), TrackName::Road, 0),
            bits(&secret, TrackName::Road, 0),
            bits(&key, TrackName::Cabin, 0),
            bits(&key, TrackName::Road, 1),
        ];
        let own = bits(&key, TrackName::Road, 0);
        for other in others {
            let differ: u32 = own.iter().zip(&other).map(|(a, b)| (a ^ b).count_ones()).sum();
            // Of 640 fair coins; 10 standard deviations.
            assert!((194..=446).contains(&differ), "{differ}");
        }
    }
}
