//! The golden table of roles, actions and resources: `policy/matrix.txt`. A change of a policy
//! shows there as a change of the table, for a person to read.

use super::*;

const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = 1_795_176_000_000;

fn person(role: Role) -> User {
    User {
        id: UserId::from_bytes([1; 16]),
        login: "me".into(),
        name: "Me".into(),
        short_name: "me".into(),
        role,
        depot: Some("own".into()),
        manager: None,
        disabled: false,
    }
}

const OTHER: UserId = UserId::from_bytes([2; 16]);

/// Events by how they stand to the person who asks.
fn events(me: UserId) -> Vec<(&'static str, EventFacts)> {
    let facts = |depot: &str, driver, manager, age_ms: i64| EventFacts {
        id: "e".into(),
        depot: depot.into(),
        start_ms: NOW_MS - age_ms,
        driver,
        manager,
        driver_depot: driver.map(|_| depot.to_owned()),
    };
    vec![
        ("I drove, 1 h ago", facts("own", Some(me), None, HOUR_MS)),
        ("I drove, 1 year ago", facts("own", Some(me), None, 8760 * HOUR_MS)),
        ("I drove, in a foreign depot", facts("foreign", Some(me), None, HOUR_MS)),
        ("I am the driver's manager, 1 h ago", facts("foreign", Some(OTHER), Some(me), HOUR_MS)),
        (
            "I am the driver's manager, 1 year ago",
            facts("foreign", Some(OTHER), Some(me), 8760 * HOUR_MS),
        ),
        ("my depot, driver without a manager", facts("own", Some(OTHER), None, HOUR_MS)),
        ("my depot, driver of another manager", facts("own", Some(OTHER), Some(OTHER), HOUR_MS)),
        ("my depot, 71.9 h ago", facts("own", Some(OTHER), None, 72 * HOUR_MS - 1)),
        ("my depot, 72 h ago", facts("own", Some(OTHER), None, 72 * HOUR_MS)),
        ("my depot, 9 min in the future", facts("own", Some(OTHER), None, -9 * 60_000)),
        ("my depot, 1 year in the future", facts("own", Some(OTHER), None, -8760 * HOUR_MS)),
        ("my depot, nobody on shift", facts("own", None, None, HOUR_MS)),
        ("foreign depot and driver", facts("foreign", Some(OTHER), Some(OTHER), HOUR_MS)),
        ("foreign depot, nobody on shift", facts("foreign", None, None, HOUR_MS)),
        (
            "my depot, the unit's clock at its end",
            EventFacts { start_ms: i64::MIN, ..facts("own", Some(OTHER), None, 0) },
        ),
    ]
}

/// Scores by how their driver stands to the person who asks.
fn scores(me: UserId) -> [(&'static str, ScoreFacts); 5] {
    let facts = |driver, manager, depot: Option<&str>| ScoreFacts {
        driver,
        manager,
        depot: depot.map(str::to_owned),
    };
    [
        ("score: mine", facts(me, None, Some("own"))),
        ("score: I am the driver's manager", facts(OTHER, Some(me), Some("foreign"))),
        ("score: my depot, without a manager", facts(OTHER, None, Some("own"))),
        ("score: my depot, another manager", facts(OTHER, Some(OTHER), Some("own"))),
        ("score: no depot, no manager", facts(OTHER, None, None)),
    ]
}

fn yes(b: bool) -> &'static str {
    if b { "yes" } else { "-" }
}

fn matrix() -> String {
    use std::fmt::Write as _;
    let authz = Authz::load().unwrap();
    let mut out = String::from(
        "# Who may do what, as the policies decide it. Made by the test `the_matrix_is_as_agreed`;\n\
         # to accept a change: TEMOIN_GOLDEN=write cargo test -p temoin-server matrix\n\
         #\n\
         # Purposes: C coaching, T triage, X collision, K contest, O own review. What stands in a\n\
         # cell of a camera are the purposes for which it may be watched. `face`: the driver's face\n\
         # is shown; otherwise it is blurred. `says`: may contest the event, answer who contests\n\
         # it, propose another limit for its place. Roles that see nothing of any event are one line.\n",
    );
    for role in Role::ALL {
        let me = person(*role);
        writeln!(out, "\n{}", role.as_str()).unwrap();
        let mut rows = String::new();
        let mut any = false;
        for (name, facts) in events(me.id) {
            let see = authz.may_see_event(&me, &facts, NOW_MS).unwrap();
            let mut cells = [const { String::new() }; 4];
            for (purpose, letter) in Purpose::ALL.iter().zip(["C", "T", "X", "K", "O"]) {
                let g = authz.view_grant(&me, &facts, *purpose, NOW_MS).unwrap();
                let shown = [g.road, g.cabin, g.cabin && !g.blur_driver_face, g.position];
                for (cell, shown) in cells.iter_mut().zip(shown) {
                    cell.push_str(if shown { letter } else { "" });
                }
            }
            any |= see || cells.iter().any(|c| !c.is_empty());
            let cell = |i: usize| if cells[i].is_empty() { "-" } else { cells[i].as_str() };
            let objects = [
                (authz.may_contest(&me, &facts, NOW_MS), "contest"),
                (authz.may_answer_contest(&me, &facts, NOW_MS), "answer"),
                (authz.may_propose_limit(&me, &facts, NOW_MS), "limit"),
            ];
            let objects: Vec<_> =
                objects.into_iter().filter(|(may, _)| *may.as_ref().unwrap()).collect();
            any |= !objects.is_empty();
            let words: Vec<_> = objects.iter().map(|(_, word)| *word).collect();
            writeln!(
                rows,
                "  {name:<42} event {:<4} road {:<5} cabin {:<5} face {:<5} position {:<5} says {}",
                yes(see),
                cell(0),
                cell(1),
                cell(2),
                cell(3),
                if words.is_empty() { "-".to_owned() } else { words.join("+") },
            )
            .unwrap();
        }
        out.push_str(if any {
            &rows
        } else {
            "  every event                                no event, no picture\n"
        });
        for (name, facts) in scores(me.id) {
            let see = authz.may_see_score(&me, &facts, NOW_MS).unwrap();
            writeln!(out, "  {name:<42} {}", yes(see)).unwrap();
        }
        let limits = authz.may_correct_limits(&me, NOW_MS).unwrap();
        writeln!(out, "  {:<42} {}", "correct limits", yes(limits)).unwrap();
        for depot in ["own", "foreign"] {
            let unit = unit_of(depot);
            writeln!(
                out,
                "  {:<42} see {:<4} command {}",
                format!("unit of the {depot} depot"),
                yes(authz.may_see_unit(&me, &unit, NOW_MS).unwrap()),
                yes(authz.may_command_unit(&me, &unit, NOW_MS).unwrap())
            )
            .unwrap();
        }
        for (name, actor, driver) in [
            ("log: I watched a foreign clip", me.id, Some(OTHER)),
            ("log: somebody watched my clip", OTHER, Some(me.id)),
            ("log: somebody watched a foreign clip", OTHER, Some(OTHER)),
            ("log: somebody watched, nobody on shift", OTHER, None),
        ] {
            let sight = match authz.log_sight_of(&me, 7, actor, driver, NOW_MS).unwrap() {
                LogSight::Nothing => "-",
                LogSight::WithoutDriver => "without the driver's name",
                LogSight::Full => "all",
            };
            writeln!(out, "  {name:<42} {sight}").unwrap();
        }
    }
    out
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
        let me = User { disabled: true, ..person(*role) };
        for (name, facts) in events(me.id) {
            assert!(!authz.may_see_event(&me, &facts, NOW_MS).unwrap(), "{role:?} {name}");
            assert!(!authz.may_contest(&me, &facts, NOW_MS).unwrap(), "{role:?} {name}");
            assert!(!authz.may_answer_contest(&me, &facts, NOW_MS).unwrap(), "{role:?} {name}");
        }
        for (name, facts) in scores(me.id) {
            assert!(!authz.may_see_score(&me, &facts, NOW_MS).unwrap(), "{role:?} {name}");
        }
        assert!(!authz.may_correct_limits(&me, NOW_MS).unwrap());
        assert!(!authz.may_see_unit(&me, &unit_of("own"), NOW_MS).unwrap());
        let sight = authz.log_sight_of(&me, 7, me.id, Some(me.id), NOW_MS).unwrap();
        assert_eq!(sight, LogSight::Nothing);
    }
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
    let (_, facts) = events(OTHER).swap_remove(0);
    let answer = authz.may_see_event(&person(Role::Driver), &facts, NOW_MS);
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
