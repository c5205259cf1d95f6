//! Sessions: their ends, their changing tokens, and stolen cookies.

use std::time::Duration;

use super::*;
use crate::{
    authz::Role,
    db::acts::ActScope,
    test_fleet::{TestFleet, client},
};

const MINUTE: Duration = Duration::from_secs(60);

async fn begin(fleet: &TestFleet, user: &User) -> Zeroizing<String> {
    fleet.app.begin(user, Stage::Whole, &client(1), None).await.unwrap()
}

async fn present(fleet: &TestFleet, token: &str) -> Option<Presented> {
    fleet.app.present(token, &client(1).agent, true).await.unwrap()
}

async fn actions(fleet: &TestFleet) -> Vec<String> {
    let rows = fleet.app.db().acts(&ActScope::default(), 100).await.unwrap();
    rows.into_iter().map(|row| row.act.action.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_session_begins_and_ends() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let token = begin(&fleet, &ann).await;
    let session = present(&fleet, &token).await.unwrap().session;
    assert_eq!(session.user, ann);
    assert!(!format!("{session:?}").contains(&session.csrf), "secrets are not printed");
    for unknown in ["", "00", &"0".repeat(64)] {
        assert!(present(&fleet, unknown).await.is_none());
    }
    fleet.app.sign_out(&session).await.unwrap();
    assert!(present(&fleet, &token).await.is_none(), "signed out");
    assert_eq!(actions(&fleet).await, ["sign_out"]);
}

#[tokio::test]
async fn sessions_end_by_rest_by_age_and_with_the_account() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let token = begin(&fleet, &ann).await;
    fleet.pass(Duration::from_millis(IDLE_MS as u64));
    assert!(present(&fleet, &token).await.is_none(), "rested too long");

    let mut token = begin(&fleet, &ann).await;
    let step = 20 * MINUTE;
    for n in 1..36 {
        fleet.pass(step);
        let presented = present(&fleet, &token).await.expect("in use");
        // The first request only shows that the token arrived.
        assert_eq!(presented.token.is_some(), n > 1 && n % 2 == 0, "{n}");
        token = presented.token.unwrap_or(token);
    }
    fleet.pass(step);
    assert!(present(&fleet, &token).await.is_none(), "12 h old");

    let token = begin(&fleet, &ann).await;
    fleet.app.db().set_user_disabled(&ann.login, true, fleet.app.now_ms()).await.unwrap();
    assert!(present(&fleet, &token).await.is_none(), "switched off");
}

/// A session that was used for a quarter of an hour, so that its token is about to change.
async fn due(fleet: &TestFleet, user: &User) -> Zeroizing<String> {
    let token = begin(fleet, user).await;
    assert!(present(fleet, &token).await.unwrap().token.is_none());
    fleet.pass(15 * MINUTE);
    token
}

#[tokio::test]
async fn the_token_changes_and_parallel_requests_go_on() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let old = due(&fleet, &ann).await;
    let first = present(&fleet, &old).await.unwrap();
    let new = first.token.expect("it is time");
    // At the same moment, and for as long as the answer may be under way.
    for _ in 0..3 {
        let parallel = present(&fleet, &old).await.unwrap();
        assert!(parallel.token.is_none(), "one is offered, not three");
        assert_eq!(parallel.session.id, first.session.id);
    }
    let after = present(&fleet, &new).await.unwrap().session;
    assert_eq!((after.id, &after.csrf), (first.session.id, &first.session.csrf), "forms go on");
    fleet.pass(MINUTE);
    assert!(present(&fleet, &old).await.is_some(), "within the grace");
    assert!(actions(&fleet).await.is_empty());
}

#[tokio::test]
async fn an_answer_that_was_lost_costs_nobody_the_session() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let token = due(&fleet, &ann).await;
    let lost = present(&fleet, &token).await.unwrap().token.unwrap();
    fleet.pass(20 * MINUTE);
    let next = present(&fleet, &token).await.unwrap().token.expect("offered again");
    assert!(present(&fleet, &next).await.is_some());
    // The one that got lost is in somebody's hands, or in nobody's.
    fleet.pass(2 * MINUTE);
    assert!(present(&fleet, &lost).await.is_none());
    assert_eq!(actions(&fleet).await, ["session_stolen"]);
}

#[tokio::test]
async fn a_copied_cookie_ends_the_session_whoever_uses_it_first() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let copied = due(&fleet, &ann).await;
    // Whoever comes first gets the next token and goes on with it ...
    let new = present(&fleet, &copied).await.unwrap().token.unwrap();
    assert!(present(&fleet, &new).await.is_some());
    fleet.pass(MINUTE + Duration::from_millis(1));
    // ... until the other comes with the old one.
    assert!(present(&fleet, &copied).await.is_none());
    assert!(present(&fleet, &new).await.is_none(), "the whole session is over");
    assert_eq!(actions(&fleet).await, ["session_stolen"]);
    let told = fleet.app.notices(&ann).await.unwrap();
    assert_eq!(told.iter().map(|n| n.1).collect::<Vec<_>>(), [Notice::UsedTwice]);
    fleet.app.read_notices(&ann, told[0].0).await.unwrap();
    assert!(fleet.app.notices(&ann).await.unwrap().is_empty());
    // The person's own feed says it.
    let feed = fleet.app.access_log(&ann, None).await.unwrap();
    assert_eq!(feed.rows[0].action.as_str(), "session_stolen");
}

#[tokio::test]
async fn a_cookie_in_another_browser_ends_the_session() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let token = begin(&fleet, &ann).await;
    assert!(fleet.app.present(&token, "curl/8", true).await.unwrap().is_none());
    assert!(present(&fleet, &token).await.is_none());
    let told = fleet.app.notices(&ann).await.unwrap();
    assert_eq!(told.iter().map(|n| n.1).collect::<Vec<_>>(), [Notice::OtherBrowser]);
}

#[tokio::test]
async fn people_end_their_own_sessions_and_nobody_elses() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let bob = fleet.user("bob", Role::Driver, "north").await;
    let (own, other) = (fleet.session(&ann).await, fleet.session(&ann).await);
    let foreign = fleet.session(&bob).await;
    let shown = fleet.app.own_sessions(&own).await.unwrap();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown.iter().filter(|s| s.own).count(), 1);
    assert!(shown.iter().all(|s| s.browser == "Firefox on Linux" && s.name.len() == 32));
    let runs = |session: &Session| {
        let (app, id) = (fleet.app.clone(), session.id);
        async move { app.running(&id, false).await.unwrap().is_some() }
    };
    let his = &fleet.app.own_sessions(&foreign).await.unwrap()[0].name;
    for name in [his.as_str(), "", "x"] {
        fleet.app.end_own_session(&own, name).await.unwrap();
        assert!(runs(&foreign).await && runs(&other).await, "{name}");
    }
    let name = &shown.iter().find(|s| !s.own).unwrap().name;
    fleet.app.end_own_session(&own, name).await.unwrap();
    assert!(runs(&own).await && !runs(&other).await);
    fleet.session(&ann).await;
    fleet.app.sign_out_everywhere(&own).await.unwrap();
    assert!(!runs(&own).await && runs(&foreign).await);
    assert!(fleet.app.db().sessions_of(ann.id).await.unwrap().is_empty());
    assert_eq!(actions(&fleet).await, ["session_revoked", "session_revoked"]);
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
fn browsers_have_a_family_and_nothing_finer() {
    for (agent, words) in [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.0", "Another program"),
        ("", "Another program"),
    ] {
        assert_eq!(browser(agent), words);
    }
}

#[test]
fn words_are_read_back() {
    for stage in [Stage::Code, Stage::SetUp, Stage::Whole] {
        assert_eq!(stage.as_str().parse::<Stage>().unwrap(), stage);
    }
    for notice in
        [Notice::UsedTwice, Notice::OtherBrowser, Notice::SignedOut, Notice::FactorRemoved]
    {
        assert_eq!(notice.as_str().parse::<Notice>().unwrap(), notice);
    }
    assert!("half".parse::<Stage>().is_err());
}
