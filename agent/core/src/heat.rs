//! How often pictures are analysed when the machine is hot or cannot keep up.
//!
//! | pace | road pictures | cabin pictures | then |
//! |---|---|---|---|
//! | full | all that are due | all that are due | |
//! | road first | every second one | all | headway is known half as often |
//! | half | every fourth one | every second one | an alert comes up to a fifth of a second later |
//! | least | every fourth one | every fourth one | gaps between looks are longer than detectors bridge: distraction and drowsiness are mostly not noticed |
//!
//! INVARIANT: only analysis is slowed. The ring records every picture, and what the motion sensor says (a
//! collision, harsh driving) is not touched.
//! INVARIANT: one step at a time, each after the one before had time to work; back a step where it is
//! cooler by a margin and has kept up for so long.

use std::time::Duration;

use temoin_proto::time::MonoTime;

use crate::config::{HeatConfig, secs};

/// How long a step has until the next one: a heat sink follows within a minute. Own choice.
const STEP_HELD: Duration = Duration::from_secs(30);
/// How long a loop must lag behind. Own choice: longer than a model takes to load.
const LAG_HELD: Duration = Duration::from_secs(10);

/// How often pictures are analysed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// As configured.
    #[default]
    Full,
    /// Fewer road pictures.
    RoadFirst,
    /// Fewer of both.
    Half,
    /// As few as are of any use.
    Least,
}

impl Pace {
    /// One of so many pictures that are due is analysed, of the road and of the cabin.
    pub const fn one_of(self) -> (u32, u32) {
        match self {
            Self::Full => (1, 1),
            Self::RoadFirst => (2, 1),
            Self::Half => (4, 2),
            // No fewer: without a look at others for a second, pictures are blurred as a whole.
            Self::Least => (4, 4),
        }
    }

    const fn slower(self) -> Self {
        match self {
            Self::Full => Self::RoadFirst,
            Self::RoadFirst => Self::Half,
            Self::Half | Self::Least => Self::Least,
        }
    }

    const fn quicker(self) -> Self {
        match self {
            Self::Full | Self::RoadFirst => Self::Full,
            Self::Half => Self::RoadFirst,
            Self::Least => Self::Half,
        }
    }
}

/// Why it is slowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// The hottest sensor, degrees Celsius.
    Hot(f64),
    /// Pictures wait longer than `most_lag_s` for the unit's loop.
    Behind,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Heat {
    config: HeatConfig,
    pace: Pace,
    /// The hottest sensor, degrees Celsius; none where there is none.
    hottest_c: Option<f64>,
    /// Since when pictures wait too long.
    behind_since: Option<MonoTime>,
    /// Since when they do not.
    kept_up_since: Option<MonoTime>,
    changed_at: Option<MonoTime>,
}

impl Heat {
    /// Cool, and keeping up.
    pub const fn new(config: HeatConfig) -> Self {
        Self {
            config,
            pace: Pace::Full,
            hottest_c: None,
            behind_since: None,
            kept_up_since: None,
            changed_at: None,
        }
    }

    /// How often pictures are analysed now.
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// The hottest sensor of the machine; none where none answers.
    pub const fn hottest(&mut self, celsius: Option<f64>) {
        self.hottest_c = celsius;
    }

    /// How long a picture waited for the unit's loop.
    pub fn waited(&mut self, now: MonoTime, lag: Duration) {
        if lag > secs(self.config.most_lag_s) {
            self.behind_since.get_or_insert(now);
            self.kept_up_since = None;
        } else {
            self.kept_up_since.get_or_insert(now);
            self.behind_since = None;
        }
    }

    /// A new pace, where it is to change by now, and why it is not full.
    pub fn step(&mut self, now: MonoTime) -> Option<(Pace, Option<Why>)> {
        if self.changed_at.is_some_and(|at| now.since(at) < STEP_HELD) {
            return None;
        }
        let c = &self.config;
        let hot = self.hottest_c.filter(|hottest| *hottest >= c.slow_from_c).map(Why::Hot);
        let held = |since: Option<MonoTime>, for_so_long| {
            since.is_some_and(|since| now.since(since) >= for_so_long)
        };
        let behind = held(self.behind_since, LAG_HELD).then_some(Why::Behind);
        let why = hot.or(behind);
        let cool = self.hottest_c.is_none_or(|hottest| hottest < c.slow_from_c - c.cooler_by_c);
        let well = cool && held(self.kept_up_since, STEP_HELD);
        let pace = match why {
            Some(_) => self.pace.slower(),
            None if well => self.pace.quicker(),
            None => self.pace,
        };
        if pace == self.pace {
            return None;
        }
        (self.pace, self.changed_at) = (pace, Some(now));
        Some((pace, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(s)
    }

    /// The paces of so many seconds, each with the second in which it began.
    fn paces(
        heat: &mut Heat,
        seconds: std::ops::Range<u64>,
        celsius: Option<f64>,
        lag_ms: u64,
    ) -> Vec<(u64, Pace)> {
        let mut paces = Vec::new();
        for s in seconds {
            heat.hottest(celsius);
            heat.waited(t(s), Duration::from_millis(lag_ms));
            paces.extend(heat.step(t(s)).map(|(pace, _)| (s, pace)));
        }
        paces
    }

    #[test]
    fn hot_slows_step_by_step_and_cool_brings_it_back() {
        let mut heat = Heat::new(HeatConfig::default());
        assert_eq!(paces(&mut heat, 0..100, Some(84.9), 5), []);
        let slower = [(100, Pace::RoadFirst), (130, Pace::Half), (160, Pace::Least)];
        assert_eq!(paces(&mut heat, 100..300, Some(85.0), 5), slower);
        // Within the margin it stays as it is.
        assert_eq!(paces(&mut heat, 300..400, Some(80.0), 5), []);
        let quicker = [(400, Pace::Half), (430, Pace::RoadFirst), (460, Pace::Full)];
        assert_eq!(paces(&mut heat, 400..600, Some(79.9), 5), quicker);
    }

    #[test]
    fn a_loop_that_lags_slows_and_a_hiccup_does_not() {
        let mut heat = Heat::new(HeatConfig::default());
        for round in 0..20 {
            assert_eq!(paces(&mut heat, round * 10..round * 10 + 9, None, 400), []);
            assert_eq!(paces(&mut heat, round * 10 + 9..round * 10 + 10, None, 10), []);
        }
        assert_eq!(paces(&mut heat, 200..215, None, 400), [(210, Pace::RoadFirst)]);
        assert_eq!(paces(&mut heat, 215..300, None, 10), [(245, Pace::Full)]);
    }

    #[test]
    fn without_a_sensor_nothing_is_hot() {
        let mut heat = Heat::new(HeatConfig::default());
        assert_eq!(paces(&mut heat, 0..1000, None, 1), []);
        assert_eq!(paces(&mut heat, 1000..2000, Some(f64::NAN), 1), []);
    }
}
