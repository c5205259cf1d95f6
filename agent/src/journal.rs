//! One line on standard output for each thing that happens: for the person at the terminal and
//! for tests. Words are separated by spaces and never contain one.
//!
//! ```text
//! alert distraction at=13.267
//! event 0198… long_distraction start=9.800 end=15.267 clip=0198…
//! clip 0198… spooled event=0198… bytes=1234567
//! clip 0198… so_far event=0198… after_ms=140
//! clip 0198… uploaded
//! recording ai_without_recording why=standstill at=190.000
//! identify van-12
//! perception.models ready
//! perception.models swapped
//! drive ended at=60.000
//! ```

use std::{
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use temoin_proto::{
    convert::EventRecord,
    ids::{ClipId, EventId},
    time::MonoTime,
};

/// Something worth a line. Times are seconds of the drive.
pub(crate) enum Entry<'a> {
    /// Said in the cab.
    Alert {
        /// What.
        kind: &'static str,
        /// When.
        at: MonoTime,
    },
    /// An event was flagged.
    Event {
        /// The event.
        record: &'a EventRecord,
        /// Its begin.
        start: MonoTime,
        /// Its end.
        end: MonoTime,
    },
    /// A sealed clip is durable on the unit.
    Spooled {
        /// The clip.
        clip: ClipId,
        /// Its event.
        event: EventId,
        /// Size of all tracks.
        bytes: u64,
    },
    /// What there is of a clip since the vehicle crashed is durable on the unit.
    SoFar {
        /// The clip.
        clip: ClipId,
        /// Its event.
        event: EventId,
        /// How long after the crash was noticed.
        after: Duration,
    },
    /// The server has the clip durably, and the unit deleted its copy.
    Uploaded {
        /// The clip.
        clip: ClipId,
    },
    /// What may run changed.
    Recording {
        /// What may run.
        state: &'static str,
        /// Who had the last word.
        why: &'static str,
        /// When.
        at: MonoTime,
    },
    /// The fleet asks which unit this is.
    Identify {
        /// Its name.
        unit: &'a str,
    },
    /// Models were loaded and have run once.
    PerceptionReady {
        /// Its part of device health.
        part: &'static str,
        /// Whether others were in use before.
        again: bool,
    },
    /// The recorded drive is over.
    Ended {
        /// When.
        at: MonoTime,
    },
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert { kind, at } => write!(f, "alert {kind} at={:.3}", at.as_secs_f64()),
            Self::Event { record, start, end } => {
                write!(
                    f,
                    "event {} {} start={:.3} end={:.3}",
                    record.id,
                    record.kind,
                    start.as_secs_f64(),
                    end.as_secs_f64()
                )?;
                match &record.clip {
                    Ok(clip) => write!(f, " clip={clip}"),
                    Err(_) => write!(f, " clip=none"),
                }
            }
            Self::Spooled { clip, event, bytes } => {
                write!(f, "clip {clip} spooled event={event} bytes={bytes}")
            }
            Self::SoFar { clip, event, after } => {
                write!(f, "clip {clip} so_far event={event} after_ms={}", after.as_millis())
            }
            Self::Uploaded { clip } => write!(f, "clip {clip} uploaded"),
            Self::Recording { state, why, at } => {
                write!(f, "recording {state} why={why} at={:.3}", at.as_secs_f64())
            }
            Self::Identify { unit } => write!(f, "identify {unit}"),
            Self::PerceptionReady { part, again: false } => write!(f, "{part} ready"),
            Self::PerceptionReady { part, again: true } => write!(f, "{part} swapped"),
            Self::Ended { at } => write!(f, "drive ended at={:.3}", at.as_secs_f64()),
        }
    }
}

/// Writes the line. A closed pipe is not worth ending a drive for.
pub(crate) fn write(entry: &Entry<'_>) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{entry}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}
