//! Sessions: how a browser holds one, how its token changes, and how it ends.
//!
//! The token changes at sign-in, when the person proves who they are again, and every 15 min of use.
//! A browser that sends an old token after it has sent the new one is not the one that signed in, or
//! somebody took its cookie: the session ends for both, and the person is told.
//!
//! INVARIANT: what gives access is logged before it counts; what takes access away happens at once
//! and is logged after, so that a log that takes no entry keeps nobody signed in. Of a token only
//! the SHA-256 is kept.
//!
//! A crash between the two leaves a session that ended without an entry.

use std::str::FromStr;

use ring::hmac;
use temoin_proto::ids::UserId;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::{Client, random, sha256},
    binding::{self, Proof},
    db::{acts::Act, sessions::StoredSession, users::User},
    error::{AppError, chain},
    log::action,
};

/// The cookie's name. `__Host-` makes browsers insist on Secure, Path=/ and no Domain.
pub const COOKIE: &str = "__Host-temoin-session";
/// A session that is not used for this long ends (OWASP session management: 15 to 30 min for
/// sensitive data).
pub const IDLE_MS: i64 = 30 * 60 * 1000;
/// A session ends after this long in any case: one working day.
pub const ABSOLUTE_MS: i64 = 12 * 60 * 60 * 1000;
/// How long a right password waits for its code. Own choice.
pub const CODE_MS: i64 = 10 * 60 * 1000;
/// How long a token is used before the next is offered. Own choice: half of the idle time.
pub const ROTATE_MS: i64 = 15 * 60 * 1000;
/// How long the token before still counts: requests that were under way. Also how long it takes
/// until another is offered, where one got lost.
pub const GRACE_MS: i64 = 60 * 1000;
/// `used_at` is written at most this often, so that reading pages is not writing the database.
const TOUCH_EVERY_MS: i64 = 60 * 1000;

/// A session's id: random, stays when the token changes, never leaves the server.
pub type SessionId = [u8; 32];

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Its word in the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = AppError;

            fn from_str(text: &str) -> Result<Self, AppError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(AppError::Invalid(format!("`{text}` is not known"))),
                }
            }
        }
    };
}

words! {
    /// How far a sign-in has come.
    Stage {
        /// The password was right, the second factor is awaited.
        Code = "code",
        /// The role needs a second factor and has none: it can be set up, and nothing else done.
        SetUp = "set_up",
        /// Signed in.
        Whole = "whole",
    }
}

words! {
    /// What a person is told the next time: it happened to the account without them.
    Notice {
        /// An old token came back: the cookie is in two places.
        UsedTwice = "used_twice",
        /// The cookie came from a browser that calls itself something else.
        OtherBrowser = "other_browser",
        /// An administrator ended all sessions.
        SignedOut = "signed_out",
        /// An administrator removed the second factor.
        FactorRemoved = "factor_removed",
    }
}

/// A signed-in person.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// The session's id inside the server.
    pub id: SessionId,
    /// The token that every form of this session must carry.
    pub csrf: String,
    /// How far the sign-in has come.
    pub stage: Stage,
    /// When the person last gave password or code.
    pub proved_ms: i64,
    /// The browser's public key, where it has one.
    pub(crate) public_key: Option<Vec<u8>>,
    /// Whether this request was signed with that key.
    pub(crate) proven: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user", &self.user.id).finish_non_exhaustive()
    }
}

/// A session as a request found it.
#[derive(Debug)]
pub struct Presented {
    /// The session.
    pub session: Session,
    /// The cookie's next value, where it is time.
    pub token: Option<Zeroizing<String>>,
}

/// One of somebody's own sessions, as they may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionShown {
    /// What to ask for to end it.
    pub name: String,
    /// The browser in words.
    pub browser: String,
    /// When it began.
    pub created_ms: i64,
    /// When it was last used, to the minute.
    pub used_ms: i64,
    /// Whether it is the one that asks.
    pub own: bool,
    /// Whether pictures can be shown in it.
    pub bound: bool,
}

fn derived(id: &SessionId, what: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, id), what).as_ref())
}

impl From<StoredSession> for Session {
    fn from(stored: StoredSession) -> Self {
        Self {
            csrf: derived(&stored.id, b"temoin csrf v2"),
            user: stored.user,
            id: stored.id,
            stage: stored.stage,
            proved_ms: stored.proved_ms,
            public_key: stored.public_key,
            proven: false,
        }
    }
}

impl Session {
    /// Whether a form carries this session's token.
    pub fn csrf_matches(&self, given: &str) -> bool {
        // Compared as tags, in a time that says nothing of where they differ.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.id);
        let tag = hmac::sign(&key, self.csrf.as_bytes());
        hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok()
    }
}

/// A new token: 64 hexadecimal digits, the only copy.
pub(crate) fn new_token() -> Result<Zeroizing<String>, AppError> {
    Ok(Zeroizing::new(hex::encode(*Zeroizing::new(random::<32>()?))))
}

impl App {
    /// Begins a session, which the caller has logged. Returns the cookie's value.
    pub(crate) async fn begin(
        &self,
        user: &User,
        stage: Stage,
        client: &Client,
        public_key: Option<Vec<u8>>,
    ) -> Result<Zeroizing<String>, AppError> {
        let now_ms = self.now_ms();
        self.db().delete_old_sessions(now_ms - ABSOLUTE_MS, now_ms - IDLE_MS).await?;
        let token = new_token()?;
        let session = StoredSession {
            id: random()?,
            user: user.clone(),
            stage,
            created_ms: now_ms,
            used_ms: now_ms,
            proved_ms: now_ms,
            offered_ms: now_ms,
            agent_sha256: sha256(client.agent.as_bytes()).to_vec(),
            browser: browser(&client.agent),
            public_key,
            pending_secret: None,
        };
        self.db().add_session(&session, &sha256(token.as_bytes())).await?;
        Ok(token)
    }

    /// The session that a cookie's value belongs to, where it still runs and this is its browser.
    /// `used` counts as use.
    ///
    /// # Errors
    /// [`AppError::Db`]; [`AppError::Log`] where a session ended here and no entry was taken.
    pub async fn present(
        &self,
        cookie: &str,
        agent: &str,
        used: bool,
    ) -> Result<Option<Presented>, AppError> {
        if cookie.len() != 64 {
            return Ok(None);
        }
        let now_ms = self.now_ms();
        let token_sha256 = sha256(cookie.as_bytes());
        let Some(token) = self.db().session_token(&token_sha256).await? else { return Ok(None) };
        let Some(stored) = self.running(&token.session, used).await? else { return Ok(None) };
        let theft = if token.replaced_ms.is_some_and(|at_ms| now_ms - at_ms > GRACE_MS) {
            Some(Notice::UsedTwice)
        } else if stored.agent_sha256 != sha256(agent.as_bytes()) {
            Some(Notice::OtherBrowser)
        } else {
            None
        };
        if let Some(notice) = theft {
            self.end_stolen(&stored, notice).await?;
            return Ok(None);
        }
        let mut offered = None;
        if token.replaced_ms.is_none() {
            if token.seen_ms.is_none() {
                self.db().see_token(&stored.id, &token_sha256, now_ms).await?;
            }
            let used_ms = now_ms - token.seen_ms.unwrap_or(now_ms);
            if used_ms >= ROTATE_MS && now_ms - stored.offered_ms >= GRACE_MS {
                let next = new_token()?;
                let sha256 = sha256(next.as_bytes());
                let won =
                    self.db().offer_token(&stored.id, &sha256, stored.offered_ms, now_ms).await?;
                offered = won.then_some(next);
            }
        }
        Ok(Some(Presented { session: stored.into(), token: offered }))
    }

    /// The person has given password or code in this session: it is at this stage, and fresh.
    pub(crate) async fn proved(
        &self,
        session: &Session,
        stage: Stage,
    ) -> Result<Presented, AppError> {
        let (token, now_ms) = (new_token()?, self.now_ms());
        self.db().prove_session(&session.id, stage, &sha256(token.as_bytes()), now_ms).await?;
        let session = Session { stage, proved_ms: now_ms, ..session.clone() };
        Ok(Presented { session, token: Some(token) })
    }

    /// The session as of now; none where it has ended. `used` counts as use.
    pub(crate) async fn running(
        &self,
        id: &SessionId,
        used: bool,
    ) -> Result<Option<StoredSession>, AppError> {
        let now_ms = self.now_ms();
        let Some(stored) = self.db().session(id).await? else { return Ok(None) };
        let (age_ms, rest_ms) = (now_ms - stored.created_ms, now_ms - stored.used_ms);
        let old = match stored.stage {
            Stage::Code => age_ms >= CODE_MS,
            Stage::SetUp | Stage::Whole => age_ms >= ABSOLUTE_MS || rest_ms >= IDLE_MS,
        };
        if old || stored.user.disabled {
            self.db().delete_session(id).await?;
            return Ok(None);
        }
        if used && rest_ms >= TOUCH_EVERY_MS {
            self.db().touch_session(id, now_ms).await?;
        }
        Ok(Some(stored))
    }

    /// Who a session belongs to, as of now; nobody where it has ended or is not whole. `used` counts
    /// as use.
    pub(crate) async fn session_user(
        &self,
        id: &SessionId,
        used: bool,
    ) -> Result<Option<User>, AppError> {
        let stored = self.running(id, used).await?;
        Ok(stored.filter(|stored| stored.stage == Stage::Whole).map(|stored| stored.user))
    }

    /// Whether this request was signed by the session's own browser.
    pub(crate) fn is_proven(
        &self,
        session: &Session,
        method: &str,
        path: &str,
        proof: Option<&str>,
    ) -> bool {
        let (Some(public_key), Some(proof)) =
            (session.public_key.as_deref(), proof.and_then(Proof::parse))
        else {
            return false;
        };
        self.guard().proofs.check(
            self.sign_in_key(),
            (&session.id, public_key),
            (method, path),
            &proof,
            self.now_ms(),
        )
    }

    /// Whether password or code were given so lately that a sensitive act needs no other.
    pub(crate) fn is_fresh(&self, session: &Session) -> bool {
        let within_ms = i64::from(self.config().sign_in.step_up_after_s) * 1000;
        (0..within_ms).contains(&self.now_ms().saturating_sub(session.proved_ms))
    }

    /// What lets this session's browser download one file, once and soon.
    pub(crate) fn ticket(&self, session: &Session, path: &str) -> String {
        binding::ticket(self.sign_in_key(), &session.id, path, self.now_ms())
    }

    /// Whether this is such a ticket, for the first time.
    pub(crate) fn takes_ticket(&self, session: &Session, path: &str, ticket: &str) -> bool {
        let now_ms = self.now_ms();
        self.guard().proofs.take_ticket(self.sign_in_key(), &session.id, path, ticket, now_ms)
    }

    /// What the session's browser signs its requests over.
    pub(crate) fn proof_nonce(&self, session: &Session) -> String {
        binding::nonce(self.sign_in_key(), &session.id, self.now_ms())
    }

    /// Logs something that somebody did to their own account, or that happened to it; to none, where
    /// nobody has the name that was given.
    pub(crate) async fn log_own(
        &self,
        user: impl Into<Option<UserId>>,
        word: &str,
    ) -> Result<(), AppError> {
        let act = Act::new(action(word)?, user.into(), self.now_ms());
        self.log().record(self.db(), &act).await?;
        Ok(())
    }

    /// The same, of what has taken access away: it stays so where the log takes no entry.
    async fn log_ended(&self, user: UserId, action: &str) {
        if let Err(error) = self.log_own(user, action).await {
            tracing::error!(error = chain(&error), "a session ended without an entry in the log");
        }
    }

    async fn end_stolen(&self, stored: &StoredSession, notice: Notice) -> Result<(), AppError> {
        // Of requests at the same time one tells.
        if self.db().delete_session(&stored.id).await? {
            self.db().add_notice(stored.user.id, notice, self.now_ms()).await?;
            self.log_ended(stored.user.id, "session_stolen").await;
        }
        Ok(())
    }

    /// Ends the session that asks.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn sign_out(&self, session: &Session) -> Result<(), AppError> {
        self.db().delete_session(&session.id).await?;
        self.log_ended(session.user.id, "sign_out").await;
        Ok(())
    }

    /// Somebody's own sessions, the last used first.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn own_sessions(&self, session: &Session) -> Result<Vec<SessionShown>, AppError> {
        let now_ms = self.now_ms();
        self.db().delete_old_sessions(now_ms - ABSOLUTE_MS, now_ms - IDLE_MS).await?;
        let stored = self.db().sessions_of(session.user.id).await?;
        Ok(stored
            .into_iter()
            .filter(|stored| stored.stage == Stage::Whole)
            .map(|stored| SessionShown {
                name: session_name(&stored.id),
                own: stored.id == session.id,
                bound: stored.public_key.is_some(),
                browser: stored.browser,
                created_ms: stored.created_ms,
                used_ms: stored.used_ms,
            })
            .collect())
    }

    /// Ends one of somebody's own sessions. One that has ended is no error.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn end_own_session(&self, session: &Session, name: &str) -> Result<(), AppError> {
        let stored = self.db().sessions_of(session.user.id).await?;
        if let Some(found) = stored.iter().find(|stored| session_name(&stored.id) == name)
            && self.db().delete_session(&found.id).await?
        {
            self.log_ended(session.user.id, "session_revoked").await;
        }
        Ok(())
    }

    /// Ends all of somebody's own sessions, that which asks too.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn sign_out_everywhere(&self, session: &Session) -> Result<(), AppError> {
        self.db().delete_sessions_of(session.user.id, None).await?;
        self.log_ended(session.user.id, "session_revoked").await;
        Ok(())
    }

    /// What this person has not read yet, with its time.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn notices(&self, who: &User) -> Result<Vec<(i64, Notice)>, AppError> {
        Ok(self.db().notices(who.id).await?)
    }

    /// Forgets what this person has read, up to this time.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn read_notices(&self, who: &User, until_ms: i64) -> Result<(), AppError> {
        Ok(self.db().delete_notices(who.id, until_ms).await?)
    }
}

/// What the list calls a session: made from its id, which it does not give away.
fn session_name(id: &SessionId) -> String {
    let mut name = derived(id, b"temoin session name v1");
    name.truncate(32);
    name
}

/// Family and system of a browser in words; nothing finer is kept.
fn browser(agent: &str) -> String {
    let first = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // Each calls itself all that come after it.
    let family = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Macintosh", "Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (family, system) {
        (Some(family), Some(system)) => format!("{family} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, Some(system)) => format!("A browser on {system}"),
        (None, None) => "Another program".to_owned(),
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
