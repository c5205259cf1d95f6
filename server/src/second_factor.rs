//! The second factor: setting it up, its codes, and its end.
//!
//! INVARIANT: a second factor is never replaced, only removed (by who can prove who they are, or by
//! an administrator) and set up anew: who has the password alone cannot put theirs in its place. A
//! code that counted counts never again.
//!
//! A crash after the entry in the log and before the row leaves a factor that is logged and not
//! there: the person sets it up again.

use temoin_proto::ids::UserId;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::{Client, random, readable_code},
    db::second_factors::StoredFactor,
    error::AppError,
    sessions::{Session, Stage},
    sign_in::{NewSession, SignInError},
    sign_in_key::Use,
    totp,
};

/// How many recovery codes there are at first.
pub const RECOVERY_CODES: usize = 8;
/// Groups and length of one: 75 bits.
const CODE_GROUPS: usize = 3;
const CODE_GROUP_LEN: usize = 5;

/// What the set-up page shows.
#[derive(Debug)]
pub struct SetUp {
    /// The secret in base32, for who types it.
    pub secret: Zeroizing<String>,
    /// The same for apps, as an address.
    pub url: Zeroizing<String>,
}

/// A second factor that was just set up.
#[derive(Debug)]
pub struct Confirmed {
    /// What the browser gets.
    pub new: NewSession,
    /// The recovery codes: the only copy.
    pub codes: Vec<String>,
}

/// A recovery code without what people put between its letters; none where it cannot be one.
fn recovery_letters(text: &str) -> Option<String> {
    let letters: String = text
        .chars()
        .take(64)
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_uppercase())
        .collect();
    (letters.len() == CODE_GROUPS * CODE_GROUP_LEN).then_some(letters)
}

impl App {
    /// Somebody's second factor, without its secret.
    pub(crate) async fn factor_of(&self, user: UserId) -> Result<Option<StoredFactor>, AppError> {
        Ok(self.db().second_factor(user).await?)
    }

    /// Takes a code of the app, or a recovery code. True: it counts, and never again.
    pub(crate) async fn takes_code(&self, user: UserId, given: &str) -> Result<bool, AppError> {
        let Some(factor) = self.db().second_factor(user).await? else { return Ok(false) };
        let key = self.sign_in_key();
        if totp::typed(given).is_some() {
            let secret = key.open_sealed(&user.to_string(), &factor.sealed)?;
            let step = totp::matching_step(&secret, given, self.now_ms(), factor.last_step);
            return match step {
                Some(step) => Ok(self.db().take_step(user, step).await?),
                None => Ok(false),
            };
        }
        match recovery_letters(given) {
            Some(letters) => {
                let tag = self.recovery_tag(user, &letters);
                Ok(self.db().take_recovery_code(user, &tag).await?)
            }
            None => Ok(false),
        }
    }

    fn recovery_tag(&self, user: UserId, letters: &str) -> [u8; 32] {
        let user = user.to_string();
        self.sign_in_key().tag(Use::RecoveryCode, &[user.as_bytes(), letters.as_bytes()])
    }

    fn recovery_codes(&self, user: UserId) -> Result<(Vec<String>, Vec<[u8; 32]>), AppError> {
        let codes: Vec<String> = (0..RECOVERY_CODES)
            .map(|_| readable_code(CODE_GROUPS, CODE_GROUP_LEN))
            .collect::<Result<_, _>>()?;
        let tags = codes
            .iter()
            .filter_map(|code| recovery_letters(code))
            .map(|letters| self.recovery_tag(user, &letters))
            .collect();
        Ok((codes, tags))
    }

    /// Begins setting one up, in a session that has proved who it is. Where it has begun, the same
    /// secret is shown again.
    ///
    /// # Errors
    /// [`AppError::Refused`] where there is one already.
    pub async fn begin_second_factor(&self, session: &Session) -> Result<(), AppError> {
        self.no_factor_yet(session).await?;
        let stored = self.running(&session.id, false).await?.ok_or(AppError::NotFound)?;
        if stored.pending_secret.is_none() {
            let secret = Zeroizing::new(random::<{ totp::SECRET_LEN }>()?);
            let user = session.user.id.to_string();
            let sealed = self.sign_in_key().seal(&user, secret.as_slice())?;
            self.db().set_pending_secret(&session.id, &sealed).await?;
        }
        Ok(())
    }

    async fn no_factor_yet(&self, session: &Session) -> Result<(), AppError> {
        match self.db().second_factor(session.user.id).await? {
            Some(_) => Err(AppError::Refused(
                "This account has a second factor already. Remove it first, then set up another.",
            )),
            None => Ok(()),
        }
    }

    /// What is to be scanned or typed; none where setting up was not begun.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn second_factor_set_up(&self, session: &Session) -> Result<Option<SetUp>, AppError> {
        let Some((_, secret)) = self.pending(session).await? else { return Ok(None) };
        let hosts = &self.config().https.hosts;
        // The first given name, after what `init` always puts there.
        let host = hosts.iter().rfind(|h| h.parse::<std::net::IpAddr>().is_err());
        let url = totp::otpauth_url(&secret, host.map_or("", String::as_str), &session.user.login);
        Ok(Some(SetUp { secret: Zeroizing::new(totp::base32(&secret)), url: Zeroizing::new(url) }))
    }

    async fn pending(
        &self,
        session: &Session,
    ) -> Result<Option<(Vec<u8>, Zeroizing<Vec<u8>>)>, AppError> {
        let stored = self.running(&session.id, false).await?.ok_or(AppError::NotFound)?;
        let Some(sealed) = stored.pending_secret else { return Ok(None) };
        let secret = self.sign_in_key().open_sealed(&session.user.id.to_string(), &sealed)?;
        Ok(Some((sealed, secret)))
    }

    /// The first code: the second factor holds from now on. All other sessions of the person end.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] where the code is wrong.
    pub async fn confirm_second_factor(
        &self,
        session: &Session,
        code: &str,
        client: &Client,
    ) -> Result<Confirmed, SignInError> {
        self.no_factor_yet(session).await?;
        let (sealed, secret) = self.pending(session).await?.ok_or(SignInError::Wrong)?;
        // No brake: who is here has the secret on the page.
        let step = totp::matching_step(&secret, code, self.now_ms(), i64::MIN);
        let Some(step) = step else { return Err(SignInError::Wrong) };
        let user = session.user.id;
        let (codes, tags) = self.recovery_codes(user)?;
        self.log_own(user, "second_factor_set").await?;
        let now_ms = self.now_ms();
        let stored = self.db().add_second_factor(user, &sealed, step, &tags, now_ms).await;
        if !stored.map_err(AppError::from)? {
            return Err(AppError::Refused("Another session of yours has set one up.").into());
        }
        self.db().delete_sessions_of(user, Some(&session.id)).await.map_err(AppError::from)?;
        let proved = self.proved(session, Stage::Whole).await?;
        Ok(Confirmed { new: self.completed(proved, client)?, codes })
    }

    /// Removes the person's own second factor. Where the role needs one, this session can only set
    /// up another from now on, and all others end.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn remove_second_factor(&self, session: &Session) -> Result<(), AppError> {
        let user = &session.user;
        if self.db().second_factor(user.id).await?.is_none() {
            return Ok(());
        }
        self.log_own(user.id, "second_factor_removed").await?;
        self.db().remove_second_factor(user.id).await?;
        if self.needs_second_factor(user.role) {
            self.db().delete_sessions_of(user.id, Some(&session.id)).await?;
            self.db().set_stage(&session.id, Stage::SetUp).await?;
        }
        Ok(())
    }

    /// New recovery codes in place of all before.
    ///
    /// # Errors
    /// [`AppError::Refused`] where there is no second factor.
    pub async fn new_recovery_codes(&self, session: &Session) -> Result<Vec<String>, AppError> {
        let user = session.user.id;
        if self.db().second_factor(user).await?.is_none() {
            return Err(AppError::Refused("Set up a second factor first."));
        }
        let (codes, tags) = self.recovery_codes(user)?;
        self.log_own(user, "recovery_codes_made").await?;
        self.db().set_recovery_codes(user, &tags).await?;
        Ok(codes)
    }
}
