//! The golden table of roles, actions and resources: `policy/matrix.txt`. A change of a policy
//! shows there as a change of the table, for a person to read.

use temoin_proto::ids::GrantId;

use super::*;
use crate::{
    db::users::User,
    grants::{Grant, Scope},
};

const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = 1_795_176_000_000;

fn person(role: Role) -> User {
    User {
        id: ME,
        login: "me".into(),
        name: "Me".into(),
        short_name: "me".into(),
        role,
        depot: Some("own".into()),
        manager: None,
        disabled: false,
    }
}

const ME: UserId = UserId::from_bytes([1; 16]);
const OTHER: UserId = UserId::from_bytes([2; 16]);
const EVENT: EventId = EventId::from_bytes([9; 16]);

/// Somebody of this role who holds live grants of these kinds for [`EVENT`] and its unit.
fn asker(role: Role, granted: &[GrantKind]) -> Asker {
    let grant = |kind: GrantKind, purpose: Purpose| Grant {
        id: GrantId::from_bytes([3; 16]),
        kind,
        asker: ME,
        purpose,
        number: "R-1".into(),
        words: "why".into(),
        scope: match kind {
            GrantKind::Diagnostics => Scope::Unit("van-1".parse().unwrap()),
            GrantKind::Trace => Scope::Fleet,
            GrantKind::LiftBlur
            | GrantKind::Export
            | GrantKind::Retention
            | GrantKind::Deletion
            | GrantKind::Request
            | GrantKind::BreakGlass => Scope::Event(EVENT),
        },
        asked_ms: NOW_MS - 2,
        decide_by_ms: NOW_MS,
        holds_ms: HOUR_MS,
        decision: Some(crate::grants::Decision {
            granted: true,
            by: Some(OTHER),
            at_ms: NOW_MS - 1,
            reason: String::new(),
        }),
        ended_ms: None,
    };
    Asker {
        user: person(role),
        // For every purpose: the matrix shows which of them the policies take.
        grants: granted
            .iter()
            .flat_map(|kind| Purpose::ALL.iter().map(|purpose| grant(*kind, *purpose)))
            .collect(),
        now_ms: NOW_MS,
    }
}

/// Events by how they stand to the person who asks, and by age.
fn events() -> Vec<(&'static str, EventFacts)> {
    let facts = |depot: &str, driver, manager, age_ms: i64| EventFacts {
        id: EVENT,
        unit: Some("van-1".parse().unwrap()),
        depot: depot.into(),
        start_ms: NOW_MS - age_ms,
        driver,
        manager,
        driver_depot: driver.map(|_| depot.to_owned()),
    };
    let year = 8760 * HOUR_MS;
    vec![
        ("I drove, 1 h ago", facts("own", Some(ME), None, HOUR_MS)),
        ("I drove, 1 year ago", facts("own", Some(ME), None, year)),
        ("I drove, in another depot", facts("other", Some(ME), None, HOUR_MS)),
        ("my driver, other depot, 1 h ago", facts("other", Some(OTHER), Some(ME), HOUR_MS)),
        ("my driver, other depot, 1 year ago", facts("other", Some(OTHER), Some(ME), year)),
        ("my depot, driver without manager", facts("own", Some(OTHER), None, HOUR_MS)),
        ("my depot, another's driver", facts("own", Some(OTHER), Some(OTHER), HOUR_MS)),
        ("my depot, 71.9 h ago", facts("own", Some(OTHER), None, 72 * HOUR_MS - 1)),
        ("my depot, 72 h ago", facts("own", Some(OTHER), None, 72 * HOUR_MS)),
        ("my depot, 9 min in the future", facts("own", Some(OTHER), None, -9 * 60_000)),
        ("my depot, 1 year in the future", facts("own", Some(OTHER), None, -year)),
        ("my depot, nobody on shift", facts("own", None, None, HOUR_MS)),
        ("other depot, its driver", facts("other", Some(OTHER), Some(OTHER), HOUR_MS)),
        ("other depot, nobody on shift", facts("other", None, None, HOUR_MS)),
        (
            "another fleet's, or none",
            EventFacts {
                unit: None,
                ..facts("elsewhere", Some(UserId::from_bytes([8; 16])), None, HOUR_MS)
            },
        ),
        (
            "my depot, the unit's clock at its end",
            EventFacts { start_ms: i64::MIN, ..facts("own", Some(OTHER), None, 0) },
        ),
    ]
}

/// Scores by how their driver stands to the person who asks.
fn scores() -> [(&'static str, ScoreFacts); 5] {
    let facts = |driver, manager, depot: Option<&str>| ScoreFacts {
        driver,
        manager,
        depot: depot.map(str::to_owned),
    };
    [
        ("mine", facts(ME, None, Some("own"))),
        ("of my driver in another depot", facts(OTHER, Some(ME), Some("other"))),
        ("my depot, driver without manager", facts(OTHER, None, Some("own"))),
        ("my depot, another's driver", facts(OTHER, Some(OTHER), Some("own"))),
        ("no depot, no manager", facts(OTHER, None, None)),
    ]
}

/// What of an event a person has, each act with the purposes for which they have it.
fn rights(authz: &Authz, who: &Asker, event: &EventFacts) -> Vec<String> {
    let mut rights = Vec::new();
    for act in EventAct::ALL {
        if authz.event(who, *act, event).unwrap() {
            rights.push(act.as_str().to_owned());
        }
    }
    for act in ClipAct::ALL {
        let purposes: String = Purpose::ALL
            .iter()
            .zip(["C", "T", "X", "K", "O", "R"])
            .filter(|(purpose, _)| authz.clip(who, *act, event, **purpose).unwrap())
            .map(|(_, letter)| letter)
            .collect();
        if !purposes.is_empty() {
            rights.push(format!("{}:{purposes}", act.as_str()));
        }
    }
    rights
}

const HEAD: &str = "\
# Who may do what, as the policies decide it. Made by the test `the_matrix_is_as_agreed`;
# to accept a change: TEMOIN_GOLDEN=write cargo test -p temoin-server matrix
#
# What is not named is refused. Behind what is done with pictures stand the purposes for which it
# may be done: C coaching, T triage, X collision, K contest, O own review, R request. Without a
# purpose it cannot even be asked. `see_driver_face`: otherwise the face is blurred. `lift_blur`:
# other people are shown. `see_log_names`: otherwise without the driver's name. `+ GRANT` is what a
# live grant adds: each but `request` takes a second person, and the last part says who that may be.
";

fn line(out: &mut String, name: &str, rights: &[String]) {
    use std::fmt::Write as _;
    let rights = if rights.is_empty() { "-".to_owned() } else { rights.join(" ") };
    writeln!(out, "  {name:<42} {rights}").unwrap();
}

fn matrix() -> String {
    use std::fmt::Write as _;
    let authz = Authz::load().unwrap();
    let mut out = HEAD.to_owned();
    for role in Role::ALL {
        writeln!(out, "\n{}", role.as_str()).unwrap();
        let me = asker(*role, &[]);
        // Rows of nothing say less than one that says so.
        let of_events: Vec<_> =
            events().iter().map(|(name, e)| (*name, rights(&authz, &me, e))).collect();
        let same = of_events.windows(2).all(|two| two[0].1 == two[1].1);
        if same {
            line(&mut out, "every event", &of_events[0].1);
        } else {
            for (name, rights) in &of_events {
                line(&mut out, name, rights);
            }
        }
        for granted in [
            &[GrantKind::LiftBlur][..],
            &[GrantKind::Export],
            &[GrantKind::Retention],
            &[GrantKind::Request],
            &[GrantKind::Request, GrantKind::LiftBlur, GrantKind::Export],
            &[GrantKind::BreakGlass],
            &[GrantKind::Diagnostics],
            &[GrantKind::Trace],
        ] {
            let with = asker(*role, granted);
            let names: Vec<_> = granted.iter().map(|kind| kind.as_str()).collect();
            for (name, event) in events() {
                let before = rights(&authz, &me, &event);
                let more: Vec<_> = rights(&authz, &with, &event)
                    .into_iter()
                    .filter(|right| !before.contains(right))
                    .collect();
                // One event of each kind shows it.
                let shown = ["my driver, other depot, 1 h ago", "other depot, its driver"];
                if shown.contains(&name) && !more.is_empty() {
                    line(&mut out, &format!("+ {}: {name}", names.join("+")), &more);
                }
            }
        }
        for (name, facts) in scores() {
            if authz.score(&me, &facts).unwrap() {
                line(&mut out, &format!("score: {name}"), &["see_score".to_owned()]);
            }
        }
        for (name, granted) in [("the fleet", &[][..]), ("the fleet, + trace", &[GrantKind::Trace])]
        {
            let who = asker(*role, granted);
            let before = |act: &FleetAct| !granted.is_empty() && authz.fleet(&me, *act).unwrap();
            let fleet: Vec<_> = FleetAct::ALL
                .iter()
                .filter(|act| authz.fleet(&who, **act).unwrap() && !before(act))
                .map(|act| act.as_str().to_owned())
                .collect();
            if granted.is_empty() || !fleet.is_empty() {
                line(&mut out, name, &fleet);
            }
        }
        for (name, installer, granted) in [
            ("unit that I put in", Some(ME), &[][..]),
            ("unit that another put in", Some(OTHER), &[]),
            ("unit, + diagnostics", None, &[GrantKind::Diagnostics]),
        ] {
            let unit = Unit { installer, ..unit_of("own") };
            let who = asker(*role, granted);
            let acts: Vec<_> = UnitAct::ALL
                .iter()
                .filter(|act| authz.unit(&who, **act, &unit).unwrap())
                .map(|act| act.as_str().to_owned())
                .collect();
            line(&mut out, name, &acts);
        }
        for (name, actor, driver) in [
            ("log: what I did", Some(ME), Some(OTHER)),
            ("log: what somebody did that touches me", Some(OTHER), Some(ME)),
            ("log: what somebody did to another", Some(OTHER), Some(OTHER)),
            ("log: what touches no driver", Some(OTHER), None),
            ("log: what the system did", None, None),
        ] {
            let sight = match authz.log_sight(&me, actor, driver).unwrap() {
                LogSight::Nothing => "-",
                LogSight::WithoutDriver => "see_log_entry",
                LogSight::Full => "see_log_entry see_log_names",
            };
            line(&mut out, name, &[sight.to_owned()]);
        }
    }
    out.push_str("\nsecond person\n");
    for asker_role in Role::ALL {
        for kind in GrantKind::ALL {
            // Only what somebody of the role could ask for.
            if !may_ask_at_all(&authz, *asker_role, *kind) {
                continue;
            }
            let rights: Vec<_> = AskAct::ALL
                .iter()
                .map(|act| {
                    let who = who_may(&authz, *act, *kind, *asker_role);
                    let who = if who.is_empty() { "nobody".to_owned() } else { who.join(", ") };
                    format!("{}: {who};", act.as_str())
                })
                .collect();
            let name = format!("{} asks for {}", asker_role.as_str(), kind.as_str());
            line(&mut out, &name, &rights);
        }
    }
    out.push_str("\nshare link\n");
    for (name, delivery, expires_ms) in [
        ("its delivery", EVENT, NOW_MS + 1),
        ("its delivery, at its end", EVENT, NOW_MS),
        ("anything else", EventId::from_bytes([7; 16]), NOW_MS + 1),
    ] {
        let (_, event) = events().swap_remove(0);
        let acts: Vec<_> = ShareAct::ALL
            .iter()
            .filter(|act| authz.share_link((delivery, expires_ms), **act, &event, NOW_MS).unwrap())
            .map(|act| act.as_str().to_owned())
            .collect();
        line(&mut out, name, &acts);
    }
    out
}

/// The roles that may do this about what somebody of another role asks for.
fn who_may(authz: &Authz, act: AskAct, kind: GrantKind, asker_role: Role) -> Vec<String> {
    let ask =
        |by, depot: &str| AskFacts { kind, asker: by, asker_role, asker_depot: Some(depot.into()) };
    let mut roles = Vec::new();
    for role in Role::ALL {
        let who = asker(*role, &[]);
        let may = |who: &Asker, ask: &AskFacts| authz.asked(who, act, ask).unwrap();
        if act == AskAct::Approve {
            assert!(!may(&who, &ask(ME, "own")), "{role:?} is their own second person");
            let mut subordinate = who.clone();
            subordinate.user.manager = Some(OTHER);
            assert!(!may(&subordinate, &ask(OTHER, "own")), "{role:?} answers to the asker");
        }
        match (may(&who, &ask(OTHER, "own")), may(&who, &ask(OTHER, "other"))) {
            (true, true) => roles.push(role.as_str().to_owned()),
            (true, false) => roles.push(format!("{} of the depot", role.as_str())),
            (false, true) => panic!("{role:?} only for other depots"),
            (false, false) => {}
        }
    }
    roles
}

fn may_ask_at_all(authz: &Authz, role: Role, kind: GrantKind) -> bool {
    let diagnostics = kind == GrantKind::Diagnostics && role == Role::VendorSupport;
    let request = kind == GrantKind::Request;
    let trace = kind == GrantKind::Trace && authz.may_ask_trace(&asker(role, &[])).unwrap();
    diagnostics
        || trace
        || !request
            && [&[][..], &[GrantKind::Request]].iter().any(|granted| {
                let who = asker(role, granted);
                events().iter().any(|(_, event)| {
                    Purpose::ALL.iter().any(|p| authz.may_ask(&who, kind, event, *p).unwrap())
                })
            })
}

fn unit_of(depot: &str) -> Unit {
    Unit {
        id: "van-1".parse().unwrap(),
        depot: depot.into(),
        depot_name: depot.into(),
        status: crate::db::units::UnitStatus::Enrolled,
        signing_public_key: Vec::new(),
        last_heartbeat_ms: None,
        clock_error_ms: None,
        agent_version: None,
        privacy_state: None,
        spool_clips: 0,
        spool_bytes: 0,
        health: Vec::new(),
        installer: None,
    }
}

#[test]
fn the_matrix_is_as_agreed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policy/matrix.txt");
    let made = matrix();
    if std::env::var("TEMOIN_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(path, &made).unwrap();
    }
    let agreed = std::fs::read_to_string(path).unwrap();
    for (line, (made, agreed)) in made.lines().zip(agreed.lines()).enumerate() {
        assert_eq!(made, agreed, "line {} of policy/matrix.txt", line + 1);
    }
    assert_eq!(made.lines().count(), agreed.lines().count());
}

#[test]
fn who_is_switched_off_may_nothing() {
    let authz = Authz::load().unwrap();
    for role in Role::ALL {
        let mut me = asker(*role, GrantKind::ALL);
        me.user.disabled = true;
        for (name, facts) in events() {
            assert_eq!(rights(&authz, &me, &facts), Vec::<String>::new(), "{role:?} {name}");
        }
        for (name, facts) in scores() {
            assert!(!authz.score(&me, &facts).unwrap(), "{role:?} {name}");
        }
        for act in FleetAct::ALL {
            assert!(!authz.fleet(&me, *act).unwrap(), "{role:?} {act:?}");
        }
        assert!(!authz.unit(&me, UnitAct::See, &unit_of("own")).unwrap());
        assert_eq!(authz.log_sight(&me, Some(ME), Some(ME)).unwrap(), LogSight::Nothing);
    }
}

#[test]
fn grants_that_are_not_live_or_of_another_allow_nothing() {
    let authz = Authz::load().unwrap();
    let (_, event) = events().into_iter().find(|(n, _)| n.starts_with("other depot")).unwrap();
    let with = asker(Role::PrivacyOfficer, &[GrantKind::Request]);
    assert!(authz.event(&with, EventAct::See, &event).unwrap());
    let change = |change: fn(&mut Grant)| {
        let mut with = with.clone();
        with.grants.iter_mut().for_each(change);
        authz.event(&with, EventAct::See, &event).unwrap()
    };
    assert!(!change(|g| g.asker = OTHER), "somebody else's");
    assert!(!change(|g| g.ended_ms = Some(NOW_MS)), "ended");
    assert!(!change(|g| g.holds_ms = 1), "expired");
    assert!(!change(|g| g.decision = None), "not decided");
    assert!(!change(|g| g.scope = Scope::Event(EventId::from_bytes([7; 16]))), "of another event");
    assert!(!change(|g| g.kind = GrantKind::Export), "of another kind");
    let play =
        |with: &Asker| authz.clip(with, ClipAct::PlayRoad, &event, Purpose::Request).unwrap();
    assert!(play(&with));
    let mut other = with;
    other.grants.iter_mut().for_each(|g| g.purpose = Purpose::Coaching);
    assert!(!play(&other), "for another purpose");
}

#[test]
fn policies_that_do_not_fit_their_schema_do_not_load() {
    for (text, why) in [
        (
            r#"@id("x") permit (principal in Role::"drivr", action, resource);"#,
            "role of a wrong name",
        ),
        (
            r#"@id("x") permit (principal, action == Action::"play_rode", resource);"#,
            "wrong action",
        ),
        (
            r#"@id("x") permit (principal, action == Action::"see_event", resource) when { resource.driver == principal };"#,
            "optional attribute",
        ),
        (
            r#"permit (principal in Role::"driver", action == Action::"see_event", resource);"#,
            "no id",
        ),
        ("permit (", "no policy"),
    ] {
        assert!(Authz::parse(SCHEMA, &[("x.cedar", text)]).is_err(), "{why}");
    }
}

#[test]
fn a_diagnostic_denies() {
    // Passes the validator, overflows when evaluated.
    let text = r#"
        @id("a") permit (principal, action == Action::"see_event", resource);
        @id("b") forbid (principal, action == Action::"see_event", resource)
        when { context.now_ms * 9223372036854775807 > 0 };"#;
    let authz = Authz::parse(SCHEMA, &[("x.cedar", text)]).unwrap();
    let (_, facts) = events().swap_remove(0);
    let answer = authz.event(&asker(Role::Driver, &[]), EventAct::See, &facts);
    assert!(matches!(answer, Err(AuthzError::Diagnostic(_))), "{answer:?}");
}

#[test]
fn names_are_told_with_what_is_possible() {
    let error = "boss".parse::<Role>().unwrap_err().to_string();
    assert!(error.contains("`boss`") && error.contains("safety_manager"), "{error}");
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(*role));
    }
    for purpose in Purpose::ALL {
        assert_eq!(purpose.as_str().parse(), Ok(*purpose));
    }
}
