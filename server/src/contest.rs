//! A driver contests an own event; the safety manager answers. Decided here, shown by the portal.
//!
//! INVARIANT: only the driver and who may answer see what was written: for others the event looks
//! as if nobody had objected. That somebody did is in the access log, for those who read all of it.

use temoin_proto::ids::EventId;

use crate::{
    app::App,
    authz::{Asker, EventAct, EventFacts},
    db::{acts::Act, contests::Contest, events::StoredEvent, users::User},
    error::AppError,
    log::action,
};

/// Most characters of what somebody writes.
pub const MAX_WORDS: usize = 500;

/// An event's objection as this person may see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Objection {
    /// What was written, where there is any.
    pub contest: Option<Contest>,
    /// This person may write one now.
    pub may_contest: bool,
    /// This person may answer now.
    pub may_answer: bool,
}

/// What somebody wrote, fit to be kept: no control characters but line breaks, no blanks around it.
///
/// # Errors
/// [`AppError::Invalid`] where nothing is left or it is too long.
pub(crate) fn written(text: &str, what: &str) -> Result<String, AppError> {
    let kept: String =
        text.replace("\r\n", "\n").chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let kept = kept.trim();
    match kept.chars().count() {
        0 => Err(AppError::Invalid(format!("{what} is missing. Go back and write a few words."))),
        n if n > MAX_WORDS => Err(AppError::Invalid(format!(
            "{what} has {n} characters; at most {MAX_WORDS} are kept. Go back and shorten it."
        ))),
        _ => Ok(kept.to_owned()),
    }
}

impl App {
    /// The driver says why the event is wrong. It leaves the score until somebody answers.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn contest_event(
        &self,
        who: &User,
        id: EventId,
        words: &str,
    ) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        let event = self.permitted_event(&who, id).await?;
        if !self.authz().event(&who, EventAct::Contest, &EventFacts::from(&event))? {
            return Err(AppError::Refused("Only the driver of an event can contest it."));
        }
        let words = written(words, "What is wrong with the event")?;
        const ALREADY: AppError = AppError::Refused("You have contested this event already.");
        if self.db().contest(id).await?.is_some() {
            return Err(ALREADY);
        }
        self.log_contest(&who, &event, "contest").await?;
        if self.db().add_contest(id, who.user.id, &words, who.now_ms).await? {
            Ok(())
        } else {
            Err(ALREADY)
        }
    }

    /// The safety manager answers: the event stands, or it does not.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn answer_contest(
        &self,
        who: &User,
        id: EventId,
        upheld: bool,
        reason: &str,
    ) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        let event = self.permitted_event(&who, id).await?;
        if !self.authz().event(&who, EventAct::AnswerContest, &EventFacts::from(&event))? {
            return Err(AppError::Refused("Only the driver's safety manager answers."));
        }
        let reason = written(reason, "The reason")?;
        const NONE: AppError = AppError::Refused("There is no objection that waits for an answer.");
        if self.db().contest(id).await?.is_none_or(|contest| contest.answer.is_some()) {
            return Err(NONE);
        }
        self.log_contest(&who, &event, "contest_answered").await?;
        if self.db().answer_contest(id, upheld, &reason, who.user.id, who.now_ms).await? {
            Ok(())
        } else {
            Err(NONE)
        }
    }

    async fn log_contest(
        &self,
        who: &Asker,
        event: &StoredEvent,
        word: &str,
    ) -> Result<(), AppError> {
        let act = Act {
            driver: event.driver.as_ref().map(|driver| driver.id),
            event: Some(event.record.id),
            ..Act::new(action(word)?, Some(who.user.id), who.now_ms)
        };
        self.log().record(self.db(), &act).await.map(drop)
    }

    /// Whether this person may know of an objection to the event.
    pub(crate) fn is_concerned(&self, who: &Asker, facts: &EventFacts) -> Result<bool, AppError> {
        Ok(self.authz().event(who, EventAct::Contest, facts)?
            || self.authz().event(who, EventAct::AnswerContest, facts)?)
    }

    /// The objection to an event that this person may know of.
    pub(crate) async fn objection(
        &self,
        who: &Asker,
        event: &StoredEvent,
    ) -> Result<Objection, AppError> {
        let facts = EventFacts::from(event);
        let contests = self.authz().event(who, EventAct::Contest, &facts)?;
        let answers = self.authz().event(who, EventAct::AnswerContest, &facts)?;
        if !contests && !answers {
            return Ok(Objection::default());
        }
        let contest = self.db().contest(event.record.id).await?;
        Ok(Objection {
            may_contest: contests && contest.is_none(),
            may_answer: answers && contest.as_ref().is_some_and(|c| c.answer.is_none()),
            contest,
        })
    }
}
