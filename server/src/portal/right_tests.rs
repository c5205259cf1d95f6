//! Every address and every gRPC method has a row in the matrix of rights, and asks for it.

use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use temoin_proto::{convert::EventRecord, events::EventKind, ids::GrantId};
use tower::ServiceExt as _;

use super::{
    router,
    routes::{self, Right},
};
use crate::{
    authn::Session,
    authz::{GrantKind, Purpose, Role},
    binding::{self, PROOF_HEADER, TestKey},
    db::users::User,
    sessions::Stage,
    test_fleet::{START_MS, Scene, client, event_at, scene},
    trace::TraceState,
    view::Opening,
};

const MATRIX: &str = include_str!("../../policy/matrix.txt");
const SCHEMA: &str = include_str!("../../policy/schema.cedarschema");
const HOST: &str = "portal.test:8443";

/// Somebody's browser: signed in, with the key that its proofs are made with.
struct Browser {
    cookie: String,
    session: Session,
    key: TestKey,
}

impl Browser {
    async fn of(s: &Scene, user: &User) -> Self {
        let (app, client, key) = (&s.fleet.app, client(1), TestKey::new());
        let public = binding::public_key(&key.public_hex());
        let token = app.begin(user, Stage::Whole, &client, public).await.unwrap();
        let session = app.present(&token, &client.agent, true).await.unwrap().unwrap().session;
        let cookie = format!("{}={}", crate::authn::COOKIE, token.as_str());
        Self { cookie, session: Session { proven: true, ..session }, key }
    }

    async fn ask(&self, s: &Scene, method: &str, path: &str, form: &str) -> StatusCode {
        let (status, nonce) = self.send(s, "GET", "/session/nonce", "", None).await;
        assert_eq!(status, StatusCode::OK, "{nonce}");
        let method = method.to_uppercase();
        let proof = self.key.prove(&method, path, &nonce, 1);
        s.fleet.app.authz().forget_asked();
        let form = format!("proof={proof}&csrf={}&{form}", self.session.csrf);
        self.send(s, &method, path, &form, Some(&proof)).await.0
    }

    async fn send(
        &self,
        s: &Scene,
        method: &str,
        path: &str,
        form: &str,
        proof: Option<&str>,
    ) -> (StatusCode, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("https://{HOST}"))
            .header(header::USER_AGENT, client(1).agent)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, &self.cookie);
        if let Some(proof) = proof {
            request = request.header(PROOF_HEADER, proof);
        }
        let mut request = request.body(Body::from(form.to_owned())).unwrap();
        let from: std::net::SocketAddr = "192.0.2.1:4000".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(from));
        let answer = router(s.fleet.app.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        // All of it, so that a stream's decisions are made.
        let bytes = to_bytes(answer.into_body(), 64 << 20).await.unwrap_or_default();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Who may use an address, and the path and form with which they do.
async fn use_of(s: &Scene, path: &str, method: &str) -> (User, String, String) {
    let app = &s.fleet.app;
    let who = |user: &User| user.clone();
    let event = s.event.id.to_string();
    let at = |path: &str| {
        path.replace("{event}", &event)
            .replace("{driver}", &s.driver.id.to_string())
            .replace("{unit}", "van-1")
            .replace("{proposal}", "1")
    };
    let asked = |kind: GrantKind| {
        let (app, by, event) = (app.clone(), s.manager.clone(), s.event.id);
        async move { app.ask(&by, kind, event, Purpose::Collision, "why").await.unwrap() }
    };
    let of_grant = |id: GrantId| path.replace("{grant}", &id.to_string());
    match (method, path) {
        ("post", "/events/{event}/views") => (who(&s.manager), at(path), "purpose=coaching".into()),
        ("post", "/events/{event}/export") => {
            (who(&s.driver), at(path), "purpose=own_review&track=road".into())
        }
        ("post", "/events/{event}/contest") => (who(&s.driver), at(path), "words=wrong".into()),
        ("post", "/events/{event}/answer") => {
            // The address before this one was the driver's contest.
            (who(&s.manager), at(path), "verdict=upheld&reason=because".into())
        }
        ("post", "/events/{event}/limit") => {
            let speeding = EventRecord {
                kind: EventKind::Speeding,
                clip: Err("none".into()),
                ..event_at(START_MS + 5)
            };
            app.db().report_event(&s.van.id, &speeding, START_MS).await.unwrap();
            let path = path.replace("{event}", &speeding.id.to_string());
            (who(&s.driver), path, "limit_kmh=70".into())
        }
        ("get", "/my" | "/score") => (who(&s.driver), at(path), String::new()),
        ("get", "/limits" | "/limits/overrides.toml" | "/units") => {
            (who(&s.admin), at(path), String::new())
        }
        ("post", "/limits/{proposal}") => (who(&s.admin), at(path), "verdict=accepted".into()),
        ("post", "/units/{unit}/commands") => (who(&s.admin), at(path), "order=identify".into()),
        ("get", "/requests") => {
            asked(GrantKind::Export).await;
            (who(&s.manager), at(path), String::new())
        }
        ("post", "/requests") => {
            let form = format!("kind=lift_blur&event={event}&purpose=coaching&words=why");
            (who(&s.manager), at(path), form)
        }
        ("post", "/requests/register") => {
            let officer = s.fleet.user("reg", Role::PrivacyOfficer, "north").await;
            let form = "number=R-1&unit=van-1&from=2026-11-20T00:00&to=2026-11-21T00:00&words=why";
            (officer, at(path), form.into())
        }
        ("post", "/requests/{grant}/decide") => {
            let officer = s.fleet.user("dec", Role::PrivacyOfficer, "north").await;
            (officer, of_grant(asked(GrantKind::Export).await), "verdict=granted".into())
        }
        ("post", "/requests/{grant}/end") => {
            (who(&s.manager), of_grant(asked(GrantKind::LiftBlur).await), String::new())
        }
        ("post", "/requests/holds") => {
            let officer = s.fleet.user("hol", Role::PrivacyOfficer, "north").await;
            (officer, at(path), format!("event={event}&ground=court"))
        }
        ("post", "/requests/holds/{hold}/release") => {
            let officer = s.fleet.user("rel", Role::PrivacyOfficer, "north").await;
            let hold = app.hold(&officer, s.event.id, "court", "").await.unwrap();
            (officer, path.replace("{hold}", &hold.to_string()), String::new())
        }
        (_, "/traces" | "/traces/ask") => (who(&s.auditor), at(path), "words=why".into()),
        ("get", "/traces/{trace}" | "/traces/{trace}/{file}") => {
            let login = if path.contains("{file}") { "tra" } else { "trb" };
            let officer = s.fleet.user(login, Role::PrivacyOfficer, "north").await;
            let grant = app.ask_trace(&s.auditor, "why").await.unwrap();
            app.decide(&officer, grant, true, "").await.unwrap();
            let mut file = crate::trace::file::Incoming::new().unwrap();
            file.push(b"no video").unwrap();
            let trace = app.begin_trace(&s.auditor, file.finish().unwrap(), None).await.unwrap();
            app.end(&s.auditor, grant).await.unwrap();
            // One at a time.
            while let TraceState::Runs(_) = app.trace_shown(&officer, trace).await.unwrap().state {
                tokio::task::yield_now().await;
            }
            let path = path.replace("{trace}", &trace.to_string()).replace("{file}", "report.html");
            (officer, path, String::new())
        }
        ("get", "/access-log/{index}/proof") => {
            // Signing the manager in made an entry.
            (who(&s.auditor), path.replace("{index}", "0"), String::new())
        }
        ("get", "/access-log" | "/access-log/rows") => (who(&s.auditor), at(path), String::new()),
        ("get", "/views/{view}/{file}") => {
            unreachable!("a view belongs to the session that opened it: see the test")
        }
        (_, _) => (who(&s.manager), at(path), String::new()),
    }
}

#[tokio::test]
async fn every_address_asks_for_the_right_that_it_declares() {
    let s = scene().await;
    for route in routes::ALL {
        for (method, right) in route.uses {
            let what = format!("{method} {}", route.path);
            let declared = match right {
                Right::Open(why) => {
                    assert!(!why.is_empty(), "{what}");
                    continue;
                }
                Right::Asks(actions) => *actions,
            };
            assert!(!declared.is_empty(), "{what} declares no right");
            for action in declared {
                assert!(SCHEMA.contains(action), "{what}: no action `{action}`");
                assert!(MATRIX.contains(action), "{what}: no row for `{action}` in the matrix");
            }
            let status = if route.path == "/views/{view}/{file}" {
                let browser = Browser::of(&s, &s.manager).await;
                let view = s
                    .fleet
                    .app
                    .open_view(&browser.session, s.event.id, "coaching", Opening::Watch)
                    .await
                    .unwrap();
                let path = format!("/views/{}/road.mp4", view.view_id);
                browser.ask(&s, method, &path, "").await
            } else {
                let (user, path, form) = use_of(&s, route.path, method).await;
                Browser::of(&s, &user).await.ask(&s, method, &path, &form).await
            };
            assert!(!status.is_server_error(), "{what}: {status}");
            let asked = s.fleet.app.authz().forget_asked();
            let declared: BTreeSet<String> = declared.iter().map(|a| (*a).to_owned()).collect();
            let missing: Vec<_> = declared.difference(&asked).collect();
            assert!(missing.is_empty(), "{what} ({status}) did not ask for {missing:?}: {asked:?}");
        }
    }
}

/// Whoever has no right gets the same answer for what is there and for what is not.
#[tokio::test]
async fn what_one_may_not_see_is_not_found() {
    let s = scene().await;
    let unknown = temoin_proto::ids::EventId::new().to_string();
    for who in [&s.stranger, &s.admin, &s.auditor] {
        for route in routes::ALL.iter().filter(|r| r.path.contains("{event}")) {
            for (method, _) in route.uses {
                let mut answers = Vec::new();
                for id in [s.event.id.to_string(), unknown.clone()] {
                    let path = route.path.replace("{event}", &id);
                    let form = "purpose=triage&words=w&reason=r&verdict=upheld&track=road";
                    let browser = Browser::of(&s, who).await;
                    let began = std::time::Instant::now();
                    answers.push(browser.ask(&s, method, &path, form).await);
                    let soonest = crate::portal::gate::NOT_FOUND_AFTER;
                    assert!(began.elapsed() >= soonest, "the time tells which: {path}");
                }
                let what = format!("{method} {} by {}", route.path, who.login);
                assert_eq!(answers, [StatusCode::NOT_FOUND; 2], "{what}");
            }
        }
    }
}

/// The units' side: each method of the protocol wants a certificate, but enrolment, which wants a
/// one-time code.
#[tokio::test]
async fn every_grpc_method_refuses_who_is_no_unit() {
    let proto = include_str!("../../../proto/fleet/v1/fleet.proto");
    let s = scene().await;
    let server = s.fleet.serve().await;
    let mut service = "";
    let mut tried = 0;
    for line in proto.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("service ") {
            service = rest.trim_end_matches(" {");
        }
        let Some(method) = line.strip_prefix("rpc ").and_then(|l| l.split('(').next()) else {
            continue;
        };
        let path = format!("/fleet.v1.{service}/{method}");
        let refused = server.call_without_certificate(&path).await.unwrap_err();
        let expected = if method == "Enrol" {
            // No code at all is a wrong code.
            tonic::Code::PermissionDenied
        } else {
            tonic::Code::Unauthenticated
        };
        assert_eq!(refused.code(), expected, "{path}: {refused}");
        tried += 1;
    }
    assert!(tried >= 7, "{tried} methods found in the protocol");
}
