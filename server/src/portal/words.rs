//! The portal's words: events, numbers, times and device health in plain English.
//!
//! Pure. What must hold: every number keeps its unit; what is not known is said to be unknown and
//! never guessed; nothing here escapes HTML, the templates do that for every value.

use jiff::{Timestamp, tz::TimeZone};
use temoin_proto::{sealed::TrackName, time::WallTime};

use crate::feed::ActShown;

mod events;

pub(crate) use events::{
    key_number, kind, kind_short, limit_kmh, measured, sentence, severity, threshold_g,
};

/// What a track is called.
pub(crate) const fn track(track: TrackName) -> &'static str {
    match track {
        TrackName::Cabin => "cab camera",
        TrackName::Road => "road camera",
        TrackName::Signals => "speed and acceleration",
        TrackName::CabinUnblurred => "cab camera without blur",
        TrackName::RoadUnblurred => "road camera without blur",
    }
}

/// What somebody did, in a few words.
pub(crate) fn act(row: &ActShown) -> String {
    let action = row.action.as_str();
    // A step of a grant: `ask_export`, `approve_lift_blur`, ...
    let step = row.grant.and_then(|kind| {
        let verb = action.strip_suffix(kind.as_str())?;
        verb.ends_with('_').then(|| (verb, kind.words()))
    });
    let what = match step.map_or(action, |(verb, _)| verb) {
        "view" => "Recording opened",
        "view_refused" => "Was refused a recording",
        "trace" => "Recording and its viewings compared with a leaked file",
        "trace_begun" => "A leaked file was handed in to be traced",
        "export" => "Recording taken away as a file",
        "delete" => "Recording is deleted",
        "deleted" => "Recording gone: key and pictures destroyed",
        "event_forgotten" => "Event forgotten: its time was over",
        "account_erased" => "Account erased: it was off for long",
        "hold" => "Recording kept for a legal ground",
        "release" => "Legal hold ended",
        "sign_in" => "Signed in",
        "sign_in_refused" => "Sign-in refused: wrong password or code",
        "sign_in_braked" => "Sign-in refused: too many attempts",
        "step_up_refused" => "Wrong password or code before a sensitive act",
        "sign_out" => "Signed out",
        "session_revoked" => "Session ended from another one",
        "session_stolen" => "Session ended by the server: its cookie was in two places",
        "second_factor_set" => "Second factor set up",
        "second_factor_removed" => "Second factor removed",
        "recovery_codes_made" => "New recovery codes made",
        "password_changed" => "Password changed",
        "command" => "Order given to a unit",
        "contest" => "Event contested",
        "contest_answered" => "Objection answered",
        "limit_proposed" => "Another speed limit proposed",
        "limit_decided" => "Proposed speed limit decided",
        "operator_account_added" => "Account added",
        "operator_account_off" => "Account switched off",
        "operator_account_on" => "Account switched on again",
        "operator_sessions_ended" => "All sessions ended",
        "operator_factor_removed" => "Second factor removed, all sessions ended",
        "operator_shift_set" => "Set as the driver of a unit",
        "operator_depot_added" => "Depot added",
        "operator_unit_added" => "Unit added",
        "operator_unit_ticket" => "Ticket made that lets a unit enrol",
        "operator_unit_revoked" => "Unit's certificate ended",
        "ask_" => "Asked a second person",
        "approve_" => "Granted as the second person",
        "refuse_" => "Refused as the second person",
        "register_" => "Registered",
        "end_" => "Gave back or took away",
        other => return label(other),
    };
    match step {
        Some((_, kind)) => format!("{what}: {}", kind.to_lowercase()),
        None => what.to_owned(),
    }
}

/// Who did it.
pub(crate) fn actor(row: &ActShown) -> String {
    match (&row.who, row.role) {
        // Only the name is known that was given, not who gave it.
        (Some(name), _) if matches!(row.action.as_str(), "sign_in_refused" | "sign_in_braked") => {
            format!("Somebody, as {name}")
        }
        (Some(name), _) => name.clone(),
        (None, Some(role)) => role.words().to_owned(),
        (None, None) if row.action.as_str().starts_with("sign_in") => "Unknown name".to_owned(),
        (None, None) if row.action.as_str().starts_with("operator_") => {
            "An operator, on the server".to_owned()
        }
        (None, None) => "The system".to_owned(),
    }
}

/// What for, with a request's number.
pub(crate) fn purpose(row: &ActShown) -> Option<String> {
    let purpose = row.purpose?.words();
    Some(if row.number.is_empty() {
        purpose.to_owned()
    } else {
        format!("{purpose} {}", row.number)
    })
}

/// What was watched in a viewing, and for how long: `road camera 12 s, cab camera 3 s`.
pub(crate) fn watched(row: &ActShown) -> Option<String> {
    row.view?;
    let each: Vec<String> = row
        .watched
        .iter()
        .map(|w| format!("{} {}", track(w.track), milliseconds(w.sent_ms)))
        .collect();
    Some(if each.is_empty() { "opened, nothing played".to_owned() } else { each.join(", ") })
}

/// A number with as many digits as its unit deserves, and the unit.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        _ if !value.is_finite() => "unknown".to_owned(),
        "g" => format!("{value:.2} g"),
        "s" if value.abs() < 60.0 => format!("{} s", one_digit(value)),
        "s" => duration_ms((value * 1000.0).clamp(0.0, 1e15).round()),
        "km/h" => format!("{value:.0} km/h"),
        "" => one_digit(value),
        other => format!("{} {other}", one_digit(value)),
    }
}

fn one_digit(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn duration_ms(ms: f64) -> String {
    let s = (ms / 1000.0).round();
    if ms < 59_950.0 {
        return format!("{} s", one_digit(ms / 1000.0));
    }
    let (minutes, rest) = ((s / 60.0).floor(), s % 60.0);
    if minutes < 60.0 {
        return if rest > 0.0 {
            format!("{minutes} min {rest} s")
        } else {
            format!("{minutes} min")
        };
    }
    let hours = (minutes / 60.0).floor();
    if hours < 48.0 {
        format!("{hours} h {} min", minutes % 60.0)
    } else {
        format!("{} days", (hours / 24.0).floor())
    }
}

/// A length of time given in whole milliseconds, such as `4.2 s` or `3 min 10 s`.
pub(crate) fn milliseconds(ms: u64) -> String {
    // A length that needs more than 52 bits of milliseconds is far beyond any clip or outage.
    duration_ms(u32::try_from(ms / 1000).map_or(f64::from(u32::MAX) * 1000.0, |s| {
        f64::from(s) * 1000.0 + f64::from(u32::try_from(ms % 1000).unwrap_or(0))
    }))
}

/// The text with no line break between a number and what belongs to it.
fn unbroken(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let glue = c == ' ' && (before.is_ascii_digit() || before == '±');
        out.push(if glue { '\u{a0}' } else { c });
        before = c;
    }
    out
}

/// A rule's own name for a number as a label: `off_road` is `Off road`.
pub(crate) fn label(name: &str) -> String {
    let known = match name {
        "peak" => "Peak",
        "threshold" => "Threshold",
        "speed" => "Speed",
        "limit" => "Limit",
        "duration" => "Over for",
        "off_road" => "Off the road",
        "window" | "within" => "Within",
        "glances" => "Looks away",
        "held" => "Phone in hand",
        "at_ear" => "At the ear",
        "closed" => "Eyes closed",
        "perclos" => "Eyes closed (PERCLOS)",
        "seen" => "Eyes seen",
        "blink_rate" => "Blinks",
        "yawns" => "Yawns",
        "ignored_for" => "After the alert",
        "repeats" => "Times",
        _ => {
            let spaced = name.replace('_', " ");
            let mut chars = spaced.chars();
            return chars.next().map_or_else(String::new, |first| {
                first.to_uppercase().collect::<String>() + chars.as_str()
            });
        }
    };
    known.to_owned()
}

/// An instant in three forms: for machines, and for people in UTC (the browser shows local time).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) iso: String,
    pub(crate) date: String,
    pub(crate) clock: String,
}

/// The instant `unix_ms` milliseconds after 1970 began.
pub(crate) fn stamp(unix_ms: i64) -> Stamp {
    Timestamp::from_millisecond(unix_ms).map_or_else(
        |_| Stamp {
            iso: String::new(),
            date: "outside the calendar".to_owned(),
            clock: String::new(),
        },
        |t| {
            let utc = t.to_zoned(TimeZone::UTC);
            Stamp {
                iso: t.to_string(),
                date: utc.strftime("%-d %b %Y").to_string(),
                clock: utc.strftime("%H:%M:%S UTC").to_string(),
            }
        },
    )
}

/// Beyond this a list says that a time is uncertain; below it the event's page says so anyway.
const NOTABLE_UNCERTAINTY_MS: u64 = 2_000;
/// Beyond this the clock was not set at all.
const NO_CLOCK_MS: u64 = 366 * 24 * 3600 * 1000;

/// A short warning for lists, where the unit's clock was not good.
pub(crate) fn uncertain(at: WallTime) -> Option<String> {
    (at.uncertainty_ms >= NOTABLE_UNCERTAINTY_MS).then(|| {
        if at.uncertainty_ms >= NO_CLOCK_MS {
            "clock not set".to_owned()
        } else {
            format!("± {}", milliseconds(at.uncertainty_ms))
        }
    })
}

/// How sure the time is, as a sentence.
pub(crate) fn certainty(at: WallTime) -> String {
    unbroken(&match at.uncertainty_ms {
        NO_CLOCK_MS.. => {
            "The unit's clock was not set: this time may be wrong by any amount.".to_owned()
        }
        0 => "By the unit's clock.".to_owned(),
        ms @ 1..1000 => format!("By the unit's clock, ± {ms} ms."),
        ms => format!("By the unit's clock, ± {}.", milliseconds(ms)),
    })
}

/// How long ago: `just now`, `4 min ago`, `3 days ago`.
pub(crate) fn ago(now_ms: i64, then_ms: i64) -> String {
    let Ok(ms) = u64::try_from(now_ms.saturating_sub(then_ms)) else {
        return "just now".to_owned();
    };
    let (s, min) = (ms / 1000, ms / 60_000);
    match min {
        0 if s < 10 => "just now".to_owned(),
        0 => format!("{s} s ago"),
        1..120 => format!("{min} min ago"),
        120..2880 => format!("{} h ago", min / 60),
        _ => format!("{} days ago", min / 1440),
    }
}

/// A size in bytes, with decimal prefixes.
pub(crate) fn bytes(n: u64) -> String {
    let in_tenths = |unit: u64| format!("{}.{}", n / unit, n % unit / (unit / 10));
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{} kB", n / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", in_tenths(1_000_000)),
        _ => format!("{} GB", in_tenths(1_000_000_000)),
    }
}

/// What waits on a unit.
pub(crate) fn spool(clips: u32, spool_bytes: u64) -> String {
    match clips {
        0 => "Nothing".to_owned(),
        1 => format!("1 clip, {}", bytes(spool_bytes)),
        n => format!("{n} clips, {}", bytes(spool_bytes)),
    }
}

/// A unit's privacy state: what it is, and what that means.
pub(crate) fn privacy(state: Option<&str>) -> (&'static str, &'static str) {
    match state {
        Some("recording") => ("Flagged events", "alerts in the cab, clips of flagged events"),
        Some("ai_without_recording") => ("No recording", "alerts in the cab, nothing is kept"),
        Some("off") => ("Off", "no alerts, no recording"),
        Some(_) => ("Unknown", "a state that this server does not know"),
        None => ("Unknown", "the unit has not said yet"),
    }
}

/// The word and class of a health state.
pub(crate) fn health_state(state: &str) -> (&'static str, &'static str) {
    match state {
        "ok" => ("ok", "Fine"),
        "degraded" => ("degraded", "Limited"),
        "failed" => ("failed", "Not working"),
        _ => ("degraded", "Unknown"),
    }
}

/// A part of the unit in plain words.
pub(crate) fn health_part(part: &str) -> String {
    let known = match part {
        "camera.cabin" => "Cab camera",
        "camera.road" => "Road camera",
        "gnss" => "Satellite position",
        "imu" => "Motion sensor",
        "vehicle_bus" => "Vehicle bus",
        "imu.mount" => "How the unit sits",
        "unit.power" => "Power supply",
        "clock" => "Clock",
        "spool" => "Storage",
        "perception.face" => "Face detection",
        "perception.head" => "Head pose",
        "perception.eyelids" => "Eyelids",
        "network" | "upload" => "Network",
        _ => return label(&part.replace('.', " ")),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = stamp(1_533_226_488_299);
        assert_eq!((at.date.as_str(), at.clock.as_str()), ("2 Aug 2018", "16:14:48 UTC"));
        assert_eq!(at.iso, "2018-08-02T16:14:48.299Z");
        assert_eq!(stamp(i64::MAX).date, "outside the calendar");
        let known = |uncertainty_ms| WallTime { unix_ms: 0, uncertainty_ms };
        assert_eq!(uncertain(known(20)), None);
        assert_eq!(uncertain(known(180_000)).as_deref(), Some("± 3 min"));
        assert_eq!(uncertain(known(u64::MAX)).as_deref(), Some("clock not set"));
        assert_eq!(certainty(known(20)), "By the unit's clock, ±\u{a0}20\u{a0}ms.");
        assert!(certainty(known(u64::MAX)).contains("not set"));
        for (passed, text) in [
            (-5, "just now"),
            (3_000, "just now"),
            (59_000, "59 s ago"),
            (240_000, "4 min ago"),
            (7_200_000, "2 h ago"),
            (864_000_000, "10 days ago"),
        ] {
            assert_eq!(ago(1_000_000_000, 1_000_000_000 - passed), text);
        }
    }

    #[test]
    fn lengths_and_sizes() {
        for (ms, text) in [
            (0, "0 s"),
            (1_240, "1.2 s"),
            (59_999, "1 min"),
            (190_000, "3 min 10 s"),
            (3_600_000, "1 h 0 min"),
            (u64::MAX, "49710 days"),
        ] {
            assert_eq!(milliseconds(ms), text);
        }
        for (n, text) in [(999, "999 B"), (1_250_000, "1.2 MB"), (u64::MAX, "18446744073.7 GB")] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(quantity(f64::NAN, "s"), "unknown");
    }

    #[test]
    fn names_unknown_to_the_portal_are_still_readable() {
        assert_eq!(label("time_to_collision"), "Time to collision");
        assert_eq!(label(""), "");
        assert_eq!(health_part("camera.rear"), "Camera rear");
        assert_eq!(privacy(Some("?")).0, "Unknown");
    }
}
