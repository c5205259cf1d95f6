//! What was seen, as one line of JSON for each picture. What was not seen says why:
//! `{"unknown": "bad_light"}`. Boxes are `[x, y, w, h]`, fractions of the picture's sides.

use serde_json::{Value, json};
use temoin_proto::{
    perception::{FaceCover, NotSeen, Observation, PhoneUse, PictureBox, PrivateKind, Seen, Sight},
    time::MonoTime,
};

/// The line.
pub(super) fn of(sight: &Sight, points: &[[f32; 2]], from: MonoTime) -> Value {
    let mut line = json!({
        "camera": sight.camera().as_str(),
        "at_s": round(sight.at().secs_from(from)),
        "others": match &sight.others {
            Ok(others) => others
                .iter()
                .map(|o| json!({ "kind": kind(o.kind), "box": area(&o.area) }))
                .collect(),
            Err(why) => unknown(*why),
        },
    });
    let fields = match &sight.observation {
        Observation::Driver(d) => json!({
            "face": seen(&d.face, area),
            "points": points.iter().flatten().map(|v| number(*v)).collect::<Vec<_>>(),
            "head_deg": seen(&d.head, |h| numbers(&[h.yaw_deg, h.pitch_deg, h.roll_deg])),
            "eyelids": seen(&d.eyelids, |e| number(e.0)),
            "right_eye": seen(&d.eyes.right, |e| number(e.0)),
            "left_eye": seen(&d.eyes.left, |e| number(e.0)),
            "eyes_deg": seen(&d.gaze, |g| numbers(&[g.yaw_deg, g.pitch_deg])),
            "mouth": seen(&d.mouth, |m| number(m.0)),
            "phone": seen(&d.phone, |p| json!(phone(*p))),
            "cover": seen(&d.cover, |c| json!(cover(*c))),
        }),
        Observation::Road(r) => json!({
            "lead": seen(&r.lead, |lead| lead.as_ref().map_or(Value::Null, |l| json!({
                "box": area(&l.area),
                "distance_m": number(l.distance_m),
                "error_m": number(l.error_m),
            }))),
            "lane": seen(&r.lane, |l| json!({
                "offset_m": number(l.offset_m),
                "width_m": number(l.width_m),
            })),
        }),
    };
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    line
}

fn seen<T>(seen: &Seen<T>, value: impl Fn(&T) -> Value) -> Value {
    match seen {
        Seen::Known { value: v, confidence } => {
            json!({ "value": value(v), "confidence": number(*confidence) })
        }
        Seen::Unknown(why) => unknown(*why),
    }
}

fn unknown(why: NotSeen) -> Value {
    json!({ "unknown": reason(why) })
}

/// The name on the wire and in figures.
pub(super) fn reason(why: NotSeen) -> String {
    match serde_json::to_value(why) {
        Ok(Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}

pub(super) const fn phone(phone: PhoneUse) -> &'static str {
    match phone {
        PhoneUse::None => "none",
        PhoneUse::AtEar => "at_ear",
        PhoneUse::InHand => "in_hand",
    }
}

pub(super) const fn cover(cover: FaceCover) -> &'static str {
    match cover {
        FaceCover::Free => "free",
        FaceCover::Covered => "covered",
    }
}

pub(super) const fn kind(kind: PrivateKind) -> &'static str {
    match kind {
        PrivateKind::Face => "face",
        PrivateKind::Plate => "plate",
        PrivateKind::PossiblePlate => "possible plate",
    }
}

fn area(b: &PictureBox) -> Value {
    numbers(&[b.x, b.y, b.w, b.h])
}

fn numbers(values: &[f32]) -> Value {
    values.iter().map(|v| number(*v)).collect()
}

fn number(value: f32) -> Value {
    json!(round(f64::from(value)))
}

/// Four digits: more would be noise.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
