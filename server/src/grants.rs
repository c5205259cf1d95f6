//! Grants: permissions beyond a role, with purpose, scope and expiry. Most need a second person.
//!
//! A grant is asked for, decided by somebody else in time, used, and ends by itself. Where it
//! stands is computed from its times ([`Grant::state`]); nothing has to run for one to end.
//!
//! INVARIANT: a grant that needs a second person is live only with a decision by another one than
//! who asked. Who may decide is the policies' matter (`second_person.cedar`). Every step is in the
//! access log before it counts.

use temoin_proto::ids::{EventId, GrantId, UnitId, UserId};

use crate::authz::{EventFacts, GrantKind, Purpose};

const HOUR_MS: i64 = 3_600_000;

/// For which things a grant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One event and its clip.
    Event(EventId),
    /// One unit.
    Unit(UnitId),
    /// All of the fleet.
    Fleet,
    /// What a unit or a driver did from a time on until before another, milliseconds since 1970.
    /// With both, only what that driver did with that unit.
    Span {
        /// The unit.
        unit: Option<UnitId>,
        /// Who drove.
        driver: Option<UserId>,
        /// The first moment.
        from_ms: i64,
        /// The first moment that is not in it any more.
        to_ms: i64,
    },
}

/// A decision on a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub granted: bool,
    /// The second person; none for a kind that needs none.
    pub by: Option<UserId>,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Why, where somebody said so.
    pub reason: String,
}

/// A grant, from the asking on. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// What it allows.
    pub kind: GrantKind,
    /// Who asks, and who may use it.
    pub asker: UserId,
    /// What for.
    pub purpose: Purpose,
    /// The request's number; empty where there is none.
    pub number: String,
    /// What who asks says.
    pub words: String,
    /// For which things.
    pub scope: Scope,
    /// When it was asked for.
    pub asked_ms: i64,
    /// The last moment at which it can be decided.
    pub decide_by_ms: i64,
    /// How long it holds from the decision on, milliseconds.
    pub holds_ms: i64,
    /// What was decided.
    pub decision: Option<Decision>,
    /// When it was given back or taken away.
    pub ended_ms: Option<i64>,
}

/// Where a grant stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// A second person can decide.
    Waiting {
        /// Until then.
        until_ms: i64,
    },
    /// Nobody decided in time.
    Lapsed,
    /// The second person said no.
    Refused,
    /// It holds.
    Live {
        /// Until then.
        until_ms: i64,
    },
    /// Its time is over.
    Expired,
    /// It was given back or taken away.
    Ended,
}

impl GrantKind {
    /// Whether it takes a second person.
    pub const fn needs_second_person(self) -> bool {
        match self {
            Self::LiftBlur
            | Self::Export
            | Self::Retention
            | Self::Deletion
            | Self::BreakGlass
            | Self::Diagnostics
            | Self::Trace => true,
            // It is registered, told to the driver and in the log; lifting a blur or exporting for
            // it takes a second person again.
            Self::Request => false,
        }
    }

    /// How long the second person has, milliseconds. Own choice.
    pub const fn decide_within_ms(self) -> i64 {
        match self {
            Self::BreakGlass => 4 * HOUR_MS,
            Self::LiftBlur
            | Self::Export
            | Self::Retention
            | Self::Request
            | Self::Diagnostics
            | Self::Trace => 72 * HOUR_MS,
            // The clip's own time ends before.
            Self::Deletion => 30 * 24 * HOUR_MS,
        }
    }

    /// How long it holds once it is granted, milliseconds. Own choice: long enough for the work,
    /// short enough that none is forgotten.
    pub const fn holds_ms(self) -> i64 {
        match self {
            Self::BreakGlass => HOUR_MS,
            Self::LiftBlur
            | Self::Export
            | Self::Retention
            | Self::Deletion
            | Self::Diagnostics
            | Self::Trace => 24 * HOUR_MS,
            Self::Request => 30 * 24 * HOUR_MS,
        }
    }
}

impl Grant {
    /// Where it stands at a moment.
    pub fn state(&self, now_ms: i64) -> GrantState {
        if self.ended_ms.is_some_and(|at| at <= now_ms) {
            return GrantState::Ended;
        }
        match &self.decision {
            None if now_ms < self.decide_by_ms => {
                GrantState::Waiting { until_ms: self.decide_by_ms }
            }
            None => GrantState::Lapsed,
            Some(decision) if !decision.granted => GrantState::Refused,
            Some(decision) => {
                let until_ms = decision.at_ms.saturating_add(self.holds_ms);
                let by_another = decision.by.is_some_and(|by| by != self.asker);
                let proper = by_another || !self.kind.needs_second_person();
                if proper && (decision.at_ms..until_ms).contains(&now_ms) {
                    GrantState::Live { until_ms }
                } else {
                    GrantState::Expired
                }
            }
        }
    }

    /// Whether it holds at a moment.
    pub fn is_live(&self, now_ms: i64) -> bool {
        matches!(self.state(now_ms), GrantState::Live { .. })
    }

    /// Whether it is for this event.
    pub fn covers(&self, event: &EventFacts) -> bool {
        match &self.scope {
            Scope::Event(id) => *id == event.id,
            Scope::Unit(_) | Scope::Fleet => false,
            Scope::Span { unit, driver, from_ms, to_ms } => {
                (unit.is_some() || driver.is_some())
                    && unit.as_ref().is_none_or(|u| event.unit.as_ref() == Some(u))
                    && driver.is_none_or(|d| event.driver == Some(d))
                    && (*from_ms..*to_ms).contains(&event.start_ms)
            }
        }
    }

    /// Whether it is for all of the fleet.
    pub fn covers_fleet(&self) -> bool {
        self.scope == Scope::Fleet
    }

    /// Whether it is for this unit.
    pub fn covers_unit(&self, unit: &UnitId) -> bool {
        matches!(&self.scope, Scope::Unit(id) if id == unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: UserId = UserId::from_bytes([1; 16]);
    const OTHER: UserId = UserId::from_bytes([2; 16]);

    fn grant(kind: GrantKind, decision: Option<(bool, Option<UserId>, i64)>) -> Grant {
        Grant {
            id: GrantId::from_bytes([3; 16]),
            kind,
            asker: ME,
            purpose: Purpose::Collision,
            number: String::new(),
            words: "why".into(),
            scope: Scope::Event(EventId::from_bytes([4; 16])),
            asked_ms: 0,
            decide_by_ms: 100,
            holds_ms: 1000,
            decision: decision.map(|(granted, by, at_ms)| Decision {
                granted,
                by,
                at_ms,
                reason: String::new(),
            }),
            ended_ms: None,
        }
    }

    #[test]
    fn a_grant_ends_by_itself() {
        use GrantState as S;
        let granted = grant(GrantKind::Export, Some((true, Some(OTHER), 50)));
        for (grant, now_ms, state) in [
            (grant(GrantKind::Export, None), 0, S::Waiting { until_ms: 100 }),
            (grant(GrantKind::Export, None), 99, S::Waiting { until_ms: 100 }),
            (grant(GrantKind::Export, None), 100, S::Lapsed),
            (granted.clone(), 50, S::Live { until_ms: 1050 }),
            (granted.clone(), 1049, S::Live { until_ms: 1050 }),
            (granted.clone(), 1050, S::Expired),
            // A clock that was put back gives nothing.
            (granted.clone(), 49, S::Expired),
            (Grant { ended_ms: Some(60), ..granted.clone() }, 59, S::Live { until_ms: 1050 }),
            (Grant { ended_ms: Some(60), ..granted }, 60, S::Ended),
            (grant(GrantKind::Export, Some((false, Some(OTHER), 50))), 51, S::Refused),
            // Whatever a database says: nobody is their own second person.
            (grant(GrantKind::Export, Some((true, Some(ME), 50))), 51, S::Expired),
            (grant(GrantKind::Export, Some((true, None, 50))), 51, S::Expired),
            (grant(GrantKind::Request, Some((true, None, 50))), 51, S::Live { until_ms: 1050 }),
        ] {
            assert_eq!(grant.state(now_ms), state, "{grant:?} at {now_ms}");
        }
    }

    #[test]
    fn only_a_request_needs_no_second_person() {
        for kind in GrantKind::ALL {
            assert_eq!(kind.needs_second_person(), *kind != GrantKind::Request, "{kind:?}");
        }
    }

    #[test]
    fn a_scope_covers_what_it_names() {
        let unit: UnitId = "van-1".parse().unwrap();
        let event = EventFacts {
            id: EventId::from_bytes([4; 16]),
            unit: Some(unit.clone()),
            depot: "north".into(),
            start_ms: 500,
            driver: Some(OTHER),
            manager: None,
            driver_depot: None,
        };
        let span = |unit: Option<&str>, driver, from_ms, to_ms| Scope::Span {
            unit: unit.map(|u| u.parse().unwrap()),
            driver,
            from_ms,
            to_ms,
        };
        for (scope, covers) in [
            (Scope::Event(event.id), true),
            (Scope::Event(EventId::from_bytes([5; 16])), false),
            (Scope::Unit(unit), false),
            (Scope::Fleet, false),
            (span(Some("van-1"), None, 500, 501), true),
            (span(Some("van-1"), None, 0, 500), false),
            (span(Some("van-1"), None, 501, 600), false),
            (span(Some("van-2"), None, 0, 1000), false),
            (span(None, Some(OTHER), 0, 1000), true),
            (span(None, Some(ME), 0, 1000), false),
            (span(Some("van-1"), Some(ME), 0, 1000), false),
            // Nobody asks for the whole fleet.
            (span(None, None, 0, 1000), false),
        ] {
            let grant = Grant { scope, ..grant(GrantKind::Request, None) };
            assert_eq!(grant.covers(&event), covers, "{:?}", grant.scope);
        }
    }
}
