//! Pages filled with made-up fleets: for the tests of the templates, and to look at while
//! designing. Nothing here is anybody's data.

use temoin_proto::events::{EventKind, Number, Severity};

use super::{
    pages::*,
    words::{self, Stamp},
};

/// Text that breaks out of a page wherever it is not escaped.
pub(crate) const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'";

/// 2026-11-20T13:32:08.420Z.
const NOW: i64 = 1_795_181_528_420;

fn at(minutes_ago: i64) -> Stamp {
    words::stamp(NOW - minutes_ago * 60_000)
}

pub(crate) fn layout(
    title: &str,
    role: &'static str,
    nav: &[(&'static str, &'static str)],
) -> Layout {
    Layout {
        title: title.to_owned(),
        assets: "/static",
        person: Some(Person {
            short_name: if role == "Driver" { "J. Moreau" } else { "A. Lindqvist" }.to_owned(),
            role,
            csrf: "c".repeat(43),
            whole: true,
            nav: nav
                .iter()
                .enumerate()
                .map(|(i, (href, label))| NavItem { href, label, current: i == 0 })
                .collect(),
        }),
    }
}

fn clip(slug: &'static str) -> ClipCell {
    let (icon, text) = match slug {
        "ready" => ("clip", "15 s"),
        "uploading" => ("upload", "Arriving, 42 %"),
        "waiting" => ("upload", "Waiting for the unit"),
        _ => ("none", "No clip"),
    };
    ClipCell { slug, icon, text: text.to_owned(), why: None }
}

pub(crate) fn numbers(kind: EventKind) -> Vec<Number> {
    let n = Number::new;
    match kind {
        EventKind::Collision => vec![
            n("peak", 4.2, "g"),
            n("threshold", 2.0, "g"),
            n("speed_change", 14.0, "km/h"),
            n("speed", 38.0, "km/h"),
        ],
        EventKind::Rollover => vec![n("angle", 92.0, "°"), n("threshold", 60.0, "°")],
        EventKind::FollowingTooClose => vec![
            n("shortest", 0.48, "s"),
            n("kept", 17.2, "s"),
            n("threshold", 0.7, "s"),
            n("speed", 96.0, "km/h"),
            n("ignored_for", 2.1, "s"),
        ],
        EventKind::RollingStop => vec![n("slowest", 14.0, "km/h"), n("threshold", 5.0, "km/h")],
        EventKind::SeatBelt => {
            vec![n("unbelted", 60.2, "s"), n("threshold", 60.0, "s"), n("speed", 41.0, "km/h")]
        }
        EventKind::Idling => vec![n("idle", 5.0, "min"), n("threshold", 5.0, "min")],
        EventKind::HarshBraking => {
            vec![n("peak", 0.478, "g"), n("threshold", 0.36, "g"), n("speed", 61.7, "km/h")]
        }
        EventKind::HarshAcceleration => {
            vec![n("peak", 0.37, "g"), n("threshold", 0.35, "g"), n("speed", 18.0, "km/h")]
        }
        EventKind::HarshCornering => {
            vec![n("peak", 0.41, "g"), n("threshold", 0.35, "g"), n("speed", 44.0, "km/h")]
        }
        EventKind::Speeding => vec![
            n("peak", 142.0, "km/h"),
            n("limit", 120.0, "km/h"),
            n("threshold", 132.0, "km/h"),
            n("duration", 30.4, "s"),
        ],
        EventKind::LongDistraction => vec![
            n("off_road", 5.62, "s"),
            n("threshold", 3.5, "s"),
            n("speed", 92.0, "km/h"),
            n("ignored_for", 2.1, "s"),
        ],
        EventKind::Microsleep => {
            vec![n("closed", 1.43, "s"), n("threshold", 1.0, "s"), n("speed", 88.0, "km/h")]
        }
        EventKind::Sleep => {
            vec![n("closed", 3.2, "s"), n("threshold", 3.0, "s"), n("speed", 71.0, "km/h")]
        }
        EventKind::RepeatedDistraction => vec![
            n("off_road", 12.1, "s"),
            n("threshold", 10.0, "s"),
            n("window", 30.0, "s"),
            n("glances", 5.0, ""),
            n("speed", 83.0, "km/h"),
            n("ignored_for", 2.1, "s"),
        ],
        EventKind::PhoneInHand => vec![
            n("held", 4.1, "s"),
            n("threshold", 2.0, "s"),
            n("at_ear", 0.0, "s"),
            n("speed", 47.0, "km/h"),
            n("ignored_for", 2.1, "s"),
        ],
        EventKind::Drowsiness => vec![
            n("perclos", 17.6, "%"),
            n("threshold", 15.0, "%"),
            n("seen", 60.3, "s"),
            n("within", 71.0, "s"),
            n("blink_rate", 22.0, "/min"),
            n("yawns", 2.0, ""),
            n("speed", 88.0, "km/h"),
        ],
        EventKind::Unresponsive => {
            vec![n("closed", 6.1, "s"), n("threshold", 6.0, "s"), n("speed", 64.0, "km/h")]
        }
        EventKind::DriverSaved => vec![],
    }
}

pub(crate) fn cell(
    kind: EventKind,
    severity: Severity,
    minutes_ago: i64,
    clip_slug: &'static str,
    views: u64,
) -> EventCell {
    let (slug, name) = words::severity(kind, severity);
    EventCell {
        id: "0198c0de-7e57-7000-8000-000000000001".into(),
        href: "event.html".into(),
        kind: kind.as_str(),
        kind_name: words::kind(kind),
        severity: SeverityCell { slug, name },
        key_number: words::key_number(kind, &numbers(kind)),
        when: at(minutes_ago),
        uncertain: (minutes_ago == 1_460).then(|| "± 3 min".to_owned()),
        unit: "van-12".into(),
        depot: Some("Depot North".into()),
        driver: (minutes_ago != 1_460).then(|| "Julie Moreau".to_owned()),
        clip: clip(clip_slug),
        views,
        contest: None,
    }
}

fn list() -> Vec<EventCell> {
    vec![
        cell(EventKind::LongDistraction, Severity::High, 3, "uploading", 0),
        cell(EventKind::HarshBraking, Severity::Medium, 42, "ready", 2),
        cell(EventKind::Microsleep, Severity::Medium, 95, "ready", 0),
        cell(EventKind::HarshCornering, Severity::Low, 180, "ready", 1),
        cell(EventKind::Speeding, Severity::Medium, 1_460, "none", 0),
        cell(EventKind::DriverSaved, Severity::High, 1_500, "ready", 0),
        cell(EventKind::HarshAcceleration, Severity::Low, 2_900, "waiting", 0),
        cell(EventKind::Sleep, Severity::High, 4_321, "ready", 4),
        cell(EventKind::PhoneInHand, Severity::Low, 4_400, "ready", 0),
        cell(EventKind::RepeatedDistraction, Severity::High, 4_500, "ready", 0),
        cell(EventKind::Drowsiness, Severity::Medium, 4_600, "ready", 1),
        cell(EventKind::Unresponsive, Severity::High, 4_700, "ready", 0),
    ]
}

pub(crate) fn chips() -> Vec<Chip> {
    let mut chips = vec![Chip {
        href: "events.html".into(),
        slug: "all",
        icon: "list",
        label: "All",
        current: true,
    }];
    chips.extend(EventKind::ALL.map(|k| Chip {
        href: format!("events.html?kind={k}"),
        slug: k.as_str(),
        icon: k.as_str(),
        label: words::kind_short(k),
        current: false,
    }));
    chips
}

pub(crate) fn sign_in() -> SignInPage {
    SignInPage {
        layout: Layout { title: "Sign in".into(), assets: "/static", person: None },
        login: String::new(),
        problem: None,
        notice: None,
    }
}

pub(crate) fn error() -> ErrorPage {
    ErrorPage {
        layout: layout("Not found", "Dispatcher", &[("/events", "Events"), ("/access-log", "Access log")]),
        code: "404",
        heading: "There is nothing here that you can open",
        text: "The address may be wrong, the thing may have expired, or your role may not allow it. For the privacy of others these look the same.".into(),
        advice: None,
        action: Link { href: "/".into(), label: "Go to my start page" },
    }
}

pub(crate) fn events(empty: bool) -> EventsPage {
    EventsPage {
        layout: layout(
            "Events",
            "Dispatcher",
            &[("/events", "Events"), ("/access-log", "Access log")],
        ),
        scope: "Your depot, newest first.",
        chips: chips(),
        show_driver: true,
        seen_label: "Seen by you",
        events: if empty { vec![] } else { list() },
        empty: Empty {
            heading: "Nothing to look at",
            text: "When a van flags something, it appears here within seconds.",
            action: None,
        },
        newest: None,
        older: (!empty).then(|| "events.html".to_owned()),
    }
}

fn looked(own: bool) -> Vec<LookedCell> {
    vec![
        LookedCell {
            who: "Anna Lindqvist, safety manager".into(),
            by_you: !own,
            purpose: "Coaching".into(),
            at: at(12),
            tracks: "road camera and cab camera".into(),
            log_index: Some(41),
        },
        LookedCell {
            who: "Julie Moreau, driver".into(),
            by_you: own,
            purpose: "Own review".into(),
            at: at(31),
            tracks: "road camera".into(),
            log_index: Some(39),
        },
    ]
}

pub(crate) fn event(own: bool) -> EventPage {
    let kind = EventKind::HarshBraking;
    let list = numbers(kind);
    EventPage {
        layout: if own {
            layout("Harsh braking", "Driver", &[("/my", "My events")])
        } else {
            layout(
                "Harsh braking",
                "Safety manager",
                &[("/events", "Events"), ("/access-log", "Access log")],
            )
        },
        back: Link { href: "events.html".into(), label: if own { "My events" } else { "Events" } },
        csrf: "c".repeat(43),
        e: cell(kind, Severity::Medium, 42, "ready", 2),
        own,
        sentence: words::sentence(kind, &list),
        meter: Some(Meter {
            measured: "0.48 g".into(),
            threshold: "0.36 g".into(),
            threshold_at: "66".into(),
            over_len: "22".into(),
        }),
        certainty: "By the unit's clock, ± 20 ms.".into(),
        lasted: "1.2 s".into(),
        driver_row: Some("Julie Moreau".into()),
        rule: "harsh_braking/1".into(),
        confidence: "92 %".into(),
        numbers: list
            .iter()
            .map(|n| Labelled {
                label: words::label(&n.name),
                value: words::quantity(n.value, &n.unit),
            })
            .collect(),
        threshold_g: Some(0.36),
        limit_kmh: None,
        gate: Some(Gate {
            heading: "The recording is sealed".into(),
            length: "15 s".into(),
            action: "/events/0198c0de-7e57-7000-8000-000000000001/views".into(),
            tracks: vec![
                TrackCell { name: "Road camera", note: None },
                TrackCell {
                    name: "Cab camera",
                    note: (!own).then_some("the driver's face is blurred"),
                },
            ],
            own,
            purposes: vec![
                PurposeCell {
                    value: "coaching",
                    label: "Coaching",
                    text: "to talk about it with the driver",
                },
                PurposeCell {
                    value: "triage",
                    label: "Triage",
                    text: "to see whether anyone must act",
                },
                PurposeCell {
                    value: "collision",
                    label: "Collision",
                    text: "to establish what happened",
                },
                PurposeCell {
                    value: "contest",
                    label: "Contest",
                    text: "to answer a driver who disagrees",
                },
            ],
        }),
        closed: None,
        objection: None,
        limit: None,
        beyond: None,
        kept_until: Some(at(0)),
        held: None,
        seen_by: looked(own),
        nobody_else: false,
    }
}

pub(crate) fn event_without_clip() -> EventPage {
    EventPage {
        gate: None,
        closed: Some(Closed {
            icon: "upload",
            heading: "The clip is on its way",
            text:
                "The unit has sent 42 % of it. This page shows it once it is complete and verified."
                    .into(),
        }),
        seen_by: vec![],
        ..event(false)
    }
}

pub(crate) fn my(empty: bool) -> MyPage {
    let mut events: Vec<_> = list()
        .into_iter()
        .map(|e| MineCell {
            can_watch: e.clip.slug == "ready",
            seen_by: match e.views {
                0 => vec![],
                1 => looked(true).split_off(1),
                _ => looked(true),
            },
            nobody_else: e.views == 1,
            e,
        })
        .collect();
    if empty {
        events.clear();
    }
    MyPage {
        layout: layout(
            "My events",
            "Driver",
            &[("/my", "My events"), ("/access-log", "Access log")],
        ),
        events,
        empty: Empty {
            heading: "No recordings of you",
            text: "The fleet holds no clip from your shifts. If a van flags something, you see it here at the same moment as the fleet.",
            action: None,
        },
        newest: None,
        older: None,
    }
}

pub(crate) fn units() -> UnitsPage {
    let health = |slug, state, part: &str, text: &str| HealthCell {
        slug,
        state,
        part: words::health_part(part),
        text: text.to_owned(),
    };
    let fine = || {
        vec![
            health("ok", "Fine", "camera.road", "1280x720 at 15 a second"),
            health("ok", "Fine", "gnss", "fix, HDOP 0.9"),
            health("ok", "Fine", "spool", "3.1 GB free"),
        ]
    };
    let unit = |name: &str| UnitCell {
        unit: name.into(),
        depot: Some("Depot North".into()),
        state: StateCell { slug: "ok", text: "In touch" },
        last_contact: "12 s ago".into(),
        last_contact_at: Some(at(0)),
        privacy: PrivacyCell {
            slug: "recording".into(),
            text: "Flagged events",
            why: "alerts in the cab, clips of flagged events",
        },
        spool: "Nothing".into(),
        agent_version: Some("0.1.0".into()),
        faults: vec![],
        fine: fine(),
        fine_summary: "3 parts are fine".into(),
        can_order: true,
        orders: vec![],
    };
    UnitsPage {
        layout: layout(
            "Units",
            "Fleet administrator",
            &[("/units", "Units"), ("/access-log", "Access log")],
        ),
        csrf: "c".repeat(43),
        summary: "3 units, 1 needs a look.".into(),
        notice: Some("The order is on its way. The unit takes it at its next contact."),
        units: vec![
            UnitCell {
                state: StateCell { slug: "degraded", text: "Needs a look" },
                spool: words::spool(3, 12_400_000),
                faults: vec![
                    health(
                        "failed",
                        "Not working",
                        "camera.cabin",
                        "no picture for 40 s: check the plug at the cab camera",
                    ),
                    health(
                        "degraded",
                        "Limited",
                        "perception.eyelids",
                        "no model installed: microsleep is not detected",
                    ),
                ],
                orders: vec![
                    OrderCell {
                        what: "Blink and say its name:".into(),
                        state: "done 2 min ago".into(),
                    },
                    OrderCell {
                        what: "Speed limit 120 km/h:".into(),
                        state: "waiting for the unit".into(),
                    },
                ],
                ..unit("van-12")
            },
            unit("van-07"),
            UnitCell {
                state: StateCell { slug: "revoked", text: "Revoked" },
                last_contact: "12 days ago".into(),
                can_order: false,
                fine: vec![],
                ..unit("van-03")
            },
        ],
    }
}

pub(crate) fn access_log(empty: bool) -> AccessLogPage {
    let row = |index: u64, who: &str, role, purpose| LogCell {
        index,
        at: at(i64::try_from(index).unwrap_or(0)),
        what: "Recording opened".into(),
        tracks: Some("road camera 24 s, cab camera 12 s".into()),
        who: who.into(),
        role: Some(role),
        purpose: Some(String::from(purpose)),
        driver: Some("Julie Moreau".into()),
        unit: Some("van-12".into()),
        event: Some("0198c0de-7e57-7000-8000-000000000001".into()),
        href: Some("event.html".into()),
    };
    let rows = if empty {
        vec![]
    } else {
        vec![
            row(41, "Anna Lindqvist", "Safety manager", "Coaching"),
            row(40, "Tomas Beck", "Dispatcher", "Triage"),
            row(39, "Julie Moreau", "Driver", "Own review"),
        ]
    };
    AccessLogPage {
        layout: layout("Access log", "Auditor", &[("/access-log", "Access log")]),
        scope: "What everybody did, newest first.",
        checkpoint: Some(CheckpointCell {
            origin: "temoin.example/demo".into(),
            size: "42".into(),
            root_hash: "9mZ1v5kXx0yq2i3sN1oT8bq5H5m8p3wVb1g5J6uQk0E=".into(),
            command: "temoin-verify https://temoin.example/log --key 'temoin.example/demo+12ab34cd+AQ...'".into(),
        }),
        log: LogRows { show_driver: true, rows },
        newest: None,
        older: None,
    }
}
