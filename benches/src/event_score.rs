//! Events of clips against those that are labelled.
//!
//! A clip of seconds says nothing of rules that count over a minute. So what was seen in a clip without
//! a labelled event is also judged as if it went on for ten minutes, over and over. That shows what the
//! rules make of it; it is no new evidence of what perception sees.

use temoin_proto::{events::EventKind, samples::CameraId};

use crate::{
    figures::Figure,
    labels::EventLabel,
    packs::Pack,
    perception::Scores,
    watch::{self, Clip, Outcome},
};

/// The distractions of a driver.
const DISTRACTION: [EventKind; 1] = [EventKind::LongDistraction];
/// Closed eyes.
const CLOSURE: [EventKind; 2] = [EventKind::Microsleep, EventKind::Sleep];
/// How long a clip is looped, seconds.
const LOOPED_S: f64 = 600.0;

impl Scores<'_> {
    /// Events per clip, and the false ones over all of them.
    pub(crate) fn events(
        &mut self,
        pack: Pack,
        truth: &[EventLabel],
        watched: &[(&Clip, Outcome)],
    ) {
        let end = pack.end();
        if watched.is_empty() {
            self.note(format!("perception.false_events_per_hour{end}: no clip was watched"));
            return;
        }
        let (mut wrong, mut length_s) = (0, 0.0);
        for (clip, outcome) in watched {
            length_s += outcome.length_s;
            for (kind, at_s) in &outcome.events {
                if !truth.iter().any(|t| t.is(&clip.name, *kind, *at_s)) {
                    wrong += 1;
                    self.note(format!(
                        "false event, {}: {} at {at_s:.1} s of {}",
                        pack.suffix(),
                        kind.as_str(),
                        clip.name
                    ));
                }
            }
            if clip.camera == CameraId::Cabin {
                for (what, kinds) in
                    [("long_distraction", &DISTRACTION[..]), ("eye_closure", &CLOSURE[..])]
                {
                    self.push(Figure::new(
                        format!("events.clip.{}.{what}{end}", clip.name),
                        outcome.count(kinds) as f64,
                        "events",
                        outcome.sights.len(),
                        format!("{} at a steady 90 km/h", clip.name),
                    ));
                }
            }
        }
        let set =
            format!("{} clips, {length_s:.0} s in all, but for labelled events", watched.len());
        self.rate(&format!("perception.false_events_per_hour{end}"), wrong, length_s, set);

        let (mut wrong, mut length_s, mut names) = (0, 0.0, Vec::new());
        for (clip, outcome) in watched {
            if truth.iter().any(|t| t.recording == clip.name) || outcome.sights.is_empty() {
                continue;
            }
            let looped = watch::looped(outcome, LOOPED_S);
            wrong += looped.events.len();
            length_s += looped.length_s;
            names.push(clip.name.as_str());
            for (kind, at_s) in &looped.events {
                self.note(format!(
                    "false event, {}: {} at {at_s:.1} s of {}, looped",
                    pack.suffix(),
                    kind.as_str(),
                    clip.name
                ));
            }
        }
        if names.is_empty() {
            self.note(format!(
                "perception.false_events_per_hour.looped{end}: every clip has labelled events"
            ));
            return;
        }
        let set = format!(
            "{}, each looped to {LOOPED_S:.0} s: the rules' figure, no new pictures",
            names.join(", ")
        );
        self.rate(&format!("perception.false_events_per_hour.looped{end}"), wrong, length_s, set);
    }

    fn rate(&mut self, name: &str, events: usize, length_s: f64, set: String) {
        let rate = events as f64 * 3600.0 / length_s.max(1.0);
        self.push(Figure::new(name.to_owned(), rate, "1/h", events, set).goal("0"));
    }
}
