//! What the core commands, carried out: alerts and lamp, device health, and for a flagged event its
//! record and its clip, on their way to the sealing thread.

use std::time::{Duration, Instant};

use temoin_agent_core::{
    clip::ClipPlan,
    drive::{Command, Cut, Health, Lamp},
    policy::AlertKind,
    spool_plan::Standing,
};
use temoin_hw::device::{Alert as Tone, LampState};
use temoin_proto::{
    convert::EventRecord,
    events::{Event, EventKind},
    ids::{ClipId, EventId},
};

use super::{ClipJob, Flagged, Pipeline, SealJob, wall_at};
use crate::{
    config::Privacy,
    core_health,
    health::State,
    journal::{self, Entry},
};

/// How long what the encoders are still at is waited for after a crash.
const ENCODED_WITHIN: Duration = Duration::from_millis(100);
/// So long after a crash what there is is kept once more: by then the pictures of the crash itself have
/// waited for their blur ([`crate::privacy_blur`]).
const ONCE_MORE_AFTER: Duration = Duration::from_secs(1);

impl Pipeline {
    pub(super) fn carry_out(&mut self) {
        let mut crashed = false;
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Alert(alert) => {
                    self.metrics.alert();
                    let (tone, kind) = tone(alert.kind);
                    if let Err(e) = self.parts.speaker.play(tone) {
                        self.parts.health.set("speaker", State::Failed, e.to_string());
                    }
                    journal::write(&Entry::Alert { kind, at: self.since_zero(alert.at) });
                }
                Command::Flag { local, event, clip } => {
                    crashed |= Standing::of(event.kind, event.severity) == Standing::Crash;
                    self.flag(local, &event, clip);
                }
                Command::Cut(cut) => self.cut(cut),
                Command::Lamp(lamp) => {
                    let (state, privacy) = match lamp {
                        Lamp::Off => (LampState::Off, Privacy::Off),
                        Lamp::AlertsOnly => (LampState::AlertsOnly, Privacy::AiWithoutRecording),
                        Lamp::Recording => (LampState::Recording, Privacy::Recording),
                    };
                    self.parts.privacy_told.send_replace(privacy.as_str());
                    self.lamp = state;
                    self.show();
                }
                Command::Health(health) => {
                    core_health::report(&self.parts.health, health);
                    if matches!(health, Health::Mount(_)) {
                        self.keep_mount();
                    }
                }
            }
        }
        let now = self.parts.clock.now();
        if crashed {
            self.keep_once_more = Some(now + ONCE_MORE_AFTER);
            self.keep_so_far();
        } else if self.keep_once_more.is_some_and(|due| now >= due) {
            self.keep_once_more = None;
            self.keep_so_far();
        }
    }

    /// The unit may be off in a moment: what there is of the clips that wait goes to the disk.
    fn keep_so_far(&mut self) {
        let units = self.recorder.collect(ENCODED_WITHIN);
        self.ring(units);
        for cut in self.drive.so_far() {
            if let Some(ids) = self.flagged.get(&cut.local).copied() {
                self.send(SealJob::SoFar(self.clip_job(cut, ids)));
            }
        }
    }

    /// The lamp shows what runs; where nothing can, that.
    pub(super) fn show(&mut self) {
        let state =
            if self.blind && self.lamp != LampState::Off { LampState::Fault } else { self.lamp };
        if let Err(e) = self.parts.lamp.show(state) {
            self.parts.health.set("lamp", State::Failed, e.to_string());
        }
    }

    fn flag(&mut self, local: u64, event: &Event, plan: ClipPlan) {
        let id = EventId::new();
        let clip = match plan {
            ClipPlan::None => Err("no pictures are kept of this kind of event".to_owned()),
            ClipPlan::Own(_) => Ok(ClipId::default()),
            ClipPlan::Shared { with, .. } => {
                Ok(self.flagged.get(&with).map(|(_, clip, _)| *clip).unwrap_or_default())
            }
        };
        if let Ok(clip) = clip {
            self.flagged.insert(local, (id, clip, (event.start, event.end)));
        }
        if event.kind == EventKind::DriverSaved
            && let Err(e) = self.parts.speaker.play(Tone::Saved)
        {
            self.parts.health.set("speaker", State::Failed, e.to_string());
        }
        let now = (self.parts.clock.now(), self.parts.clock.wall());
        let start = wall_at(event.start, now);
        let record = EventRecord {
            id,
            kind: event.kind,
            start,
            end_unix_ms: wall_at(event.end, now).unix_ms.max(start.unix_ms),
            severity: event.severity,
            confidence: event.confidence.clamp(0.0, 1.0),
            rule: event.rule.to_owned(),
            numbers: event.numbers.clone(),
            clip,
        };
        let (start, end) = (self.since_zero(event.start), self.since_zero(event.end));
        journal::write(&Entry::Event { record: &record, start, end });
        self.send(SealJob::Event(record));
    }

    fn cut(&mut self, cut: Cut) {
        for shared in &cut.shared_by {
            self.flagged.remove(shared);
        }
        let Some(ids) = self.flagged.remove(&cut.local) else { return };
        self.send(SealJob::Clip(self.clip_job(cut, ids)));
    }

    fn clip_job(&self, cut: Cut, (event, clip, event_span): Flagged) -> Box<ClipJob> {
        Box::new(ClipJob {
            clip,
            event,
            event_span,
            cut,
            streams: self.recorder.streams().clone(),
            others_blurred: self.recorder.others_blurred(),
            mark: self.recorder.mark().clone(),
            outlines: self.recorder.outlines().clone(),
            now: (self.parts.clock.now(), self.parts.clock.wall()),
            cut_at: Instant::now(),
        })
    }

    fn send(&self, job: SealJob) {
        self.parts.backlog.add();
        if self.parts.seal.send(job).is_err() {
            self.parts.health.set(
                "spool",
                State::Failed,
                "the sealing thread ended: restart the unit",
            );
        }
    }
}

const fn tone(kind: AlertKind) -> (Tone, &'static str) {
    match kind {
        AlertKind::Distraction => (Tone::Distraction, "distraction"),
        AlertKind::RepeatedDistraction => (Tone::Distraction, "repeated_distraction"),
        AlertKind::Phone => (Tone::Distraction, "phone_in_hand"),
        AlertKind::Speeding => (Tone::Speeding, "speeding"),
        AlertKind::Following => (Tone::Distance, "following_too_close"),
        AlertKind::SeatBelt => (Tone::SeatBelt, "seat_belt"),
        AlertKind::Drowsiness => (Tone::EyesClosed, "drowsiness"),
        AlertKind::Microsleep => (Tone::EyesClosed, "microsleep"),
        AlertKind::Sleep => (Tone::EyesClosed, "sleep"),
        AlertKind::Unresponsive => (Tone::EyesClosed, "unresponsive"),
    }
}
