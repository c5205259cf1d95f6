//! Drowsiness: PERCLOS of 15 % and more (literature value), said once until the driver recovered.
//!
//! Yawns are counted and told with it; alone they are no event. A PERCLOS that is unknown says
//! nothing and lets nothing be said again.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{DrowsinessConfig, KMH_TO_MPS, secs},
    lids::Lids,
    perclos::{Perclos, PerclosReading},
    seen_timer::{Reading, SeenTimer},
};

/// The rule's name in events.
pub const RULE: &str = "drowsiness/1";

/// From here it is severe. Own choice: twice the threshold of the literature.
const HIGH_PERCENT: f64 = 30.0;

/// Counts yawns: a mouth seen wide open for long enough.
#[derive(Clone, Debug)]
pub struct Yawns {
    wide: f64,
    lasts: Duration,
    within: Duration,
    gap: Duration,
    timer: SeenTimer<()>,
    /// When each began, oldest first.
    began: VecDeque<MonoTime>,
}

impl Yawns {
    /// None yet.
    pub fn new(config: &DrowsinessConfig) -> Self {
        let gap = secs(config.gap_s);
        Self {
            wide: config.yawn_opening,
            lasts: secs(config.yawn_s),
            within: secs(config.yawns_within_s),
            gap,
            timer: SeenTimer::new(gap, gap),
            began: VecDeque::new(),
        }
    }

    /// Takes the mouth's opening, where it was seen surely, with its confidence.
    pub fn step(&mut self, at: MonoTime, mouth: Option<(f64, f32)>) {
        let reading = match mouth {
            Some((opening, confidence)) if opening >= self.wide => Reading::Active(confidence),
            Some(_) | None => Reading::Rest { state: (), tolerance: self.gap },
        };
        self.began.retain(|began| at.since(*began) <= self.within);
        let yawn = self.timer.step(at, reading).filter(|elapsed| elapsed.seen_for >= self.lasts);
        if let Some(elapsed) = yawn.filter(|e| self.began.back() != Some(&e.start)) {
            self.began.push_back(elapsed.start);
        }
    }

    /// Yawns that began within the last minutes.
    pub fn count(&self) -> u32 {
        u32::try_from(self.began.len()).unwrap_or(u32::MAX)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Drowsiness {
    config: DrowsinessConfig,
    perclos: Perclos,
    yawns: Yawns,
    said: Option<MonoTime>,
}

impl Drowsiness {
    /// Awake.
    pub fn new(config: &DrowsinessConfig) -> Self {
        Self {
            config: config.clone(),
            perclos: Perclos::new(config),
            yawns: Yawns::new(config),
            said: None,
        }
    }

    /// Takes the lids and the mouth of one picture, whether it ended a blink, and the speed then.
    /// Slow or of unknown speed, the eyes count as not seen.
    pub fn step(
        &mut self,
        at: MonoTime,
        lids: Lids,
        blinked: bool,
        mouth: Option<(f64, f32)>,
        speed_mps: Option<f64>,
    ) -> Option<Event> {
        let moving = speed_mps.is_some_and(|v| v >= self.config.min_speed_kmh * KMH_TO_MPS);
        self.perclos.step(at, if moving { lids } else { Lids::Unknown }, blinked && moving);
        self.yawns.step(at, mouth.filter(|_| moving));
        let reading = self.perclos.reading()?;
        if reading.percent < self.config.perclos_rearm_percent
            || self.said.is_some_and(|said| at.since(said) >= secs(self.config.perclos_repeat_s))
        {
            self.said = None;
        }
        // Only a picture that saw the eyes, moving, decides.
        let speed_mps = speed_mps.filter(|_| moving && lids != Lids::Unknown)?;
        if reading.percent < self.config.perclos_percent || self.said.is_some() {
            return None;
        }
        self.said = Some(at);
        Some(self.event(at, &reading, speed_mps))
    }

    /// PERCLOS now; none where too little was seen.
    pub fn perclos(&self) -> Option<PerclosReading> {
        self.perclos.reading()
    }

    /// Yawns within the last minutes.
    pub fn yawns(&self) -> u32 {
        self.yawns.count()
    }

    fn event(&self, at: MonoTime, reading: &PerclosReading, speed_mps: f64) -> Event {
        let c = &self.config;
        let within = at.since(reading.since);
        Event {
            kind: EventKind::Drowsiness,
            start: reading.since.min(at),
            end: at,
            severity: if reading.percent < HIGH_PERCENT {
                Severity::Medium
            } else {
                Severity::High
            },
            // How much of the time the eyes were seen at all.
            confidence: confidence(reading.seen_for, within),
            rule: RULE,
            numbers: vec![
                Number::new("perclos", reading.percent, "%"),
                Number::new("threshold", c.perclos_percent, "%"),
                Number::new("seen", reading.seen_for.as_secs_f64(), "s"),
                Number::new("within", within.as_secs_f64(), "s"),
                Number::new("blink_rate", reading.blinks_per_min, "/min"),
                Number::new("yawns", f64::from(self.yawns.count()), ""),
                Number::new("speed", speed_mps / KMH_TO_MPS, "km/h"),
            ],
        }
    }
}

/// 0.5 where the eyes were seen for a third of the time, which is the least; 0.9 where always.
fn confidence(seen: Duration, within: Duration) -> f32 {
    let always = seen.as_secs_f32() >= within.as_secs_f32() * 0.9;
    let mostly = seen.as_secs_f32() >= within.as_secs_f32() * 0.6;
    if always {
        0.9
    } else if mostly {
        0.7
    } else {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Lids = Lids::Closed { confidence: 0.9 };

    /// Seconds of the events of so many at 10 Hz.
    fn said(
        seconds: u32,
        kmh: impl Fn(f64) -> Option<f64>,
        lids: impl Fn(f64) -> Lids,
    ) -> Vec<f64> {
        let mut drowsiness = Drowsiness::new(&DrowsinessConfig::default());
        (0..seconds * 10)
            .map(|n| f64::from(n) / 10.0)
            .filter(|&s| {
                let at = MonoTime::from_secs_f64(s);
                let speed = kmh(s).map(|v| v * KMH_TO_MPS);
                drowsiness.step(at, lids(s), false, None, speed).is_some()
            })
            .collect()
    }

    /// Closed for 1.2 s in every `period_s`.
    fn droops(period_s: f64) -> impl Fn(f64) -> Lids {
        move |s| if (s + 0.03) % period_s < 1.2 { CLOSED } else { Lids::Open }
    }

    #[test]
    fn said_at_fifteen_percent_of_a_minute_of_seen_eyes() {
        let fast = |_| Some(90.0);
        let at = said(200, fast, droops(6.0));
        assert!(at.len() == 1 && (60.0..62.0).contains(&at[0]), "{at:?}");
        assert_eq!(said(200, fast, droops(10.0)), [0.0; 0]);
        assert_eq!(said(200, fast, |_| Lids::Open), [0.0; 0]);
    }

    #[test]
    fn said_again_after_recovery_or_ten_minutes() {
        let fast = |_| Some(90.0);
        let at = said(700, fast, droops(6.0));
        assert!(at.len() == 2 && (660.0..663.0).contains(&at[1]), "{at:?}");
        // A pause of two minutes awake, then drowsy again.
        let twice = |s: f64| if (80.0..200.0).contains(&s) { Lids::Open } else { droops(5.0)(s) };
        assert_eq!(said(400, fast, twice).len(), 2);
        // Unseen is no recovery.
        let hidden =
            |s: f64| if (80.0..200.0).contains(&s) { Lids::Unknown } else { droops(5.0)(s) };
        assert_eq!(said(400, fast, hidden).len(), 1);
    }

    #[test]
    fn a_nap_in_the_yard_or_without_a_speed_is_none() {
        assert_eq!(said(200, |_| Some(0.0), |_| CLOSED), [0.0; 0]);
        assert_eq!(said(200, |_| None, |_| CLOSED), [0.0; 0]);
        // At a long red light the eyes rest.
        let light = |s: f64| Some(if (70.0..130.0).contains(&s) { 0.0 } else { 50.0 });
        let rests = |s: f64| if (70.0..130.0).contains(&s) { CLOSED } else { Lids::Open };
        assert_eq!(said(200, light, rests), [0.0; 0]);
    }

    #[test]
    fn yawns_are_counted_once_and_forgotten() {
        let mut yawns = Yawns::new(&DrowsinessConfig::default());
        let mut most = 0;
        for n in 0..6000_u32 {
            let s = f64::from(n) / 10.0;
            let mouth = match s {
                // Two yawns, speech, a short gape, one not seen well.
                s if (10.0..15.0).contains(&s) || (40.0..43.0).contains(&s) => Some((0.7, 0.9)),
                s if (50.0..80.0).contains(&s) => Some((0.35, 0.9)),
                s if (90.0..91.5).contains(&s) => Some((0.9, 0.9)),
                s if (100.0..110.0).contains(&s) => None,
                _ => Some((0.05, 0.9)),
            };
            yawns.step(MonoTime::from_secs_f64(s), mouth);
            most = most.max(yawns.count());
        }
        assert_eq!((most, yawns.count()), (2, 0));
    }
}
