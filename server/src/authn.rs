//! What signing in rests on: passwords, the brakes on guessing, and forms that nobody else sent.
//! The steps of signing in are in [`crate::sign_in`], sessions in [`crate::sessions`].
//!
//! INVARIANT: of a password only the argon2id hash is kept, and neither is ever logged.
//!
//! The brakes live in memory: a restart forgives. The sessions survive it.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Instant,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use temoin_proto::ids::UserId;
use zeroize::Zeroizing;

pub use crate::sessions::{COOKIE, Session};
use crate::{binding::Seen, brake::Brake, devices, error::AppError, sign_in_key::SignInKey};

/// Longest password that is looked at, bytes: hashing more is only work for the server.
pub const MAX_PASSWORD: usize = 256;
/// Shortest password that `user add` accepts (NIST SP 800-63B).
pub const MIN_PASSWORD: usize = 8;
/// Who asks to be signed in: what is known of their end of the line.
#[derive(Debug, Clone)]
pub struct Client {
    /// The address.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub agent: String,
    /// The device cookie.
    pub devices: Option<String>,
}

/// What is guessed at: each has brakes of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guess {
    Password,
    Code,
    StepUp,
}

/// An attempt that was let through the brakes.
#[derive(Debug)]
pub(crate) struct Attempt {
    client: [u8; 32],
    /// Account and address, where the browser is not known.
    stranger: Option<([u8; 32], IpAddr)>,
}

/// What guards signing in.
///
/// Attempts are counted for an account *from a client*: a known browser (device cookie), else an
/// address. So a stranger's guesses brake the stranger. All strangers of an account share a budget,
/// and so do all accounts of an address; a browser from which the person signed in before depends on
/// neither: nobody can lock them out there.
#[derive(Debug)]
pub struct Guard {
    clients: Mutex<Brake<[u8; 32]>>,
    strangers: Mutex<Brake<[u8; 32]>>,
    addresses: Mutex<Brake<IpAddr>>,
    /// Views that somebody was refused: each is an entry of the log.
    refusals: Mutex<Brake<UserId>>,
    /// Braked attempts of an account that are logged.
    braked: Mutex<Brake<[u8; 32]>>,
    /// Argon2id takes 19 MiB each: more at once only serves whoever wants to fill the memory.
    hashing: tokio::sync::Semaphore,
    /// What an unknown login's password is checked against.
    decoy: String,
    started: Instant,
    pub(crate) proofs: Seen,
}

impl Guard {
    /// A fresh one.
    ///
    /// # Errors
    /// [`AppError::Internal`] where the system gives no random bytes.
    pub fn new() -> Result<Self, AppError> {
        Ok(Self {
            // 5 attempts, then one in 30 s.
            clients: Mutex::new(Brake::new(5, 30_000)),
            // 50 attempts, then one in 15 s: 5,760 a day. One address alone gets one in 30 s, so it
            // takes several to use it up. Own choice.
            strangers: Mutex::new(Brake::new(50, 15_000)),
            // A depot may sit behind one address: 30 attempts, then one in 2 s.
            addresses: Mutex::new(Brake::new(30, 2_000)),
            // 20 wrong addresses, then one in 10 s.
            refusals: Mutex::new(Brake::new(20, 10_000)),
            braked: Mutex::new(Brake::new(1, 60_000)),
            hashing: tokio::sync::Semaphore::new(2),
            decoy: hash_password(&hex::encode(random::<16>()?))?,
            started: Instant::now(),
            proofs: Seen::default(),
        })
    }

    /// Lets an attempt through, or says how long to wait, seconds.
    pub(crate) fn attempt(
        &self,
        key: &SignInKey,
        what: Guess,
        account: &[u8; 32],
        client: &Client,
    ) -> Result<Attempt, u64> {
        let now = self.now_ms();
        let cookie = client.devices.as_deref();
        let device = cookie.and_then(|cookie| devices::known(key, cookie, account));
        let network = network(client.address);
        let kind: &[u8] = match what {
            Guess::Password => b"password",
            Guess::Code => b"code",
            Guess::StepUp => b"step-up",
        };
        let from = device.map_or_else(|| network.to_string(), hex::encode);
        let attempt = Attempt {
            client: sha256(&[kind, account, from.as_bytes()].concat()),
            stranger: device.is_none().then(|| (sha256(&[kind, account].concat()), network)),
        };
        // One after the other: who is held by one costs the next nothing.
        let waits = || {
            let own = lock(&self.clients).take(attempt.client, now);
            let Some((account, network)) = attempt.stranger.filter(|_| own == 0) else {
                return own;
            };
            match lock(&self.addresses).take(network, now) {
                0 => lock(&self.strangers).take(account, now),
                wait => wait,
            }
        };
        match waits() {
            0 => Ok(attempt),
            wait => Err(wait.div_ceil(1000)),
        }
    }

    /// The attempt was a good one.
    pub(crate) fn forgive(&self, attempt: &Attempt) {
        lock(&self.clients).forgive(&attempt.client);
        if let Some((account, network)) = attempt.stranger {
            lock(&self.addresses).give_back(&network);
            lock(&self.strangers).give_back(&account);
        }
    }

    /// Whether a braked attempt at this account is logged: once a minute.
    pub(crate) fn logs_braked(&self, account: &[u8; 32]) -> bool {
        lock(&self.braked).take(*account, self.now_ms()) == 0
    }

    /// Whether the password has this hash; without one, the work is done all the same.
    pub(crate) async fn is_password(
        &self,
        password: Zeroizing<String>,
        hash: Option<String>,
    ) -> Result<bool, AppError> {
        let permit = self
            .hashing
            .acquire()
            .await
            .map_err(|_| AppError::Internal("the hashing semaphore is closed".to_owned()))?;
        let (known, hash) = (hash.is_some(), hash.unwrap_or_else(|| self.decoy.clone()));
        let right = tokio::task::spawn_blocking(move || {
            password.len() <= MAX_PASSWORD
                && Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
        })
        .await
        .map_err(|e| AppError::Internal(format!("password check: {e}")))?;
        drop(permit);
        Ok(right && known)
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

/// What counts as one client where the browser is not known: an IPv4 address, or the /64 that one
/// connection has in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let prefix = u128::from_be_bytes(v6.octets()) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
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

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), AppError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| AppError::Internal("the system gave no random bytes".to_owned()))
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], AppError> {
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

/// A poisoned lock guards only counters here: they are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "authn_tests.rs"]
mod tests;
