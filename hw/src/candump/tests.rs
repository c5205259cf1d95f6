use std::{collections::BTreeMap, path::Path, process::Command};

use proptest::prelude::*;
use temoin_proto::samples::{ControlState, Gear, TurnSignal};

use super::*;
use crate::{drive::SignalFormat, shared_data::shared_data};

const DBC: &str = r#"VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 180 SPEED: 8 XXX
 SG_ SPEED : 47|16@0+ (0.01,0) [0|250] "km/h" XXX
"#;

fn dbc_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DBC).unwrap();
    file
}

fn frame(id: u32, data: &[u8]) -> (f64, CanFrame) {
    (1.5, CanFrame::new(id, data))
}

#[test]
fn lines_of_both_forms() {
    for (line, want) in [
        ("(1.5) can0 0B4#0011ff", Some(frame(0xb4, &[0, 0x11, 0xff]))),
        ("(1.5) can0 18FEF1FE#01", Some(frame(0x98fe_f1fe, &[1]))),
        ("(1.5) can0 0B4##1AABB", Some(frame(0xb4, &[0xaa, 0xbb]))),
        (" (1.5)  vcan0  0B4   [3]  00 11 FF", Some(frame(0xb4, &[0, 0x11, 0xff]))),
        ("(1.5) can0 0B4#", Some(frame(0xb4, &[]))),
        ("(1.5) can0 0B4#0011f", None),
        ("(1.5) can0 0B4#R", None),
        ("(1.5) can0 20000080#0000", None),
        ("(1.5) can0 0B4   [3]  00 11", None),
        ("(nan) can0 0B4#00", None),
        ("1.5 can0 0B4#00", None),
        ("(1.5) can0 B4#00", None),
        ("", None),
    ] {
        assert_eq!(parse_line(line), want, "{line}");
    }
}

fn input(log: &Path, dbc: &Path) -> SignalInput {
    SignalInput {
        dbc: Some(dbc.to_owned()),
        speed: Some(("SPEED".to_owned(), "SPEED".to_owned())),
        ..SignalInput::whole(log, SignalFormat::Candump)
    }
}

fn speeds(mut source: impl SignalSource) -> Result<Vec<(f64, f64)>, SignalError> {
    let mut out = Vec::new();
    while let Some(s) = source.next_signal()? {
        let Signal::Speed(s) = s else { panic!("{s:?}") };
        out.push((s.at.as_secs_f64(), s.mps));
    }
    Ok(out)
}

#[test]
fn logs_with_faults() {
    let dbc = dbc_file();
    let long = "x".repeat(3000);
    for (text, want) in [
        ("(7.0) can0 0B4#000000000003E800\n(7.5) can0 0B4#000000000007D000", Ok(2)),
        (&*format!("{long}\n(7.0) can0 0B4#000000000003E800\n\u{0}\n"), Ok(1)),
        ("hello\n", Err("no line of candump")),
        ("", Err("no line of candump")),
        ("(7.0) can0 0B5#00\n", Err("carries any of SPEED.SPEED")),
        ("\u{1f}\u{8b}", Err("no line")),
    ] {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), text).unwrap();
        let got = CandumpFile::open(&input(log.path(), dbc.path()), MonoTime::ZERO)
            .and_then(speeds)
            .map(|v| v.len())
            .map_err(|e| e.to_string());
        match (got, want) {
            (Ok(n), Ok(m)) => assert_eq!(n, m, "{text}"),
            (Err(e), Err(part)) => {
                assert!(e.contains(part) && e.contains(&log.path().display().to_string()), "{e}");
            }
            (got, want) => panic!("{text}: {got:?}, not {want:?}"),
        }
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(log.path(), [0x1f, 0x8b, 8, 0]).unwrap();
    let Err(e) = CandumpFile::open(&input(log.path(), dbc.path()), MonoTime::ZERO) else {
        panic!()
    };
    assert!(e.to_string().contains("gunzip"), "{e}");
}

proptest! {
    #[test]
    fn any_line_never_panics(line in "\\PC{0,80}", like in "\\([0-9.]{0,5}\\) can0 [0-9A-F]{2,9}#{0,2}[0-9A-Fx\u{e9}]{0,30}") {
        parse_line(&line);
        parse_line(&like);
    }
}

/// The whole bus of a real car by the model file that is shipped, on the time of its log.
fn comma2k19(dir: &Path) -> Vec<Signal> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let gunzip = Command::new("gunzip").arg("-c").arg(dir.join("can.candump.log.gz")).output();
    std::fs::write(log.path(), gunzip.unwrap().stdout).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vehicles/toyota-2017.toml");
    let bus = SignalInput {
        start_s: Some(46_408.58),
        dbc: Some(dir.join("dbc")),
        vehicle: Some(model),
        ..SignalInput::whole(log.path(), SignalFormat::Candump)
    };
    let mut bus = CandumpFile::open(&bus, MonoTime::ZERO).unwrap();
    let mut signals = Vec::new();
    while let Some(s) = bus.next_signal().unwrap() {
        signals.push(s);
    }
    assert_eq!(bus.decoder.dropped(), 0);
    signals
}

/// The rows of a CSV file of the same drive: seconds since its zero, then numbers.
fn rows(path: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| line.split(',').map(|n| n.parse().unwrap()).collect::<Vec<f64>>();
    let mut rows: Vec<_> = text.lines().skip(1).map(row).collect();
    rows.iter_mut().for_each(|r| r[0] -= 46_408.58);
    rows
}

/// The speed that the data set's makers took from the bus is the mean of its wheels. The car's own
/// SPEED runs about 2 % above it, as speedometers do, and a little behind.
#[test]
fn comma2k19_bus_agrees_with_its_speed() {
    let Some(dir) = shared_data("telemetry/comma2k19") else { return };
    let csv = rows(&dir.join("speed.csv"));
    let (mut n, mut ratio, mut worst) = (0.0, 0.0, 0.0_f64);
    for s in comma2k19(&dir) {
        let Signal::Speed(s) = s else { continue };
        let t = s.at.as_secs_f64();
        let near = csv.iter().min_by(|a, b| (a[0] - t).abs().total_cmp(&(b[0] - t).abs()));
        let near = near.unwrap()[1];
        n += 1.0;
        ratio += s.mps / near;
        worst = worst.max((s.mps - near * 1.0225).abs());
    }
    ratio /= n;
    println!("{n} speeds from the bus, {ratio:.4} of the wheels', worst {worst:.3} m/s");
    assert!(n > 2000.0 && (1.0..1.04).contains(&ratio) && worst < 0.7, "{n} {ratio} {worst}");
}

/// Every wheel against the same data set's own decoding: they come from the same frames.
#[test]
fn comma2k19_wheels_are_those_of_its_makers() {
    let Some(dir) = shared_data("telemetry/comma2k19") else { return };
    let csv = rows(&dir.join("wheel_speed.csv"));
    let wheels: Vec<_> = comma2k19(&dir)
        .into_iter()
        .filter_map(|s| if let Signal::Wheels(w) = s { Some(w) } else { None })
        .collect();
    assert!(wheels.len() > 4900, "{}", wheels.len());
    let mut worst = 0.0_f64;
    for w in &wheels {
        let t = w.at.as_secs_f64();
        let around = csv.iter().filter(|r| (r[0] - t).abs() < 0.06);
        let off = around.map(|r| {
            let off = r[1..].iter().zip(w.mps).map(|(theirs, ours)| (theirs - ours).abs());
            off.fold(0.0, f64::max)
        });
        worst = worst.max(off.fold(f64::INFINITY, f64::min));
    }
    println!("{} samples of four wheels, worst {worst:.4} m/s off", wheels.len());
    // A hundredth of a km/h is the step of the bus.
    assert!(worst < 0.003, "{worst}");
}

/// A drive on a road: belted, in a forward gear, not indicating, engine running.
#[test]
fn comma2k19_controls() {
    let Some(dir) = shared_data("telemetry/comma2k19") else { return };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut rpm = Vec::new();
    for s in comma2k19(&dir) {
        let Signal::Control(c) = s else { continue };
        if let ControlState::EngineRpm(v) = c.state {
            rpm.push(v);
        } else {
            *seen.entry(format!("{:?}", c.state)).or_default() += 1;
        }
    }
    println!("{seen:?}, {} engine speeds", rpm.len());
    // Each says the same all the time, as often as the bus has it, at most twice a second.
    let states = [
        (ControlState::BeltFastened(true), 90),
        (ControlState::Gear(Gear::Forward), 55),
        (ControlState::BrakePressed(false), 110),
        (ControlState::TurnSignal(TurnSignal::Off), 6),
    ];
    assert_eq!(seen.len(), states.len(), "{seen:?}");
    for (state, least) in states {
        assert!(seen[&format!("{state:?}")] >= least, "{state:?}: {seen:?}");
    }
    assert!(rpm.len() > 400 && rpm.iter().all(|v| (600.0..5000.0).contains(v)), "{rpm:?}");
}
