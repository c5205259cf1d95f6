//! Stop signs of small extracts: which become stop lines, and what is said of the others.

use std::{collections::BTreeMap, fs, path::Path};

use temoin_agent_core::limits::{
    LimitsError, Map, Overrides, SpeedLimits, Vehicle, grid::Point, stop::LeftOut,
};

use super::{
    pbf_writer::{Extract, Packed},
    tests::built,
};

/// Metres of a street at 44.43° north, in degrees.
fn lon(m: f64) -> f64 {
    26.1 + m / (111_195.0 * 0.7141)
}

/// A street of 300 m that ends on another one, and goes on behind it for 300 m; a sign 8 m before the
/// crossing and one 200 m behind it.
pub(super) fn crossing(first: &str, second: &str) -> Extract {
    Extract::default()
        .node(1, 44.43, lon(0.0))
        .tagged(2, 44.43, lon(292.0), first)
        .node(3, 44.43, lon(300.0))
        .tagged(4, 44.43, lon(500.0), second)
        .node(5, 44.43, lon(600.0))
        .node(6, 44.427, lon(300.0))
        .node(7, 44.433, lon(300.0))
        .way(70, "highway=residential|maxspeed=50", &[1, 2, 3, 4, 5])
        .way(80, "highway=primary|maxspeed=50", &[6, 3, 7])
}

/// Metres to the stop line from a place on the street.
fn line_m(file: &[u8], m: f64, heading_deg: f64) -> Option<f64> {
    let map = Map::open(file).unwrap();
    let mut limits = SpeedLimits::new(map, &Overrides::default(), Vehicle::default()).unwrap();
    let p = Point::from_deg(44.43, lon(m)).unwrap();
    let shown = limits.show(p, 2.0, Some(heading_deg), None).unwrap();
    shown.first().and_then(|s| s.stop_line_m).map(f64::round)
}

#[test]
fn stop_signs_become_stop_lines() {
    let (east, west) = (90.0, 270.0);
    for (packed, dense) in [(Packed::Zlib, true), (Packed::Raw, false)] {
        let town = crossing("highway=stop", "name=Ș|highway=stop|direction=backward");
        let (built_of, file) = built(&town.bytes(packed, dense), "").unwrap();
        assert_eq!((built_of.stops, built_of.stops_left_out.len()), (2, 0));
        for (m, heading, want) in [
            (262.0, east, Some(30.0)),
            (292.0 - 70.0, east, None),
            (298.0, east, None),
            (298.0, west, None),
            (480.0, east, None),
            (530.0, west, Some(30.0)),
        ] {
            assert_eq!(line_m(&file, m, heading), want, "{m} {heading} {packed:?} {dense}");
        }
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let none = BTreeMap::new();
    for (first, second, stops, left_out) in [
        ("highway=give_way", "highway=crossing", 0, none.clone()),
        // 200 m from any junction.
        ("highway=stop", "highway=stop", 1, BTreeMap::from([(LeftOut::WhichDirection, 1)])),
        (
            "highway=stop|direction=forward|stop:direction=backward",
            "highway=stop|direction=both",
            1,
            BTreeMap::from([(LeftOut::Contradiction, 1)]),
        ),
    ] {
        let (built, _) = built(&crossing(first, second).bytes(Packed::Zlib, true), "").unwrap();
        assert_eq!((built.stops, built.stops_left_out), (stops, left_out), "{first} {second}");
    }
    // On the junction itself: one node, though two roads have it; and one off all roads.
    for (sign, stops, left_out) in [
        ("highway=stop", 0, BTreeMap::from([(LeftOut::OnJunction, 1)])),
        ("highway=stop|stop=minor", 0, BTreeMap::from([(LeftOut::OnJunction, 1)])),
        ("highway=stop|stop=all", 1, none),
    ] {
        let town = Extract::default()
            .node(1, 44.43, lon(0.0))
            .tagged(2, 44.43, lon(300.0), sign)
            .node(3, 44.43, lon(600.0))
            .node(4, 44.427, lon(300.0))
            .tagged(5, 44.44, lon(300.0), "highway=stop")
            .way(70, "highway=residential|maxspeed=50", &[1, 2, 3])
            .way(80, "highway=primary|maxspeed=50", &[4, 2])
            .way(90, "highway=footway", &[4, 5]);
        let (built, file) = built(&town.bytes(Packed::Zlib, true), "").unwrap();
        assert_eq!((built.stops, &built.stops_left_out), (stops, &left_out), "{sign}");
        let (from_west, from_east) = (line_m(&file, 280.0, 90.0), line_m(&file, 320.0, 270.0));
        let want = (stops == 1).then_some(20.0);
        assert_eq!((from_west, from_east), (want, want), "{sign}");
    }
}

/// Words that a block does not have, and columns that end too early.
#[test]
fn broken_tags_of_nodes_are_refused() {
    use super::osm::{DenseNodes, Node, PrimitiveBlock, PrimitiveGroup, StringTable};
    let words = ["", "highway", "stop"].map(|w| w.as_bytes().to_vec()).to_vec();
    let block = |nodes: Vec<Node>, dense: Option<DenseNodes>| PrimitiveBlock {
        stringtable: Some(StringTable { s: words.clone() }),
        groups: vec![PrimitiveGroup { nodes, dense, ways: Vec::new() }],
        ..PrimitiveBlock::default()
    };
    let read = |block: &PrimitiveBlock| {
        let mut found = Vec::new();
        let each = |id, _, _, tags: &[(&str, &str)]| {
            found.push((id, tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<String>()));
        };
        block.each_node(each).map(|()| found)
    };
    let stop = || "highway=stop".to_owned();
    for (keys_vals, want) in [
        (vec![1, 2, 0, 0], Ok(vec![(5, stop()), (6, String::new())])),
        (vec![0, 1, 2, 0], Ok(vec![(5, String::new()), (6, stop())])),
        (vec![], Ok(vec![(5, String::new()), (6, String::new())])),
        // Without its end.
        (vec![0, 1, 2], Ok(vec![(5, String::new()), (6, stop())])),
        (vec![1, 2], Ok(vec![(5, stop()), (6, String::new())])),
        (vec![1], Err("a node with more keys than values")),
        (vec![1, 7, 0], Err("a word that the block does not have")),
        (vec![-1, 2, 0], Err("a word that the block does not have")),
    ] {
        let two = |a, b| vec![a, b];
        let dense = DenseNodes { id: two(5, 1), lat: two(0, 0), lon: two(0, 0), keys_vals };
        assert_eq!(read(&block(Vec::new(), Some(dense.clone()))), want, "{dense:?}");
    }
    for (keys, vals, want) in [
        (vec![1], vec![2], Ok(vec![(5, stop())])),
        (vec![1], vec![], Err("a thing with more keys than values, or fewer")),
        (vec![9], vec![2], Err("a word that the block does not have")),
    ] {
        let node = Node { id: 5, lat: 0, lon: 0, keys, vals };
        assert_eq!(read(&block(vec![node.clone()], None)), want, "{node:?}");
    }
}

/// A file that was built before there were stop lines says what to do.
#[test]
fn a_file_of_before_is_built_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("limits");
    let (_, mut file) = built(&crossing("", "").bytes(Packed::Zlib, true), "").unwrap();
    file[8] = 1;
    fs::write(&path, &file).unwrap();
    let said = super::MapFile::open(Path::new(&path)).map(drop).unwrap_err().to_string();
    assert!(said.contains("version 1") && said.contains("build it anew"), "{said}");
    assert_eq!(Map::open(file).map(drop), Err(LimitsError::Version(1)));
}
