//! Wire ↔ domain, only here. Everything that comes over the wire is checked once, at this point.

use bytes::Bytes;

use crate::{
    events::{EventKind, EventKindError, Number, Severity},
    ids::{ClipId, EventId, IdError, RunId},
    manifest::{
        MAX_FINGERPRINT_LEN, MAX_FINGERPRINTS, Manifest, RESTRICTION, Track, VERSION, WrappedKey,
    },
    sealed::{TrackName, sealed_len},
    time::WallTime,
    wire,
};

/// Longest clip that is accepted, milliseconds.
pub const MAX_CLIP_MS: u64 = 10 * 60 * 1000;
/// Longest sealed track that is accepted, bytes.
pub const MAX_TRACK_LEN: u64 = 512 * 1024 * 1024;
/// Most numbers an event may carry, and most characters of a short text.
pub const MAX_NUMBERS: usize = 32;
const MAX_TEXT: usize = 200;
/// Most marks of the distance in one heartbeat.
pub const MAX_MARKS: usize = 512;
/// A run's counter is never beyond this, m: a million kilometres.
pub const MAX_DRIVEN_M: f64 = 1e9;

/// Why something from the wire was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Not a protobuf message of this kind.
    #[error("not a {0} message")]
    NotProtobuf(&'static str),
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field has a value that cannot be.
    #[error("field `{field}` cannot be {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it was.
        value: String,
    },
    /// An id is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A kind of event that this version does not know.
    #[error(transparent)]
    Kind(#[from] EventKindError),
}

fn bad(field: &'static str, value: impl ToString) -> ConvertError {
    ConvertError::Value { field, value: value.to_string() }
}

fn short(field: &'static str, text: String) -> Result<String, ConvertError> {
    if text.chars().count() > MAX_TEXT {
        return Err(bad(field, format!("longer than {MAX_TEXT} characters")));
    }
    Ok(text)
}

/// An event as it is stored and shown: with its id and in wall time.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Its id, given by the unit.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// When it began.
    pub start: WallTime,
    /// When it ended, milliseconds since 1970.
    pub end_unix_ms: i64,
    /// How bad.
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    /// The rule with its version.
    pub rule: String,
    /// The rule's numbers.
    pub numbers: Vec<Number>,
    /// The clip, or why there is none.
    pub clip: Result<ClipId, String>,
}

impl From<&EventRecord> for wire::Event {
    fn from(e: &EventRecord) -> Self {
        Self {
            event_id: Bytes::copy_from_slice(e.id.as_bytes()),
            kind: e.kind.as_str().to_owned(),
            start_unix_ms: e.start.unix_ms,
            end_unix_ms: e.end_unix_ms,
            wall_uncertainty_ms: e.start.uncertainty_ms,
            severity: e.severity.as_str().to_owned(),
            confidence: e.confidence,
            rule: e.rule.clone(),
            numbers: e
                .numbers
                .iter()
                .map(|n| wire::Number {
                    name: n.name.clone(),
                    value: n.value,
                    unit: n.unit.clone(),
                })
                .collect(),
            clip_id: e.clip.as_ref().ok().map(|c| Bytes::copy_from_slice(c.as_bytes())),
            clip_absent_because: e.clip.as_ref().err().cloned().unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::Event> for EventRecord {
    type Error = ConvertError;
    fn try_from(e: wire::Event) -> Result<Self, ConvertError> {
        let severity = [Severity::Low, Severity::Medium, Severity::High]
            .into_iter()
            .find(|s| s.as_str() == e.severity)
            .ok_or_else(|| bad("severity", &e.severity))?;
        if !(0.0..=1.0).contains(&e.confidence) {
            return Err(bad("confidence", e.confidence));
        }
        if e.end_unix_ms < e.start_unix_ms {
            return Err(bad("end_unix_ms", "before start_unix_ms"));
        }
        if e.numbers.len() > MAX_NUMBERS {
            return Err(bad("numbers", format!("more than {MAX_NUMBERS}")));
        }
        let numbers = e
            .numbers
            .into_iter()
            .map(|n| {
                if !n.value.is_finite() {
                    return Err(bad("numbers.value", n.value));
                }
                Ok(Number {
                    name: short("numbers.name", n.name)?,
                    value: n.value,
                    unit: short("numbers.unit", n.unit)?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: EventId::from_slice(&e.event_id)?,
            kind: e.kind.parse()?,
            start: WallTime { unix_ms: e.start_unix_ms, uncertainty_ms: e.wall_uncertainty_ms },
            end_unix_ms: e.end_unix_ms,
            severity,
            confidence: e.confidence,
            rule: short("rule", e.rule)?,
            numbers,
            clip: match e.clip_id {
                Some(id) => Ok(ClipId::from_slice(&id)?),
                None => Err(short("clip_absent_because", e.clip_absent_because)?),
            },
        })
    }
}

/// Where a run's distance counter stood at a time. The counter never falls within a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The run of the unit's software.
    pub run: RunId,
    /// By the unit's clock, milliseconds since 1970.
    pub at_ms: i64,
    /// Metres since the run began, 0 to [`MAX_DRIVEN_M`].
    pub driven_m: f64,
}

impl From<&Mark> for wire::DistanceMark {
    fn from(m: &Mark) -> Self {
        let run_id = Bytes::copy_from_slice(m.run.as_bytes());
        Self { run_id, unix_ms: m.at_ms, driven_m: m.driven_m }
    }
}

impl TryFrom<&wire::DistanceMark> for Mark {
    type Error = ConvertError;
    fn try_from(m: &wire::DistanceMark) -> Result<Self, ConvertError> {
        if !(0.0..=MAX_DRIVEN_M).contains(&m.driven_m) {
            return Err(bad("driven.driven_m", m.driven_m));
        }
        Ok(Self { run: RunId::from_slice(&m.run_id)?, at_ms: m.unix_ms, driven_m: m.driven_m })
    }
}

impl From<&WrappedKey> for wire::WrappedKey {
    fn from(k: &WrappedKey) -> Self {
        Self {
            key_id: k.key_id.clone(),
            encapsulated: k.encapsulated.clone().into(),
            ciphertext: k.ciphertext.clone().into(),
        }
    }
}

impl TryFrom<wire::WrappedKey> for WrappedKey {
    type Error = ConvertError;
    fn try_from(k: wire::WrappedKey) -> Result<Self, ConvertError> {
        if k.encapsulated.len() != 32 {
            return Err(bad("wrapped_key.encapsulated", format!("{} bytes", k.encapsulated.len())));
        }
        if k.ciphertext.len() != 48 {
            return Err(bad("wrapped_key.ciphertext", format!("{} bytes", k.ciphertext.len())));
        }
        Ok(Self {
            key_id: short("wrapped_key.key_id", k.key_id)?,
            encapsulated: k.encapsulated.into(),
            ciphertext: k.ciphertext.into(),
        })
    }
}

impl From<&Manifest> for wire::Manifest {
    fn from(m: &Manifest) -> Self {
        Self {
            version: VERSION,
            clip_id: Bytes::copy_from_slice(m.clip.as_bytes()),
            event_id: Bytes::copy_from_slice(m.event.as_bytes()),
            unit_id: m.unit.to_string(),
            start_unix_ms: m.start.unix_ms,
            wall_uncertainty_ms: m.start.uncertainty_ms,
            duration_ms: m.duration_ms,
            event_start_ms: m.event_ms.0,
            event_end_ms: m.event_ms.1,
            tracks: m
                .tracks
                .iter()
                .map(|t| wire::Track {
                    name: t.name.as_str().to_owned(),
                    media_type: t.media_type.clone(),
                    plain_len: t.plain_len,
                    sealed_len: t.sealed_len,
                    sealed_sha256: Bytes::copy_from_slice(&t.sealed_sha256),
                    others_blurred: t.others_blurred,
                })
                .collect(),
            wrapped_key: Some((&m.wrapped_key).into()),
            restriction: RESTRICTION.to_owned(),
            agent_version: m.agent_version.clone(),
            fingerprints: m.fingerprints.clone(),
        }
    }
}

impl TryFrom<wire::Manifest> for Manifest {
    type Error = ConvertError;
    fn try_from(m: wire::Manifest) -> Result<Self, ConvertError> {
        if m.version != VERSION {
            return Err(bad("version", m.version));
        }
        if m.restriction != RESTRICTION {
            return Err(bad("restriction", &m.restriction));
        }
        if m.duration_ms > MAX_CLIP_MS {
            return Err(bad("duration_ms", m.duration_ms));
        }
        if m.event_start_ms > m.event_end_ms || m.event_end_ms > m.duration_ms {
            return Err(bad("event_end_ms", m.event_end_ms));
        }
        if m.tracks.is_empty() {
            return Err(ConvertError::Missing("tracks"));
        }
        if m.fingerprints.len() > MAX_FINGERPRINTS
            || m.fingerprints.iter().any(|f| f.len() > MAX_FINGERPRINT_LEN)
        {
            return Err(bad("fingerprints", m.fingerprints.len()));
        }
        let mut tracks: Vec<Track> = Vec::with_capacity(TrackName::ALL.len());
        for t in m.tracks {
            let name = TrackName::from_name(&t.name).ok_or_else(|| bad("tracks.name", &t.name))?;
            if tracks.iter().any(|seen| seen.name == name) {
                return Err(bad("tracks.name", format!("`{}` twice", t.name)));
            }
            if t.sealed_len > MAX_TRACK_LEN
                || t.plain_len > t.sealed_len
                || t.sealed_len != sealed_len(t.plain_len)
            {
                return Err(bad("tracks.sealed_len", t.sealed_len));
            }
            // Nobody is to take one for the other.
            if name.is_unblurred() && t.others_blurred != Some(false) {
                return Err(bad("tracks.others_blurred", format!("`{}` is not", t.name)));
            }
            tracks.push(Track {
                name,
                media_type: short("tracks.media_type", t.media_type)?,
                plain_len: t.plain_len,
                sealed_len: t.sealed_len,
                sealed_sha256: t.sealed_sha256.as_ref().try_into().map_err(|_| {
                    bad("tracks.sealed_sha256", format!("{} bytes", t.sealed_sha256.len()))
                })?,
                others_blurred: t.others_blurred,
            });
        }
        Ok(Self {
            clip: ClipId::from_slice(&m.clip_id)?,
            event: EventId::from_slice(&m.event_id)?,
            unit: m.unit_id.parse()?,
            start: WallTime { unix_ms: m.start_unix_ms, uncertainty_ms: m.wall_uncertainty_ms },
            duration_ms: m.duration_ms,
            event_ms: (m.event_start_ms, m.event_end_ms),
            tracks,
            wrapped_key: m.wrapped_key.ok_or(ConvertError::Missing("wrapped_key"))?.try_into()?,
            agent_version: short("agent_version", m.agent_version)?,
            fingerprints: m.fingerprints,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> EventRecord {
        EventRecord {
            id: EventId::new(),
            kind: EventKind::HarshBraking,
            start: WallTime { unix_ms: 1_000, uncertainty_ms: 9 },
            end_unix_ms: 2_000,
            severity: Severity::Medium,
            confidence: 0.9,
            rule: "harsh_braking/1".into(),
            numbers: vec![Number::new("peak", 0.5, "g")],
            clip: Ok(ClipId::new()),
        }
    }

    #[test]
    fn events_survive_the_wire() {
        let mut with_clip = record();
        assert_eq!(EventRecord::try_from(wire::Event::from(&with_clip)), Ok(with_clip.clone()));
        with_clip.clip = Err("unit stopped before the clip was complete".into());
        assert_eq!(EventRecord::try_from(wire::Event::from(&with_clip)), Ok(with_clip));
    }

    #[test]
    fn impossible_events_are_refused() {
        type Spoil = fn(&mut wire::Event);
        let cases: [(&str, Spoil); 6] = [
            ("kind", |e| e.kind = "joy".into()),
            ("severity", |e| e.severity = "dire".into()),
            ("confidence", |e| e.confidence = f32::NAN),
            ("end", |e| e.end_unix_ms = e.start_unix_ms - 1),
            ("id", |e| e.event_id = Bytes::from_static(b"short")),
            ("text", |e| e.rule = "r".repeat(201)),
        ];
        for (name, spoil) in cases {
            let mut event = wire::Event::from(&record());
            spoil(&mut event);
            assert!(EventRecord::try_from(event).is_err(), "{name}");
        }
    }

    #[test]
    fn marks_of_the_distance_survive_the_wire_or_are_refused() {
        let mark = Mark { run: RunId::new(), at_ms: 5, driven_m: 1234.5 };
        let sent = wire::DistanceMark::from(&mark);
        assert_eq!(Mark::try_from(&sent), Ok(mark));
        for driven_m in [-1.0, f64::NAN, f64::INFINITY, 2e9] {
            assert!(Mark::try_from(&wire::DistanceMark { driven_m, ..sent.clone() }).is_err());
        }
        let short = wire::DistanceMark { run_id: Bytes::from_static(b"run"), ..sent };
        assert!(Mark::try_from(&short).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(m) = <wire::Manifest as prost::Message>::decode(bytes.as_slice()) {
                drop(Manifest::try_from(m));
            }
            if let Ok(e) = <wire::Event as prost::Message>::decode(bytes.as_slice()) {
                drop(EventRecord::try_from(e));
            }
            if let Ok(m) = <wire::DistanceMark as prost::Message>::decode(bytes.as_slice()) {
                drop(Mark::try_from(&m));
            }
        }
    }
}
