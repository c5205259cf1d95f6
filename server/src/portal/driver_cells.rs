//! From what the server answers about scores, objections and limits to what the templates show.
//!
//! Pure, and fair: what is doubtful is said to be doubtful, and no driver is set beside another.

use crate::{
    contest::Objection,
    db::{
        contests::Contest,
        limits::{Place, ProposalRow},
    },
    driver_score::{DriverScore, OpenObjection, ScoredEvent},
    limit_proposals::ProposalShown,
    score::{ClassSum, ContestState, DAY_MS, LeftOut, MIN_KM, Outcome, PERIOD_DAYS, Sum},
};

use super::{
    driver_pages::{
        AnswerCell, ClassCell, ContestBadge, ContestCell, LimitCell, MadeCell, ObjectionCell,
        ProposalCell, ScorePage, ScoredCell, Verdict, WaitingCell,
    },
    pages::{Labelled, Layout, Link, SeverityCell},
    words,
};

/// Most events listed on the page of a score.
const LISTED: usize = 200;

/// Where an objection stands, for lists.
pub(crate) const fn badge(state: ContestState) -> ContestBadge {
    match state {
        ContestState::Open => ContestBadge { slug: "waiting", text: "Contested" },
        ContestState::Upheld => ContestBadge { slug: "low", text: "Upheld" },
        ContestState::Overturned => ContestBadge { slug: "ok", text: "Overturned" },
    }
}

fn contest(contest: &Contest) -> ContestCell {
    ContestCell {
        words: contest.words.clone(),
        at: words::stamp(contest.at_ms),
        answer: contest.answer.as_ref().map(|answer| AnswerCell {
            slug: if answer.upheld { "low" } else { "ok" },
            verdict: if answer.upheld {
                "Upheld: the event stands."
            } else {
                "Overturned: the event does not stand, and no score counts it."
            },
            reason: answer.reason.clone(),
            by: answer.by.clone(),
            at: words::stamp(answer.at_ms),
        }),
    }
}

/// The objection's part of an event's page; none where there is nothing to read or to write.
pub(crate) fn objection(shown: &Objection, own: bool) -> Option<ObjectionCell> {
    (shown.contest.is_some() || shown.may_contest).then(|| ObjectionCell {
        heading: match (&shown.contest, own) {
            (Some(_), true) => "You contested this",
            (Some(_), false) => "The driver contests this",
            (None, _) => "Is this wrong?",
        },
        contest: shown.contest.as_ref().map(contest),
        may_contest: shown.may_contest,
        may_answer: shown.may_answer,
    })
}

fn kmh(limit: Option<f64>) -> String {
    limit.map_or_else(|| "not known".to_owned(), |v| words::quantity(v, "km/h"))
}

fn made(row: &ProposalRow) -> MadeCell {
    let (slug, state) = match &row.decision {
        None => ("waiting", "Waits for a decision"),
        Some(decision) if decision.accepted => ("ok", "Accepted"),
        Some(_) => ("low", "Refused"),
    };
    MadeCell {
        text: format!("The limit here is {}.", kmh(row.proposal.proposed_kmh)),
        slug,
        state,
        reason: row.decision.as_ref().map(|d| d.reason.clone()).filter(|r| !r.is_empty()),
    }
}

/// The limit's part of an event's page.
pub(crate) fn limit(shown: &ProposalShown) -> Option<LimitCell> {
    match shown {
        ProposalShown::Nothing => None,
        ProposalShown::Impossible(why) => Some(LimitCell { made: None, impossible: Some(why) }),
        ProposalShown::Possible => Some(LimitCell { made: None, impossible: None }),
        ProposalShown::Made(row) => Some(LimitCell { made: Some(made(row)), impossible: None }),
    }
}

/// Why an event takes no point, as it follows 'does not count:'.
pub(crate) const fn left_out(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Contested => "contested, not answered yet",
        LeftOut::Overturned => "contested and overturned",
        LeftOut::DeviceFault => "the unit was not in order",
        LeftOut::Unsure => "the detector was not sure",
        LeftOut::NoDistance => "the unit told no distance that day",
        LeftOut::Tiredness => "a sign of tiredness, not a fault",
        LeftOut::NeedsAPerson => "only a person can judge it",
        LeftOut::NoSafetyMatter => "no safety matter",
        LeftOut::Saved => "saved by the driver",
    }
}

fn class(class: &ClassSum) -> ClassCell {
    let [low, medium, high] = class.counts;
    ClassCell {
        kind: class.kind.as_str(),
        name: words::kind(class.kind),
        counts: class.counts,
        sum: format!("{} × ({low} + 2 × {medium} + 3 × {high})", class.weight),
        points: class.points,
        rate: class.per_100_km.map(|rate| format!("{rate:.2}")),
    }
}

fn points(n: u32) -> String {
    if n == 1 { "1 point".to_owned() } else { format!("{n} points") }
}

fn scored(event: &ScoredEvent) -> ScoredCell {
    let (slug, name) = words::severity(event.row.kind, event.row.severity);
    ScoredCell {
        href: format!("/events/{}", event.row.id),
        kind: event.row.kind.as_str(),
        kind_name: words::kind(event.row.kind),
        severity: SeverityCell { slug, name },
        when: words::stamp(event.row.start_ms),
        points: match event.points {
            Ok(n) => points(n),
            Err(why) => format!("Does not count: {}", left_out(why)),
        },
        counts: event.points.is_ok(),
    }
}

fn verdict(sum: &Sum) -> Option<Verdict> {
    match sum.outcome {
        Outcome::TooLittle => None,
        Outcome::Score { points_per_100_km, score } => {
            let floor = if points_per_100_km > 100.0 { ", which is below 0" } else { "" };
            Some(Verdict {
                score: format!("{score:.1}"),
                sum: format!(
                    "100 − {} × 100 km ÷ {:.1} km = {:.1}{floor}",
                    points(sum.points),
                    sum.km,
                    100.0 - points_per_100_km,
                ),
            })
        }
    }
}

/// The page of a score.
pub(crate) fn score(layout: Layout, shown: &DriverScore) -> ScorePage {
    let sum = &shown.sum;
    ScorePage {
        layout,
        back: (!shown.own).then(|| Link { href: "/drivers".to_owned(), label: "Drivers" }),
        heading: if shown.own { "My score".to_owned() } else { format!("Score of {}", shown.name) },
        own: shown.own,
        from: words::stamp(shown.from_ms),
        days: PERIOD_DAYS,
        verdict: verdict(sum),
        km: format!("{:.1} km", sum.km),
        needed_km: format!("{MIN_KM:.0} km"),
        share: format!("{:.1}", (sum.km / MIN_KM * 100.0).clamp(0.0, 100.0)),
        points: sum.points,
        classes: sum.classes.iter().map(class).collect(),
        left_out: sum
            .left_out
            .iter()
            .map(|(why, n)| Labelled {
                label: left_out(*why).to_owned(),
                value: if *n == 1 { "1 event".to_owned() } else { format!("{n} events") },
            })
            .collect(),
        events: shown.events.iter().take(LISTED).map(scored).collect(),
        more: shown.events.len().checked_sub(LISTED).filter(|more| *more > 0),
    }
}

/// An objection that waits.
pub(crate) fn waiting(open: &OpenObjection, now_ms: i64) -> WaitingCell {
    let (slug, name) = words::severity(open.row.kind, open.row.severity);
    WaitingCell {
        href: format!("/events/{}", open.row.id),
        kind: open.row.kind.as_str(),
        kind_name: words::kind(open.row.kind),
        severity: SeverityCell { slug, name },
        driver: open.row.driver.clone().unwrap_or_else(|| "Nobody on shift".to_owned()),
        since: words::ago(now_ms, open.at_ms),
        words: open.words.clone(),
    }
}

/// Where one drives, in words: `90°, east`.
fn heading(deg: f64) -> String {
    const NAMES: [(&str, f64); 8] = [
        ("north", 22.5),
        ("north-east", 67.5),
        ("east", 112.5),
        ("south-east", 157.5),
        ("south", 202.5),
        ("south-west", 247.5),
        ("west", 292.5),
        ("north-west", 337.5),
    ];
    let name = NAMES.iter().find(|(_, below)| deg < *below).map_or("north", |(name, _)| name);
    format!("driving {name} ({deg:.0}°)")
}

/// A proposal, for who decides.
pub(crate) fn proposal(row: &ProposalRow) -> ProposalCell {
    let Place { lat_deg, lon_deg, heading_deg } = row.proposal.place;
    ProposalCell {
        id: row.id,
        action: format!("/limits/{}", row.id),
        change: match row.proposal.proposed_kmh {
            None => format!("No known limit, instead of {}", kmh(row.proposal.taken_kmh)),
            proposed => format!("{} instead of {}", kmh(proposed), kmh(row.proposal.taken_kmh)),
        },
        place: format!("{lat_deg:.5}, {lon_deg:.5}"),
        heading: heading(heading_deg),
        day: words::stamp(row.day.saturating_mul(DAY_MS)).date,
        words: Some(row.proposal.words.clone()).filter(|w| !w.is_empty()),
        decision: row.decision.is_some().then(|| made(row)),
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::events::{EventKind, Severity};

    use super::*;
    use crate::score::{Candidate, sum};

    fn event(kind: EventKind) -> Candidate {
        Candidate {
            kind,
            severity: Severity::High,
            confidence: 1.0,
            contest: None,
            device_fault: false,
            distance_known: true,
        }
    }

    #[test]
    fn the_formula_shows_the_figures_that_give_the_score() {
        let events = [event(EventKind::PhoneInHand), event(EventKind::HarshBraking)];
        let some = verdict(&sum(400_000.0, &events)).unwrap();
        assert_eq!(some.score, "97.0");
        assert_eq!(some.sum, "100 − 12 points × 100 km ÷ 400.0 km = 97.0");
        assert!(verdict(&sum(199_000.0, &events)).is_none());
        let many = vec![event(EventKind::PhoneInHand); 60];
        let floor = verdict(&sum(200_000.0, &many)).unwrap();
        assert_eq!(floor.score, "0.0");
        assert_eq!(floor.sum, "100 − 540 points × 100 km ÷ 200.0 km = -170.0, which is below 0");
    }

    #[test]
    fn headings_have_names() {
        for (deg, name) in [(0.0, "north"), (89.0, "east"), (250.0, "west"), (359.0, "north")] {
            assert!(heading(deg).contains(&format!("driving {name} (")), "{deg}");
        }
    }

    #[test]
    fn every_reason_has_words() {
        let words: std::collections::BTreeSet<_> = LeftOut::ALL.map(left_out).into();
        assert_eq!(words.len(), LeftOut::ALL.len());
    }
}
