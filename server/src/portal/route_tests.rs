//! The routes, asked as a browser asks: who gets what, and what every answer carries.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use temoin_access_log::AccessLog;
use temoin_proto::{
    convert::EventRecord,
    events::{EventKind, Number, Severity},
    ids::{EventId, UnitId, UserId},
    time::WallTime,
};
use tower::ServiceExt as _;

use crate::{
    app::{App, Clock, system_clock},
    authn::{COOKIE, hash_password},
    authz::Role,
    binding::{PROOF_HEADER, TestKey},
    config::{Config, SecondFactor},
    db::{Db, users::User},
    pki::Pki,
    report::Report,
};

use super::{headers::CONTENT_SECURITY_POLICY, router, samples::HOSTILE};

pub(super) const HOST: &str = "portal.example";
pub(super) const PASSWORD: &str = "correct horse battery";

pub(super) struct Portal {
    pub(super) router: Router,
    pub(super) app: App,
    /// An event without a clip of the driver `driver`, in the depot `north`.
    pub(super) event: EventId,
    /// The key of the browser in which everybody signs in.
    key: TestKey,
    signed: AtomicU8,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Portal {
    pub(super) async fn new() -> Self {
        Self::with(SecondFactor::Optional, system_clock()).await
    }

    pub(super) async fn with(second_factor: SecondFactor, clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(folder.path(), any, any, vec!["localhost".to_owned()]);
        // `account_tests` have it required.
        config.sign_in.second_factor = second_factor;
        Pki::create(&config.pki()).unwrap();
        drop(AccessLog::create(&config.log(), "test.example/access-log").unwrap());
        let db = Db::open(&config.database()).await.unwrap();
        let hash = hash_password(PASSWORD).unwrap();
        db.add_depot("north", "Depot North").await.unwrap();
        db.add_depot("south", "Depot South").await.unwrap();
        let mut driver = UserId::new();
        for (login, role, depot) in [
            ("driver", Role::Driver, Some("north")),
            ("other", Role::Driver, Some("north")),
            ("north", Role::Dispatcher, Some("north")),
            ("south", Role::Dispatcher, Some("south")),
            ("admin", Role::FleetAdmin, None),
            ("manager", Role::SafetyManager, Some("north")),
            ("auditor", Role::Auditor, None),
            ("officer", Role::PrivacyOfficer, None),
        ] {
            let user = User {
                id: UserId::new(),
                login: login.to_owned(),
                name: if login == "driver" {
                    HOSTILE.chars().take(60).collect()
                } else {
                    login.to_owned()
                },
                short_name: login.to_owned(),
                role,
                depot: depot.map(str::to_owned),
                manager: None,
                disabled: false,
            };
            if login == "driver" {
                driver = user.id;
            }
            db.add_user(&user, &hash, 0).await.unwrap();
        }
        let unit: UnitId = "van-12".parse().unwrap();
        db.add_unit(&unit, "north", None).await.unwrap();
        db.set_shift(&unit, driver, 1).await.unwrap();
        let event = EventId::new();
        let now_ms = system_clock()();
        let record = EventRecord {
            id: event,
            kind: EventKind::HarshBraking,
            start: WallTime { unix_ms: now_ms - 60_000, uncertainty_ms: 20 },
            end_unix_ms: now_ms - 58_800,
            severity: Severity::Medium,
            confidence: 0.92,
            rule: "harsh_braking/1".to_owned(),
            numbers: vec![Number::new("peak", 0.478, "g"), Number::new("threshold", 0.36, "g")],
            clip: Err("the unit stopped before the clip was complete".to_owned()),
        };
        db.report_event(&unit, &record, now_ms).await.unwrap();
        db.close().await;
        let app = App::open(config, clock, Report::nobody()).await.unwrap();
        let (key, signed) = (TestKey::new(), AtomicU8::new(0));
        Self { router: router(app.clone()), app, event, key, signed, _folder: folder }
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> Answer {
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000);
        request.extensions_mut().insert(ConnectInfo(from));
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn get(&self, cookie: Option<&str>, path: &str) -> Answer {
        let mut request = Request::get(path).header(header::HOST, HOST);
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A form as our own page sends it.
    pub(super) async fn form(&self, cookie: Option<&str>, path: &str, fields: &str) -> Answer {
        self.form_from(cookie, path, fields, &format!("https://{HOST}")).await
    }

    pub(super) async fn form_from(
        &self,
        cookie: Option<&str>,
        path: &str,
        fields: &str,
        origin: &str,
    ) -> Answer {
        let mut request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(request.body(Body::from(fields.to_owned())).unwrap()).await
    }

    pub(super) async fn sign_in(&self, login: &str) -> String {
        let (password, key) = (PASSWORD.replace(' ', "+"), self.key.public_hex());
        let fields = format!("login={login}&password={password}&key={key}");
        let answer = self.form(None, "/sign-in", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.header(header::SET_COOKIE).split(';').next().unwrap().to_owned()
    }

    /// What the browser's script sends with a request for pictures.
    pub(super) async fn proof(&self, cookie: &str, method: &str, path: &str) -> String {
        let nonce = self.get(Some(cookie), "/session/nonce").await;
        assert_eq!(nonce.status, StatusCode::OK, "{}", nonce.text);
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        self.key.prove(method, path, &nonce.text, number)
    }

    pub(super) async fn csrf(&self, cookie: &str) -> String {
        let value = cookie.split_once('=').unwrap().1;
        self.app.present(value, "", true).await.unwrap().unwrap().session.csrf
    }
}

fn assert_guarded(answer: &Answer, what: &str) {
    assert_eq!(answer.header(header::CONTENT_SECURITY_POLICY), CONTENT_SECURITY_POLICY, "{what}");
    assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{what}");
    assert_eq!(answer.header(header::X_FRAME_OPTIONS), "DENY", "{what}");
    assert!(answer.header(header::STRICT_TRANSPORT_SECURITY).starts_with("max-age="), "{what}");
    assert_eq!(answer.header(header::REFERRER_POLICY), "same-origin", "{what}");
    assert!(answer.header("permissions-policy").contains("camera=()"), "{what}");
}

#[tokio::test]
async fn every_answer_is_guarded_and_only_assets_are_cached() {
    let portal = Portal::new().await;
    let cookie = portal.sign_in("driver").await;
    let event = format!("/events/{}", portal.event);
    let style = format!("{}/portal.css", super::assets::base());
    for path in [
        "/",
        "/sign-in",
        "/events",
        "/my",
        "/score",
        "/drivers",
        "/drivers/x",
        "/limits",
        "/limits/overrides.toml",
        "/units",
        "/access-log",
        "/account",
        "/second-factor",
        "/sign-in/code",
        "/session/nonce",
        "/nowhere",
        "/healthz",
        &event,
        "/views/x/road.mp4",
        "/views/x/secret.txt",
        "/static/old/portal.css",
    ] {
        for cookie in [None, Some(cookie.as_str())] {
            let answer = portal.get(cookie, path).await;
            assert_guarded(&answer, path);
            assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{path}");
        }
    }
    let answer = portal.get(None, &style).await;
    assert_guarded(&answer, &style);
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.header(header::CACHE_CONTROL).contains("immutable"));
}

#[tokio::test]
async fn strangers_get_the_sign_in_page_or_a_plain_no() {
    let portal = Portal::new().await;
    let event = format!("/events/{}", portal.event);
    let pages =
        ["/", "/events", "/my", "/score", "/drivers", "/limits", "/units", "/access-log", &event];
    for path in pages.into_iter().chain(["/limits/overrides.toml", "/drivers/x"]) {
        let answer = portal.get(None, path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.header(header::LOCATION), "/sign-in", "{path}");
    }
    let forged = format!("{COOKIE}={}", "0".repeat(64));
    let answer = portal.get(Some(&forged), "/views/x/road.mp4").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text.contains("\"error\""), "{}", answer.text);
}

#[tokio::test]
async fn signing_in_gives_a_strict_cookie_and_the_start_page_of_the_role() {
    let portal = Portal::new().await;
    let fields = format!("login=driver&password={}", PASSWORD.replace(' ', "+"));
    let answer = portal.form(None, "/sign-in", &fields).await;
    let cookie = answer.header(header::SET_COOKIE);
    for part in [COOKIE, "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    for (login, home) in
        [("driver", "/my"), ("north", "/events"), ("admin", "/units"), ("auditor", "/access-log")]
    {
        let cookie = portal.sign_in(login).await;
        assert_eq!(portal.get(Some(&cookie), "/").await.header(header::LOCATION), home);
        let page = portal.get(Some(&cookie), home).await;
        assert_eq!(page.status, StatusCode::OK, "{login}");
        assert!(page.text.contains("data-testid=\"sign-out\""), "{login}");
    }
}

#[tokio::test]
async fn wrong_password_and_unknown_name_look_the_same() {
    let portal = Portal::new().await;
    let wrong = portal.form(None, "/sign-in", "login=driver&password=no").await;
    let unknown = portal.form(None, "/sign-in", "login=nobody&password=no").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.text.replace("driver", "nobody"), unknown.text.replace("driver", "nobody"));
    assert!(wrong.headers.get(header::SET_COOKIE).is_none());
    assert!(!wrong.text.contains("value=\"no\""), "the password is shown");
}

#[tokio::test]
async fn guessing_is_slowed_down_with_a_clear_page() {
    let portal = Portal::new().await;
    for _ in 0..20 {
        let answer = portal.form(None, "/sign-in", "login=driver&password=no").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            let seconds: u64 = answer.header(header::RETRY_AFTER).parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
            assert!(answer.text.contains("Too many attempts. Try again in"));
            return;
        }
    }
    panic!("20 wrong passwords, and no brake");
}

#[tokio::test]
async fn forms_from_elsewhere_do_nothing() {
    let portal = Portal::new().await;
    let fields = format!("login=driver&password={}", PASSWORD.replace(' ', "+"));
    for origin in ["https://evil.example", "null", "http://portal.example"] {
        let answer = portal.form_from(None, "/sign-in", &fields, origin).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
        assert!(answer.headers.get(header::SET_COOKIE).is_none(), "{origin}");
    }
    let cookie = portal.sign_in("driver").await;
    let csrf = portal.csrf(&cookie).await;
    for (fields, origin) in [
        (String::new(), HOST),
        ("csrf=".to_owned(), HOST),
        (format!("csrf={}x", &csrf[1..]), HOST),
        (format!("csrf={csrf}"), "evil.example"),
    ] {
        let answer = portal
            .form_from(Some(&cookie), "/sign-out", &fields, &format!("https://{origin}"))
            .await;
        assert!(answer.status.is_client_error(), "{fields}: {}", answer.status);
        assert_eq!(portal.get(Some(&cookie), "/my").await.status, StatusCode::OK, "signed out");
    }
    let answer = portal.form(Some(&cookie), "/sign-out", &format!("csrf={csrf}")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(portal.get(Some(&cookie), "/my").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_may_not_be_known_looks_like_what_is_not_there() {
    let portal = Portal::new().await;
    let foreign = portal.sign_in("south").await;
    let known = portal.get(Some(&foreign), &format!("/events/{}", portal.event)).await;
    for path in [format!("/events/{}", EventId::new()), "/events/nonsense".to_owned()] {
        let unknown = portal.get(Some(&foreign), &path).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        assert_eq!(known.status, unknown.status, "{path}");
        assert_eq!(known.text, unknown.text, "{path}");
    }
    for (login, path) in [
        ("other", format!("/events/{}", portal.event)),
        ("auditor", "/events".to_owned()),
        ("admin", "/events".to_owned()),
        ("admin", format!("/events/{}", portal.event)),
        ("north", "/units".to_owned()),
        ("driver", "/units".to_owned()),
        ("north", "/score".to_owned()),
        ("north", "/drivers".to_owned()),
        ("driver", "/drivers".to_owned()),
        ("manager", format!("/drivers/{}", UserId::new())),
        ("manager", "/drivers/x".to_owned()),
        ("manager", "/score".to_owned()),
        ("manager", "/limits".to_owned()),
        ("driver", "/limits/overrides.toml".to_owned()),
        ("north", "/my".to_owned()),
    ] {
        let cookie = portal.sign_in(login).await;
        let answer = portal.get(Some(&cookie), &path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{login} {path}");
        assert!(!answer.text.contains("van-12"), "{login} {path}");
    }
}

#[tokio::test]
async fn lists_and_pages_show_the_event_with_hostile_names_as_text() {
    let portal = Portal::new().await;
    for (login, list) in
        [("north", "/events"), ("driver", "/my"), ("driver", "/events?kind=harsh_braking")]
    {
        let cookie = portal.sign_in(login).await;
        let page = portal.get(Some(&cookie), list).await;
        assert_eq!(page.status, StatusCode::OK, "{login} {list}");
        assert!(page.text.contains("peak 0.48 g"), "{login} {list}");
        assert!(!page.text.contains("<script>alert"), "{login} {list}");
        let page = portal.get(Some(&cookie), &format!("/events/{}", portal.event)).await;
        assert!(page.text.contains("&#60;script&#62;alert(1)"), "{login}: the driver's name");
        assert!(!page.text.contains("<script>alert"), "{login}");
        assert!(page.text.contains("The unit stopped before the clip was complete."), "{login}");
        assert!(!page.text.contains("data-testid=\"watch\""), "{login}: nothing to watch");
        // Only the driver knows of everyone's views, so only they are told that there is none.
        assert_eq!(page.text.contains("Nobody has looked at this."), login == "driver", "{login}");
    }
    let cookie = portal.sign_in("north").await;
    let page = portal.get(Some(&cookie), "/events?kind=sleep").await;
    assert!(page.text.contains("Nothing matches"), "{}", page.text);
    for nonsense in ["/events?kind=joy", "/events?before=x", "/access-log?before=-1"] {
        let answer = portal.get(Some(&cookie), nonsense).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{nonsense}");
    }
}

#[tokio::test]
async fn views_are_opened_only_with_token_origin_and_right() {
    let portal = Portal::new().await;
    let cookie = portal.sign_in("driver").await;
    let csrf = portal.csrf(&cookie).await;
    let path = format!("/events/{}/views", portal.event);
    let open = async |origin: &'static str, token: String, path: String| {
        let proof = portal.proof(&cookie, "POST", &path).await;
        Request::post(path)
            .header(PROOF_HEADER, proof)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::COOKIE, cookie.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-csrf-token", token)
            .body(Body::from("{\"purpose\":\"own_review\"}"))
            .unwrap()
    };
    let ours = "https://portal.example";
    for (what, request, status) in [
        ("no token", open(ours, "x".into(), path.clone()).await, 403),
        ("elsewhere", open("https://evil.example", csrf.clone(), path.clone()).await, 403),
        (
            "unknown event",
            open(ours, csrf.clone(), format!("/events/{}/views", EventId::new())).await,
            404,
        ),
        ("no event", open(ours, csrf.clone(), "/events/nonsense/views".into()).await, 404),
    ] {
        let answer = portal.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text);
        assert!(answer.text.starts_with("{\"error\":"), "{what}: {}", answer.text);
    }
    // Allowed, but this event has no clip.
    let answer = portal.send(open(ours, csrf, path).await).await;
    assert!(answer.text.contains("no recording of this event"), "{}", answer.text);
    let head = Request::builder()
        .method(Method::HEAD)
        .uri("/views/x/road.mp4")
        .header(header::COOKIE, cookie.as_str())
        .body(Body::empty())
        .unwrap();
    assert_eq!(portal.send(head).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn orders_need_an_administrator_and_an_enrolled_unit() {
    let portal = Portal::new().await;
    for (login, status) in [("north", 404), ("driver", 404), ("admin", 403)] {
        let cookie = portal.sign_in(login).await;
        let csrf = portal.csrf(&cookie).await;
        let fields = format!("csrf={csrf}&order=identify");
        let answer = portal.form(Some(&cookie), "/units/van-12/commands", &fields).await;
        assert_eq!(answer.status.as_u16(), status, "{login}: {}", answer.text);
    }
    let cookie = portal.sign_in("admin").await;
    let page = portal.get(Some(&cookie), "/units").await;
    assert!(page.text.contains("Not enrolled yet"), "{}", page.text);
    assert!(!page.text.contains("data-testid=\"identify\""), "an order that is refused is offered");
}

#[tokio::test]
async fn odd_methods_and_oversized_forms_are_refused() {
    let portal = Portal::new().await;
    let put = Request::put("/events").body(Body::empty()).unwrap();
    let answer = portal.send(put).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_guarded(&answer, "PUT");
    let large = format!("login=driver&password={}", "x".repeat(100_000));
    let answer = portal.form(None, "/sign-in", &large).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn auditors_see_the_head_of_the_log() {
    let portal = Portal::new().await;
    let cookie = portal.sign_in("auditor").await;
    let page = portal.get(Some(&cookie), "/access-log").await;
    assert!(page.text.contains("test.example/access-log"), "{}", page.text);
    assert!(page.text.contains("Signed in") && !page.text.contains("No entries yet"));
    let cookie = portal.sign_in("north").await;
    let page = portal.get(Some(&cookie), "/access-log").await;
    assert!(!page.text.contains("data-testid=\"root-hash\""), "only for those who check all of it");
}

#[tokio::test]
async fn an_objection_goes_to_the_manager_and_its_answer_back() {
    let portal = Portal::new().await;
    let event = format!("/events/{}", portal.event);
    let (driver, manager) = (portal.sign_in("driver").await, portal.sign_in("manager").await);
    let page = portal.get(Some(&driver), &event).await;
    assert!(page.text.contains("data-testid=\"contest\""), "{}", page.text);
    assert!(!page.text.contains("data-testid=\"limit\""), "no speeding, no limit");
    let words = "words=%3Cscript%3Ealert(1)%3C%2Fscript%3E+a+child";
    let contest = format!("{event}/contest");

    // Only with the session's token, from our own page.
    for (fields, origin) in [(words.to_owned(), HOST), (format!("csrf=x&{words}"), HOST)] {
        let answer =
            portal.form_from(Some(&driver), &contest, &fields, &format!("https://{origin}")).await;
        assert!(answer.status.is_client_error(), "{fields}");
    }
    let token = portal.csrf(&driver).await;
    let fields = format!("csrf={token}&{words}");
    let answer = portal.form_from(Some(&driver), &contest, &fields, "https://evil.example").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = portal.form(Some(&driver), &contest, &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.header(header::LOCATION), event);

    for page in ["/drivers", &event, "/events"] {
        let page = portal.get(Some(&manager), page).await;
        assert!(!page.text.contains("<script>alert"), "text stays text");
        assert!(page.text.contains("ontest"), "{}", page.text);
    }
    let token = portal.csrf(&manager).await;
    let path = format!("{event}/answer");
    for (fields, status) in [
        ("verdict=perhaps&reason=so", 400),
        ("verdict=overturned&reason=", 400),
        ("verdict=overturned&reason=it+shows", 303),
        ("verdict=upheld&reason=no", 403),
    ] {
        let answer = portal.form(Some(&manager), &path, &format!("csrf={token}&{fields}")).await;
        assert_eq!(answer.status.as_u16(), status, "{fields}: {}", answer.text);
    }
    let page = portal.get(Some(&driver), &event).await;
    assert!(page.text.contains("it shows") && page.text.contains("Overturned"), "{}", page.text);
    let page = portal.get(Some(&driver), "/score").await;
    assert!(page.text.contains("contested and overturned"), "{}", page.text);
    assert!(page.text.contains("No score yet") && page.text.contains(">0.0 km of 200 km"));
}

#[tokio::test]
async fn corrections_come_as_a_file_and_only_to_who_decides() {
    let portal = Portal::new().await;
    let admin = portal.sign_in("admin").await;
    let page = portal.get(Some(&admin), "/limits").await;
    assert!(page.text.contains("No proposal waits."), "{}", page.text);
    let file = portal.get(Some(&admin), "/limits/overrides.toml").await;
    assert_eq!(file.status, StatusCode::OK);
    assert!(file.header(header::CONTENT_TYPE).starts_with("application/toml"));
    assert!(file.header(header::CONTENT_DISPOSITION).contains("overrides.toml"));
    assert!(file.text.ends_with("version = 1\n"), "{}", file.text);
    let token = portal.csrf(&admin).await;
    for (path, fields, status) in [
        ("/limits/1", "verdict=accepted", 403),
        ("/limits/x", "verdict=accepted", 404),
        ("/limits/1", "verdict=", 400),
    ] {
        let answer = portal.form(Some(&admin), path, &format!("csrf={token}&{fields}")).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {fields}");
    }
    let driver = portal.sign_in("driver").await;
    let token = portal.csrf(&driver).await;
    let answer =
        portal.form(Some(&driver), "/limits/1", &format!("csrf={token}&verdict=accepted")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
