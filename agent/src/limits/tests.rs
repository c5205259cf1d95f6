//! Small extracts, whole and broken, through the whole build.

use std::{fs, io::Cursor, path::Path};

use proptest::prelude::*;
use temoin_agent_core::limits::{
    LimitState, Map, Overrides, SpeedLimits, UnknownReason, Vehicle, country::Code, grid::Point,
};

use super::{
    build::{self, BuildError, Built, build, import},
    file::{MapFile, read_overrides},
    osm::{HeaderBlock, PrimitiveBlock, PrimitiveGroup},
    pbf_writer::{Extract, Packed, blob},
};

/// Streets of a kilometre, some 300 m apart, each with its own tags.
fn streets(tags: &[&str]) -> Extract {
    let mut town = Extract::default();
    for (n, tags) in tags.iter().enumerate() {
        let id = i64::try_from(n).unwrap() * 10 + 100;
        let lat = street_lat(n);
        town = town.node(id, lat, 26.1).node(id + 1, lat, 26.105).node(id + 2, lat, 26.112);
        town = town.way(id, tags, &[id, id + 1, id + 2]);
    }
    town
}

fn street_lat(n: usize) -> f64 {
    44.43 + f64::from(u32::try_from(n).unwrap()) * 0.003
}

pub(super) fn built(bytes: &[u8], country: &str) -> Result<(Built, Vec<u8>), BuildError> {
    let mut out = Vec::new();
    let path = Path::new("town.osm.pbf");
    let built = import(Cursor::new(bytes), path, Code::parse(country), |part| {
        out.extend_from_slice(part);
        Ok(())
    })?;
    Ok((built, out))
}

/// What is known eastward in the middle of each street.
fn known(file: &[u8], streets: usize, heading_deg: f64) -> Vec<LimitState> {
    let map = Map::open(file).unwrap();
    let vehicle = Vehicle { max_mass_kg: Some(3500) };
    let mut limits = SpeedLimits::new(map, &Overrides::default(), vehicle).unwrap();
    (0..streets)
        .map(|n| {
            let p = Point::from_deg(street_lat(n), 26.107).unwrap();
            let shown = limits.show(p, 20.0, Some(heading_deg), None).unwrap();
            assert!(shown.len() <= 1, "{shown:?}");
            shown.first().map_or(LimitState::Unknown(UnknownReason::OffRoad), |s| s.limit)
        })
        .collect()
}

#[test]
fn a_town_is_built_and_read() {
    let tags = [
        "highway=primary|maxspeed=70",
        "highway=primary|maxspeed=30 mph",
        "highway=primary|maxspeed:forward=50|maxspeed:backward=80",
        "highway=residential",
        "highway=secondary|oneway=-1|maxspeed=60",
        "highway=primary|maxspeed=100|maxspeed:conditional=80 @ (weight>7.5); 60 @ (22:00-06:00)",
        "highway=footway|maxspeed=5",
        "railway=rail|maxspeed=160",
        "highway=primary",
        "highway=motorway|tunnel=yes",
    ];
    let town = streets(&tags);
    for (packed, dense) in [(Packed::Zlib, true), (Packed::Raw, true), (Packed::Zlib, false)] {
        let (built, file) = built(&town.bytes(packed, dense), "RO").unwrap();
        assert_eq!((built.ways, built.explicit, built.implicit, built.at_the_edge), (8, 5, 2, 0));
        assert_eq!((built.map_unix_s, built.bytes), (1_700_000_000, file.len() as u64));
        assert!((built.road_m - 8.0 * 952.0).abs() < 50.0, "{}", built.road_m);
        let kmh = |heading| -> Vec<Option<f64>> {
            known(&file, tags.len(), heading).iter().map(LimitState::kmh).collect()
        };
        let east = [70.0, 48.28, 50.0, 50.0, -1.0, 100.0, -1.0, -1.0, -1.0, 130.0];
        let west = [70.0, 48.28, 80.0, 50.0, 60.0, 100.0, -1.0, -1.0, -1.0, -1.0];
        for (heading, want) in [(90.0, east), (270.0, west)] {
            let want: Vec<Option<f64>> = want.iter().map(|v| (*v > 0.0).then_some(*v)).collect();
            assert_eq!(kmh(heading), want, "{packed:?} {dense} {heading}");
        }
    }
}

#[test]
fn nodes_that_are_missing_end_a_piece() {
    let town = Extract::default()
        .node(1, 44.43, 26.1)
        .node(2, 44.43, 26.11)
        .node(4, 44.43, 26.12)
        .node(5, 44.43, 26.13)
        .way(7, "highway=primary|maxspeed=70", &[1, 2, 3, 4, 5])
        .way(8, "highway=primary|maxspeed=70", &[91, 92])
        .way(9, "highway=primary|maxspeed=70", &[])
        .way(10, "highway=primary|maxspeed=70", &[1]);
    let (built, file) = built(&town.bytes(Packed::Zlib, true), "").unwrap();
    assert_eq!((built.ways, built.at_the_edge), (4, 2));
    assert!((built.road_m - 1588.0).abs() < 20.0, "{}", built.road_m);
    let mut limits =
        SpeedLimits::new(Map::open(file).unwrap(), &Overrides::default(), Vehicle::default())
            .unwrap();
    let shown = |lon: f64, limits: &mut SpeedLimits<Vec<u8>>| {
        limits.show(Point::from_deg(44.43, lon).unwrap(), 20.0, Some(90.0), None).unwrap().len()
    };
    assert_eq!([26.105, 26.115, 26.125].map(|lon| shown(lon, &mut limits)), [1, 0, 1]);
}

#[test]
fn broken_files_are_refused_with_their_place() {
    let whole = streets(&["highway=primary|maxspeed=70"; 7]).bytes(Packed::Zlib, true);
    for cut in 1..whole.len() {
        match built(&whole[..cut], "") {
            Err(e) => assert!(e.to_string().starts_with("`town.osm.pbf`: "), "{cut}: {e}"),
            // Cut between two blocks nothing is missing but roads.
            Ok((built, _)) => assert!(built.ways < 7, "{cut}"),
        }
    }
    let header = |feature: &str| {
        let block =
            HeaderBlock { required_features: vec![feature.to_owned()], ..HeaderBlock::default() };
        blob("OSMHeader", &prost::Message::encode_to_vec(&block), Packed::Raw)
    };
    let known = header("DenseNodes");
    let data = |block: &PrimitiveBlock| {
        blob("OSMData", &prost::Message::encode_to_vec(block), Packed::Zlib)
    };
    let many = PrimitiveBlock {
        groups: vec![PrimitiveGroup::default(); 1_000_001],
        ..PrimitiveBlock::default()
    };
    for (bytes, want) in [
        (Vec::new(), "no road"),
        (b"<?xml version='1.0'?><osm>".to_vec(), "is this an .osm.pbf file"),
        (header("HistoricalInformation"), "needs `HistoricalInformation`"),
        (blob("OSMData", &[], Packed::Raw), "data before the header"),
        ([known.clone(), b"\0\0".to_vec()].concat(), "byte 31: the file ends within"),
        ([known.clone(), data(&many)].concat(), "more things than a block"),
        ([known, blob("OSMData", b"\xff\xff\xff", Packed::Zlib)].concat(), "the block at byte 31"),
    ] {
        let said = built(&bytes, "").map(drop).unwrap_err().to_string();
        assert!(said.contains(want), "{said}, not {want}");
    }
}

#[test]
fn a_build_replaces_a_file_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (extract, out) = (folder.path().join("town.osm.pbf"), folder.path().join("limits"));
    let whole = streets(&["highway=primary|maxspeed=70"]).bytes(Packed::Zlib, true);
    fs::write(&extract, &whole).unwrap();
    let first = build(&extract, None, &out).unwrap();
    let map = MapFile::open(&out).unwrap();
    assert_eq!((map.length(), map.about().map_unix_s), (first.bytes, 1_700_000_000));
    assert!(first.bytes_per_road_km() > 100.0);
    let before = fs::read(&out).unwrap();
    fs::write(&extract, &whole[..whole.len() - 3]).unwrap();
    assert!(build(&extract, None, &out).is_err());
    assert!(build(&folder.path().join("none"), None, &out).is_err());
    assert_eq!(fs::read(&out).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
    let said = MapFile::open(&extract).map(drop).unwrap_err().to_string();
    assert!(said.contains("town.osm.pbf") && said.contains("limits build"), "{said}");
}

#[test]
fn corrections_are_read_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corrections.toml");
    for (text, want) in [
        ("version = 1\n[[limit]]\nway = 5\nkmh = 50\n", ""),
        ("version = 1\n[[limit]]\nway = 5\nkph = 50\n", "line 4"),
        ("version = 1\n[[limit]]\nway = 5\nkmh = 500\n", "limit 1: `kmh` is 500"),
    ] {
        fs::write(&path, text).unwrap();
        let said = read_overrides(&path).map_or_else(|e| e.to_string(), |_| String::new());
        assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{said}");
        assert!(said.is_empty() || said.contains("corrections.toml"), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any change of a few bytes: an error or a map, never a panic.
    #[test]
    fn damaged_extracts_never_panic(
        raw in any::<bool>(),
        dense in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let packed = if raw { Packed::Raw } else { Packed::Zlib };
        let mut bytes = streets(&["highway=primary|maxspeed=70", "highway=residential"]).bytes(packed, dense);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((_, file)) = built(&bytes, "RO") {
            prop_assert!(Map::open(file.as_slice()).is_ok());
        }
    }
}

/// On a real extract, where somebody has one: `TEMOIN_OSM=FILE cargo test real_extract -- --nocapture`.
#[test]
fn a_real_extract_is_built() {
    let Some(path) = std::env::var_os("TEMOIN_OSM") else {
        println!("skipped: TEMOIN_OSM names no extract");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("limits");
    let built = build::build(Path::new(&path), None, &out).unwrap();
    println!("{built:?}: {:.1} bytes a km", built.bytes_per_road_km());
    let map = MapFile::open(&out).unwrap();
    for key in map.keys().unwrap() {
        assert!(map.tile(key).unwrap().is_some());
    }
}

/// The seeds of the fuzz targets are of today's formats; `TEMOIN_GOLDEN=write` writes them anew.
#[test]
fn fuzz_seeds_are_of_todays_formats() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let town = streets(&[
        "highway=primary|maxspeed=70|maxspeed:conditional=30 @ (Mo-Fr 22:00-06:00)",
        "highway=motorway|maxspeed=70 mph|maxspeed:hgv=50 mph",
    ]);
    let town =
        super::stop_tests::crossing("highway=stop|stop=minor", "highway=stop|direction=both")
            .and(&town);
    let (built_of, file) = built(&town.bytes(Packed::Zlib, true), "RO").unwrap();
    assert_eq!(built_of.stops, 2);
    let whole = town.bytes(Packed::Raw, true);
    let seeds = [
        ("limits_pbf", "zlib", town.bytes(Packed::Zlib, true)),
        ("limits_pbf", "raw", whole.clone()),
        ("limits_pbf", "nodes_one_by_one", town.bytes(Packed::Raw, false)),
        ("limits_pbf", "cut", whole[..whole.len() - 5].to_vec()),
        ("limits_file", "two_streets", file.clone()),
        ("limits_file", "cut", file[..file.len() - 5].to_vec()),
    ];
    for (target, name, bytes) in seeds {
        let path = corpus.join(target).join(name);
        if std::env::var_os("TEMOIN_GOLDEN").is_some_and(|v| v == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{}: TEMOIN_GOLDEN=write", path.display());
    }
}

/// From an extract to an event: a van at 95 km/h along these streets, one after the other.
#[test]
fn a_van_on_the_map_speeds_where_the_map_says_so() {
    use std::sync::Arc;

    use temoin_agent_core::{
        config::CoreConfig,
        drive::{Command, Drive, Input},
        policy::PrivacyState,
    };
    use temoin_proto::{
        events::EventKind,
        samples::{GnssFix, Signal, VehicleSpeed},
        time::MonoTime,
    };

    use crate::{config::LimitsConfig, health::HealthBoard, limit_watch::LimitWatch};

    let dir = tempfile::tempdir().unwrap();
    // Monday, 2 November 2026, 10:00 UTC: noon in Bucharest.
    let ten_utc_ms = 1_793_613_600_000_i64;
    for (tags, zone, want) in [
        ("highway=primary|maxspeed=50", None, Some(EventKind::Speeding)),
        ("highway=primary|maxspeed=90", None, None),
        // The country's rule alone: told, not flagged.
        ("highway=residential", None, None),
        ("highway=primary", None, None),
        (
            "highway=primary|maxspeed=100|maxspeed:conditional=50 @ (11:00-13:00)",
            Some("Europe/Bucharest"),
            Some(EventKind::Speeding),
        ),
        ("highway=primary|maxspeed=100|maxspeed:conditional=50 @ (11:00-13:00)", None, None),
        (
            "highway=primary|maxspeed=100|maxspeed:conditional=50 @ (08:00-11:00)",
            Some("Europe/Bucharest"),
            None,
        ),
    ] {
        let file = dir.path().join("limits");
        let street = Extract::default()
            .node(1, 44.43, 26.1)
            .node(2, 44.43, 26.12)
            .node(3, 44.43, 26.14)
            .way(7, tags, &[1, 2, 3]);
        fs::write(&file, built(&street.bytes(Packed::Zlib, true), "RO").unwrap().1).unwrap();
        let config = LimitsConfig {
            file: Some(file),
            time_zone: zone.map(str::to_owned),
            ..LimitsConfig::default()
        };
        let health = Arc::new(HealthBoard::default());
        let mut watch = LimitWatch::open(&config, &health).unwrap();
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let mut out = Vec::new();
        let mps = 95.0 / 3.6;
        for tenth in 0..900_u32 {
            let s = f64::from(tenth) / 10.0;
            let at = MonoTime::from_secs_f64(s + 1.0);
            let lon = 26.101 + s * mps / (111_320.0 * 44.43_f64.to_radians().cos());
            let mut signals = vec![Signal::Speed(VehicleSpeed { at, mps })];
            if tenth % 10 == 0 {
                signals.push(Signal::Gnss(GnssFix {
                    utc_unix_ms: Some(ten_utc_ms + i64::from(tenth) * 100),
                    speed_mps: Some(mps),
                    course_deg: Some(90.0),
                    ..GnssFix::new(at, 44.43, lon)
                }));
            }
            for signal in signals {
                let speed_mps = drive.speed_mps(at);
                let news = watch.on_signal(&signal, speed_mps);
                if let Some(limit) = news.limit {
                    drive.set_map_limit(limit);
                }
                drive.step(at, Input::Signal(signal), &mut out);
            }
        }
        let flagged: Vec<_> = out
            .iter()
            .filter_map(|c| match c {
                Command::Flag { event, .. } => Some(event.kind),
                Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
            })
            .collect();
        assert_eq!(flagged, want.into_iter().collect::<Vec<_>>(), "{tags} {zone:?}");
    }
}
