//! The pages: what each template is given. Text only, ready to be shown.
//!
//! What must hold: every value reaches HTML through the template engine's escaping (no `|safe`
//! anywhere in `templates/`), and nothing is put into a page that the decision for this person
//! did not allow: these types are filled from authorised answers only.

use askama::Template;

use super::{
    driver_pages::{ContestBadge, LimitCell, ObjectionCell},
    requests::BeyondCell,
    words::Stamp,
};

/// What every page has.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) title: String,
    /// Address of the assets: `/static/HASH`.
    pub(crate) assets: &'static str,
    /// Who is signed in.
    pub(crate) person: Option<Person>,
}

/// Who is signed in, and where that role can go.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) short_name: String,
    pub(crate) role: &'static str,
    pub(crate) csrf: String,
    /// Whether the account's page can be opened: the sign-in is complete.
    pub(crate) whole: bool,
    pub(crate) nav: Vec<NavItem>,
}

/// One page in the bar.
#[derive(Debug, Clone)]
pub(crate) struct NavItem {
    pub(crate) href: &'static str,
    pub(crate) label: &'static str,
    pub(crate) current: bool,
}

/// A link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) label: &'static str,
}

/// Class and word of a severity.
#[derive(Debug, Clone)]
pub(crate) struct SeverityCell {
    pub(crate) slug: &'static str,
    pub(crate) name: &'static str,
}

/// Whether there is a recording.
#[derive(Debug, Clone)]
pub(crate) struct ClipCell {
    pub(crate) slug: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) text: String,
    pub(crate) why: Option<String>,
}

/// One event, in a list or at the head of its page.
#[derive(Debug, Clone)]
pub(crate) struct EventCell {
    pub(crate) id: String,
    pub(crate) href: String,
    pub(crate) kind: &'static str,
    pub(crate) kind_name: &'static str,
    pub(crate) severity: SeverityCell,
    pub(crate) key_number: Option<String>,
    pub(crate) when: Stamp,
    pub(crate) uncertain: Option<String>,
    pub(crate) unit: String,
    pub(crate) depot: Option<String>,
    pub(crate) driver: Option<String>,
    pub(crate) clip: ClipCell,
    pub(crate) views: u64,
    /// Where the driver's objection stands, for those who may know.
    pub(crate) contest: Option<ContestBadge>,
}

/// One view of a clip by someone.
#[derive(Debug, Clone)]
pub(crate) struct LookedCell {
    pub(crate) who: String,
    pub(crate) by_you: bool,
    pub(crate) purpose: String,
    pub(crate) at: Stamp,
    pub(crate) tracks: String,
    pub(crate) log_index: Option<u64>,
}

/// Sign-in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage {
    pub(crate) layout: Layout,
    pub(crate) login: String,
    pub(crate) problem: Option<String>,
    pub(crate) notice: Option<&'static str>,
}

/// Something went wrong; what, and what to do.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub(crate) layout: Layout,
    pub(crate) code: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) text: String,
    pub(crate) advice: Option<&'static str>,
    pub(crate) action: Link,
}

/// What an empty list says.
#[derive(Debug, Clone)]
pub(crate) struct Empty {
    pub(crate) heading: &'static str,
    pub(crate) text: &'static str,
    pub(crate) action: Option<Link>,
}

/// A filter.
#[derive(Debug, Clone)]
pub(crate) struct Chip {
    pub(crate) href: String,
    pub(crate) slug: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) label: &'static str,
    pub(crate) current: bool,
}

/// The event list.
#[derive(Debug, Template)]
#[template(path = "events.html")]
pub(crate) struct EventsPage {
    pub(crate) layout: Layout,
    pub(crate) scope: &'static str,
    pub(crate) chips: Vec<Chip>,
    pub(crate) show_driver: bool,
    /// Whose views the last column counts.
    pub(crate) seen_label: &'static str,
    pub(crate) events: Vec<EventCell>,
    pub(crate) empty: Empty,
    pub(crate) newest: Option<String>,
    pub(crate) older: Option<String>,
}

/// A measured value drawn beside its threshold; lengths are percent of the drawing.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) measured: String,
    pub(crate) threshold: String,
    pub(crate) threshold_at: String,
    pub(crate) over_len: String,
}

/// A label with its value.
#[derive(Debug, Clone)]
pub(crate) struct Labelled {
    pub(crate) label: String,
    pub(crate) value: String,
}

/// One camera that this person may play.
#[derive(Debug, Clone)]
pub(crate) struct TrackCell {
    pub(crate) name: &'static str,
    pub(crate) note: Option<&'static str>,
}

/// One purpose to choose.
#[derive(Debug, Clone)]
pub(crate) struct PurposeCell {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) text: &'static str,
}

/// What stands before the pictures: who sees what, and why.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) heading: String,
    pub(crate) length: String,
    pub(crate) action: String,
    pub(crate) tracks: Vec<TrackCell>,
    /// The driver's own recording: one tap, purpose `own_review`.
    pub(crate) own: bool,
    pub(crate) purposes: Vec<PurposeCell>,
}

/// Why there is nothing to play.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) icon: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) text: String,
}

/// One event.
#[derive(Debug, Template)]
#[template(path = "event.html")]
pub(crate) struct EventPage {
    pub(crate) layout: Layout,
    pub(crate) back: Link,
    pub(crate) csrf: String,
    pub(crate) e: EventCell,
    pub(crate) own: bool,
    pub(crate) sentence: String,
    pub(crate) meter: Option<Meter>,
    pub(crate) certainty: String,
    pub(crate) lasted: String,
    pub(crate) driver_row: Option<String>,
    pub(crate) rule: String,
    pub(crate) confidence: String,
    pub(crate) numbers: Vec<Labelled>,
    pub(crate) threshold_g: Option<f64>,
    pub(crate) limit_kmh: Option<f64>,
    pub(crate) gate: Option<Gate>,
    pub(crate) closed: Option<Closed>,
    pub(crate) objection: Option<ObjectionCell>,
    pub(crate) limit: Option<LimitCell>,
    pub(crate) beyond: Option<BeyondCell>,
    /// When the clip goes by itself.
    pub(crate) kept_until: Option<Stamp>,
    /// The legal ground on which it stays all the same.
    pub(crate) held: Option<String>,
    pub(crate) seen_by: Vec<LookedCell>,
    /// It is the driver's own, and all who looked are the driver.
    pub(crate) nobody_else: bool,
}

/// One of a driver's own events.
#[derive(Debug, Clone)]
pub(crate) struct MineCell {
    pub(crate) e: EventCell,
    pub(crate) can_watch: bool,
    pub(crate) seen_by: Vec<LookedCell>,
    /// All who looked are the driver.
    pub(crate) nobody_else: bool,
}

/// A driver's own events.
#[derive(Debug, Template)]
#[template(path = "my.html")]
pub(crate) struct MyPage {
    pub(crate) layout: Layout,
    pub(crate) events: Vec<MineCell>,
    pub(crate) empty: Empty,
    pub(crate) newest: Option<String>,
    pub(crate) older: Option<String>,
}

/// Class and text of a state.
#[derive(Debug, Clone)]
pub(crate) struct StateCell {
    pub(crate) slug: &'static str,
    pub(crate) text: &'static str,
}

/// A unit's privacy state.
#[derive(Debug, Clone)]
pub(crate) struct PrivacyCell {
    pub(crate) slug: String,
    pub(crate) text: &'static str,
    pub(crate) why: &'static str,
}

/// One statement of device health.
#[derive(Debug, Clone)]
pub(crate) struct HealthCell {
    pub(crate) slug: &'static str,
    pub(crate) state: &'static str,
    pub(crate) part: String,
    pub(crate) text: String,
}

/// One order to a unit.
#[derive(Debug, Clone)]
pub(crate) struct OrderCell {
    pub(crate) what: String,
    pub(crate) state: String,
}

/// One unit.
#[derive(Debug, Clone)]
pub(crate) struct UnitCell {
    pub(crate) unit: String,
    pub(crate) depot: Option<String>,
    pub(crate) state: StateCell,
    pub(crate) last_contact: String,
    pub(crate) last_contact_at: Option<Stamp>,
    pub(crate) privacy: PrivacyCell,
    pub(crate) spool: String,
    pub(crate) agent_version: Option<String>,
    pub(crate) faults: Vec<HealthCell>,
    pub(crate) fine: Vec<HealthCell>,
    pub(crate) fine_summary: String,
    pub(crate) can_order: bool,
    pub(crate) orders: Vec<OrderCell>,
}

/// The fleet's units.
#[derive(Debug, Template)]
#[template(path = "units.html")]
pub(crate) struct UnitsPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) summary: String,
    pub(crate) notice: Option<&'static str>,
    pub(crate) units: Vec<UnitCell>,
}

/// The access log's signed head.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointCell {
    pub(crate) origin: String,
    pub(crate) size: String,
    pub(crate) root_hash: String,
    /// What somebody else checks the log with, from outside.
    pub(crate) command: String,
}

/// One entry of the access log.
#[derive(Debug, Clone)]
pub(crate) struct LogCell {
    pub(crate) index: u64,
    pub(crate) at: Stamp,
    pub(crate) what: String,
    pub(crate) tracks: Option<String>,
    pub(crate) who: String,
    /// Absent where the name already is the role.
    pub(crate) role: Option<&'static str>,
    pub(crate) purpose: Option<String>,
    pub(crate) driver: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) event: Option<String>,
    /// The event's page, for those who may open it.
    pub(crate) href: Option<String>,
}

/// The entries of a page of the access log.
#[derive(Debug, Template)]
#[template(path = "log_rows.html")]
pub(crate) struct LogRows {
    pub(crate) show_driver: bool,
    pub(crate) rows: Vec<LogCell>,
}

/// The access log.
#[derive(Debug, Template)]
#[template(path = "access_log.html")]
pub(crate) struct AccessLogPage {
    pub(crate) layout: Layout,
    pub(crate) scope: &'static str,
    pub(crate) checkpoint: Option<CheckpointCell>,
    pub(crate) log: LogRows,
    pub(crate) newest: Option<String>,
    pub(crate) older: Option<String>,
}
