//! Warn first, then flag; and what the privacy state allows.
//!
//! | finding | alert in the cab | flagged |
//! |---|---|---|
//! | collision, rollover, harsh motion, rolling stop, idling | no | at once |
//! | speeding | voice after 20 s | after 30 s |
//! | microsleep, sleep, unresponsive, drowsiness | yes | at once |
//! | seat belt off | after 50 s | after 60 s |
//! | long or repeated distraction, phone in hand, following too close | yes | if it goes on 2 s after the alert, or is the third of its kind in 10 min |
//! | the driver's button | no | at once |
//!
//! A third one in 10 min is flagged and starts the count of its kind anew, so that three make one.
//!
//! INVARIANT: nothing is flagged but in [`PrivacyState::Recording`], and nothing alerts in
//! [`PrivacyState::Off`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::config::{PolicyConfig, secs};

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
    /// Eyes on the road: many short looks away.
    RepeatedDistraction,
    /// Put the phone away.
    Phone,
    /// Over the limit.
    Speeding,
    /// Keep your distance.
    Following,
    /// Fasten your belt.
    SeatBelt,
    /// Take a break.
    Drowsiness,
    /// Eyes closed.
    Microsleep,
    /// Asleep: the loudest but one.
    Sleep,
    /// Eyes closed for so long that nobody may be there to hear it: the loudest.
    Unresponsive,
}

/// An alert in the cab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What is said.
    pub kind: AlertKind,
    /// The time of the sample that decided it.
    pub at: MonoTime,
}

/// Something that draws the driver's attention off, has gone on for too long and still does. Its
/// kind and start name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The event as it is now; it ends with the picture that saw it last.
    pub event: Event,
    /// Seen for this long.
    pub lasted: Duration,
}

/// What a detector found on one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An event that needs no warning first.
    Event(Event),
    /// This is to be told, and is no event yet.
    Voice(Alert),
    /// Warn first: a look off the road, a phone or a short headway goes on.
    Attention(Episode),
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

/// What was said of one kind.
#[derive(Clone, Debug, Default)]
struct Said {
    /// The episode that was warned of last, and how long it had lasted then.
    episode: Option<(MonoTime, Duration)>,
    flagged: bool,
    /// Warnings of the last minutes.
    recent: VecDeque<MonoTime>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Policy {
    config: PolicyConfig,
    privacy: PrivacyState,
    said: BTreeMap<EventKind, Said>,
    pressed: Option<MonoTime>,
}

impl Policy {
    /// With no history.
    pub const fn new(config: PolicyConfig, privacy: PrivacyState) -> Self {
        Self { config, privacy, said: BTreeMap::new(), pressed: None }
    }

    /// Decides what is said and what is kept.
    pub fn decide(&mut self, finding: Finding) -> Decision {
        let decision = match finding {
            Finding::Event(event) => Decision { alert: alert_for(&event), flag: Some(event) },
            Finding::Voice(alert) => Decision { alert: Some(alert), flag: None },
            Finding::Attention(episode) => self.attention(episode),
            Finding::Button(at) => Decision { alert: None, flag: self.button(at) },
        };
        match self.privacy {
            PrivacyState::Off => Decision::default(),
            PrivacyState::AiWithoutRecording => Decision { flag: None, ..decision },
            PrivacyState::Recording => decision,
        }
    }

    fn attention(&mut self, episode: Episode) -> Decision {
        let Episode { mut event, lasted } = episode;
        let said = self.said.entry(event.kind).or_default();
        if let Some((_, at_alert)) = said.episode.filter(|(start, _)| *start == event.start) {
            let ignored_for = lasted.saturating_sub(at_alert);
            let flag = !said.flagged && ignored_for >= secs(self.config.flag_after_alert_s);
            said.flagged |= flag;
            event.numbers.push(Number::new("ignored_for", ignored_for.as_secs_f64(), "s"));
            return Decision { alert: None, flag: flag.then_some(event) };
        }
        let within = secs(self.config.repeats_within_s);
        said.recent.retain(|&alert| event.end.since(alert) <= within);
        said.recent.push_back(event.end);
        let repeats = u32::try_from(said.recent.len()).unwrap_or(u32::MAX);
        let flag = repeats >= self.config.repeats;
        if flag {
            said.recent.clear();
        }
        said.episode = Some((event.start, lasted));
        said.flagged = flag;
        let alert = alert_for(&event);
        event.numbers.push(Number::new("repeats", f64::from(repeats), ""));
        Decision { alert, flag: flag.then_some(event) }
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

fn alert_for(event: &Event) -> Option<Alert> {
    let kind = match event.kind {
        EventKind::LongDistraction => AlertKind::Distraction,
        EventKind::RepeatedDistraction => AlertKind::RepeatedDistraction,
        EventKind::PhoneInHand => AlertKind::Phone,
        EventKind::Drowsiness => AlertKind::Drowsiness,
        EventKind::Microsleep => AlertKind::Microsleep,
        EventKind::Sleep => AlertKind::Sleep,
        EventKind::Unresponsive => AlertKind::Unresponsive,
        EventKind::FollowingTooClose => AlertKind::Following,
        EventKind::SeatBelt => AlertKind::SeatBelt,
        EventKind::Collision
        | EventKind::Rollover
        | EventKind::RollingStop
        | EventKind::Idling
        | EventKind::HarshBraking
        | EventKind::HarshAcceleration
        | EventKind::HarshCornering
        | EventKind::Speeding
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

    fn episode(kind: EventKind, start: f64, at: f64) -> Finding {
        let event = Event {
            kind,
            start: t(start),
            end: t(at),
            severity: Severity::High,
            confidence: 0.8,
            rule: "test/1",
            numbers: Vec::new(),
        };
        Finding::Attention(Episode { event, lasted: secs(at - start) })
    }

    /// Feeds episodes as (start, seconds off the road) at 10 Hz; gives (alerts, flags) as seconds.
    fn run(privacy: PrivacyState, episodes: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
        let mut policy = Policy::new(PolicyConfig::default(), privacy);
        let (mut alerts, mut flags) = (Vec::new(), Vec::new());
        for &(start, off) in episodes {
            for tenth in (35..).map(|n| f64::from(n) / 10.0).take_while(|&s| s <= off) {
                let d = policy.decide(episode(EventKind::LongDistraction, start, start + tenth));
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
    fn each_kind_is_warned_of_and_counted_by_itself() {
        let mut policy = Policy::new(PolicyConfig::default(), PrivacyState::Recording);
        let kinds = [
            (EventKind::LongDistraction, AlertKind::Distraction),
            (EventKind::RepeatedDistraction, AlertKind::RepeatedDistraction),
            (EventKind::PhoneInHand, AlertKind::Phone),
        ];
        for round in 0..3_u32 {
            for (kind, alert) in kinds {
                let start = f64::from(round) * 60.0;
                let first = policy.decide(episode(kind, start, start + 4.0));
                assert_eq!(first.alert.map(|a| a.kind), Some(alert));
                // Two kinds at once do not take each other's warning for their own.
                assert_eq!(first.flag.map(|e| e.kind), (round == 2).then_some(kind));
            }
        }
        let again = policy.decide(episode(EventKind::PhoneInHand, 120.0, 126.1));
        assert_eq!(again, Decision::default(), "flagged already");
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
