//! Signing in step by step, what is logged of it, and the brakes from both sides.

use std::time::Duration;

use super::*;
use crate::{
    db::acts::ActScope,
    test_fleet::{PASSWORD, TestFleet, client},
    totp,
};

async fn try_in(
    fleet: &TestFleet,
    login: &str,
    password: &str,
    client: &Client,
) -> Result<NewSession, SignInError> {
    fleet.app.sign_in(login, password.to_owned().into(), None, client).await
}

/// What the log says, the oldest first: action, and who.
async fn logged(fleet: &TestFleet) -> Vec<(String, Option<UserId>)> {
    let mut rows = fleet.app.db().acts(&ActScope::default(), 1000).await.unwrap();
    rows.reverse();
    rows.into_iter().map(|row| (row.act.action.as_str().to_owned(), row.act.actor)).collect()
}

async fn session(fleet: &TestFleet, new: &NewSession) -> Session {
    let presented = fleet.app.present(&new.cookie, &client(1).agent, true).await.unwrap();
    presented.unwrap().session
}

/// The secret that the set-up page shows.
async fn secret(fleet: &TestFleet, session: &Session) -> Vec<u8> {
    fleet.app.begin_second_factor(session).await.unwrap();
    let shown = fleet.app.second_factor_set_up(session).await.unwrap().unwrap();
    let stored = fleet.app.running(&session.id, false).await.unwrap().unwrap();
    let sealed = stored.pending_secret.unwrap();
    let user = session.user.id.to_string();
    let secret = fleet.app.sign_in_key().open_sealed(&user, &sealed).unwrap();
    assert_eq!(*shown.secret, totp::base32(&secret), "what is shown is what counts");
    assert!(!sealed.windows(8).any(|w| secret.windows(8).any(|s| s == w)), "stored sealed");
    secret.to_vec()
}

fn code(fleet: &TestFleet, secret: &[u8]) -> String {
    totp::code_at(secret, fleet.app.now_ms())
}

/// Somebody with a second factor, and its secret and recovery codes.
async fn with_factor(fleet: &TestFleet, login: &str, role: Role) -> (Vec<u8>, Vec<String>) {
    fleet.user(login, role, "north").await;
    let new = try_in(fleet, login, PASSWORD, &client(1)).await.unwrap();
    let session = session(fleet, &new).await;
    let secret = secret(fleet, &session).await;
    let code = code(fleet, &secret);
    let confirmed = fleet.app.confirm_second_factor(&session, &code, &client(1)).await.unwrap();
    fleet.pass(Duration::from_secs(60));
    (secret, confirmed.codes)
}

#[tokio::test]
async fn drivers_are_in_with_a_password_and_all_others_set_up_a_second_factor() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let new = try_in(&fleet, "ann", PASSWORD, &client(1)).await.unwrap();
    assert_eq!((new.stage, new.devices.is_some()), (Stage::Whole, true));
    let mut expected = vec![("sign_in".to_owned(), Some(ann.id))];
    assert_eq!(logged(&fleet).await, expected);

    let sam = fleet.user("sam", Role::SafetyManager, "north").await;
    let new = try_in(&fleet, "sam", PASSWORD, &client(1)).await.unwrap();
    assert_eq!((new.stage, new.devices.is_some()), (Stage::SetUp, false));
    let first = session(&fleet, &new).await;
    assert!(fleet.app.session_user(&first.id, true).await.unwrap().is_none(), "not whole");
    let secret = secret(&fleet, &first).await;
    assert_eq!(self::secret(&fleet, &first).await, secret, "the page can be loaded again");
    for wrong in ["", "000", "abcdef"] {
        let refused = fleet.app.confirm_second_factor(&first, wrong, &client(1)).await;
        assert!(matches!(refused, Err(SignInError::Wrong)), "{wrong}");
    }
    let other = try_in(&fleet, "sam", PASSWORD, &client(1)).await.unwrap();
    let other = session(&fleet, &other).await;
    fleet.app.begin_second_factor(&other).await.unwrap();
    let code = code(&fleet, &secret);
    let confirmed = fleet.app.confirm_second_factor(&first, &code, &client(1)).await.unwrap();
    assert_eq!((confirmed.codes.len(), confirmed.new.stage), (8, Stage::Whole));
    let whole = session(&fleet, &confirmed.new).await;
    assert_eq!((whole.id, whole.stage), (first.id, Stage::Whole));
    // Whoever was setting one up at the same time is out, and cannot put theirs in its place.
    assert!(fleet.app.running(&other.id, false).await.unwrap().is_none());
    assert!(fleet.app.begin_second_factor(&whole).await.is_err());
    for action in ["sign_in", "sign_in", "second_factor_set"] {
        expected.push((action.to_owned(), Some(sam.id)));
    }
    assert_eq!(logged(&fleet).await, expected);
}

#[tokio::test]
async fn a_code_counts_once_and_a_recovery_code_too() {
    let fleet = TestFleet::new().await;
    let (secret, codes) = with_factor(&fleet, "sam", Role::SafetyManager).await;
    let begin = || async {
        let new = try_in(&fleet, "sam", PASSWORD, &client(1)).await.unwrap();
        assert_eq!(new.stage, Stage::Code);
        session(&fleet, &new).await
    };
    let before = logged(&fleet).await.len();
    let waiting = begin().await;
    assert_eq!(logged(&fleet).await.len(), before, "not signed in yet");
    let now = code(&fleet, &secret);
    let give = |session: Session, code: String| {
        let app = fleet.app.clone();
        async move { app.give_code(&session, &code, &client(1)).await }
    };
    let new = give(waiting, now.clone()).await.unwrap();
    assert_eq!((new.stage, new.devices.is_some()), (Stage::Whole, true));
    let waiting = begin().await;
    assert!(matches!(give(waiting.clone(), now).await, Err(SignInError::Wrong)), "used");
    let recovery = codes[3].to_lowercase().replace('-', " ");
    assert_eq!(give(waiting, recovery.clone()).await.unwrap().stage, Stage::Whole);
    let waiting = begin().await;
    assert!(matches!(give(waiting.clone(), recovery).await, Err(SignInError::Wrong)), "used");
    let left = fleet.app.factor_of(waiting.user.id).await.unwrap().unwrap().codes_left;
    assert_eq!(left, 7);
    let actions: Vec<_> = logged(&fleet).await.into_iter().skip(before).map(|l| l.0).collect();
    assert_eq!(actions, ["sign_in", "sign_in_refused", "sign_in", "sign_in_refused"]);
    // A right password does not wait for ever.
    fleet.pass(Duration::from_millis(crate::sessions::CODE_MS as u64));
    assert!(fleet.app.running(&waiting.id, false).await.unwrap().is_none());
}

#[tokio::test]
async fn unknown_wrong_and_switched_off_get_one_answer_and_one_entry_each() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let off = fleet.user("off", Role::Driver, "north").await;
    fleet.app.db().set_user_disabled("off", true, fleet.app.now_ms()).await.unwrap();
    let mut answers = Vec::new();
    for (login, password) in
        [("nobody", PASSWORD), ("ann", "wrong password"), ("off", PASSWORD), ("ann", "")]
    {
        answers.push(try_in(&fleet, login, password, &client(1)).await.unwrap_err().to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let expected = [None, Some(ann.id), Some(off.id), Some(ann.id)];
    assert_eq!(logged(&fleet).await, expected.map(|who| ("sign_in_refused".to_owned(), who)));
    // The person sees it in their own feed; no other driver does.
    let bob = fleet.user("bob", Role::Driver, "north").await;
    assert_eq!(fleet.app.access_log(&ann, None).await.unwrap().rows.len(), 2);
    assert!(fleet.app.access_log(&bob, None).await.unwrap().rows.is_empty());
    let long = try_in(&fleet, "ann", &"x".repeat(100_000), &client(2)).await;
    assert!(matches!(long, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn where_the_log_takes_no_entry_nobody_signs_in() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let folder = fleet.config.log();
    std::fs::rename(&folder, folder.with_extension("gone")).unwrap();
    for (login, password) in [("ann", PASSWORD), ("ann", "wrong password"), ("nobody", PASSWORD)] {
        let refused = try_in(&fleet, login, password, &client(1)).await.unwrap_err();
        assert!(matches!(refused, SignInError::App(AppError::Log(_))), "{login}: {refused}");
    }
    assert!(fleet.app.db().sessions_of(ann.id).await.unwrap().is_empty());
    // What takes access away does not wait for the log.
    let session = fleet.session(&ann).await;
    fleet.app.sign_out(&session).await.unwrap();
    assert!(fleet.app.running(&session.id, false).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stranger_who_guesses_brakes_only_the_stranger() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    for login in ["ann", "nobody"] {
        for n in 0..7 {
            let refused = try_in(&fleet, login, "wrong password", &client(66)).await.unwrap_err();
            match refused {
                SignInError::Wrong => assert!(n < 5, "{login} {n}"),
                SignInError::TooMany { retry_after_s } => {
                    assert!(n >= 5 && (1..=30).contains(&retry_after_s), "{login} {n}");
                }
                SignInError::App(error) => panic!("{error}"),
            }
        }
    }
    // From there also with the right password; from elsewhere, where she never was, she gets in.
    let held = try_in(&fleet, "ann", PASSWORD, &client(66)).await;
    assert!(matches!(held, Err(SignInError::TooMany { .. })));
    assert!(try_in(&fleet, "ann", PASSWORD, &client(7)).await.is_ok());
    let braked: Vec<_> =
        logged(&fleet).await.into_iter().filter(|l| l.0 == "sign_in_braked").collect();
    let once = |who| ("sign_in_braked".to_owned(), who);
    assert_eq!(braked, [once(Some(ann.id)), once(None)], "once a minute for an account");
}

#[tokio::test]
async fn many_strangers_cannot_lock_a_known_browser_out() {
    let fleet = TestFleet::new().await;
    fleet.user("ann", Role::Driver, "north").await;
    fleet.user("bob", Role::Driver, "north").await;
    let new = try_in(&fleet, "ann", PASSWORD, &client(1)).await.unwrap();
    let known = Client { devices: new.devices, ..client(1) };
    // 60 addresses guess. The work is left out: only the brakes are looked at.
    let attempt = |client: &Client| {
        fleet.app.guard().attempt(fleet.app.sign_in_key(), Guess::Password, &account("ann"), client)
    };
    let refused = (100..160).filter(|last| attempt(&client(*last)).is_err()).count();
    assert!((9..=12).contains(&refused), "strangers share a budget: {refused}");
    assert!(attempt(&client(200)).is_err(), "a browser that she never used has to wait");
    assert!(try_in(&fleet, "ann", PASSWORD, &known).await.is_ok(), "hers does not");
    // Nor does it where its address is used up by others.
    for n in 0..40 {
        let account = account(&format!("guess-{n}"));
        drop(fleet.app.guard().attempt(
            fleet.app.sign_in_key(),
            Guess::Password,
            &account,
            &client(1),
        ));
    }
    let bob = try_in(&fleet, "bob", PASSWORD, &client(1)).await;
    assert!(matches!(bob, Err(SignInError::TooMany { .. })), "the address is");
    assert!(try_in(&fleet, "ann", PASSWORD, &known).await.is_ok());
    // Her cookie says nothing of bob, and who steals it guesses as slowly as she does.
    let bob = try_in(&fleet, "bob", PASSWORD, &known).await;
    assert!(matches!(bob, Err(SignInError::TooMany { .. })));
    let stolen = Client { address: [198, 51, 100, 1].into(), ..known };
    let let_through = (0..20).filter(|_| attempt(&stolen).is_ok()).count();
    assert_eq!(let_through, 5);
}

#[tokio::test]
async fn proving_again_takes_password_or_code_and_makes_the_session_fresh() {
    let fleet = TestFleet::new().await;
    let (secret, _) = with_factor(&fleet, "sam", Role::SafetyManager).await;
    let user = fleet.app.db().user_by_login("sam").await.unwrap().unwrap().0;
    let mut session = fleet.session(&user).await;
    let totp = |fleet: &TestFleet| code(fleet, &secret);
    for (what, given) in [("password", PASSWORD.to_owned()), ("code", String::new())] {
        assert!(fleet.app.is_fresh(&session), "{what}");
        fleet.pass(Duration::from_secs(300));
        assert!(!fleet.app.is_fresh(&session), "{what}");
        for wrong in ["wrong password", "12345"] {
            let refused = fleet.app.step_up(&session, wrong.to_owned().into(), &client(1)).await;
            assert!(matches!(refused, Err(SignInError::Wrong)), "{wrong}");
        }
        let given = if given.is_empty() { totp(&fleet) } else { given };
        let proved = fleet.app.step_up(&session, given.into(), &client(1)).await.unwrap();
        assert!(proved.token.is_some(), "the token changes");
        session = proved.session;
    }
    let again = totp(&fleet);
    let refused = fleet.app.step_up(&session, again.into(), &client(1)).await;
    assert!(matches!(refused, Err(SignInError::Wrong)), "a code counts once, here as there");
    let refusals = logged(&fleet).await.into_iter().filter(|l| l.0 == "step_up_refused");
    assert_eq!(refusals.count(), 5);
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions() {
    let fleet = TestFleet::new().await;
    let ann = fleet.user("ann", Role::Driver, "north").await;
    let (own, other) = (fleet.session(&ann).await, fleet.session(&ann).await);
    let change = |current: &str, new: &str| {
        let (app, own) = (fleet.app.clone(), own.clone());
        let (current, new) = (current.to_owned().into(), new.to_owned().into());
        async move { app.change_password(&own, current, new, &client(1)).await }
    };
    assert!(matches!(change("wrong password", "new password").await, Err(SignInError::Wrong)));
    let short = change(PASSWORD, "short").await;
    assert!(matches!(short, Err(SignInError::App(AppError::Invalid(_)))));
    assert!(fleet.app.running(&other.id, false).await.unwrap().is_some(), "nothing done yet");
    change(PASSWORD, "new password").await.unwrap();
    assert!(fleet.app.running(&own.id, false).await.unwrap().is_some());
    assert!(fleet.app.running(&other.id, false).await.unwrap().is_none());
    let old = try_in(&fleet, "ann", PASSWORD, &client(1)).await;
    assert!(matches!(old, Err(SignInError::Wrong)));
    assert!(try_in(&fleet, "ann", "new password", &client(1)).await.is_ok());
    assert!(logged(&fleet).await.contains(&("password_changed".to_owned(), Some(ann.id))));
}

#[tokio::test]
async fn without_its_second_factor_a_role_that_needs_one_can_only_set_up_another() {
    let fleet = TestFleet::new().await;
    let (secret, codes) = with_factor(&fleet, "sam", Role::SafetyManager).await;
    let user = fleet.app.db().user_by_login("sam").await.unwrap().unwrap().0;
    let (own, other) = (fleet.session(&user).await, fleet.session(&user).await);
    let made = fleet.app.new_recovery_codes(&own).await.unwrap();
    assert!(!fleet.app.takes_code(user.id, &codes[0]).await.unwrap(), "the old ones are gone");
    assert!(fleet.app.takes_code(user.id, &made[0]).await.unwrap());
    fleet.app.remove_second_factor(&own).await.unwrap();
    let stage = fleet.app.running(&own.id, false).await.unwrap().map(|stored| stored.stage);
    assert_eq!(stage, Some(Stage::SetUp));
    assert!(fleet.app.running(&other.id, false).await.unwrap().is_none());
    let old = code(&fleet, &secret);
    assert!(!fleet.app.takes_code(user.id, &old).await.unwrap());
    assert!(!fleet.app.takes_code(user.id, &made[1]).await.unwrap());
    assert_ne!(self::secret(&fleet, &own).await, secret);
}
