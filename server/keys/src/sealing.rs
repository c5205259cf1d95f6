//! AES-256-GCM with a fresh random nonce, as guards and the keyring file use it.
//!
//! INVARIANT: a key seals a handful of messages in its life (one for each change of the keyring),
//! so a random nonce of 96 bits never repeats in practice.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

/// The system gave no random bytes, or the bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealingFailed;

/// Fills with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), SealingFailed> {
    SystemRandom::new().fill(bytes).map_err(|_| SealingFailed)
}

/// 32 random bytes.
pub(crate) fn new_key() -> Result<Zeroizing<[u8; 32]>, SealingFailed> {
    let mut key = Zeroizing::new([0; 32]);
    fill(key.as_mut())?;
    Ok(key)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealingFailed> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealingFailed)
}

/// Nonce and ciphertext of `plain`, bound to `context`.
pub(crate) fn seal(key: &[u8; 32], context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealingFailed> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    // All of it at once: a buffer that grows would leave a copy of the plain bytes behind.
    let mut inside = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    inside.extend_from_slice(plain);
    cipher(key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut inside,
        )
        .map_err(|_| SealingFailed)?;
    Ok([nonce.as_slice(), &inside].concat())
}

/// What [`seal`] sealed.
pub(crate) fn open(
    key: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealingFailed> {
    let (nonce, inside) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealingFailed)?;
    let mut inside = Zeroizing::new(inside.to_vec());
    let len = cipher(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut inside)
        .map_err(|_| SealingFailed)?
        .len();
    inside.truncate(len);
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_was_sealed_so() {
        let (key, other) = (new_key().unwrap(), new_key().unwrap());
        let sealed = seal(&key, b"here", b"secret").unwrap();
        assert_eq!(open(&key, b"here", &sealed).unwrap().as_slice(), b"secret");
        assert!(open(&other, b"here", &sealed).is_err());
        assert!(open(&key, b"there", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&key, b"here", &changed).is_err(), "byte {at}");
            assert!(open(&key, b"here", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, seal(&key, b"here", b"secret").unwrap(), "a nonce never repeats");
    }
}
