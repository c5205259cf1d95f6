//! What can go wrong for someone who asks this server for something.
//!
//! Two texts for two readers: `Display` is for the operator's log and names paths and causes;
//! [`AppError::client_text`] is what the person in front of the browser reads and names neither.
//!
//! INVARIANT: where the existence of a thing is secret, the answer is [`AppError::NotFound`], the
//! same as for a thing that does not exist.

use temoin_keys::Refusal;

use crate::{
    authz::AuthzError, db::DbError, keys::KeyError, log::LogError, objects::ObjectError,
    view::PictureError, witnesses::NOT_IN_TIME,
};

/// Why a request was not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such thing, or this person may not know that there is.
    #[error("not found, or not to be known by this person")]
    NotFound,
    /// Known to the person, but not allowed; with a reason that may be told.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The request makes no sense; with what is wrong.
    #[error("bad request: {0}")]
    Invalid(String),
    /// Too often.
    #[error("too many attempts, again in {retry_after_s} s")]
    TooMany {
        /// When it is worth another try, seconds.
        retry_after_s: u64,
    },
    /// All places are taken at this moment.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// No witness has signed the access log in time, or one refuses to; with what the person is told.
    #[error("no recording is shown: {0}")]
    Unwitnessed(&'static str),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The policy engine gave no usable decision.
    #[error(transparent)]
    Authz(#[from] AuthzError),
    /// The access log did not take the entry.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The clip's key could not be had.
    #[error(transparent)]
    Key(KeyError),
    /// A stored object could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A stored picture could not be shown.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Something that cannot happen did: a bug.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<KeyError> for AppError {
    fn from(error: KeyError) -> Self {
        // The same that the server's own look at the witnesses says.
        if let KeyError::Refused(Refusal::Unwitnessed) = error {
            Self::Unwitnessed(NOT_IN_TIME)
        } else {
            Self::Key(error)
        }
    }
}

impl AppError {
    /// The HTTP status that says it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Refused(_) => 403,
            Self::Invalid(_) => 400,
            Self::TooMany { .. } => 429,
            Self::Busy(_) | Self::Unwitnessed(_) | Self::Log(_) => 503,
            Self::Key(error) if error.is_away() => 503,
            Self::Db(_)
            | Self::Authz(_)
            | Self::Key(_)
            | Self::Object(_)
            | Self::Picture(_)
            | Self::Internal(_) => 500,
        }
    }

    /// What the person is told: no path, no cause inside the server, nobody's data.
    pub fn client_text(&self) -> String {
        match self {
            Self::NotFound => "There is nothing here that you can open.".to_owned(),
            Self::Refused(reason) => (*reason).to_owned(),
            Self::Invalid(what) => what.clone(),
            Self::TooMany { retry_after_s } => {
                format!("Too many attempts. Try again in {retry_after_s} s.")
            }
            Self::Busy(what) | Self::Unwitnessed(what) => (*what).to_owned(),
            Self::Log(_) => {
                "The access log cannot be written, so nothing can be shown. The operator must look."
                    .to_owned()
            }
            Self::Key(error) if error.is_away() => {
                "The key service is away, so nothing can be shown. The operator must look."
                    .to_owned()
            }
            Self::Db(_)
            | Self::Authz(_)
            | Self::Key(_)
            | Self::Object(_)
            | Self::Picture(_)
            | Self::Internal(_) => {
                "The server could not do this. The operator's log says why.".to_owned()
            }
        }
    }

    /// Whether this is the server's fault, to be logged once with its whole chain.
    pub const fn is_internal(&self) -> bool {
        self.status() >= 500 && !matches!(self, Self::Busy(_) | Self::Unwitnessed(_))
    }
}

/// The whole chain of an error in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_nothing_internal() {
        let secret = AppError::Internal("/var/lib/temoin/fleet.key is gone".into());
        assert!(!secret.client_text().contains("/var"));
        assert!(secret.is_internal());
        assert!(!AppError::NotFound.is_internal());
        assert!(!AppError::Busy("later").is_internal());
    }
}
