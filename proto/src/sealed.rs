//! The sealed format: how a clip's tracks are encrypted and how their key is wrapped.
//!
//! A clip has one fresh AES-256 key. A track is cut into chunks of [`CHUNK_PLAIN_LEN`] bytes, the
//! last one shorter (an empty track is one empty chunk). Each chunk is AES-256-GCM with
//! - nonce (12 bytes): track number (u8) ‖ 0 0 0 ‖ chunk index (u64, big endian),
//! - additional data: `temoin sealed v1\0` ‖ clip id (16 bytes) ‖ track name ‖ last-chunk flag (u8).
//!
//! So any range can be read and verified by itself, and a chunk moved, dropped, repeated, taken
//! from another track or clip, or cut off at the end fails to open.
//!
//! The key is wrapped to the fleet with HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM, base mode, info `temoin clip key v1\0` ‖ clip id.
//!
//! INVARIANT: a key seals one clip only and each (track, index) of it once, so no nonce repeats.

use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{ids::ClipId, manifest::WrappedKey};

/// Plain bytes in every chunk but the last.
pub const CHUNK_PLAIN_LEN: usize = 64 * 1024;
/// Bytes that sealing adds to each chunk.
pub const TAG_LEN: usize = 16;
/// Bytes of a sealed chunk, every one but the last.
pub const CHUNK_SEALED_LEN: usize = CHUNK_PLAIN_LEN + TAG_LEN;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// A chunk is not what was sealed: damaged, moved or of another clip.
    #[error("chunk {index} of track `{track}` does not open: damaged, or not of this clip")]
    Chunk {
        /// The track's name.
        track: &'static str,
        /// The chunk's index.
        index: u64,
    },
    /// A public or private key has the wrong form.
    #[error("not an X25519 key")]
    Key,
    /// The wrapped key does not open with this fleet key.
    #[error("the clip's key does not unwrap: not of this clip or not for this fleet key")]
    Unwrap,
}

/// The tracks that a clip may have. The number is part of the nonce and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackName {
    /// Cabin camera.
    Cabin,
    /// Road camera.
    Road,
    /// Signals (`fleet.v1.ClipSignals`).
    Signals,
    /// Cabin camera, with other people as they are. Only where the fleet switched it on; nobody's
    /// view shows it.
    CabinUnblurred,
    /// Road camera, likewise.
    RoadUnblurred,
}

impl TrackName {
    /// Every track.
    pub const ALL: [Self; 5] =
        [Self::Cabin, Self::Road, Self::Signals, Self::CabinUnblurred, Self::RoadUnblurred];

    /// `cabin`, `road`, `signals`, `cabin_unblurred` or `road_unblurred`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cabin => "cabin",
            Self::Road => "road",
            Self::Signals => "signals",
            Self::CabinUnblurred => "cabin_unblurred",
            Self::RoadUnblurred => "road_unblurred",
        }
    }

    /// The track of this camera's pictures with other people as they are.
    pub const fn unblurred(camera: crate::samples::CameraId) -> Self {
        match camera {
            crate::samples::CameraId::Cabin => Self::CabinUnblurred,
            crate::samples::CameraId::Road => Self::RoadUnblurred,
        }
    }

    /// Whether this is a track of pictures that nothing was blurred in.
    pub const fn is_unblurred(self) -> bool {
        match self {
            Self::CabinUnblurred | Self::RoadUnblurred => true,
            Self::Cabin | Self::Road | Self::Signals => false,
        }
    }

    /// The track of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    const fn number(self) -> u8 {
        match self {
            Self::Cabin => 1,
            Self::Road => 2,
            Self::Signals => 3,
            Self::CabinUnblurred => 4,
            Self::RoadUnblurred => 5,
        }
    }
}

impl From<crate::samples::CameraId> for TrackName {
    fn from(camera: crate::samples::CameraId) -> Self {
        match camera {
            crate::samples::CameraId::Cabin => Self::Cabin,
            crate::samples::CameraId::Road => Self::Road,
        }
    }
}

/// A clip's key. Wiped from memory when dropped; never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ClipKey([u8; 32]);

impl ClipKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// [`SealedError::Random`].
    pub fn generate() -> Result<Self, SealedError> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| SealedError::Random)?;
        Ok(Self(key))
    }

    /// The key with these bytes, as [`ClipKey::expose`] gave them to another process.
    pub const fn from_exposed(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes: only for handing it from the key service to the server that asked.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps the key so that only the holder of the fleet's private key can read it.
    ///
    /// # Errors
    /// [`SealedError::Key`] where `fleet_public` is no X25519 key.
    pub fn wrap(
        &self,
        clip: ClipId,
        key_id: &str,
        fleet_public: &[u8],
    ) -> Result<WrappedKey, SealedError> {
        let public = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(fleet_public)
            .map_err(|_| SealedError::Key)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<
            AesGcm256,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base, &public, &wrap_info(clip), &self.0, b""
        )
        .map_err(|_| SealedError::Key)?;
        Ok(WrappedKey {
            key_id: key_id.to_owned(),
            encapsulated: encapsulated.to_bytes().to_vec(),
            ciphertext,
        })
    }

    /// The key behind `wrapped`, with the fleet's private key.
    ///
    /// # Errors
    /// [`SealedError::Key`] and [`SealedError::Unwrap`].
    pub fn unwrap(
        wrapped: &WrappedKey,
        clip: ClipId,
        fleet_private: &[u8],
    ) -> Result<Self, SealedError> {
        let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(fleet_private)
            .map_err(|_| SealedError::Key)?;
        let encapsulated =
            <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated)
                .map_err(|_| SealedError::Unwrap)?;
        let mut plain = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &wrap_info(clip),
            &wrapped.ciphertext,
            b"",
        )
        .map_err(|_| SealedError::Unwrap)?;
        let key = plain.as_slice().try_into().map(Self).map_err(|_| SealedError::Unwrap);
        plain.zeroize();
        key
    }
}

impl std::fmt::Debug for ClipKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClipKey(..)")
    }
}

/// A new X25519 key pair for a fleet: (private, public), 32 bytes each.
pub fn generate_fleet_key() -> ([u8; 32], [u8; 32]) {
    let (private, public) = X25519HkdfSha256::gen_keypair();
    (private.to_bytes().into(), public.to_bytes().into())
}

/// The public key that belongs to a fleet's private key.
///
/// # Errors
/// [`SealedError::Key`].
pub fn fleet_public_key(private: &[u8]) -> Result<[u8; 32], SealedError> {
    let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(private)
        .map_err(|_| SealedError::Key)?;
    Ok(X25519HkdfSha256::sk_to_pk(&private).to_bytes().into())
}

fn wrap_info(clip: ClipId) -> Vec<u8> {
    [b"temoin clip key v1\0".as_slice(), clip.as_bytes()].concat()
}

/// Length of the sealed form of `plain_len` bytes.
pub const fn sealed_len(plain_len: u64) -> u64 {
    plain_len + chunk_count(plain_len) * TAG_LEN as u64
}

/// How many chunks `plain_len` bytes make: at least one.
pub const fn chunk_count(plain_len: u64) -> u64 {
    let n = plain_len.div_ceil(CHUNK_PLAIN_LEN as u64);
    if n == 0 { 1 } else { n }
}

/// Seals and opens the chunks of one track of one clip.
pub struct TrackCipher {
    key: LessSafeKey,
    clip: ClipId,
    track: TrackName,
}

impl TrackCipher {
    /// For one track of the clip whose key this is.
    ///
    /// # Errors
    /// None with a 32-byte key; the type keeps ring's.
    pub fn new(key: &ClipKey, clip: ClipId, track: TrackName) -> Result<Self, SealedError> {
        let key = UnboundKey::new(&AES_256_GCM, &key.0).map_err(|_| SealedError::Key)?;
        Ok(Self { key: LessSafeKey::new(key), clip, track })
    }

    /// Seals a whole track.
    ///
    /// # Errors
    /// [`SealedError::Chunk`] where a chunk is beyond the cipher's limits: not with this chunk size.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SealedError> {
        let last = chunk_count(plain.len() as u64) - 1;
        let mut sealed =
            Vec::with_capacity(plain.len() + (plain.len() / CHUNK_PLAIN_LEN + 1) * TAG_LEN);
        let mut rest = plain;
        for index in 0..=last {
            let (chunk, tail) = rest.split_at(rest.len().min(CHUNK_PLAIN_LEN));
            rest = tail;
            let mut buffer = chunk.to_vec();
            self.key
                .seal_in_place_append_tag(self.nonce(index), self.aad(index == last), &mut buffer)
                .map_err(|_| self.chunk_error(index))?;
            sealed.extend_from_slice(&buffer);
            buffer.zeroize();
        }
        Ok(sealed)
    }

    /// Opens one sealed chunk in place and returns its plain bytes.
    ///
    /// # Errors
    /// [`SealedError::Chunk`] where it is not the chunk with this index, or `last` is wrong.
    pub fn open<'b>(
        &self,
        index: u64,
        last: bool,
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], SealedError> {
        self.key
            .open_in_place(self.nonce(index), self.aad(last), sealed)
            .map_err(|_| self.chunk_error(index))
    }

    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        let (track, counter) = nonce.split_at_mut(4);
        track.copy_from_slice(&[self.track.number(), 0, 0, 0]);
        counter.copy_from_slice(&index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, last: bool) -> Aad<Vec<u8>> {
        Aad::from(
            [
                b"temoin sealed v1\0".as_slice(),
                self.clip.as_bytes(),
                self.track.as_str().as_bytes(),
                &[u8::from(last)],
            ]
            .concat(),
        )
    }

    const fn chunk_error(&self, index: u64) -> SealedError {
        SealedError::Chunk { track: self.track.as_str(), index }
    }
}

/// Opens a whole sealed track.
///
/// # Errors
/// [`SealedError::Chunk`] where any chunk is missing, damaged or out of place.
pub fn open_all(cipher: &TrackCipher, sealed: &[u8]) -> Result<Vec<u8>, SealedError> {
    let count = sealed.len().div_ceil(CHUNK_SEALED_LEN).max(1);
    let mut plain = Vec::with_capacity(sealed.len());
    let mut rest = sealed;
    for index in 0..count {
        let (chunk, tail) = rest.split_at(rest.len().min(CHUNK_SEALED_LEN));
        rest = tail;
        let mut buffer = chunk.to_vec();
        let opened = cipher.open(index as u64, index + 1 == count, &mut buffer)?;
        plain.extend_from_slice(opened);
        buffer.zeroize();
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cipher() -> (ClipKey, ClipId, TrackCipher) {
        let key = ClipKey::generate().unwrap();
        let clip = ClipId::new();
        let cipher = TrackCipher::new(&key, clip, TrackName::Cabin).unwrap();
        (key, clip, cipher)
    }

    #[test]
    fn lengths_at_the_edges() {
        let (_, _, cipher) = cipher();
        for len in
            [0, 1, CHUNK_PLAIN_LEN - 1, CHUNK_PLAIN_LEN, CHUNK_PLAIN_LEN + 1, 3 * CHUNK_PLAIN_LEN]
        {
            let plain: Vec<u8> = (0..=250).cycle().take(len).collect();
            let sealed = cipher.seal(&plain).unwrap();
            assert_eq!(sealed.len() as u64, sealed_len(len as u64), "{len}");
            assert_eq!(open_all(&cipher, &sealed).unwrap(), plain, "{len}");
        }
    }

    #[test]
    fn cut_swapped_and_foreign_chunks_do_not_open() {
        let (key, clip, cipher) = cipher();
        let sealed = cipher.seal(&vec![7; 3 * CHUNK_PLAIN_LEN]).unwrap();
        assert!(open_all(&cipher, &sealed[..2 * CHUNK_SEALED_LEN]).is_err(), "last chunk dropped");
        assert!(open_all(&cipher, &[]).is_err(), "everything dropped");
        let mut swapped = sealed.clone();
        let (a, b) = swapped.split_at_mut(CHUNK_SEALED_LEN);
        a.swap_with_slice(&mut b[..CHUNK_SEALED_LEN]);
        assert!(open_all(&cipher, &swapped).is_err(), "chunks swapped");
        let other_track = TrackCipher::new(&key, clip, TrackName::Road).unwrap();
        assert!(open_all(&other_track, &sealed).is_err(), "another track");
        let other_clip = TrackCipher::new(&key, ClipId::new(), TrackName::Cabin).unwrap();
        assert!(open_all(&other_clip, &sealed).is_err(), "another clip");
    }

    #[test]
    fn keys_unwrap_only_for_their_clip_and_fleet() {
        let (private, public) = generate_fleet_key();
        assert_eq!(fleet_public_key(&private).unwrap(), public);
        let (key, clip, _) = cipher();
        let wrapped = key.wrap(clip, "k1", &public).unwrap();
        assert_eq!(ClipKey::unwrap(&wrapped, clip, &private).unwrap().0, key.0);
        assert_eq!(
            ClipKey::unwrap(&wrapped, ClipId::new(), &private).err(),
            Some(SealedError::Unwrap)
        );
        let (other, _) = generate_fleet_key();
        assert_eq!(ClipKey::unwrap(&wrapped, clip, &other).err(), Some(SealedError::Unwrap));
        assert_eq!(key.wrap(clip, "k1", b"short").err(), Some(SealedError::Key));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(len in 0usize..200_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (_, _, cipher) = cipher();
            let mut sealed = cipher.seal(&vec![1; len]).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open_all(&cipher, &sealed).is_err());
        }
    }
}
