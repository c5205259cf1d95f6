//! Warn first, then flag; and what the privacy state allows.
//!
//! | finding | alert in the cab | flagged |
//! |---|---|---|
//! | harsh motion | no | at once |
//! | speeding | voice after 20 s | after 30 s |
//! | microsleep, sleep | yes | at once |
//! | long distraction | yes | if it goes on 2 s after the alert, or is the third in 10 min |
//! | the driver's button | no | at once |
//!
//! A third distraction in 10 min is flagged and starts the count anew, so that three make one.
//!
//! INVARIANT: nothing is flagged but in [`PrivacyState::Recording`], and nothing alerts in
//! [`PrivacyState::Off`].

use std::collections::VecDeque;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    attention::Episode,
    config::{PolicyConfig, secs},
};

/// What the driver agreed to, as the lamp shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrivacyState {
    /// Nothing runs.
    Off,
    /// Alerts in the cab; nothing is flagged and nothing recorded.
    AiWithoutRecording,
    /// Alerts, and flagged events are recorded.
    Recording,
}

/// What is said in the cab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// Eyes on the road.
    Distraction,
    /// Over the limit.
    Speeding,
    /// Eyes closed.
    Microsleep,
    /// Asleep: the loudest.
    Sleep,
}

/// An alert in the cab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What is said.
    pub kind: AlertKind,
    /// The time of the sample that decided it.
    pub at: MonoTime,
}

/// What a detector found on one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An event that needs no warning first.
    Event(Event),
    /// Speeding for long enough to be told.
    SpeedingVoice(MonoTime),
    /// A look off the road is too long and goes on.
    Distraction(Episode),
    /// The driver pressed the button.
    Button(MonoTime),
}

/// What to do about a finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Say this.
    pub alert: Option<Alert>,
    /// Keep this.
    pub flag: Option<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Warned {
    episode: MonoTime,
    off_for_at_alert: std::time::Duration,
    flagged: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Policy {
    config: PolicyConfig,
    privacy: PrivacyState,
    warned: Option<Warned>,
    recent: VecDeque<MonoTime>,
    pressed: Option<MonoTime>,
}

impl Policy {
    /// With no history.
    pub const fn new(config: PolicyConfig, privacy: PrivacyState) -> Self {
        Self { config, privacy, warned: None, recent: VecDeque::new(), pressed: None }
    }

    /// Decides what is said and what is kept.
    pub fn decide(&mut self, finding: Finding) -> Decision {
        let decision = match finding {
            Finding::Event(event) => Decision { alert: alert_for(&event), flag: Some(event) },
            Finding::SpeedingVoice(at) => {
                Decision { alert: Some(Alert { kind: AlertKind::Speeding, at }), flag: None }
            }
            Finding::Distraction(episode) => self.distraction(&episode),
            Finding::Button(at) => Decision { alert: None, flag: self.button(at) },
        };
        match self.privacy {
            PrivacyState::Off => Decision::default(),
            PrivacyState::AiWithoutRecording => Decision { flag: None, ..decision },
            PrivacyState::Recording => decision,
        }
    }

    fn distraction(&mut self, episode: &Episode) -> Decision {
        let Some(warned) = self.warned.as_mut().filter(|w| w.episode == episode.start) else {
            return self.warn(episode);
        };
        let ignored_for = episode.off_for.saturating_sub(warned.off_for_at_alert);
        let flag = !warned.flagged && ignored_for >= secs(self.config.flag_after_alert_s);
        warned.flagged |= flag;
        Decision {
            alert: None,
            flag: flag.then(|| flagged(episode, "ignored_for", ignored_for.as_secs_f64(), "s")),
        }
    }

    fn warn(&mut self, episode: &Episode) -> Decision {
        let within = secs(self.config.repeats_within_s);
        self.recent.retain(|&alert| episode.at.since(alert) <= within);
        self.recent.push_back(episode.at);
        let repeats = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let flag = repeats >= self.config.repeats;
        if flag {
            self.recent.clear();
        }
        self.warned = Some(Warned {
            episode: episode.start,
            off_for_at_alert: episode.off_for,
            flagged: flag,
        });
        Decision {
            alert: Some(Alert { kind: AlertKind::Distraction, at: episode.at }),
            flag: flag.then(|| flagged(episode, "repeats", f64::from(repeats), "")),
        }
    }

    fn button(&mut self, at: MonoTime) -> Option<Event> {
        let bounce =
            self.pressed.is_some_and(|last| at.since(last) < secs(self.config.button_debounce_s));
        self.pressed = Some(at);
        (!bounce).then(|| Event {
            kind: EventKind::DriverSaved,
            start: at,
            end: at,
            // What a driver asks to keep is not thrown away for a fleet's statistics.
            severity: Severity::High,
            confidence: 1.0,
            rule: "driver_saved/1",
            numbers: Vec::new(),
        })
    }
}

fn flagged(episode: &Episode, why: &str, value: f64, unit: &str) -> Event {
    let mut event = episode.to_event();
    event.numbers.push(Number::new(why, value, unit));
    event
}

fn alert_for(event: &Event) -> Option<Alert> {
    let kind = match event.kind {
        EventKind::Microsleep => AlertKind::Microsleep,
        EventKind::Sleep => AlertKind::Sleep,
        EventKind::HarshBraking
        | EventKind::HarshAcceleration
        | EventKind::HarshCornering
        | EventKind::Speeding
        | EventKind::LongDistraction
        | EventKind::DriverSaved => return None,
    };
    Some(Alert { kind, at: event.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    fn episode(start: f64, at: f64) -> Finding {
        Finding::Distraction(Episode {
            start: t(start),
            at: t(at),
            off_for: secs(at - start),
            allowed: secs(3.5),
            speed_mps: 25.0,
            confidence: 0.8,
        })
    }

    /// Feeds episodes as (start, seconds off the road) at 10 Hz; gives (alerts, flags) as seconds.
    fn run(privacy: PrivacyState, episodes: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
        let mut policy = Policy::new(PolicyConfig::default(), privacy);
        let (mut alerts, mut flags) = (Vec::new(), Vec::new());
        for &(start, off) in episodes {
            for tenth in (35..).map(|n| f64::from(n) / 10.0).take_while(|&s| s <= off) {
                let d = policy.decide(episode(start, start + tenth));
                alerts.extend(d.alert.map(|_| start + tenth));
                flags.extend(d.flag.map(|_| start + tenth));
            }
        }
        (alerts, flags)
    }

    #[test]
    fn warned_first_flagged_if_ignored() {
        use PrivacyState::{AiWithoutRecording, Off, Recording};
        assert_eq!(run(Recording, &[(10.0, 5.0)]), (vec![13.5], vec![]));
        assert_eq!(run(Recording, &[(10.0, 9.0)]), (vec![13.5], vec![15.5]));
        assert_eq!(run(AiWithoutRecording, &[(10.0, 9.0)]), (vec![13.5], vec![]));
        assert_eq!(run(Off, &[(10.0, 9.0)]), (vec![], vec![]));
    }

    #[test]
    fn the_third_in_ten_minutes_is_flagged_at_once_and_counts_anew() {
        let every =
            |gap: f64, n: u32| (0..n).map(|i| (f64::from(i) * gap, 4.0)).collect::<Vec<_>>();
        let flags = |episodes: &[_]| run(PrivacyState::Recording, episodes).1;
        assert_eq!(flags(&every(200.0, 6)), [403.5, 1003.5]);
        assert_eq!(flags(&every(301.0, 6)), [0.0; 0]);
        // Flagged as the third, and not again for going on.
        let mut long = every(100.0, 3);
        if let Some(last) = long.last_mut() {
            last.1 = 9.0;
        }
        assert_eq!(flags(&long), [203.5]);
    }

    #[test]
    fn the_button_saves_only_while_recording_and_does_not_bounce() {
        for (privacy, saved) in [
            (PrivacyState::Off, 0),
            (PrivacyState::AiWithoutRecording, 0),
            (PrivacyState::Recording, 2),
        ] {
            let mut policy = Policy::new(PolicyConfig::default(), privacy);
            let flags = [5.0, 5.05, 5.3, 9.0]
                .into_iter()
                .filter_map(|s| policy.decide(Finding::Button(t(s))).flag)
                .count();
            assert_eq!(flags, saved, "{privacy:?}");
        }
    }
}
