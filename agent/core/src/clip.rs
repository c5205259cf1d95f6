//! Clip orders: which pictures a flagged event gets, and when they can be cut.
//!
//! An order waits until every camera's closed GOPs reach its end, or until `grace` after it, or
//! until nothing more will come (the drive ended, the privacy state or the driver changed). Then what there is
//! is cut.
//!
//! An event of the same kind that begins within an open order's window shares its clip: the
//! window grows to hold the event and its post-roll, up to `max_clip`. It gets a clip of its own
//! where the grown window would not hold the event whole with at least half its post-roll; so a
//! button pressed over and over makes a clip every 15 s at most, and one pressed late still keeps
//! what comes. Events of different kinds never share: each is judged and deleted by itself.
//!
//! INVARIANT: every flagged event has exactly one order, and every order is cut exactly once.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind},
    time::MonoTime,
};

use crate::config::{ClipConfig, secs};

/// From when to when a clip goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipWindow {
    /// First instant.
    pub from: MonoTime,
    /// Last instant.
    pub to: MonoTime,
}

impl ClipWindow {
    /// Its length.
    pub const fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

/// Which clip an event gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipPlan {
    /// One of its own.
    Own(ClipWindow),
    /// None: no pictures are kept of this kind of event.
    None,
    /// That of an event flagged before, which is still open.
    Shared {
        /// That event.
        with: u64,
        /// The clip's window with this event in it.
        window: ClipWindow,
    },
}

/// Why a clip was cut now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// All pictures are there.
    Covered,
    /// A camera's pictures did not come in time.
    Deadline,
    /// The drive ended.
    DriveEnded,
    /// The privacy state changed: what was recorded until then.
    PrivacyChanged,
    /// Another driver: what was recorded of the one before.
    DriverChanged,
    /// The supply fails: what there is must be on the disk before the unit is off.
    SupplyFails,
    /// The vehicle crashed, and the unit may be off in a moment: what there is so far. The whole clip
    /// follows.
    SoFar,
}

/// An order that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipOrder {
    /// The event that it was opened for.
    pub local: u64,
    /// Events that share it.
    pub shared_by: Vec<u64>,
    /// What they are.
    pub kind: EventKind,
    /// Which pictures.
    pub window: ClipWindow,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ClipOrders {
    config: ClipConfig,
    open: Vec<ClipOrder>,
}

impl ClipOrders {
    /// None.
    pub const fn new(config: ClipConfig) -> Self {
        Self { config, open: Vec::new() }
    }

    /// Orders the clip of a flagged event.
    pub fn order(&mut self, local: u64, event: &Event) -> ClipPlan {
        let Some((pre, post)) = self.config.rolls(event.kind) else { return ClipPlan::None };
        let max = secs(self.config.max_clip_s);
        for order in self.open.iter_mut().filter(|o| o.kind == event.kind) {
            let limit = order.window.from + max;
            let wanted = event.end + post;
            let to = wanted.min(limit).max(order.window.to);
            let begins_within = (order.window.from..=order.window.to).contains(&event.start);
            if begins_within && to >= event.end + post / 2 {
                order.window.to = to;
                order.shared_by.push(local);
                return ClipPlan::Shared { with: order.local, window: order.window };
            }
        }
        let to = event.end + post;
        let from = event.start.saturating_sub(pre).max(to.saturating_sub(max));
        let window = ClipWindow { from, to };
        self.open.push(ClipOrder { local, shared_by: Vec::new(), kind: event.kind, window });
        ClipPlan::Own(window)
    }

    /// Takes out the orders that can be cut at `now`, oldest first. `covered` says whether every
    /// camera's closed GOPs reach a time.
    pub fn take_due(
        &mut self,
        now: MonoTime,
        covered: impl Fn(MonoTime) -> bool,
    ) -> Vec<(ClipOrder, CutReason)> {
        let grace = secs(self.config.grace_s);
        let mut due = Vec::new();
        self.open.retain(|order| {
            let reason = if covered(order.window.to) {
                CutReason::Covered
            } else if now >= order.window.to + grace {
                CutReason::Deadline
            } else {
                return true;
            };
            due.push((order.clone(), reason));
            false
        });
        due
    }

    /// The orders that wait, oldest first.
    pub fn open(&self) -> &[ClipOrder] {
        &self.open
    }

    /// Takes out every order: nothing more will come.
    pub fn take_all(&mut self) -> Vec<ClipOrder> {
        std::mem::take(&mut self.open)
    }

    /// When the next order must be cut at the latest.
    pub fn deadline(&self) -> Option<MonoTime> {
        self.open.iter().map(|o| o.window.to + secs(self.config.grace_s)).min()
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::events::Severity;

    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    fn event(kind: EventKind, start: f64, end: f64) -> Event {
        Event {
            kind,
            start: t(start),
            end: t(end),
            severity: Severity::Low,
            confidence: 1.0,
            rule: "test/1",
            numbers: vec![],
        }
    }

    fn window(from: f64, to: f64) -> ClipWindow {
        ClipWindow { from: t(from), to: t(to) }
    }

    #[test]
    fn windows() {
        use EventKind::{DriverSaved, HarshBraking, Speeding};
        for (kind, start, end, expected) in [
            (HarshBraking, 100.0, 100.3, window(90.0, 105.3)),
            (Speeding, 100.0, 130.0, window(90.0, 135.0)),
            (DriverSaved, 100.0, 100.0, window(70.0, 130.0)),
            (HarshBraking, 4.0, 4.3, window(0.0, 9.3)),
            (Speeding, 100.0, 190.0, window(135.0, 195.0)),
        ] {
            let plan = ClipOrders::new(ClipConfig::default()).order(0, &event(kind, start, end));
            assert_eq!(plan, ClipPlan::Own(expected), "{kind}");
        }
    }

    #[test]
    fn the_same_kind_within_the_window_shares_the_clip() {
        let mut orders = ClipOrders::new(ClipConfig::default());
        let brake = |at| event(EventKind::HarshBraking, at, at + 0.3);
        assert_eq!(orders.order(0, &brake(100.0)), ClipPlan::Own(window(90.0, 105.3)));
        let shared = |to| ClipPlan::Shared { with: 0, window: window(90.0, to) };
        assert_eq!(orders.order(1, &brake(104.0)), shared(109.3));
        // Another kind does not share.
        let corner = event(EventKind::HarshCornering, 104.0, 104.3);
        assert_eq!(orders.order(2, &corner), ClipPlan::Own(window(94.0, 109.3)));
        for (n, at) in (3..).zip([109.0, 114.0, 119.0, 124.0, 129.0, 134.0, 139.0, 144.0]) {
            assert_eq!(orders.order(n, &brake(at)), shared(at + 5.3), "{at}");
        }
        // Half a post-roll still fits, less does not.
        assert_eq!(orders.order(11, &brake(147.0)), shared(150.0));
        assert_eq!(orders.order(12, &brake(148.0)), ClipPlan::Own(window(138.0, 153.3)));
        let all = orders.take_all();
        assert_eq!(all.len(), 3);
        assert_eq!(all.first().map(|o| o.shared_by.len()), Some(10));
    }

    #[test]
    fn a_button_pressed_over_and_over_makes_few_clips() {
        let mut orders = ClipOrders::new(ClipConfig::default());
        let own = (0..60_u32)
            .map(|s| f64::from(s) + 100.0)
            .filter(|&s| {
                let plan = orders.order(0, &event(EventKind::DriverSaved, s, s));
                matches!(plan, ClipPlan::Own(_))
            })
            .count();
        assert_eq!(own, 4);
    }

    #[test]
    fn cut_when_covered_or_late() {
        let mut orders = ClipOrders::new(ClipConfig::default());
        orders.order(0, &event(EventKind::HarshBraking, 100.0, 100.3));
        orders.order(1, &event(EventKind::Microsleep, 110.0, 111.0));
        assert_eq!(orders.deadline(), Some(t(108.3)));
        let mut due = |now, covered_to| {
            let due = orders.take_due(t(now), |to| to <= t(covered_to));
            due.into_iter().map(|(o, r)| (o.local, r)).collect::<Vec<_>>()
        };
        assert_eq!(due(106.0, 105.0), []);
        assert_eq!(due(106.1, 106.0), [(0, CutReason::Covered)]);
        assert_eq!(due(118.9, 106.0), []);
        assert_eq!(due(119.0, 106.0), [(1, CutReason::Deadline)]);
        assert_eq!(due(200.0, 200.0), []);
        assert_eq!(orders.deadline(), None);
    }
}
