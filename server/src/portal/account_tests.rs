//! Second factor, step-up, binding and one's own sessions, asked as a browser asks.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};

use super::route_tests::{Answer, HOST, PASSWORD, Portal};
use crate::{
    app::{Clock, system_clock},
    authn::COOKIE,
    binding::PROOF_HEADER,
    config::SecondFactor,
    devices::DEVICE_COOKIE,
    totp,
};

/// A portal with a clock that a test moves.
async fn portal(second_factor: SecondFactor) -> (Portal, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(system_clock()()));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    (Portal::with(second_factor, clock).await, now)
}

/// A cookie of an answer, as the browser sends it back.
fn cookie(answer: &Answer, name: &str) -> Option<String> {
    answer
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .map(|v| v.to_str().unwrap().split(';').next().unwrap())
        .find(|pair| pair.split('=').next() == Some(name))
        .map(str::to_owned)
}

/// The bytes of the key that the set-up page shows.
fn secret_on(page: &str) -> Vec<u8> {
    let shown = page.split("data-testid=\"secret\">").nth(1).unwrap().split('<').next().unwrap();
    let bits: String = shown
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap()))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

#[tokio::test]
async fn a_role_that_sees_others_sets_up_a_second_factor_before_anything_else() {
    let (portal, now) = portal(SecondFactor::Required).await;
    let half = portal.sign_in("manager").await;
    for path in ["/", "/events", "/account", "/access-log", "/drivers", "/session/nonce"] {
        let answer = portal.get(Some(&half), path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.header(header::LOCATION), "/second-factor", "{path}");
    }
    let token = portal.csrf(&half).await;
    let decide = format!("csrf={token}&number=1&unit=van-12&from=x&to=y&words=z");
    let answer = portal.form(Some(&half), "/requests/register", &decide).await;
    assert_eq!(answer.header(header::LOCATION), "/second-factor");
    let answer = portal.get(Some(&half), "/views/x/road.mp4").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let page = portal.get(Some(&half), "/second-factor").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("otpauth://totp/") && page.text.contains("<svg class=\"squares\""));
    assert!(!page.text.contains("data-testid=\"account-link\"") && !page.text.contains("/drivers"));
    assert_eq!(page.header(header::CACHE_CONTROL), "no-store");
    let secret = secret_on(&page.text);
    let confirm = |code: String| format!("csrf={token}&code={code}");
    let answer = portal.form(Some(&half), "/second-factor", &confirm("000".into())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(secret_on(&answer.text), secret, "the same to scan");
    let code = totp::code_at(&secret, now.load(Ordering::Relaxed));
    let codes = portal.form(Some(&half), "/second-factor", &confirm(code)).await;
    assert_eq!(codes.status, StatusCode::OK, "{}", codes.text);
    assert_eq!(codes.text.matches("data-testid=\"recovery-code\"").count(), 8);
    let whole = cookie(&codes, COOKIE).unwrap();
    assert_ne!(whole, half, "the token changes");
    assert!(cookie(&codes, DEVICE_COOKIE).is_some());
    assert_eq!(portal.get(Some(&whole), "/drivers").await.status, StatusCode::OK);

    // From now on the password is half of it.
    now.fetch_add(60_000, Ordering::Relaxed);
    let half = portal.sign_in("manager").await;
    let answer = portal.get(Some(&half), "/drivers").await;
    assert_eq!(answer.header(header::LOCATION), "/sign-in/code");
    let answer = portal.get(Some(&half), "/second-factor").await;
    assert_eq!(answer.header(header::LOCATION), "/sign-in/code");
    let token = portal.csrf(&half).await;
    let give = |code: &str| format!("csrf={token}&code={code}");
    for wrong in ["000000", "", "AAAAA-AAAAA-AAAAA"] {
        let answer = portal.form(Some(&half), "/sign-in/code", &give(wrong)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(cookie(&answer, COOKIE).is_none(), "{wrong}");
    }
    let foreign = format!("csrf={}&code=1", portal.csrf(&whole).await);
    let answer = portal.form(Some(&half), "/sign-in/code", &foreign).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let code = totp::code_at(&secret, now.load(Ordering::Relaxed));
    let answer = portal.form(Some(&half), "/sign-in/code", &give(&code)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let whole = cookie(&answer, COOKIE).unwrap();
    assert_eq!(portal.get(Some(&whole), "/drivers").await.status, StatusCode::OK);
    let page = portal.get(Some(&whole), "/account").await;
    assert!(page.text.contains("8 recovery codes left"), "{}", page.text);
}

const REQUEST: &str = "number=AZ+7&unit=van-12&from=2026-11-20T10%3A00&to=2026-11-20T12%3A00\
    &words=%3Cscript%3Ealert(1)%3C%2Fscript%3E%0D%0Aline+two+%26+%22more%22";

#[tokio::test]
async fn a_sensitive_form_asks_again_and_loses_nothing() {
    let (portal, now) = portal(SecondFactor::Optional).await;
    let officer = portal.sign_in("officer").await;
    let fields = format!("csrf={}&{REQUEST}", portal.csrf(&officer).await);
    now.fetch_add(5 * 60_000, Ordering::Relaxed);
    let page = portal.form(Some(&officer), "/requests/register", &fields).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("data-testid=\"step-up-page\""), "{}", page.text);
    assert!(page.text.contains("action=\"/requests/register\""));
    assert!(page.text.contains("name=\"number\" value=\"AZ 7\""));
    assert!(page.text.contains("line two &#38; &#34;more&#34;"), "{}", page.text);
    assert!(!page.text.contains("<script>alert"));
    let listed = portal.get(Some(&officer), "/requests").await;
    assert!(!listed.text.contains("AZ 7"), "nothing was done");

    let wrong = format!("{fields}&step_up=wrong+password");
    let page = portal.form(Some(&officer), "/requests/register", &wrong).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("name=\"number\" value=\"AZ 7\""));
    assert!(!page.text.contains("wrong password"), "what was given is not shown");
    // Not from elsewhere, and not without the session's token.
    let right = format!("{fields}&step_up={}", PASSWORD.replace(' ', "+"));
    for (fields, origin) in
        [(right.clone(), "https://evil.example"), (right.replace("csrf=", "csrf=x"), "")]
    {
        let origin = if origin.is_empty() { format!("https://{HOST}") } else { origin.to_owned() };
        let page = portal.form_from(Some(&officer), "/requests/register", &fields, &origin).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(!page.text.contains("step-up-page"), "no password is asked for it");
    }
    let done = portal.form(Some(&officer), "/requests/register", &right).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let fresh = cookie(&done, COOKIE).unwrap();
    assert_ne!(fresh, officer, "the token changes");
    let listed = portal.get(Some(&fresh), "/requests").await;
    assert!(listed.text.contains("AZ 7") && listed.text.contains("line two"), "{}", listed.text);
    // For the next minutes nothing is asked.
    let again = fields.replace("AZ+7", "AZ+8");
    let done = portal.form(Some(&fresh), "/requests/register", &again).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_is_sensitive_asks_and_what_is_not_does_not() {
    let (portal, now) = portal(SecondFactor::Optional).await;
    let id = temoin_proto::ids::GrantId::new();
    for (login, path, fields, asks) in [
        ("officer", "/requests/register".to_owned(), REQUEST, true),
        ("officer", format!("/requests/{id}/decide"), "verdict=granted", true),
        ("officer", "/requests".to_owned(), "kind=break_glass&event=x&words=y", true),
        ("manager", "/requests".to_owned(), "kind=export&event=x&words=y", false),
        ("manager", format!("/events/{}/export", portal.event), "purpose=x", true),
        ("driver", format!("/events/{}/contest", portal.event), "words=no", false),
        ("driver", "/second-factor/begin".to_owned(), "", true),
        ("driver", "/second-factor/remove".to_owned(), "", true),
        ("driver", "/second-factor/codes".to_owned(), "", true),
        ("driver", "/account/sessions/x/end".to_owned(), "", false),
    ] {
        let cookie = portal.sign_in(login).await;
        let fields = format!("csrf={}&{fields}", portal.csrf(&cookie).await);
        now.fetch_add(5 * 60_000, Ordering::Relaxed);
        let answer = portal.form(Some(&cookie), &path, &fields).await;
        assert_eq!(answer.text.contains("data-testid=\"step-up-page\""), asks, "{login} {path}");
    }
}

#[tokio::test]
async fn a_stolen_cookie_alone_shows_no_picture() {
    let (portal, _) = portal(SecondFactor::Optional).await;
    let cookie = portal.sign_in("north").await;
    let csrf = portal.csrf(&cookie).await;
    let path = format!("/events/{}/views", portal.event);
    let open = async |proof: Option<&str>| {
        let mut request = Request::post(&path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("https://{HOST}"))
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-csrf-token", &csrf);
        if let Some(proof) = proof {
            request = request.header(PROOF_HEADER, proof);
        }
        portal.send(request.body(Body::from("{\"purpose\":\"triage\"}")).unwrap()).await
    };
    let size = portal.app.log().len();
    let good = portal.proof(&cookie, "POST", &path).await;
    let elsewhere = portal.proof(&cookie, "POST", "/events/x/views").await;
    for (what, proof) in
        [("none", None), ("nonsense", Some("x")), ("of another path", Some(elsewhere.as_str()))]
    {
        let answer = open(proof).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
        assert!(answer.text.contains("the one that signed in"), "{what}: {}", answer.text);
    }
    assert_eq!(portal.app.log().len(), size + 3, "each try is logged");
    assert!(open(Some(&good)).await.text.contains("no recording of this event"));
    assert!(open(Some(&good)).await.text.contains("the one that signed in"), "sent again");

    // Signed in without script: everything but pictures.
    let fields = format!("login=north&password={}", PASSWORD.replace(' ', "+"));
    let answer = portal.form(None, "/sign-in", &fields).await;
    let bare = self::cookie(&answer, COOKIE).unwrap();
    assert_eq!(portal.get(Some(&bare), "/events").await.status, StatusCode::OK);
    let proof = portal.proof(&bare, "POST", &path).await;
    let request = Request::post(&path)
        .header(header::HOST, HOST)
        .header(header::ORIGIN, format!("https://{HOST}"))
        .header(header::COOKIE, &bare)
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-csrf-token", portal.csrf(&bare).await)
        .header(PROOF_HEADER, proof)
        .body(Body::from("{\"purpose\":\"triage\"}"))
        .unwrap();
    let answer = portal.send(request).await;
    assert!(answer.text.contains("the one that signed in"), "no key was bound at sign-in");
}

#[tokio::test]
async fn people_see_and_end_their_sessions() {
    let (portal, now) = portal(SecondFactor::Optional).await;
    let (own, other) = (portal.sign_in("driver").await, portal.sign_in("driver").await);
    let page = portal.get(Some(&own), "/account").await;
    assert_eq!(page.text.matches("data-testid=\"session\"").count(), 2, "{}", page.text);
    assert_eq!(page.text.matches("data-testid=\"this-session\"").count(), 1);
    let end = page.text.split("/account/sessions/").nth(1).unwrap();
    let end = format!("/account/sessions/{}", end.split('"').next().unwrap());
    let token = format!("csrf={}", portal.csrf(&own).await);
    let foreign = portal.sign_in("other").await;
    let theirs = format!("csrf={}", portal.csrf(&foreign).await);
    portal.form(Some(&foreign), &end, &theirs).await;
    assert_eq!(portal.get(Some(&other), "/my").await.status, StatusCode::OK, "not theirs");
    let answer = portal.form(Some(&own), &end, &token).await;
    assert_eq!(answer.header(header::LOCATION), "/account");
    assert_eq!(portal.get(Some(&other), "/my").await.header(header::LOCATION), "/sign-in");
    let answer = portal.form(Some(&own), "/account/sessions/end", &token).await;
    assert!(answer.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(portal.get(Some(&own), "/my").await.header(header::LOCATION), "/sign-in");

    // After a quarter of an hour the cookie changes by itself; an old one is a stolen one.
    let old = portal.sign_in("driver").await;
    assert!(cookie(&portal.get(Some(&old), "/my").await, COOKIE).is_none());
    now.fetch_add(15 * 60_000, Ordering::Relaxed);
    let new = cookie(&portal.get(Some(&old), "/my").await, COOKIE).unwrap();
    assert_eq!(portal.get(Some(&new), "/my").await.status, StatusCode::OK);
    now.fetch_add(61_000, Ordering::Relaxed);
    for gone in [&old, &new] {
        assert_eq!(portal.get(Some(gone), "/my").await.header(header::LOCATION), "/sign-in");
    }
    // The next time it is the first thing that is shown, until it is read.
    let next = portal.sign_in("driver").await;
    assert_eq!(portal.get(Some(&next), "/").await.header(header::LOCATION), "/account");
    let page = portal.get(Some(&next), "/account").await;
    assert!(page.text.contains("used in two places at once"), "{}", page.text);
    let read = format!(
        "csrf={}&until={}",
        portal.csrf(&next).await,
        page.text.split("name=\"until\" value=\"").nth(1).unwrap().split('"').next().unwrap()
    );
    portal.form(Some(&next), "/account/notices", &read).await;
    assert_eq!(portal.get(Some(&next), "/").await.header(header::LOCATION), "/my");
}

#[tokio::test]
async fn a_password_is_changed_and_never_shown() {
    let (portal, _) = portal(SecondFactor::Optional).await;
    let cookie = portal.sign_in("driver").await;
    let token = portal.csrf(&cookie).await;
    let current = PASSWORD.replace(' ', "+");
    for (fields, status, says) in [
        ("current=wrong+one+here&new=new+secret+1&again=new+secret+1".to_owned(), 400, "not right"),
        (format!("current={current}&new=new+secret+1&again=new+secret+2"), 400, "not the same"),
        (format!("current={current}&new=short&again=short"), 400, "8 to 256"),
        (format!("current={current}&new=new+secret+1&again=new+secret+1"), 200, "is changed"),
    ] {
        let fields = format!("csrf={token}&{fields}");
        let answer = portal.form(Some(&cookie), "/account/password", &fields).await;
        assert_eq!(answer.status.as_u16(), status, "{fields}: {}", answer.text);
        assert!(answer.text.contains(says), "{fields}: {}", answer.text);
        assert!(!answer.text.contains("new secret"), "{fields}");
    }
    let answer = portal.form(None, "/sign-in", &format!("login=driver&password={current}")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = portal.form(None, "/sign-in", "login=driver&password=new+secret+1").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_open_page_of_the_log_hears_what_is_new_and_keeps_nobody_signed_in() {
    let (portal, now) = portal(SecondFactor::Optional).await;
    let driver = portal.sign_in("driver").await;
    let rows = async |tag: Option<&str>| {
        let mut request = Request::get("/access-log/rows").header(header::HOST, "localhost");
        request = request.header(header::COOKIE, &driver);
        request = request.header(header::ACCEPT, "application/json");
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        portal.send(request.body(Body::empty()).unwrap()).await
    };
    let first = rows(None).await;
    assert!(first.status == StatusCode::OK && first.text.contains("Signed in"), "{}", first.text);
    assert!(!first.text.contains("<html"), "rows, not a page");
    let tag = first.header(header::ETAG).to_owned();
    assert_eq!(rows(Some(&tag)).await.status, StatusCode::NOT_MODIFIED);
    // Somebody else's act is not the driver's; the driver's own is.
    portal.sign_in("manager").await;
    assert_eq!(rows(Some(&tag)).await.status, StatusCode::NOT_MODIFIED);
    let token = portal.csrf(&driver).await;
    let contest = format!("/events/{}/contest", portal.event);
    let said = portal.form(Some(&driver), &contest, &format!("csrf={token}&words=a+child")).await;
    assert_eq!(said.status, StatusCode::SEE_OTHER, "{}", said.text);
    let second = rows(Some(&tag)).await;
    assert!(second.text.contains("Event contested"), "{}", second.text);

    // Asked every minute for as long as a session may rest, and nothing else done.
    for _ in 0..29 {
        now.fetch_add(60_000, Ordering::Relaxed);
        assert_eq!(rows(None).await.status, StatusCode::OK);
    }
    now.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!(rows(None).await.status, StatusCode::UNAUTHORIZED);
}
