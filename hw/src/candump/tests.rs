use std::{collections::BTreeMap, process::Command};

use proptest::prelude::*;

use super::*;
use crate::{csv_signals::CsvSignals, drive::SignalFormat, shared_data::shared_data};

const DBC: &str = r#"VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 180 SPEED: 8 XXX
 SG_ SPEED : 47|16@0+ (0.01,0) [0|250] "km/h" XXX
 SG_ LITTLE : 4|12@1- (0.5,1) [0|0] "m/s" XXX
 SG_ ODD : 0|8@1+ (1,0) [0|0] "furlongs" XXX

BO_ 2566834942 EXT: 8 XXX
 SG_ WHEEL : 8|16@1+ (0.00390625,0) [0|0] "km/h" XXX
"#;

fn dbc_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), DBC).unwrap();
    file
}

fn frame(id: u32, data: &[u8]) -> CanFrame {
    CanFrame { t_s: 1.5, id, data: data.to_vec() }
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

#[test]
fn speeds_are_unpacked() {
    let dbc = dbc_file();
    let load = |m, s, unit| SpeedSignal::load(dbc.path(), (m, s), unit);
    let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} {b}");
    let toyota = load("SPEED", "SPEED", None).unwrap();
    near(toyota.decode(&frame(0xb4, &[0, 0, 0, 0, 0, 0x0b, 0x7a, 0])), 29.38 / 3.6);
    assert_eq!(toyota.decode(&frame(0xb4, &[0, 0, 0, 0, 0, 0x0b])), None);
    assert_eq!(toyota.decode(&frame(0xb5, &[0; 8])), None);
    // Bits 4 to 15, signed: 0xffe is -2.
    let little = load("SPEED", "LITTLE", None).unwrap();
    near(little.decode(&frame(0xb4, &[0xe0, 0xff])), 0.0);
    near(little.decode(&frame(0xb4, &[0x20, 0x00])), 2.0);
    let j1939 = load("EXT", "WHEEL", None).unwrap();
    near(j1939.decode(&frame(2_566_834_942, &[0, 0, 0x48])), 72.0 / 3.6);
    near(load("SPEED", "ODD", Some("mph")).unwrap().decode(&frame(0xb4, &[10])), 4.4704);
    for (m, s, why) in
        [("SPED", "SPEED", "SPEED"), ("SPEED", "SPEEED", "LITTLE"), ("SPEED", "ODD", "furlongs")]
    {
        let err = load(m, s, None).unwrap_err().to_string();
        assert!(err.contains(why) && err.contains(&dbc.path().display().to_string()), "{err}");
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
        ("(7.0) can0 0B5#00\n", Err("carries the speed")),
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

    #[test]
    fn any_packing_never_panics(
        start_bit in 0_u64..600,
        size in 1_u64..=64,
        big_endian: bool,
        signed: bool,
        data in proptest::collection::vec(any::<u8>(), 0..=64),
    ) {
        let speed = SpeedSignal {
            id: 1, start_bit, size, big_endian, signed, factor: 1.0, offset: 0.0, to_mps: 1.0,
        };
        let v = speed.decode(&CanFrame { t_s: 0.0, id: 1, data });
        prop_assert!(v.is_none_or(|v| signed || v >= 0.0));
    }

    #[test]
    fn any_dbc_never_panics(cut in 0_usize..600, at in 0_usize..600, byte: u8) {
        let mut bytes = DBC.as_bytes().to_vec();
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        bytes.truncate(cut);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        drop(SpeedSignal::load(file.path(), ("SPEED", "SPEED"), None));
    }
}

/// The bus of a real car against the speed that the data set's makers took from its wheels. The
/// car's own SPEED runs about 2 % above them, as speedometers do, and a little behind.
#[test]
fn comma2k19_bus_agrees_with_its_speed() {
    let Some(dir) = shared_data("telemetry/comma2k19") else { return };
    let log = tempfile::NamedTempFile::new().unwrap();
    let gunzip = Command::new("gunzip").arg("-c").arg(dir.join("can.candump.log.gz")).output();
    std::fs::write(log.path(), gunzip.unwrap().stdout).unwrap();
    let bus = SignalInput {
        start_s: Some(46_408.58),
        ..input(log.path(), &dir.join("dbc/_toyota_2017.dbc"))
    };
    let bus = speeds(CandumpFile::open(&bus, MonoTime::ZERO).unwrap()).unwrap();
    let csv = SignalInput {
        start_s: Some(46_408.58),
        columns: BTreeMap::new(),
        ..SignalInput::whole(dir.join("speed.csv"), SignalFormat::Csv)
    };
    let csv = speeds(CsvSignals::open(&csv, MonoTime::ZERO).unwrap()).unwrap();
    assert!(bus.len() > 2000, "{}", bus.len());
    let (mut ratio, mut worst) = (0.0, 0.0_f64);
    for (t, v) in &bus {
        let near = csv.iter().min_by(|a, b| (a.0 - t).abs().total_cmp(&(b.0 - t).abs())).unwrap();
        ratio += v / near.1 / bus.len() as f64;
        worst = worst.max((v - near.1 * 1.0225).abs());
    }
    println!("{} speeds from the bus, {ratio:.4} of the wheels', worst {worst:.3} m/s", bus.len());
    assert!((1.0..1.04).contains(&ratio) && worst < 0.7, "{ratio} {worst}");
}
