//! Stop lines of the map: which direction of a way a node `highway=stop` holds for.
//!
//! Source: the OpenStreetMap wiki, `highway=stop`: the node lies where one stops, on the way to the
//! junction; `direction` (also `stop:direction`) names the direction of travel by the way's own order;
//! without it the nearest junction tells. A node on the junction itself tells only with `stop=all`.
//!
//! INVARIANT: where the direction is not sure there is no stop line, and the reason is counted.

use super::{
    grid::{Plane, Point},
    road::Ways,
};

/// A line further from its junction may be anything. Own choice: most are within 30 m.
const NEAREST_M: f64 = 50.0;
/// The junction on the other side must be so many times further, and so much. Own choice.
const CLEARLY: (f64, f64) = (2.0, 15.0);

/// For which directions of a way's own order one must stop at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Who drives along the way.
    pub forward: bool,
    /// Who drives against it.
    pub backward: bool,
}

impl Stops {
    /// For nobody.
    pub const NONE: Self = Self { forward: false, backward: false };

    /// For anybody.
    pub const fn any(self) -> bool {
        self.forward || self.backward
    }

    /// For whom either holds.
    pub const fn or(self, other: Self) -> Self {
        Self { forward: self.forward || other.forward, backward: self.backward || other.backward }
    }

    const fn and(self, other: Self) -> Self {
        Self { forward: self.forward && other.forward, backward: self.backward && other.backward }
    }

    const fn driven(ways: Ways) -> Self {
        match ways {
            Ways::Both => Self { forward: true, backward: true },
            Ways::Forward => Self { forward: true, backward: false },
            Ways::Backward => Self { forward: false, backward: true },
        }
    }
}

/// What a node's tags say of stopping there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A stop, for these where it says so.
    Stop {
        /// `direction`.
        direction: Direction,
        /// `stop=all`.
        all: bool,
    },
    /// Rails cross here: a stop line before them belongs to them.
    Rails,
}

/// The direction that a stop names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// None, or one that does not tell the way's directions apart (`N`, `90`).
    Unsaid,
    /// This.
    Said(Stops),
    /// Two tags that contradict each other.
    Contradicts,
}

/// What a node's tags say; nothing where they say nothing of stopping.
pub fn read(tags: &[(&str, &str)]) -> Option<Sign> {
    let get = |key: &str| tags.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    match (get("highway"), get("railway")) {
        (Some("stop"), _) => {}
        (_, Some("level_crossing" | "tram_level_crossing")) => return Some(Sign::Rails),
        _ => return None,
    }
    let said = |key| match get(key)? {
        "forward" => Some(Stops { forward: true, backward: false }),
        "backward" => Some(Stops { forward: false, backward: true }),
        "both" => Some(Stops { forward: true, backward: true }),
        _ => None,
    };
    let direction = match (said("direction"), said("stop:direction")) {
        (None, None) => Direction::Unsaid,
        (Some(a), Some(b)) if a != b => Direction::Contradicts,
        (Some(a), _) | (None, Some(a)) => Direction::Said(a),
    };
    Some(Sign::Stop { direction, all: get("stop") == Some("all") })
}

/// How the ways that have a node meet there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meeting {
    /// One way, once.
    #[default]
    Alone,
    /// One way ends and one begins: the road goes on under another number.
    Onward,
    /// Two ways end, or two begin.
    HeadOn,
    /// More than two roads lead away.
    Junction,
}

impl Meeting {
    /// From how often ways have a node, begin there and end there.
    pub const fn of(uses: usize, begin: usize, end: usize) -> Self {
        match (uses, begin, end) {
            (0 | 1, ..) => Self::Alone,
            (2, 1, 1) => Self::Onward,
            (2, 0, 2) | (2, 2, 0) => Self::HeadOn,
            _ => Self::Junction,
        }
    }
}

/// A node of a way, as far as stop lines need it.
#[derive(Clone, Copy, Debug)]
pub struct WayNode {
    /// Where.
    pub at: Point,
    /// With which other ways.
    pub meeting: Meeting,
    /// What stands there.
    pub sign: Option<Sign>,
}

/// Why a stop of the map is no stop line here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// On a junction, and not `stop=all`: which of its roads must stop is not said.
    OnJunction,
    /// No direction, and no junction is clearly the nearest.
    WhichDirection,
    /// Its tags contradict each other, or the one-way road.
    Contradiction,
}

impl LeftOut {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::OnJunction, Self::WhichDirection, Self::Contradiction];

    /// A few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnJunction => "on a junction",
            Self::WhichDirection => "of no sure direction",
            Self::Contradiction => "with tags that contradict each other",
        }
    }
}

/// For whom the stop at `nodes[at]` holds on this way; for nobody where none is there, or another way
/// has it. `nodes` are in the way's own order, and none is missing between them.
///
/// # Errors
/// Why it is left out.
pub fn resolve(ways: Ways, nodes: &[WayNode], at: usize) -> Result<Stops, LeftOut> {
    let Some(node) = nodes.get(at) else { return Ok(Stops::NONE) };
    let (direction, all) = match node.sign {
        Some(Sign::Stop { direction, all }) => (direction, all),
        Some(Sign::Rails) | None => return Ok(Stops::NONE),
    };
    let driven = Stops::driven(ways);
    // Who comes from this way: nobody comes from before its first node.
    let comes = driven.and(Stops { forward: at > 0, backward: at + 1 < nodes.len() });
    match node.meeting {
        Meeting::Junction if all => return Ok(comes),
        Meeting::Junction => return Err(LeftOut::OnJunction),
        // By which of the two ways is it meant?
        Meeting::HeadOn => return Err(LeftOut::WhichDirection),
        Meeting::Onward | Meeting::Alone => {}
    }
    let said = match direction {
        Direction::Contradicts => return Err(LeftOut::Contradiction),
        Direction::Said(said) => said,
        // There is one direction only.
        Direction::Unsaid if driven != Stops::driven(Ways::Both) => driven,
        Direction::Unsaid if node.meeting == Meeting::Onward => {
            return Err(LeftOut::WhichDirection);
        }
        Direction::Unsaid => towards_junction(nodes, at)?,
    };
    if said.and(driven).any() { Ok(said.and(comes)) } else { Err(LeftOut::Contradiction) }
}

/// Towards the junction, or the rails, that is clearly the nearest.
fn towards_junction(nodes: &[WayNode], at: usize) -> Result<Stops, LeftOut> {
    let (before, after) = nodes.split_at_checked(at).ok_or(LeftOut::WhichDirection)?;
    let Some((here, after)) = after.split_first() else { return Err(LeftOut::WhichDirection) };
    let forward = to_junction_m(here.at, after.iter());
    let backward = to_junction_m(here.at, before.iter().rev());
    let clearly = |near: (f64, bool), far: (f64, bool)| {
        near.1 && near.0 <= NEAREST_M && far.0 >= (near.0 * CLEARLY.0).max(near.0 + CLEARLY.1)
    };
    if clearly(forward, backward) {
        Ok(Stops { forward: true, backward: false })
    } else if clearly(backward, forward) {
        Ok(Stops { forward: false, backward: true })
    } else {
        Err(LeftOut::WhichDirection)
    }
}

/// Metres to the first junction or rails; where there is none, metres to the end, and `false`: it is
/// at least so far.
fn to_junction_m<'a>(from: Point, nodes: impl Iterator<Item = &'a WayNode>) -> (f64, bool) {
    let plane = Plane::at(from);
    let (mut at, mut way_m) = (from, 0.0);
    for node in nodes {
        way_m += plane.distance_m(at, node.at);
        at = node.at;
        if node.meeting == Meeting::Junction || node.sign == Some(Sign::Rails) {
            return (way_m, true);
        }
    }
    (way_m, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARD: Result<Stops, LeftOut> = Ok(Stops { forward: true, backward: false });
    const BACKWARD: Result<Stops, LeftOut> = Ok(Stops { forward: false, backward: true });
    const BOTH: Result<Stops, LeftOut> = Ok(Stops { forward: true, backward: true });
    const NOBODY: Result<Stops, LeftOut> = Ok(Stops::NONE);
    const ON_JUNCTION: Result<Stops, LeftOut> = Err(LeftOut::OnJunction);
    const WHICH: Result<Stops, LeftOut> = Err(LeftOut::WhichDirection);
    const CONTRADICTS: Result<Stops, LeftOut> = Err(LeftOut::Contradiction);

    fn sign(text: &str) -> Option<Sign> {
        let tags: Vec<_> = text.split_whitespace().map(|t| t.split_once('=').unwrap()).collect();
        read(&tags)
    }

    #[test]
    fn signs_are_read() {
        let stop = |direction, all| Some(Sign::Stop { direction, all });
        let forward = Direction::Said(FORWARD.unwrap());
        for (tags, want) in [
            ("highway=stop", stop(Direction::Unsaid, false)),
            ("highway=stop stop=all", stop(Direction::Unsaid, true)),
            ("highway=stop stop=minor direction=forward", stop(forward, false)),
            ("highway=stop stop:direction=forward", stop(forward, false)),
            ("highway=stop direction=N", stop(Direction::Unsaid, false)),
            ("highway=stop direction=N stop:direction=forward", stop(forward, false)),
            (
                "highway=stop direction=backward stop:direction=forward",
                stop(Direction::Contradicts, false),
            ),
            ("highway=give_way direction=forward", None),
            ("highway=traffic_signals stop=all", None),
            ("traffic_sign=stop", None),
            ("railway=level_crossing", Some(Sign::Rails)),
            ("railway=level_crossing highway=stop", stop(Direction::Unsaid, false)),
            ("", None),
        ] {
            assert_eq!(sign(tags), want, "{tags}");
        }
    }

    /// A street: metres, how it meets others (`x` junction, `>` onward, `<` head on), what stands there.
    type Street<'a> = &'a [(f64, char, &'a str)];

    /// Name, street and whom each of its stops is for.
    type Case<'a> = (&'a str, Ways, Street<'a>, &'a [Result<Stops, LeftOut>]);

    fn of(ways: Ways, street: Street<'_>) -> Vec<Result<Stops, LeftOut>> {
        let origin = Point::from_deg(44.43, 26.1).unwrap();
        let plane = Plane::at(origin);
        let nodes: Vec<WayNode> = street
            .iter()
            .map(|(m, meets, tags)| WayNode {
                at: Point { x: origin.x + crate::limits::grid::rounded(m / plane.x_m), ..origin },
                meeting: match meets {
                    'x' => Meeting::Junction,
                    '>' => Meeting::Onward,
                    '<' => Meeting::HeadOn,
                    _ => Meeting::Alone,
                },
                sign: sign(tags),
            })
            .collect();
        let stops = (0..nodes.len())
            .filter(|n| matches!(nodes[*n].sign, Some(Sign::Stop { .. })))
            .map(|n| resolve(ways, &nodes, n))
            .collect();
        assert_eq!(resolve(ways, &nodes, nodes.len()), NOBODY);
        stops
    }

    #[test]
    fn whom_a_stop_is_for() {
        use Ways::{Backward, Both, Forward};
        const STOP: &str = "highway=stop";
        let cases: &[Case<'_>] = &[
            (
                "before a junction",
                Both,
                &[(0., 'x', ""), (190., ' ', STOP), (200., 'x', "")],
                &[FORWARD],
            ),
            (
                "the other end",
                Both,
                &[(0., 'x', ""), (10., ' ', STOP), (200., 'x', "")],
                &[BACKWARD],
            ),
            (
                "both ends",
                Both,
                &[(0., 'x', ""), (8., ' ', STOP), (192., ' ', STOP), (200., 'x', "")],
                &[BACKWARD, FORWARD],
            ),
            (
                "said, though the other junction is nearer",
                Both,
                &[(0., 'x', ""), (10., ' ', "highway=stop direction=forward"), (200., 'x', "")],
                &[FORWARD],
            ),
            (
                "said for both",
                Both,
                &[(0., 'x', ""), (10., ' ', "highway=stop direction=both"), (200., 'x', "")],
                &[BOTH],
            ),
            ("in the middle", Both, &[(0., 'x', ""), (12., ' ', STOP), (30., 'x', "")], &[WHICH]),
            ("far from any", Both, &[(0., 'x', ""), (300., ' ', STOP), (400., 'x', "")], &[WHICH]),
            // The way ends after 10 m and goes on with another number: a junction may be right there.
            ("a short piece", Both, &[(0., '>', ""), (10., ' ', STOP), (20., 'x', "")], &[WHICH]),
            (
                "a longer piece",
                Both,
                &[(0., '>', ""), (40., ' ', STOP), (50., 'x', "")],
                &[FORWARD],
            ),
            ("no junction", Both, &[(0., ' ', ""), (100., ' ', STOP), (200., '>', "")], &[WHICH]),
            (
                "before rails near a junction",
                Both,
                &[
                    (0., 'x', ""),
                    (22., ' ', STOP),
                    (30., ' ', "railway=level_crossing"),
                    (38., ' ', STOP),
                    (80., 'x', ""),
                ],
                // 22 m from the junction, 8 m from the rails.
                &[WHICH, BACKWARD],
            ),
            ("one-way", Forward, &[(0., 'x', ""), (12., ' ', STOP), (30., 'x', "")], &[FORWARD]),
            (
                "one-way against its order",
                Backward,
                &[(0., 'x', ""), (20., ' ', STOP), (30., 'x', "")],
                &[BACKWARD],
            ),
            (
                "said against the one-way",
                Forward,
                &[(0., 'x', ""), (20., ' ', "highway=stop direction=backward"), (30., 'x', "")],
                &[CONTRADICTS],
            ),
            (
                "both on a one-way",
                Forward,
                &[(0., 'x', ""), (20., ' ', "highway=stop direction=both"), (30., 'x', "")],
                &[FORWARD],
            ),
            (
                "on the junction",
                Both,
                &[(0., ' ', ""), (50., 'x', STOP), (90., 'x', "highway=stop stop=minor")],
                &[ON_JUNCTION; 2],
            ),
            (
                "on the junction with a direction",
                Both,
                &[(0., ' ', ""), (50., 'x', "highway=stop direction=forward")],
                &[ON_JUNCTION],
            ),
            (
                "all who enter",
                Both,
                &[
                    (0., 'x', "highway=stop stop=all"),
                    (50., 'x', "highway=stop stop=all"),
                    (90., 'x', "highway=stop stop=all"),
                ],
                &[BACKWARD, BOTH, FORWARD],
            ),
            (
                "all who enter from a one-way",
                Forward,
                &[
                    (0., 'x', "highway=stop stop=all"),
                    (50., 'x', "highway=stop stop=all"),
                    (90., 'x', "highway=stop stop=all"),
                ],
                &[NOBODY, FORWARD, FORWARD],
            ),
            (
                "where one way ends and the next begins: told by the way that leads there",
                Both,
                &[
                    (0., '>', "highway=stop direction=backward"),
                    (50., '>', "highway=stop direction=forward"),
                ],
                &[BACKWARD, FORWARD],
            ),
            (
                "the same, of the other way",
                Both,
                &[
                    (0., '>', "highway=stop direction=forward"),
                    (50., '>', "highway=stop direction=backward"),
                ],
                &[NOBODY, NOBODY],
            ),
            ("between ways, no direction", Both, &[(0., '>', STOP), (50., 'x', "")], &[WHICH]),
            (
                "between ways that meet head on",
                Both,
                &[(0., 'x', ""), (50., '<', "highway=stop direction=forward")],
                &[WHICH],
            ),
        ];
        for (name, ways, street, want) in cases {
            assert_eq!(of(*ways, street), *want, "{name}");
        }
    }

    #[test]
    fn how_ways_meet() {
        for ((uses, begin, end), want) in [
            ((1, 0, 0), Meeting::Alone),
            ((1, 1, 0), Meeting::Alone),
            ((2, 1, 1), Meeting::Onward),
            ((2, 0, 2), Meeting::HeadOn),
            ((2, 2, 0), Meeting::HeadOn),
            ((2, 0, 1), Meeting::Junction),
            ((2, 0, 0), Meeting::Junction),
            ((3, 1, 2), Meeting::Junction),
        ] {
            assert_eq!(Meeting::of(uses, begin, end), want, "{uses} {begin} {end}");
        }
    }
}
