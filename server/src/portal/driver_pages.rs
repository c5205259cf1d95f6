//! The pages about a driver's score, objections and corrected limits: what their templates are
//! given. Text only, ready to be shown; the rules of [`super::pages`] hold.

use askama::Template;

use super::{
    pages::{Labelled, Layout, Link, SeverityCell},
    words::Stamp,
};

/// A mark in lists: where an objection stands.
#[derive(Debug, Clone)]
pub(crate) struct ContestBadge {
    pub(crate) slug: &'static str,
    pub(crate) text: &'static str,
}

/// The answer to an objection.
#[derive(Debug, Clone)]
pub(crate) struct AnswerCell {
    pub(crate) slug: &'static str,
    pub(crate) verdict: &'static str,
    pub(crate) reason: String,
    pub(crate) by: String,
    pub(crate) at: Stamp,
}

/// What a driver wrote.
#[derive(Debug, Clone)]
pub(crate) struct ContestCell {
    pub(crate) words: String,
    pub(crate) at: Stamp,
    pub(crate) answer: Option<AnswerCell>,
}

/// The objection's part of an event's page.
#[derive(Debug, Clone)]
pub(crate) struct ObjectionCell {
    pub(crate) heading: &'static str,
    pub(crate) contest: Option<ContestCell>,
    pub(crate) may_contest: bool,
    pub(crate) may_answer: bool,
}

/// A limit as it was proposed.
#[derive(Debug, Clone)]
pub(crate) struct MadeCell {
    pub(crate) text: String,
    pub(crate) slug: &'static str,
    pub(crate) state: &'static str,
    pub(crate) reason: Option<String>,
}

/// The limit's part of an event's page.
#[derive(Debug, Clone)]
pub(crate) struct LimitCell {
    pub(crate) made: Option<MadeCell>,
    pub(crate) impossible: Option<&'static str>,
}

/// One class of events that count.
#[derive(Debug, Clone)]
pub(crate) struct ClassCell {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) counts: [u32; 3],
    /// The sum as a person writes it: `2 × (3 + 2 × 1 + 3 × 0) = 10`.
    pub(crate) sum: String,
    pub(crate) points: u32,
    pub(crate) rate: Option<String>,
}

/// One event of the period.
#[derive(Debug, Clone)]
pub(crate) struct ScoredCell {
    pub(crate) href: String,
    pub(crate) kind: &'static str,
    pub(crate) kind_name: &'static str,
    pub(crate) severity: SeverityCell,
    pub(crate) when: Stamp,
    /// `6 points`, or why none.
    pub(crate) points: String,
    pub(crate) counts: bool,
}

/// The figure at the head.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) score: String,
    /// The formula with the figures in it.
    pub(crate) sum: String,
}

/// A driver's score.
#[derive(Debug, Template)]
#[template(path = "score.html")]
pub(crate) struct ScorePage {
    pub(crate) layout: Layout,
    pub(crate) back: Option<Link>,
    pub(crate) heading: String,
    pub(crate) own: bool,
    pub(crate) from: Stamp,
    pub(crate) days: i64,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) km: String,
    pub(crate) needed_km: String,
    /// How much of the needed distance there is, percent of a drawing.
    pub(crate) share: String,
    pub(crate) points: u32,
    pub(crate) classes: Vec<ClassCell>,
    pub(crate) left_out: Vec<Labelled>,
    pub(crate) events: Vec<ScoredCell>,
    /// How many more there are than are listed.
    pub(crate) more: Option<usize>,
}

/// A driver in the list.
#[derive(Debug, Clone)]
pub(crate) struct DriverCell {
    pub(crate) href: String,
    pub(crate) name: String,
}

/// An objection that waits.
#[derive(Debug, Clone)]
pub(crate) struct WaitingCell {
    pub(crate) href: String,
    pub(crate) kind: &'static str,
    pub(crate) kind_name: &'static str,
    pub(crate) severity: SeverityCell,
    pub(crate) driver: String,
    pub(crate) since: String,
    pub(crate) words: String,
}

/// A safety manager's drivers.
#[derive(Debug, Template)]
#[template(path = "drivers.html")]
pub(crate) struct DriversPage {
    pub(crate) layout: Layout,
    pub(crate) waiting: Vec<WaitingCell>,
    pub(crate) drivers: Vec<DriverCell>,
}

/// A proposal of another limit.
#[derive(Debug, Clone)]
pub(crate) struct ProposalCell {
    pub(crate) id: i64,
    pub(crate) action: String,
    pub(crate) change: String,
    pub(crate) place: String,
    pub(crate) heading: String,
    pub(crate) day: String,
    pub(crate) words: Option<String>,
    pub(crate) decision: Option<MadeCell>,
}

/// The proposals, for who decides.
#[derive(Debug, Template)]
#[template(path = "limits.html")]
pub(crate) struct LimitsPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) waiting: Vec<ProposalCell>,
    pub(crate) decided: Vec<ProposalCell>,
    pub(crate) accepted: usize,
}
