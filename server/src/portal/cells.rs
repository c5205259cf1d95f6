//! From what the server answers to what the templates show.
//!
//! Pure. Nothing is added: a name, a number or a state appears only where the answer has it.

use temoin_proto::time::WallTime;

use crate::{
    authz::{Purpose, Role},
    feed::ActShown,
    show::{ClipShown, EventPage as Shown, EventRow},
};

use super::{
    driver_cells,
    pages::{
        Chip, ClipCell, Closed, EventCell, Gate, Labelled, LookedCell, Meter, PurposeCell,
        SeverityCell, TrackCell,
    },
    words,
};

/// An event in a list.
pub(crate) fn event(row: &EventRow) -> EventCell {
    let (slug, name) = words::severity(row.kind, row.severity);
    EventCell {
        id: row.id.to_string(),
        href: format!("/events/{}", row.id),
        kind: row.kind.as_str(),
        kind_name: words::kind(row.kind),
        severity: SeverityCell { slug, name },
        key_number: words::key_number(row.kind, &row.numbers),
        when: words::stamp(row.start_ms),
        uncertain: words::uncertain(start(row)),
        unit: row.unit.to_string(),
        depot: Some(row.depot.clone()).filter(|d| !d.is_empty()),
        driver: row.driver.clone(),
        clip: clip(&row.clip),
        views: u64::from(row.views),
        contest: row.contest.map(driver_cells::badge),
    }
}

/// When it began, with how sure that is.
pub(crate) const fn start(row: &EventRow) -> WallTime {
    WallTime { unix_ms: row.start_ms, uncertainty_ms: row.wall_uncertainty_ms }
}

fn clip(clip: &ClipShown) -> ClipCell {
    match clip {
        ClipShown::Absent(why) => ClipCell {
            slug: "none",
            icon: "none",
            text: "No clip".to_owned(),
            why: Some(why.clone()),
        },
        ClipShown::Waiting => {
            ClipCell { slug: "waiting", icon: "upload", text: "On its way".to_owned(), why: None }
        }
        ClipShown::Ready { duration_ms } => ClipCell {
            slug: "ready",
            icon: "clip",
            text: words::milliseconds(*duration_ms),
            why: None,
        },
    }
}

/// Someone who looked.
pub(crate) fn looked(row: &ActShown) -> LookedCell {
    LookedCell {
        who: match row.role.filter(|_| row.who.is_some()) {
            Some(role) => format!("{}, {}", words::actor(row), role.words().to_lowercase()),
            None => words::actor(row),
        },
        by_you: row.by_you,
        purpose: words::purpose(row).unwrap_or_default(),
        at: words::stamp(row.at_ms),
        tracks: words::watched(row).unwrap_or_default(),
        log_index: Some(row.index),
    }
}

/// Whether all who looked are the one who reads this, and someone did.
pub(crate) fn nobody_else(seen: &[ActShown]) -> bool {
    !seen.is_empty() && seen.iter().all(|v| v.by_you)
}

/// The measured value drawn beside its threshold: the drawing ends a fifth beyond the larger one.
pub(crate) fn meter(shown: &Shown) -> Option<Meter> {
    let m = words::measured(shown.row.kind, &shown.row.numbers)?;
    let whole = m.measured.max(m.threshold) * 1.2;
    let percent = |v: f64| v / whole * 100.0;
    Some(Meter {
        measured: words::quantity(m.measured, m.unit),
        threshold: words::quantity(m.threshold, m.unit),
        threshold_at: format!("{:.1}", percent(m.threshold.min(m.measured))),
        over_len: format!("{:.1}", percent((m.measured - m.threshold).max(0.0))),
    })
}

/// All of the rule's numbers.
pub(crate) fn numbers(shown: &Shown) -> Vec<Labelled> {
    shown
        .row
        .numbers
        .iter()
        .map(|n| Labelled {
            label: words::label(&n.name),
            value: words::quantity(n.value, &n.unit),
        })
        .collect()
}

const fn purpose(purpose: Purpose) -> PurposeCell {
    let text = match purpose {
        Purpose::Coaching => "to talk about it with the driver",
        Purpose::Triage => "to see whether anyone must act",
        Purpose::Collision => "to establish what happened",
        Purpose::Contest => "because the event is disputed",
        Purpose::OwnReview => "because it shows you",
        Purpose::Request => "to answer a request that is registered",
    };
    PurposeCell { value: purpose.as_str(), label: purpose.words(), text }
}

/// What stands before the pictures, or why there are none.
pub(crate) fn gate(shown: &Shown, role: Role) -> Result<Gate, Closed> {
    let duration_ms = match &shown.row.clip {
        ClipShown::Absent(why) => {
            return Err(Closed {
                icon: "none",
                heading: "There is no recording",
                text: sentence(why, "The unit gave no reason."),
            });
        }
        ClipShown::Waiting => {
            return Err(Closed {
                icon: "upload",
                heading: "The recording is on its way",
                text: "The unit has not sent all of it yet. It can be opened here once it is complete and verified."
                    .to_owned(),
            });
        }
        ClipShown::Ready { duration_ms } => *duration_ms,
    };
    if shown.purposes.is_empty() {
        return Err(Closed {
            icon: "lock",
            heading: "You cannot open this recording",
            text: match role {
                Role::Dispatcher => "Dispatchers can open a recording of their depot for 72 hours. After that the safety manager can.",
                Role::Driver
                | Role::SafetyManager
                | Role::FleetAdmin
                | Role::PrivacyOfficer
                | Role::Auditor
                | Role::Installer
                | Role::VendorSupport => {
                    "Your role may know of this event, but may not watch it."
                }
            }
            .to_owned(),
        });
    }
    let own = shown.own && shown.purposes.contains(&Purpose::OwnReview);
    Ok(Gate {
        heading: "The recording is sealed".to_owned(),
        length: words::milliseconds(duration_ms),
        action: format!("/events/{}/views", shown.row.id),
        tracks: vec![
            TrackCell { name: "Road camera", note: None },
            TrackCell {
                name: "Cab camera",
                note: shown.face_blurred.then_some("the driver's face is blurred"),
            },
        ],
        own,
        purposes: shown.purposes.iter().map(|p| purpose(*p)).collect(),
    })
}

/// Text from a unit as a sentence.
fn sentence(text: &str, otherwise: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return otherwise.to_owned() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

/// The filters above the list, with the current one marked.
pub(crate) fn chips(current: Option<temoin_proto::events::EventKind>) -> Vec<Chip> {
    let all = Chip {
        href: "/events".to_owned(),
        slug: "all",
        icon: "list",
        label: "All",
        current: current.is_none(),
    };
    std::iter::once(all)
        .chain(temoin_proto::events::EventKind::ALL.into_iter().map(|kind| Chip {
            href: format!("/events?kind={kind}"),
            slug: kind.as_str(),
            icon: kind.as_str(),
            label: words::kind_short(kind),
            current: current == Some(kind),
        }))
        .collect()
}
