//! The steps of signing in, and of proving again who one is.
//!
//! ```text
//! password ──► (code | setting up a second factor) ──► signed in ──► password or code again
//! ```
//! INVARIANT: an unknown login, a wrong password and a switched-off account get the same answer
//! after the same work, and each an entry in the log. Nobody is signed in, and nobody learns that a
//! password or code was wrong, before that entry is durable: where the log takes none, nobody gets
//! in.
//!
//! A refusal's entry names the account, not who tried: that is not known. Entries of logins that do
//! not exist name nobody. Only those who read all of the log see both.

use temoin_access_log::Action;
use temoin_proto::ids::UserId;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::{Attempt, Client, Guess, hash_password, sha256},
    authz::Role,
    config::SecondFactor,
    db::users::User,
    devices,
    error::AppError,
    sessions::{Presented, Session, Stage},
};

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Login or password are wrong, or the account is switched off: not said which. Or the code is
    /// wrong, or was used before.
    #[error("what was given is wrong")]
    Wrong,
    /// Too many attempts for this account from this client, or from all whom it does not know.
    #[error("too many attempts, again in {retry_after_s} s")]
    TooMany {
        /// When it is worth another try, seconds.
        retry_after_s: u64,
    },
    /// The server failed.
    #[error(transparent)]
    App(#[from] AppError),
}

/// What a browser gets when a step has succeeded.
pub struct NewSession {
    /// The session cookie's value, 64 hexadecimal digits: the only copy.
    pub cookie: Zeroizing<String>,
    /// The device cookie's, where the sign-in is complete.
    pub devices: Option<String>,
    /// Who.
    pub user: User,
    /// How far the sign-in has come.
    pub stage: Stage,
}

impl std::fmt::Debug for NewSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSession").field("user", &self.user.id).finish_non_exhaustive()
    }
}

/// Whether a role sees others, and so needs a second factor.
pub(crate) const fn sees_others(role: Role) -> bool {
    match role {
        Role::Driver => false,
        Role::Dispatcher
        | Role::SafetyManager
        | Role::FleetAdmin
        | Role::PrivacyOfficer
        | Role::Auditor
        | Role::Installer
        | Role::VendorSupport => true,
    }
}

/// How the brakes and device cookies know an account, also one that does not exist.
fn account(login: &str) -> [u8; 32] {
    sha256(login.as_bytes())
}

impl App {
    /// Whether this role must have a second factor here.
    pub(crate) fn needs_second_factor(&self, role: Role) -> bool {
        match self.config().sign_in.second_factor {
            SecondFactor::Required => sees_others(role),
            SecondFactor::Optional => false,
        }
    }

    /// The first step: login and password. `public_key` is the browser's.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn sign_in(
        &self,
        login: &str,
        password: Zeroizing<String>,
        public_key: Option<Vec<u8>>,
        client: &Client,
    ) -> Result<NewSession, SignInError> {
        let attempt = match self.let_through(Guess::Password, login, client) {
            Ok(attempt) => attempt,
            Err(retry_after_s) => return self.braked(login, retry_after_s).await,
        };
        let found = self.db().user_by_login(login).await.map_err(AppError::from)?;
        let (user, hash) = found.unzip();
        let right = self.guard().is_password(password, hash).await?;
        let user = match user {
            Some(user) if right && !user.disabled => user,
            other => return self.refused(other.map(|user| user.id), "sign_in_refused").await,
        };
        self.guard().forgive(&attempt);
        let factor = self.db().second_factor(user.id).await.map_err(AppError::from)?;
        let stage = match factor {
            Some(_) => Stage::Code,
            None if self.needs_second_factor(user.role) => Stage::SetUp,
            None => Stage::Whole,
        };
        if stage != Stage::Code {
            self.log_own(user.id, Action::SIGN_IN.as_str()).await?;
        }
        let cookie = self.begin(&user, stage, client, public_key).await?;
        let devices = self.device_cookie(stage, &user, client)?;
        Ok(NewSession { cookie, devices, user, stage })
    }

    /// The second step: a code of the second factor, or a recovery code.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn give_code(
        &self,
        session: &Session,
        code: &str,
        client: &Client,
    ) -> Result<NewSession, SignInError> {
        let user = &session.user;
        let attempt = match self.let_through(Guess::Code, &user.login, client) {
            Ok(attempt) => attempt,
            Err(retry_after_s) => return self.braked(&user.login, retry_after_s).await,
        };
        if !self.takes_code(user.id, code).await? {
            return self.refused(Some(user.id), "sign_in_refused").await;
        }
        self.guard().forgive(&attempt);
        self.log_own(user.id, Action::SIGN_IN.as_str()).await?;
        let proved = self.proved(session, Stage::Whole).await?;
        self.completed(proved, client).map_err(SignInError::App)
    }

    /// What the browser gets with a session that has just become whole.
    pub(crate) fn completed(
        &self,
        proved: Presented,
        client: &Client,
    ) -> Result<NewSession, AppError> {
        let Presented { session, token } = proved;
        let cookie =
            token.ok_or_else(|| AppError::Internal("a proved session has no token".to_owned()))?;
        let devices = self.device_cookie(session.stage, &session.user, client)?;
        Ok(NewSession { cookie, devices, stage: session.stage, user: session.user })
    }

    /// Password or code again, before a sensitive act. The session's token changes.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn step_up(
        &self,
        session: &Session,
        given: Zeroizing<String>,
        client: &Client,
    ) -> Result<Presented, SignInError> {
        let user = &session.user;
        let attempt = match self.let_through(Guess::StepUp, &user.login, client) {
            Ok(attempt) => attempt,
            Err(retry_after_s) => return self.braked(&user.login, retry_after_s).await,
        };
        // A password has at least eight characters, a code six digits: what it is can be seen.
        let right = if crate::totp::typed(&given).is_some() {
            self.takes_code(user.id, &given).await?
        } else {
            let found = self.db().user_by_login(&user.login).await.map_err(AppError::from)?;
            self.guard().is_password(given, found.map(|(_, hash)| hash)).await?
        };
        if !right {
            return self.refused(Some(user.id), "step_up_refused").await;
        }
        self.guard().forgive(&attempt);
        Ok(self.proved(session, session.stage).await?)
    }

    /// Changes the person's own password. All their other sessions end.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] where the current one is; [`AppError::Invalid`] where the new one is
    /// not possible.
    pub async fn change_password(
        &self,
        session: &Session,
        current: Zeroizing<String>,
        new: Zeroizing<String>,
        client: &Client,
    ) -> Result<Presented, SignInError> {
        let hash = crate::log::blocking(move || hash_password(&new)).await??;
        // Not the code: who takes a phone must not get the account with it.
        if crate::totp::typed(&current).is_some() {
            return Err(SignInError::Wrong);
        }
        let proved = self.step_up(session, current, client).await?;
        let user = session.user.id;
        self.log_own(user, "password_changed").await?;
        self.db().set_password(user, &hash).await.map_err(AppError::from)?;
        self.db().delete_sessions_of(user, Some(&session.id)).await.map_err(AppError::from)?;
        Ok(proved)
    }

    fn let_through(&self, what: Guess, login: &str, client: &Client) -> Result<Attempt, u64> {
        self.guard().attempt(self.sign_in_key(), what, &account(login), client)
    }

    fn device_cookie(
        &self,
        stage: Stage,
        user: &User,
        client: &Client,
    ) -> Result<Option<String>, AppError> {
        match stage {
            Stage::Code | Stage::SetUp => Ok(None),
            Stage::Whole => devices::renewed(
                self.sign_in_key(),
                client.devices.as_deref(),
                &account(&user.login),
            )
            .map(Some),
        }
    }

    /// Logs a refusal, then refuses.
    async fn refused<T>(&self, person: Option<UserId>, action: &str) -> Result<T, SignInError> {
        self.log_own(person, action).await?;
        Err(SignInError::Wrong)
    }

    /// Logs that somebody ran into the brake, once a minute for an account, then refuses.
    async fn braked<T>(&self, login: &str, retry_after_s: u64) -> Result<T, SignInError> {
        if self.guard().logs_braked(&account(login)) {
            let found = self.db().user_by_login(login).await.map_err(AppError::from)?;
            self.log_own(found.map(|(user, _)| user.id), "sign_in_braked").await?;
        }
        Err(SignInError::TooMany { retry_after_s })
    }
}

#[cfg(test)]
#[path = "sign_in_tests.rs"]
mod tests;
