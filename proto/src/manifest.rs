//! A clip's manifest: the signed description of what was recorded, sealed and for what use.
//!
//! INVARIANT: what is verified is the byte string that was signed. A manifest is parsed only out
//! of bytes whose signature held, and is never serialised again to check it.

use bytes::Bytes;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::{
    convert::ConvertError,
    ids::{ClipId, EventId, UnitId},
    sealed::TrackName,
    time::WallTime,
    wire,
};

/// The only use that a clip is recorded for; carried in every manifest.
pub const RESTRICTION: &str = "fleet-safety-only; no advertising; no training";
/// Fingerprints that a clip has at most: one for each camera that is recorded.
pub const MAX_FINGERPRINTS: usize = 2;
/// Longest fingerprint, bytes: ten minutes of pictures have 36 kB.
pub const MAX_FINGERPRINT_LEN: usize = 64 * 1024;
/// The current version of the manifest.
pub const VERSION: u32 = 1;

const SIGNATURE_CONTEXT: &[u8] = b"temoin manifest v1\0";

/// A clip's key, wrapped to the fleet. Only the fleet's private key opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which of the fleet's keys.
    pub key_id: String,
    /// HPKE encapsulated key, 32 bytes.
    pub encapsulated: Vec<u8>,
    /// HPKE ciphertext of the clip's key, 48 bytes.
    pub ciphertext: Vec<u8>,
}

/// One sealed track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Which.
    pub name: TrackName,
    /// Media type of the plain bytes.
    pub media_type: String,
    /// Length before sealing, bytes.
    pub plain_len: u64,
    /// Length of the sealed object, bytes.
    pub sealed_len: u64,
    /// SHA-256 of the sealed object.
    pub sealed_sha256: [u8; 32],
    /// Whether other people were blurred on the unit, before encoding. None where there are no
    /// pictures, and from units that do not say.
    pub others_blurred: Option<bool>,
}

/// The description of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The clip.
    pub clip: ClipId,
    /// The event that it is around.
    pub event: EventId,
    /// The unit that recorded it.
    pub unit: UnitId,
    /// Wall time of the clip's first frame.
    pub start: WallTime,
    /// Length of the recording, milliseconds.
    pub duration_ms: u64,
    /// Where the event begins and ends, milliseconds from the clip's start.
    pub event_ms: (u64, u64),
    /// The tracks, each name at most once.
    pub tracks: Vec<Track>,
    /// The clip's key.
    pub wrapped_key: WrappedKey,
    /// Version of the agent that made it.
    pub agent_version: String,
    /// What the pictures of each camera look like in outline, so that the clip can be found by a file
    /// that leaked: at most [`MAX_FINGERPRINTS`] of at most [`MAX_FINGERPRINT_LEN`] bytes. What they say is
    /// the media crate's matter.
    pub fingerprints: Vec<Bytes>,
}

impl Manifest {
    /// The track of this name.
    pub fn track(&self, name: TrackName) -> Option<&Track> {
        self.tracks.iter().find(|t| t.name == name)
    }

    /// Signs with the unit's key.
    pub fn sign(&self, key: &Ed25519KeyPair) -> wire::SignedManifest {
        let manifest = prost::Message::encode_to_vec(&wire::Manifest::from(self));
        let signature = key.sign(&signed_bytes(&manifest));
        wire::SignedManifest {
            manifest: manifest.into(),
            signature: Bytes::copy_from_slice(signature.as_ref()),
        }
    }

    /// The manifest in `signed`, where the unit's public key says that it signed it.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn verify(signed: &wire::SignedManifest, public_key: &[u8]) -> Result<Self, ManifestError> {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&signed_bytes(&signed.manifest), &signed.signature)
            .map_err(|_| ManifestError::Signature)?;
        let manifest: wire::Manifest = prost::Message::decode(signed.manifest.clone())
            .map_err(|_| ManifestError::Shape(ConvertError::NotProtobuf("manifest")))?;
        Ok(Self::try_from(manifest)?)
    }
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not signed by this unit's key, or changed since.
    #[error("the manifest's signature is not by this unit's key, or it was changed")]
    Signature,
    /// Signed, but not a manifest that this version understands.
    #[error("the manifest is signed but not usable: {0}")]
    Shape(#[from] ConvertError),
}

fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, manifest].concat()
}

#[cfg(test)]
mod tests {
    use ring::{rand::SystemRandom, signature::KeyPair};

    use super::*;

    fn sample() -> Manifest {
        Manifest {
            clip: ClipId::new(),
            event: EventId::new(),
            unit: "van-12".parse().unwrap(),
            start: WallTime { unix_ms: 1_700_000_000_000, uncertainty_ms: 20 },
            duration_ms: 15_000,
            event_ms: (10_000, 11_200),
            tracks: vec![Track {
                name: TrackName::Road,
                media_type: "video/mp4".into(),
                plain_len: 10,
                sealed_len: 26,
                sealed_sha256: [3; 32],
                others_blurred: Some(true),
            }],
            wrapped_key: WrappedKey {
                key_id: "k1".into(),
                encapsulated: vec![1; 32],
                ciphertext: vec![2; 48],
            },
            agent_version: "0.1.0".into(),
            fingerprints: vec![Bytes::from_static(&[1, 2, 3])],
        }
    }

    #[test]
    fn signed_manifests_verify_and_changed_ones_do_not() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let manifest = sample();
        let signed = manifest.sign(&key);
        let public = key.public_key().as_ref();
        assert_eq!(Manifest::verify(&signed, public), Ok(manifest));
        for at in 0..signed.manifest.len() {
            let mut bytes = signed.manifest.to_vec();
            bytes[at] ^= 1;
            let changed = wire::SignedManifest { manifest: bytes.into(), ..signed.clone() };
            assert_eq!(Manifest::verify(&changed, public), Err(ManifestError::Signature));
        }
    }

    #[test]
    fn a_signature_does_not_make_nonsense_usable() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let mut manifest = sample();
        manifest.tracks[0].sealed_len = 27;
        let refused = Manifest::verify(&manifest.sign(&key), key.public_key().as_ref());
        assert!(matches!(refused, Err(ManifestError::Shape(_))), "{refused:?}");

        for (count, len, good) in
            [(2, MAX_FINGERPRINT_LEN, true), (3, 1, false), (1, MAX_FINGERPRINT_LEN + 1, false)]
        {
            let mut manifest = sample();
            manifest.fingerprints = vec![vec![7; len].into(); count];
            let read = Manifest::verify(&manifest.sign(&key), key.public_key().as_ref());
            assert_eq!(read.is_ok(), good, "{count} of {len} bytes: {read:?}");
        }

        for (name, others_blurred, good) in [
            (TrackName::Road, Some(false), true),
            (TrackName::RoadUnblurred, Some(false), true),
            (TrackName::RoadUnblurred, Some(true), false),
            (TrackName::CabinUnblurred, None, false),
        ] {
            let mut manifest = sample();
            manifest.tracks[0].name = name;
            manifest.tracks[0].others_blurred = others_blurred;
            let read = Manifest::verify(&manifest.sign(&key), key.public_key().as_ref());
            assert_eq!(read.is_ok(), good, "{name:?} {others_blurred:?}: {read:?}");
        }
    }
}
