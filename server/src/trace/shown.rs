//! Traces as somebody may know of them.
//!
//! INVARIANT: who may know of a trace is who may know of its grant: the policies decide it for each.

use temoin_proto::ids::TraceId;

use super::{
    Ended, Found,
    report::{Compared, LeakedFile, NamedView, TraceReport, Verdict},
};
use crate::{
    app::App,
    authz::{AskAct, Asker},
    db::{grants::GrantRow, traces::StoredTrace, users::User},
    error::AppError,
    second_person::facts,
};

/// Traces in the list.
const PAGE: u32 = 100;

/// How a trace stands.
#[derive(Debug, Clone, PartialEq)]
pub enum TraceState {
    /// It runs, and does this.
    Runs(String),
    /// The server was stopped before it ended.
    Lost,
    /// Nothing can be said of the file, for this reason.
    Failed(String),
    /// It has ended.
    Ended(Box<TraceReport>),
}

/// A trace as somebody may know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceShown {
    /// Its id.
    pub id: TraceId,
    /// When it began, milliseconds since 1970.
    pub at_ms: i64,
    /// Who asked for the grant, and why.
    pub asked_by: String,
    /// In their words.
    pub words: String,
    /// How it stands.
    pub state: TraceState,
}

impl App {
    /// The newest traces that this person may know of.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn traces_shown(&self, who: &User) -> Result<Vec<TraceShown>, AppError> {
        let who = self.asker(who).await?;
        // Before the rows: what ends in between is read as ended, and never as lost.
        let running = self.traces().now();
        let mut shown = Vec::new();
        for (trace, grant) in self.db().traces(PAGE).await? {
            if self.may_know(&who, &grant)? {
                shown.push(self.shown_trace(&running, trace, &grant).await?);
            }
        }
        Ok(shown)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is none, or this person may not know of it.
    pub async fn trace_shown(&self, who: &User, id: TraceId) -> Result<TraceShown, AppError> {
        let who = self.asker(who).await?;
        let running = self.traces().now();
        let (trace, grant) = self.trace_and_grant(id).await?;
        if !self.may_know(&who, &grant)? {
            return Err(AppError::NotFound);
        }
        self.shown_trace(&running, trace, &grant).await
    }

    /// The same for the command line that began it.
    pub(crate) async fn trace_begun_here(&self, id: TraceId) -> Result<TraceShown, AppError> {
        let running = self.traces().now();
        let (trace, grant) = self.trace_and_grant(id).await?;
        self.shown_trace(&running, trace, &grant).await
    }

    async fn trace_and_grant(&self, id: TraceId) -> Result<(StoredTrace, GrantRow), AppError> {
        let trace = self.db().trace(id).await?.ok_or(AppError::NotFound)?;
        let grant = self.db().grant(trace.grant).await?.ok_or(AppError::NotFound)?;
        Ok((trace, grant))
    }

    fn may_know(&self, who: &Asker, grant: &GrantRow) -> Result<bool, AppError> {
        Ok(self.authz().asked(who, AskAct::See, &facts(grant))?)
    }

    async fn shown_trace(
        &self,
        running: &Option<(TraceId, String)>,
        trace: StoredTrace,
        grant: &GrantRow,
    ) -> Result<TraceShown, AppError> {
        let state = match (running, &trace.ended) {
            // Until its place is free, even where its row is written: who sees it ended can begin another.
            (Some((id, step)), _) if *id == trace.id => TraceState::Runs(step.clone()),
            (_, None) => TraceState::Lost,
            (_, Some(Ended::Failed(why))) => TraceState::Failed(why.clone()),
            (_, Some(Ended::Found(found))) => {
                TraceState::Ended(Box::new(self.trace_report(&trace, grant, found).await?))
            }
        };
        Ok(TraceShown {
            id: trace.id,
            at_ms: trace.at_ms,
            asked_by: grant.asker_name.clone(),
            words: grant.grant.words.clone(),
            state,
        })
    }

    /// Names are looked up now: whoever was erased since has none.
    async fn trace_report(
        &self,
        trace: &StoredTrace,
        grant: &GrantRow,
        found: &Found,
    ) -> Result<TraceReport, AppError> {
        let mut named = Vec::with_capacity(found.named.len());
        for score in &found.named {
            named.push(self.named_view(score).await?);
        }
        let verdict = match &found.unit {
            _ if !named.is_empty() => Verdict::Views(named),
            Some(unit) => Verdict::NoneOfItsViews {
                unit: unit.unit.to_string(),
                event: unit.event.to_string(),
                z: unit.z,
                p: unit.p,
            },
            None => Verdict::None,
        };
        let asker = (&grant.asker_name, grant.asker_role.words().to_lowercase());
        Ok(TraceReport {
            trace: trace.id.to_string(),
            at_ms: trace.at_ms,
            asked_by: format!("{}, {}", asker.0, asker.1),
            decided_by: grant.decided_by.clone().unwrap_or_default(),
            words: grant.grant.words.clone(),
            file: LeakedFile {
                sha256: hex::encode(trace.sha256),
                bytes: trace.bytes,
                seconds: found.seconds,
                pictures: found.pictures,
            },
            verdict,
            bound: found.bound,
            looks: found.looks,
            threshold_z: found.threshold_z(),
            searched: found.searched,
            compared: found
                .compared
                .iter()
                .map(|clip| Compared {
                    event: clip.event.to_string(),
                    camera: if clip.road { "road" } else { "cabin" },
                    likeness: clip.likeness,
                    views: clip.views,
                    ways: clip.ways.clone(),
                })
                .collect(),
            others: found.others.clone(),
            pictures: self.traces().held(trace.id),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    async fn named_view(&self, score: &super::found::NamedScore) -> Result<NamedView, AppError> {
        let known = self.db().named_view(score.view).await?;
        let viewer = match &known {
            Some((view, _)) => self.db().user(view.user).await?,
            None => None,
        };
        let viewer = viewer.filter(|user| !user.name.is_empty());
        let (view, export) = known.unzip();
        Ok(NamedView {
            view: score.view.to_string(),
            viewer: viewer.map_or_else(
                || "an account that was erased since".to_owned(),
                |user| format!("{}, {}", user.name, user.role.words().to_lowercase()),
            ),
            opened_ms: view.as_ref().map_or(0, |view| view.opened_ms),
            purpose: view.as_ref().map_or("", |view| view.purpose.words()).to_owned(),
            export: export.unwrap_or(false),
            log_index: view.as_ref().map_or(0, |view| view.log_index),
            event: view.as_ref().map_or_else(String::new, |view| view.event.to_string()),
            z: score.z,
            p: score.p,
        })
    }
}
