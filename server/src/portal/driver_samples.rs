//! Made-up pages of scores, objections and limits, for the tests of the templates and to look at
//! while designing.

use temoin_proto::events::{EventKind, Severity};

use crate::{
    authz::Role,
    db::limits::{Decision, Place, Proposal, ProposalRow},
    driver_score::{DriverScore, ScoredEvent},
    score::{Candidate, ContestState, sum},
    show::{ClipShown, EventRow},
};

use super::{
    driver_cells,
    driver_pages::*,
    pages::{EventPage, SeverityCell},
    samples, words,
};

const NOW: i64 = 1_795_181_528_420;

fn row(kind: EventKind, severity: Severity, hours_ago: i64) -> EventRow {
    EventRow {
        id: temoin_proto::ids::EventId::from_bytes([7; 16]),
        kind,
        severity,
        confidence: 0.9,
        start_ms: NOW - hours_ago * 3_600_000,
        wall_uncertainty_ms: 20,
        duration_ms: 1200,
        unit: "van-12".parse().unwrap(),
        depot: "Depot North".into(),
        driver: Some("Julie Moreau".into()),
        numbers: samples::numbers(kind),
        clip: ClipShown::Waiting,
        views: 0,
        contest: None,
    }
}

/// A score over this distance.
pub(crate) fn score(own: bool, km: f64) -> ScorePage {
    let list = [
        (EventKind::HarshBraking, Severity::Low, None),
        (EventKind::HarshBraking, Severity::Medium, None),
        (EventKind::HarshBraking, Severity::Low, Some(ContestState::Overturned)),
        (EventKind::HarshCornering, Severity::Low, None),
        (EventKind::Speeding, Severity::Medium, None),
        (EventKind::Speeding, Severity::Low, Some(ContestState::Open)),
        (EventKind::FollowingTooClose, Severity::Low, None),
        (EventKind::SeatBelt, Severity::Low, None),
        (EventKind::RollingStop, Severity::Medium, None),
        (EventKind::Idling, Severity::Low, None),
        (EventKind::Collision, Severity::High, None),
        (EventKind::Rollover, Severity::High, None),
        (EventKind::PhoneInHand, Severity::Low, None),
        (EventKind::Drowsiness, Severity::Medium, None),
        (EventKind::DriverSaved, Severity::Low, None),
    ];
    let candidates: Vec<_> = list
        .iter()
        .map(|(kind, severity, contest)| Candidate {
            kind: *kind,
            severity: *severity,
            confidence: 0.9,
            contest: *contest,
            device_fault: false,
            distance_known: true,
        })
        .collect();
    let shown = DriverScore {
        driver: temoin_proto::ids::UserId::from_bytes([1; 16]),
        name: "Julie Moreau".into(),
        own,
        from_ms: NOW - 27 * 86_400_000,
        sum: sum(km * 1000.0, &candidates),
        events: list
            .iter()
            .zip(&candidates)
            .zip(1_i64..)
            .map(|(((kind, severity, _), candidate), n)| ScoredEvent {
                row: row(*kind, *severity, n * 9),
                points: candidate.points(),
            })
            .collect(),
    };
    let layout = if own {
        samples::layout("Score", "Driver", &[("/score", "My score"), ("/my", "My events")])
    } else {
        samples::layout("Score", "Safety manager", &[("/drivers", "Drivers")])
    };
    driver_cells::score(layout, &shown)
}

/// A manager's drivers.
pub(crate) fn drivers(empty: bool) -> DriversPage {
    let waiting = WaitingCell {
        href: "event.html".into(),
        kind: EventKind::HarshBraking.as_str(),
        kind_name: words::kind(EventKind::HarshBraking),
        severity: SeverityCell { slug: "medium", name: "Medium" },
        driver: "Julie Moreau".into(),
        since: "3 h ago".into(),
        words: "A child ran between two parked cars; I had to brake.".into(),
    };
    let driver = |name: &str| DriverCell { href: "score.html".into(), name: name.into() };
    DriversPage {
        layout: samples::layout(
            "Drivers",
            Role::SafetyManager.words(),
            &[("/drivers", "Drivers"), ("/events", "Events")],
        ),
        waiting: if empty { vec![] } else { vec![waiting] },
        drivers: if empty {
            vec![]
        } else {
            vec![driver("Amir Haddad"), driver("Julie Moreau"), driver("Pavel Novak")]
        },
    }
}

/// Proposals of limits.
pub(crate) fn limits(empty: bool) -> LimitsPage {
    let row = |id, proposed_kmh, words: &str, decision| ProposalRow {
        id,
        proposal: Proposal {
            place: Place { lat_deg: 44.43312, lon_deg: 26.10244, heading_deg: 92.0 },
            taken_kmh: Some(50.0),
            proposed_kmh,
            words: words.into(),
        },
        day: NOW / 86_400_000,
        decision,
    };
    let decided =
        |accepted, reason: &str| Some(Decision { accepted, reason: reason.into(), at_ms: NOW });
    let cells = |rows: Vec<ProposalRow>| {
        if empty { vec![] } else { rows.iter().map(driver_cells::proposal).collect() }
    };
    LimitsPage {
        layout: samples::layout("Limits", "Fleet administrator", &[("/limits", "Limits")]),
        csrf: "c".repeat(43),
        waiting: cells(vec![
            row(12, Some(70.0), "New sign since the roundabout was built.", None),
            row(11, None, "", None),
        ]),
        decided: cells(vec![
            row(9, Some(90.0), "", decided(true, "")),
            row(8, Some(130.0), "motorway", decided(false, "The sign at the ramp says 50.")),
        ]),
        accepted: usize::from(!empty),
    }
}

fn contest(answered: bool) -> ContestCell {
    ContestCell {
        words: "A child ran between two parked cars; I had to brake.".into(),
        at: words::stamp(NOW),
        answer: answered.then(|| AnswerCell {
            slug: "ok",
            verdict: "Overturned: the event does not stand, and no score counts it.",
            reason: "The clip shows it. Well braked.".into(),
            by: "Anna Lindqvist".into(),
            at: words::stamp(NOW),
        }),
    }
}

/// A driver's own event, which can be contested.
pub(crate) fn to_contest() -> EventPage {
    EventPage {
        objection: Some(ObjectionCell {
            heading: "Is this wrong?",
            contest: None,
            may_contest: true,
            may_answer: false,
        }),
        limit: Some(LimitCell { made: None, impossible: None }),
        ..samples::event(true)
    }
}

/// A driver's event as the manager sees it who has to answer.
pub(crate) fn to_answer() -> EventPage {
    let mut page = samples::event(false);
    page.e.contest = Some(driver_cells::badge(ContestState::Open));
    EventPage {
        objection: Some(ObjectionCell {
            heading: "The driver contests this",
            contest: Some(contest(false)),
            may_contest: false,
            may_answer: true,
        }),
        ..page
    }
}

/// A driver's own event with an answer, and a limit that was proposed.
pub(crate) fn answered() -> EventPage {
    let mut page = samples::event(true);
    page.e.contest = Some(driver_cells::badge(ContestState::Overturned));
    EventPage {
        objection: Some(ObjectionCell {
            heading: "You contested this",
            contest: Some(contest(true)),
            may_contest: false,
            may_answer: false,
        }),
        limit: Some(LimitCell {
            made: Some(MadeCell {
                text: "The limit here is 70 km/h.".into(),
                slug: "low",
                state: "Refused",
                reason: Some("The sign at the ramp says 50.".into()),
            }),
            impossible: None,
        }),
        ..page
    }
}
