//! Who somebody is: passwords, sessions, the brake on guessing, and forms that nobody else sent.
//!
//! INVARIANT: an unknown login, a wrong password and a switched-off account get the same answer
//! after the same work. Of a session's cookie only the SHA-256 is kept, of a password only the
//! argon2id hash. Neither is ever logged.
//!
//! The brake lives in memory: a restart forgives. The sessions survive it.

use std::{net::IpAddr, sync::Mutex, time::Instant};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use ring::{
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use temoin_proto::ids::UserId;
use zeroize::Zeroizing;

use crate::{app::App, brake::Brake, db::users::User, error::AppError};

/// The cookie's name. `__Host-` makes browsers insist on Secure, Path=/ and no Domain.
pub const COOKIE: &str = "__Host-temoin-session";
/// A session that is not used for this long ends (OWASP session management: 15 to 30 min for
/// sensitive data).
pub const IDLE_MS: i64 = 30 * 60 * 1000;
/// A session ends after this long in any case: one working day.
pub const ABSOLUTE_MS: i64 = 12 * 60 * 60 * 1000;
/// Longest password that is looked at, bytes: hashing more is only work for the server.
pub const MAX_PASSWORD: usize = 256;
/// Shortest password that `user add` accepts (NIST SP 800-63B).
pub const MIN_PASSWORD: usize = 8;
const CSRF_CONTEXT: &[u8] = b"temoin csrf v1";
/// `used_at` is written at most this often, so that reading pages is not writing the database.
const TOUCH_EVERY_MS: i64 = 60 * 1000;

/// A signed-in person.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// SHA-256 of the cookie: the session's id inside the server.
    pub id: [u8; 32],
    /// The token that every form of this session must carry.
    pub csrf: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user", &self.user.id).finish_non_exhaustive()
    }
}

/// A new session's cookie value: the only copy.
pub struct NewSession {
    /// What the cookie holds, 64 hexadecimal digits.
    pub cookie: Zeroizing<String>,
    /// Who signed in.
    pub user: User,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Login or password are wrong, or the account is switched off: not said which.
    #[error("login or password are wrong")]
    Wrong,
    /// Too many attempts for this account or from this address.
    #[error("too many attempts, again in {retry_after_s} s")]
    TooMany {
        /// When it is worth another try, seconds.
        retry_after_s: u64,
    },
    /// The server failed.
    #[error(transparent)]
    App(#[from] AppError),
}

/// What guards signing in.
#[derive(Debug)]
pub struct Guard {
    accounts: Mutex<Brake<[u8; 32]>>,
    addresses: Mutex<Brake<IpAddr>>,
    /// Views that somebody was refused: each is an entry of the log.
    refusals: Mutex<Brake<UserId>>,
    /// Argon2id takes 19 MiB each: more at once only serves whoever wants to fill the memory.
    hashing: tokio::sync::Semaphore,
    /// What an unknown login's password is checked against.
    decoy: String,
    started: Instant,
}

impl Guard {
    /// A fresh one.
    ///
    /// # Errors
    /// [`AppError::Internal`] where the system gives no random bytes.
    pub fn new() -> Result<Self, AppError> {
        Ok(Self {
            // 5 attempts, then one in 30 s.
            accounts: Mutex::new(Brake::new(5, 30_000)),
            // A depot may sit behind one address: 30 attempts, then one in 2 s.
            addresses: Mutex::new(Brake::new(30, 2_000)),
            // 20 wrong addresses, then one in 10 s.
            refusals: Mutex::new(Brake::new(20, 10_000)),
            hashing: tokio::sync::Semaphore::new(2),
            decoy: hash_password(&hex::encode(random::<16>()?))?,
            started: Instant::now(),
        })
    }

    /// Counts a refused view.
    ///
    /// # Errors
    /// [`AppError::TooMany`] where somebody was refused too often: nothing is logged then.
    pub(crate) fn brake_refusals(&self, who: UserId) -> Result<(), AppError> {
        match lock(&self.refusals).take(who, self.now_ms()) {
            0 => Ok(()),
            wait_ms => Err(AppError::TooMany { retry_after_s: wait_ms.div_ceil(1000) }),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The argon2id hash of a password (19 MiB, 2 passes: OWASP password storage), as a PHC string.
///
/// # Errors
/// [`AppError::Invalid`] where the length is not possible, [`AppError::Internal`].
pub fn hash_password(password: &str) -> Result<String, AppError> {
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.len()) {
        return Err(AppError::Invalid(format!(
            "a password has {MIN_PASSWORD} to {MAX_PASSWORD} bytes"
        )));
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|e| AppError::Internal(format!("argon2: {e}")))
}

/// A password that can be read out on the telephone: 20 letters and digits, 100 bits.
///
/// # Errors
/// [`AppError::Internal`] where the system gives no random bytes.
pub fn generate_password() -> Result<Zeroizing<String>, AppError> {
    readable_code(4, 5).map(Zeroizing::new)
}

/// Groups of random letters and digits without those that are mistaken for others (5 bits each).
pub(crate) fn readable_code(groups: usize, len: usize) -> Result<String, AppError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut bytes = vec![0; groups * len];
    fill(&mut bytes)?;
    let letters: Vec<char> = bytes
        .iter()
        .filter_map(|b| ALPHABET.get(usize::from(b & 31)).map(|letter| char::from(*letter)))
        .collect();
    Ok(letters
        .chunks(len)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join("-"))
}

fn fill(bytes: &mut [u8]) -> Result<(), AppError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| AppError::Internal("the system gave no random bytes".to_owned()))
}

fn random<const N: usize>() -> Result<[u8; N], AppError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// SHA-256 as an array.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// The form token of a session: only who holds the cookie can have it, and it does not give the
/// cookie away.
fn csrf_token(cookie: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
    hex::encode(hmac::sign(&key, CSRF_CONTEXT).as_ref())
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

/// Whether a state-changing request comes from our own pages: `Origin` must name the host that
/// the request was sent to, and `Sec-Fetch-Site`, where the browser sends it, must say so too. A
/// request without both headers comes from no current browser and carries no cookie by accident,
/// but is refused all the same.
pub fn same_origin(origin: Option<&str>, fetch_site: Option<&str>, host: Option<&str>) -> bool {
    let site_ok = match fetch_site {
        None => origin.is_some(),
        Some(site) => site == "same-origin",
    };
    let origin_ok = match (origin, host) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin.strip_prefix("https://").is_some_and(|o| o.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
    };
    site_ok && origin_ok
}

impl App {
    /// Signs somebody in.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(
        &self,
        login: &str,
        password: Zeroizing<String>,
        from: IpAddr,
    ) -> Result<NewSession, SignInError> {
        let guard = self.guard();
        let now = guard.now_ms();
        let account = sha256(login.as_bytes());
        let wait_ms =
            lock(&guard.addresses).take(from, now).max(lock(&guard.accounts).take(account, now));
        if wait_ms > 0 {
            return Err(SignInError::TooMany { retry_after_s: wait_ms.div_ceil(1000) });
        }
        let found = self.db().user_by_login(login).await.map_err(AppError::from)?;
        let (user, hash) = match found {
            Some((user, hash)) => (Some(user), hash),
            None => (None, guard.decoy.clone()),
        };
        let permit = guard
            .hashing
            .acquire()
            .await
            .map_err(|_| AppError::Internal("the hashing semaphore is closed".to_owned()))?;
        let right = tokio::task::spawn_blocking(move || {
            password.len() <= MAX_PASSWORD
                && Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
        })
        .await
        .map_err(|e| AppError::Internal(format!("password check: {e}")))?;
        drop(permit);
        let user = match user {
            Some(user) if right && !user.disabled => user,
            Some(_) | None => return Err(SignInError::Wrong),
        };
        lock(&guard.accounts).forgive(&account);
        lock(&guard.addresses).give_back(&from);
        let cookie = Zeroizing::new(hex::encode(*Zeroizing::new(random::<32>()?)));
        let now_ms = self.now_ms();
        self.db()
            .delete_old_sessions(now_ms - ABSOLUTE_MS, now_ms - IDLE_MS)
            .await
            .map_err(AppError::from)?;
        self.db()
            .add_session(&sha256(cookie.as_bytes()), &user, now_ms)
            .await
            .map_err(AppError::from)?;
        Ok(NewSession { cookie, user })
    }

    /// The session that a cookie's value belongs to, where it still runs.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, AppError> {
        if cookie.len() != 64 {
            return Ok(None);
        }
        let id = sha256(cookie.as_bytes());
        let Some(user) = self.session_user(&id, true).await? else { return Ok(None) };
        Ok(Some(Session { user, id, csrf: csrf_token(cookie) }))
    }

    /// Who a session belongs to, as of now; nobody where it has ended. `used` counts as use.
    pub(crate) async fn session_user(
        &self,
        id: &[u8; 32],
        used: bool,
    ) -> Result<Option<User>, AppError> {
        let now_ms = self.now_ms();
        let Some(stored) = self.db().session(id).await? else { return Ok(None) };
        let old = now_ms - stored.created_ms >= ABSOLUTE_MS || now_ms - stored.used_ms >= IDLE_MS;
        if old || stored.user.disabled {
            self.db().delete_session(id).await?;
            return Ok(None);
        }
        if used && now_ms - stored.used_ms >= TOUCH_EVERY_MS {
            self.db().touch_session(id, now_ms).await?;
        }
        Ok(Some(stored.user))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`AppError::Db`].
    pub async fn sign_out(&self, session: &Session) -> Result<(), AppError> {
        Ok(self.db().delete_session(&session.id).await?)
    }
}

/// A poisoned lock guards only counters here: they are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "authn_tests.rs"]
mod tests;
