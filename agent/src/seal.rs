//! Sealing a clip: a fresh key, each track encrypted in chunks, the key wrapped to the fleet, the
//! manifest signed by the unit. See [`temoin_proto::sealed`] for the format.
//!
//! INVARIANT: this is the only way from pictures to bytes that may touch the disk. What goes in
//! lies in RAM only; what comes out the unit itself cannot open.

use bytes::Bytes;
use ring::digest;
use temoin_proto::{
    ids::{ClipId, EventId},
    manifest::{Manifest, Track},
    sealed::{ClipKey, SealedError, TrackCipher, TrackName},
    time::WallTime,
    wire::SignedManifest,
};
use zeroize::Zeroizing;

use crate::identity::Identity;

/// A track in the clear, in RAM. Wiped when dropped.
pub struct PlainTrack {
    /// Which.
    pub name: TrackName,
    /// Media type of the bytes.
    pub media_type: String,
    /// Whether other people were blurred before encoding; None where there are no pictures.
    pub others_blurred: Option<bool>,
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What a clip is about.
pub struct ClipFacts {
    /// Its id.
    pub clip: ClipId,
    /// The event that it is around.
    pub event: EventId,
    /// Wall time of its first frame.
    pub start: WallTime,
    /// Length, milliseconds.
    pub duration_ms: u64,
    /// Where the event begins and ends, milliseconds from the clip's start.
    pub event_ms: (u64, u64),
    /// What its pictures look like in outline, so that it can be found by a file that leaked.
    pub fingerprints: Vec<Bytes>,
}

/// A clip that may touch the disk.
pub struct SealedClip {
    /// Its id.
    pub clip: ClipId,
    /// The event that it is around.
    pub event: EventId,
    /// The signed manifest.
    pub manifest: SignedManifest,
    /// The sealed tracks.
    pub tracks: Vec<(TrackName, Vec<u8>)>,
}

/// Seals a clip to the fleet's current key.
///
/// # Errors
/// [`SealedError`] where the system gives no randomness or the fleet's key is unusable.
pub fn seal(
    facts: ClipFacts,
    plain: Vec<PlainTrack>,
    identity: &Identity,
) -> Result<SealedClip, SealedError> {
    let fleet = identity.fleet();
    let key = ClipKey::generate()?;
    let wrapped_key = key.wrap(facts.clip, &fleet.sealing_key.key_id, &fleet.sealing_key.public)?;
    let mut described = Vec::with_capacity(plain.len());
    let mut tracks = Vec::with_capacity(plain.len());
    for track in plain {
        let sealed = TrackCipher::new(&key, facts.clip, track.name)?.seal(&track.bytes)?;
        let mut sealed_sha256 = [0; 32];
        sealed_sha256.copy_from_slice(digest::digest(&digest::SHA256, &sealed).as_ref());
        described.push(Track {
            name: track.name,
            media_type: track.media_type,
            plain_len: track.bytes.len() as u64,
            sealed_len: sealed.len() as u64,
            sealed_sha256,
            others_blurred: track.others_blurred,
        });
        tracks.push((track.name, sealed));
    }
    let manifest = Manifest {
        clip: facts.clip,
        event: facts.event,
        unit: fleet.unit.clone(),
        start: facts.start,
        duration_ms: facts.duration_ms,
        event_ms: facts.event_ms,
        tracks: described,
        wrapped_key,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprints: facts.fingerprints,
    }
    .sign(identity.signing_key());
    Ok(SealedClip { clip: facts.clip, event: facts.event, manifest, tracks })
}
