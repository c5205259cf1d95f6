//! Signing in, sessions and their ends.

use std::time::Duration;

use super::*;
use crate::{
    authz::Role,
    test_fleet::{PASSWORD, TestFleet},
};

fn from(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

async fn attempt(fleet: &TestFleet, login: &str, password: &str, last: u8) -> SignInError {
    match fleet.app.sign_in(login, password.to_owned().into(), from(last)).await {
        Ok(_) => panic!("{login} was signed in"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_session_begins_and_ends() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let new = fleet.app.sign_in("ann", PASSWORD.to_owned().into(), from(1)).await.unwrap();
    let session = fleet.app.session(&new.cookie).await.unwrap().unwrap();
    assert_eq!(session.user, ann);
    assert!(!format!("{session:?}").contains(&session.csrf), "secrets are not printed");
    for unknown in ["", "00", &"0".repeat(64)] {
        assert!(fleet.app.session(unknown).await.unwrap().is_none());
    }
    fleet.app.sign_out(&session).await.unwrap();
    assert!(fleet.app.session(&new.cookie).await.unwrap().is_none(), "signed out");
}

#[tokio::test]
async fn sessions_end_by_rest_by_age_and_with_the_account() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let sign_in = || async {
        fleet.app.sign_in("ann", PASSWORD.to_owned().into(), from(1)).await.unwrap().cookie
    };
    let cookie = sign_in().await;
    fleet.pass(Duration::from_millis(IDLE_MS as u64));
    assert!(fleet.app.session(&cookie).await.unwrap().is_none(), "rested too long");

    let cookie = sign_in().await;
    let step = Duration::from_secs(20 * 60);
    for _ in 1..36 {
        fleet.pass(step);
        assert!(fleet.app.session(&cookie).await.unwrap().is_some(), "in use");
    }
    fleet.pass(step);
    assert!(fleet.app.session(&cookie).await.unwrap().is_none(), "12 h old");

    let cookie = sign_in().await;
    fleet.app.db().set_user_disabled(&ann.login, true).await.unwrap();
    assert!(fleet.app.session(&cookie).await.unwrap().is_none(), "switched off");
    assert!(matches!(attempt(&fleet, "ann", PASSWORD, 1).await, SignInError::Wrong));
}

#[tokio::test]
async fn unknown_wrong_and_switched_off_get_one_answer() {
    let fleet = TestFleet::new().await;
    fleet.user("ann", Role::Driver, "north").await;
    fleet.user("off", Role::Driver, "north").await;
    fleet.app.db().set_user_disabled("off", true).await.unwrap();
    let mut answers = Vec::new();
    for (login, password) in
        [("nobody", PASSWORD), ("ann", "wrong password"), ("off", PASSWORD), ("ann", "")]
    {
        answers.push(attempt(&fleet, login, password, 1).await.to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(matches!(attempt(&fleet, "ann", &"x".repeat(100_000), 2).await, SignInError::Wrong));
}

#[tokio::test]
async fn guessing_is_braked_by_account_and_by_address() {
    let fleet = TestFleet::new().await;
    fleet.user("ann", Role::Driver, "north").await;
    fleet.user("bob", Role::Driver, "north").await;
    for n in 0..5 {
        assert!(matches!(attempt(&fleet, "ann", "wrong password", n).await, SignInError::Wrong));
    }
    // From yet another address, and with the right password.
    let SignInError::TooMany { retry_after_s } = attempt(&fleet, "ann", PASSWORD, 99).await else {
        panic!("not braked");
    };
    assert!((1..=30).contains(&retry_after_s), "{retry_after_s}");
    assert!(fleet.app.sign_in("bob", PASSWORD.to_owned().into(), from(7)).await.is_ok());
    // An unknown account is braked like a known one.
    for n in 0..5 {
        attempt(&fleet, "nobody", "wrong password", n).await;
    }
    let braked = attempt(&fleet, "nobody", "wrong password", 99).await;
    assert!(matches!(braked, SignInError::TooMany { .. }));
    // One address, many accounts: waiting at the brake costs no hashing, so this is quick.
    let mut refused = 0;
    for n in 0..40 {
        let error = attempt(&fleet, &format!("guess-{n}"), "wrong password", 200).await;
        refused += usize::from(matches!(error, SignInError::TooMany { .. }));
    }
    assert!((5..=10).contains(&refused), "{refused}");
}

#[tokio::test]
async fn form_tokens_belong_to_their_session() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let (one, two) = (fleet.session(&ann).await, fleet.session(&ann).await);
    assert!(one.csrf_matches(&one.csrf));
    for wrong in [two.csrf.as_str(), "", &one.csrf[1..], &one.csrf.to_uppercase()] {
        assert!(!one.csrf_matches(wrong), "{wrong}");
    }
}

#[test]
fn only_our_own_pages_post() {
    let host = Some("fleet.example:8443");
    let own = Some("https://fleet.example:8443");
    for (origin, site, host, good) in [
        (own, Some("same-origin"), host, true),
        (own, None, host, true),
        (Some("https://FLEET.example:8443"), Some("same-origin"), host, true),
        (None, Some("same-origin"), host, true),
        (None, None, host, false),
        (own, Some("cross-site"), host, false),
        (own, Some("same-site"), host, false),
        (own, Some("none"), host, false),
        (Some("https://evil.example"), Some("same-origin"), host, false),
        (Some("https://fleet.example:8443.evil.example"), None, host, false),
        (Some("http://fleet.example:8443"), None, host, false),
        (Some("null"), Some("same-origin"), host, false),
        (own, Some("same-origin"), None, false),
    ] {
        assert_eq!(same_origin(origin, site, host), good, "{origin:?} {site:?} {host:?}");
    }
}

#[test]
fn passwords_are_hashed_with_argon2id_and_never_empty() {
    assert!(hash_password(PASSWORD).unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(hash_password("short").is_err());
    assert!(hash_password(&"x".repeat(MAX_PASSWORD + 1)).is_err());
    let made = generate_password().unwrap();
    assert!(hash_password(&made).is_ok());
    assert_eq!(made.len(), 23);
}
