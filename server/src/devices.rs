//! Device cookies: a browser from which a person signed in before is not braked by what strangers
//! do to the person's account (OWASP, "Slow down online guessing attacks with device cookies").
//!
//! The cookie holds, for each of the last people who signed in there, a random number and its tag.
//! It lets nobody in: who steals one may guess a password as slowly as its owner.

use crate::{
    authn::random,
    error::AppError,
    sign_in_key::{SignInKey, Use},
};

/// The cookie's name.
pub const DEVICE_COOKIE: &str = "__Host-temoin-device";
/// How long browsers keep it: as long as they keep any.
pub const MAX_AGE_S: u32 = 400 * 24 * 3600;
/// How many people of one browser it knows: a depot's computer has several.
const MAX_PEOPLE: usize = 6;
/// Half of a random number, half of its tag.
const PART_LEN: usize = 32;

/// The number that this browser has for an account.
pub(crate) fn known(key: &SignInKey, cookie: &str, account: &[u8; 32]) -> Option<[u8; 16]> {
    parts(cookie).find_map(|part| number_of(key, &part, account))
}

fn parts(cookie: &str) -> impl Iterator<Item = [u8; PART_LEN]> {
    cookie.split('.').take(MAX_PEOPLE).filter_map(|text| {
        let mut part = [0; PART_LEN];
        hex::decode_to_slice(text, &mut part).ok().map(|()| part)
    })
}

fn number_of(key: &SignInKey, part: &[u8; PART_LEN], account: &[u8; 32]) -> Option<[u8; 16]> {
    let (number, given) = part.split_first_chunk::<16>()?;
    let tag = key.tag(Use::Device, &[account, number]);
    key.is_tag(given, tag.get(..given.len())?).then_some(*number)
}

/// The cookie after this account signed in: it comes first, those that are too many go.
pub(crate) fn renewed(
    key: &SignInKey,
    cookie: Option<&str>,
    account: &[u8; 32],
) -> Result<String, AppError> {
    let number: [u8; 16] = random()?;
    let tag = key.tag(Use::Device, &[account, &number]);
    let mut texts =
        vec![format!("{}{}", hex::encode(number), hex::encode(tag.get(..16).unwrap_or(&tag)))];
    let others = cookie.into_iter().flat_map(parts);
    texts.extend(others.filter(|part| number_of(key, part, account).is_none()).map(hex::encode));
    texts.truncate(MAX_PEOPLE);
    Ok(texts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign_in_key::for_tests;

    #[test]
    fn a_browser_is_known_for_the_people_who_signed_in_there() {
        let key = for_tests();
        let people: Vec<[u8; 32]> = (0..8).map(|n| [n; 32]).collect();
        let mut cookie = None;
        for account in &people {
            cookie = Some(renewed(&key, cookie.as_deref(), account).unwrap());
        }
        let cookie = cookie.unwrap();
        for (n, account) in people.iter().enumerate() {
            assert_eq!(known(&key, &cookie, account).is_some(), n >= 2, "{n}");
        }
        let again = renewed(&key, Some(&cookie), &people[7]).unwrap();
        assert_eq!(again.len(), cookie.len(), "one part for each person");
        assert_ne!(known(&key, &again, &people[7]), known(&key, &cookie, &people[7]));
        for forged in ["", ".", "00", &"0".repeat(64), &cookie[1..64], &"a.".repeat(100_000)] {
            assert!(people.iter().all(|account| known(&key, forged, account).is_none()));
        }
    }
}
