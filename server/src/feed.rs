//! The access log as somebody may read it: a driver's feed of everything that touches them, one's
//! own acts, or all of it.
//!
//! INVARIANT: each row has been through the policies. A row that may not be seen is left out without
//! a trace.

use temoin_access_log::Action;
use temoin_proto::ids::{ClipId, EventId, UnitId, ViewId};

use crate::{
    app::App,
    authz::{Asker, FleetAct, GrantKind, LogSight, Purpose, Role},
    db::{
        acts::{ActRow, ActScope, Watched},
        users::User,
    },
    error::AppError,
    show::PAGE,
};

/// One act as somebody may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActShown {
    /// Its entry in the access log.
    pub index: u64,
    /// When, milliseconds since 1970, by the server's clock.
    pub at_ms: i64,
    /// What.
    pub action: Action,
    /// Whether it was the person who is shown this.
    pub by_you: bool,
    /// Who; none where the system did, or where the name that was given is nobody's.
    pub who: Option<String>,
    /// What they are in the fleet.
    pub role: Option<Role>,
    /// Why.
    pub purpose: Option<Purpose>,
    /// The viewing.
    pub view: Option<ViewId>,
    /// What was watched in it. Empty: opened, nothing watched.
    pub watched: Vec<Watched>,
    /// The event.
    pub event: Option<EventId>,
    /// The unit.
    pub unit: Option<UnitId>,
    /// Whom it concerns; none where unknown or not to be told.
    pub driver: Option<String>,
    /// What the grant is for.
    pub grant: Option<GrantKind>,
    /// The request's number; empty where there is none.
    pub number: String,
}

/// A page of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPage {
    /// The newest first.
    pub rows: Vec<ActShown>,
    /// What to ask for as `before_index` to get the next page.
    pub next_before_index: Option<u64>,
    /// How many entries the log has; told to those only who may check all of it.
    pub log_size: Option<u64>,
    /// The signed head of the log, for whoever checks it.
    pub checkpoint: Option<String>,
}

impl App {
    /// The entries of the access log that this person may see.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn access_log(
        &self,
        who: &User,
        before_index: Option<u64>,
    ) -> Result<AccessPage, AppError> {
        let who = self.asker(who).await?;
        let scope = ActScope { before_index, ..scope_of(&who) };
        let acts = self.db().acts(&scope, PAGE).await?;
        let full_page = acts.len() >= PAGE as usize;
        let next_before_index = acts.last().filter(|_| full_page).map(|act| act.index);
        let may_verify = self.authz().fleet(&who, FleetAct::VerifyLog)?;
        Ok(AccessPage {
            rows: self.shown(&who, &acts)?,
            next_before_index,
            log_size: may_verify.then(|| self.log().len()),
            checkpoint: may_verify.then(|| self.log().checkpoint()),
        })
    }

    /// The proof of one entry that this person may see, as a C2SP tlog-proof: under the newest
    /// cosigned head where the entry is in it, else under the present one.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is no such entry, or this person may not see it.
    pub async fn entry_proof(&self, who: &User, index: u64) -> Result<String, AppError> {
        let who = self.asker(who).await?;
        let before_index = Some(index.checked_add(1).ok_or(AppError::NotFound)?);
        let scope = ActScope { before_index, from_index: Some(index), ..scope_of(&who) };
        let acts = self.db().acts(&scope, 1).await?;
        if self.shown(&who, &acts)?.iter().all(|row| row.index != index) {
            return Err(AppError::NotFound);
        }
        let head = self.witnesses().cosigned();
        Ok(self.log().entry_proof(index, head).await?.to_text())
    }

    /// Who has looked at a clip, as far as this person may know, the newest first.
    pub(crate) async fn seen(&self, who: &Asker, clip: ClipId) -> Result<Vec<ActShown>, AppError> {
        let scope = ActScope { clip: Some(clip), views_only: true, ..ActScope::default() };
        let acts = self.db().acts(&scope, PAGE).await?;
        self.shown(who, &acts)
    }

    fn shown(&self, who: &Asker, acts: &[ActRow]) -> Result<Vec<ActShown>, AppError> {
        let mut shown = Vec::with_capacity(acts.len());
        for act in acts {
            let sight = self.authz().log_sight(who, act.act.actor, act.act.driver)?;
            shown.extend(act_shown(who, act, sight));
        }
        Ok(shown)
    }
}

fn scope_of(who: &Asker) -> ActScope {
    let me = Some(who.user.id);
    match who.user.role {
        Role::Driver
        | Role::Dispatcher
        | Role::SafetyManager
        | Role::Installer
        | Role::VendorSupport => ActScope { concerned: me, ..ActScope::default() },
        Role::FleetAdmin | Role::PrivacyOfficer | Role::Auditor => ActScope::default(),
    }
}

fn act_shown(who: &Asker, row: &ActRow, sight: LogSight) -> Option<ActShown> {
    let names_drivers = match sight {
        LogSight::Nothing => return None,
        LogSight::WithoutDriver => false,
        LogSight::Full => true,
    };
    let act = &row.act;
    let (name, role) = row.actor.clone().unzip();
    // Where drivers are not to be named, a driver who acts has no name either.
    let name = name.filter(|_| names_drivers || role != Some(Role::Driver));
    Some(ActShown {
        index: row.index,
        at_ms: act.at_ms,
        action: act.action.clone(),
        by_you: act.actor == Some(who.user.id),
        who: name,
        role,
        purpose: act.purpose,
        view: act.view,
        watched: row.watched.clone(),
        event: act.event,
        unit: row.unit.clone(),
        driver: row.driver_name.clone().filter(|_| names_drivers),
        grant: row.grant,
        number: row.number.clone(),
    })
}
