//! Passwords, and where forms come from.

use super::*;
use crate::test_fleet::PASSWORD;

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

#[test]
fn one_connection_is_one_client() {
    let network = |text: &str| network(text.parse().unwrap()).to_string();
    assert_eq!(network("192.0.2.7"), "192.0.2.7");
    assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
    assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
}
