//! What binds a session to the browser that signed in: a key that does not leave it.
//!
//! The sign-in page's script makes an ECDSA P-256 key that scripts can use and nothing can read out,
//! and sends its public half with the password. Whoever then asks for pictures signs what they ask
//! for. A stolen cookie alone shows no picture; all else works with it until its theft is noticed.
//!
//! ```text
//! x-temoin-proof: TIME-TAG.NUMBER.SIGNATURE   (hexadecimal; 24, 16 and 64 bytes)
//! signature over: "temoin proof v1" LF METHOD LF PATH LF TIME-TAG LF NUMBER
//! ```
//! `TIME-TAG` is the server's nonce: its own time and a tag over it and the session. The number is
//! the browser's. INVARIANT: a proof counts for one session, one method and path, two minutes, and
//! once. What counted lives in memory: a restart forgets, and so do two minutes.

use std::{collections::HashMap, sync::Mutex};

use ring::signature::{self, UnparsedPublicKey};

use crate::sign_in_key::{SignInKey, Use};

/// The header with the proof.
pub const PROOF_HEADER: &str = "x-temoin-proof";
/// How long a nonce counts. Long enough for a slow connection; the page gets a new one when it
/// needs one.
pub const NONCE_MS: i64 = 2 * 60 * 1000;
/// How long a download's ticket counts: the redirect to it follows at once.
pub const TICKET_MS: i64 = 30 * 1000;
/// Length of a public key: an uncompressed point.
pub const PUBLIC_KEY_LEN: usize = 65;
/// Most proofs that are remembered; a page makes five for a view.
const MAX_SEEN: usize = 100_000;
const CONTEXT: &str = "temoin proof v1";

/// A public key out of the sign-in form; none where it is not a point.
pub fn public_key(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text.get(..2 * PUBLIC_KEY_LEN)?).ok()?;
    (text.len() == 2 * PUBLIC_KEY_LEN && bytes.first() == Some(&4)).then_some(bytes)
}

/// A proof as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The server's time and its tag.
    pub nonce: [u8; 24],
    /// The browser's random number.
    pub number: [u8; 16],
    /// r and s.
    pub signature: [u8; 64],
}

impl Proof {
    /// Reads the header's value.
    pub fn parse(text: &str) -> Option<Self> {
        let mut proof = Self { nonce: [0; 24], number: [0; 16], signature: [0; 64] };
        let mut parts = text.split('.');
        let fields: [&mut [u8]; 3] = [&mut proof.nonce, &mut proof.number, &mut proof.signature];
        for field in fields {
            hex::decode_to_slice(parts.next()?, field).ok()?;
        }
        parts.next().is_none().then_some(proof)
    }
}

/// A nonce for this session, as hexadecimal digits.
pub(crate) fn nonce(key: &SignInKey, session: &[u8; 32], now_ms: i64) -> String {
    hex::encode(nonce_bytes(key, session, now_ms))
}

fn nonce_bytes(key: &SignInKey, session: &[u8; 32], at_ms: i64) -> [u8; 24] {
    stamped(at_ms, &key.tag(Use::ProofNonce, &[session, &at_ms.to_be_bytes()]))
}

/// What a browser signs.
pub fn signed_text(method: &str, path: &str, nonce: &str, number: &str) -> String {
    format!("{CONTEXT}\n{method}\n{path}\n{nonce}\n{number}")
}

/// What lets a browser download one file without a header: a proof of the server's own.
pub(crate) fn ticket(key: &SignInKey, session: &[u8; 32], path: &str, now_ms: i64) -> String {
    hex::encode(ticket_bytes(key, session, path, now_ms))
}

fn ticket_bytes(key: &SignInKey, session: &[u8; 32], path: &str, at_ms: i64) -> [u8; 24] {
    let time = at_ms.to_be_bytes();
    stamped(at_ms, &key.tag(Use::Ticket, &[session, &time, path.as_bytes()]))
}

/// A time and the beginning of its tag.
fn stamped(at_ms: i64, tag: &[u8; 32]) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (to, from) in bytes.iter_mut().zip(at_ms.to_be_bytes().iter().chain(tag)) {
        *to = *from;
    }
    bytes
}

/// A session, and a number of its browser.
type Number = ([u8; 32], [u8; 16]);

/// The proofs that counted within the last two minutes.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// With the time of their nonces.
    numbers: Mutex<HashMap<Number, i64>>,
}

impl Seen {
    /// Whether this session's key signed this request now, for the first time.
    pub(crate) fn check(
        &self,
        key: &SignInKey,
        (session, public_key): (&[u8; 32], &[u8]),
        (method, path): (&str, &str),
        proof: &Proof,
        now_ms: i64,
    ) -> bool {
        let Some((time, _)) = proof.nonce.split_first_chunk::<8>() else { return false };
        let at_ms = i64::from_be_bytes(*time);
        let is_ours = key.is_tag(&proof.nonce, &nonce_bytes(key, session, at_ms));
        if !is_ours || !(0..NONCE_MS).contains(&now_ms.saturating_sub(at_ms)) {
            return false;
        }
        let text = signed_text(method, path, &hex::encode(proof.nonce), &hex::encode(proof.number));
        let verifier = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public_key);
        if verifier.verify(text.as_bytes(), &proof.signature).is_err() {
            return false;
        }
        self.first_time(session, proof.number, at_ms, now_ms)
    }

    /// Whether this ticket was made for this session and path just now, and is used for the first
    /// time.
    pub(crate) fn take_ticket(
        &self,
        key: &SignInKey,
        session: &[u8; 32],
        path: &str,
        ticket: &str,
        now_ms: i64,
    ) -> bool {
        let mut bytes = [0; 24];
        if hex::decode_to_slice(ticket, &mut bytes).is_err() {
            return false;
        }
        let Some((time, _)) = bytes.split_first_chunk::<8>() else { return false };
        let at_ms = i64::from_be_bytes(*time);
        let Some(number) = bytes.last_chunk::<16>() else { return false };
        key.is_tag(&bytes, &ticket_bytes(key, session, path, at_ms))
            && (0..TICKET_MS).contains(&now_ms.saturating_sub(at_ms))
            && self.first_time(session, *number, at_ms, now_ms)
    }

    fn first_time(&self, session: &[u8; 32], number: [u8; 16], at_ms: i64, now_ms: i64) -> bool {
        let mut numbers = self.numbers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if numbers.len() >= MAX_SEEN {
            numbers.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < NONCE_MS);
        }
        // Full of proofs that may still be sent again: refusing is safe.
        numbers.len() < MAX_SEEN && numbers.insert((*session, number), at_ms).is_none()
    }
}

#[cfg(test)]
pub(crate) struct TestKey(ring::signature::EcdsaKeyPair);

#[cfg(test)]
impl TestKey {
    pub(crate) fn new() -> Self {
        use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING as ALG, EcdsaKeyPair};
        let rng = ring::rand::SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ALG, &rng).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ALG, pkcs8.as_ref(), &rng).unwrap())
    }

    pub(crate) fn public_hex(&self) -> String {
        use ring::signature::KeyPair as _;
        hex::encode(self.0.public_key().as_ref())
    }

    /// The header's value.
    pub(crate) fn prove(&self, method: &str, path: &str, nonce: &str, number: u8) -> String {
        let number = hex::encode([number; 16]);
        let text = signed_text(method, path, nonce, &number);
        let rng = ring::rand::SystemRandom::new();
        let signature = self.0.sign(&rng, text.as_bytes()).unwrap();
        format!("{nonce}.{number}.{}", hex::encode(signature.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sign_in_key::for_tests;

    const NOW: i64 = 1_795_176_000_000;

    #[test]
    fn a_proof_counts_for_its_request_its_session_its_time_and_once() {
        let (key, seen, browser) = (for_tests(), Seen::default(), TestKey::new());
        let (session, other) = ([1; 32], [2; 32]);
        let public = public_key(&browser.public_hex()).unwrap();
        let request = ("GET", "/views/x/road.mp4");
        let fresh = nonce(&key, &session, NOW);
        let check = |session: &[u8; 32], public: &[u8], request, proof: &str, now| {
            let proof = Proof::parse(proof).unwrap();
            seen.check(&key, (session, public), request, &proof, now)
        };
        let good = browser.prove(request.0, request.1, &fresh, 1);
        for (what, counts) in [
            ("another method", check(&session, &public, ("POST", request.1), &good, NOW)),
            ("another path", check(&session, &public, ("GET", "/views/y/road.mp4"), &good, NOW)),
            ("another session", check(&other, &public, request, &good, NOW)),
            ("too late", check(&session, &public, request, &good, NOW + NONCE_MS)),
            ("before its time", check(&session, &public, request, &good, NOW - 1)),
            (
                "another key",
                check(
                    &session,
                    &public_key(&TestKey::new().public_hex()).unwrap(),
                    request,
                    &good,
                    NOW,
                ),
            ),
            (
                "a nonce that is not ours",
                check(
                    &session,
                    &public,
                    request,
                    &browser.prove(request.0, request.1, &"0".repeat(48), 1),
                    NOW,
                ),
            ),
        ] {
            assert!(!counts, "{what}");
        }
        assert!(check(&session, &public, request, &good, NOW + NONCE_MS - 1));
        assert!(!check(&session, &public, request, &good, NOW), "sent again");
        let next = browser.prove(request.0, request.1, &fresh, 2);
        assert!(check(&session, &public, request, &next, NOW));
        // The same number signed again: a browser that signs twice, or a changed signature.
        let same = browser.prove(request.0, request.1, &fresh, 2);
        assert_ne!(same, next);
        assert!(!check(&session, &public, request, &same, NOW));
    }

    #[test]
    fn a_ticket_is_for_one_session_one_file_and_one_download() {
        let (key, seen) = (for_tests(), Seen::default());
        let (session, other, file) = ([1; 32], [2; 32], "/views/x/road.mp4");
        let made = ticket(&key, &session, file, NOW);
        assert!(!seen.take_ticket(&key, &other, file, &made, NOW));
        assert!(!seen.take_ticket(&key, &session, "/views/x/cabin.mp4", &made, NOW));
        assert!(!seen.take_ticket(&key, &session, file, &made, NOW + TICKET_MS));
        assert!(!seen.take_ticket(&key, &session, file, &nonce(&key, &session, NOW), NOW));
        for wrong in ["", "00", &made[2..]] {
            assert!(!seen.take_ticket(&key, &session, file, wrong, NOW), "{wrong}");
        }
        assert!(seen.take_ticket(&key, &session, file, &made, NOW + TICKET_MS - 1));
        assert!(!seen.take_ticket(&key, &session, file, &made, NOW), "twice");
    }

    #[test]
    fn keys_that_are_no_points_are_none() {
        let good = TestKey::new().public_hex();
        assert!(public_key(&good).is_some());
        for wrong in ["", &good[2..], &format!("{good}00"), &good.replacen("04", "02", 1), "é"] {
            assert!(public_key(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_proof_or_none(text in "[0-9a-fA-F.é ]{0,250}") {
            if let Some(proof) = Proof::parse(&text) {
                let again = format!(
                    "{}.{}.{}",
                    hex::encode(proof.nonce),
                    hex::encode(proof.number),
                    hex::encode(proof.signature)
                );
                prop_assert_eq!(again, text.to_lowercase());
            }
        }
    }
}
