//! One-time codes by time (TOTP): RFC 6238 with SHA-1, 30 s and 6 digits, which is what every
//! authenticator app can do. Pure: the caller says what time it is.
//!
//! INVARIANT: a code counts once. [`matching_step`] never answers with a step that is not later
//! than the last one; the caller stores it before the code counts.

use ring::hmac;

/// Length of a secret, bytes: RFC 4226 recommends 160 bits.
pub const SECRET_LEN: usize = 20;
/// Length of a time step, milliseconds.
const STEP_MS: i64 = 30_000;
/// How many steps before and after now count: clocks of phones differ (RFC 6238, 5.2: one).
const SLACK_STEPS: i64 = 1;
const DIGITS: usize = 6;

/// The step that a time lies in.
const fn step_at(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(STEP_MS)
}

/// HOTP (RFC 4226, 5.3) before its digits are cut.
fn truncated(secret: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = bytes.last().map_or(0, |b| usize::from(b & 15));
    let four = bytes.get(offset..offset + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    u32::from_be_bytes(four.unwrap_or_default()) & 0x7fff_ffff
}

/// The code of a moment, as an app shows it.
pub fn code_at(secret: &[u8], unix_ms: i64) -> String {
    code(secret, step_at(unix_ms))
}

fn code(secret: &[u8], step: i64) -> String {
    format!("{:0DIGITS$}", truncated(secret, step) % 1_000_000)
}

/// What a person typed, as six digits; apps show them in groups. None where it is no code.
pub fn typed(text: &str) -> Option<String> {
    // Whoever sends more than a person types is not read on.
    let digits: String = text.chars().take(32).filter(|c| !c.is_whitespace()).collect();
    let good = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    good.then_some(digits)
}

/// The step that this code belongs to, where it is one of now and later than `last_step`.
pub fn matching_step(secret: &[u8], given: &str, unix_ms: i64, last_step: i64) -> Option<i64> {
    let given = typed(given)?;
    let now = step_at(unix_ms);
    let mut found = None;
    for step in now - SLACK_STEPS..=now + SLACK_STEPS {
        // All are compared, each as a tag: in a time that says nothing of where they differ.
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, code(secret, step).as_bytes());
        if hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok() && step > last_step {
            found = found.or(Some(step));
        }
    }
    found
}

/// RFC 4648 base32 without padding: how apps take a secret.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        for (to, from) in group.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(group);
        for n in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from((bits >> (35 - 5 * n)) & 31).unwrap_or(0);
            out.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
        }
    }
    out
}

/// What an app reads: `otpauth://totp/Temoin:LOGIN?...`.
pub fn otpauth_url(secret: &[u8], host: &str, login: &str) -> String {
    let issuer = format!("Temoin {host}");
    format!(
        "otpauth://totp/{}:{}?secret={}&issuer={}",
        percent(&issuer),
        percent(login),
        base32(secret),
        percent(&issuer)
    )
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RFC_SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238, appendix B, the rows of SHA-1; there with eight digits.
    #[test]
    fn the_vectors_of_rfc_6238() {
        for (unix_s, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let eight = truncated(RFC_SECRET, step_at(unix_s * 1000)) % 100_000_000;
            assert_eq!(format!("{eight:08}"), code, "{unix_s}");
            assert_eq!(code_at(RFC_SECRET, unix_s * 1000), code[2..], "{unix_s}");
        }
    }

    /// RFC 4226, appendix D.
    #[test]
    fn the_vectors_of_rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (step, expected) in (0..).zip(codes) {
            assert_eq!(code(RFC_SECRET, step), expected, "{step}");
        }
    }

    #[test]
    fn a_code_counts_around_its_time_and_once() {
        let now = 1_795_176_000_000;
        let step = step_at(now);
        for (from, counts) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = code_at(RFC_SECRET, now + from * STEP_MS);
            let found = matching_step(RFC_SECRET, &code, now, 0);
            assert_eq!(found, counts.then_some(step + from), "{from}");
            if let Some(taken) = found {
                assert_eq!(matching_step(RFC_SECRET, &code, now, taken), None, "twice");
            }
        }
        let code = code_at(RFC_SECRET, now);
        let spaced = format!(" {} {} ", &code[..3], &code[3..]);
        assert_eq!(matching_step(RFC_SECRET, &spaced, now, 0), Some(step));
        for wrong in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(matching_step(RFC_SECRET, wrong, now, 0), None, "{wrong}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_address_for_apps_holds_no_raw_text() {
        let url = otpauth_url(b"fooba", "fleet.example", "a b&c:d");
        assert_eq!(
            url,
            "otpauth://totp/Temoin%20fleet.example:a%20b%26c%3Ad?secret=MZXW6YTB&issuer=Temoin%20fleet.example"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(given in "\\PC{0,40}", at in any::<i64>()) {
            let at = at.clamp(i64::MIN / 2, i64::MAX / 2);
            prop_assert!(matching_step(RFC_SECRET, &given, at, i64::MAX).is_none());
        }
    }
}
