use proptest::prelude::*;

use super::*;

const DBC: &str = r#"VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 180 SPEED: 8 XXX
 SG_ SPEED : 47|16@0+ (0.01,0) [0|250] "km/h" XXX
 SG_ LITTLE : 4|12@1- (0.5,1) [0|0] "m/s" XXX
 SG_ WIDE : 7|64@0- (1,0) [0|0] "" XXX
 SG_ LEVER : 0|4@1+ (1,0) [0|15] "" XXX
 SG_ FLOAT : 0|32@1- (1,0) [0|0] "" XXX

BO_ 2566834942 EXT: 8 XXX
 SG_ WHEEL : 8|16@1+ (0.00390625,0) [0|0] "km/h" XXX

BO_ 200 MUX: 8 XXX
 SG_ MODE M : 0|8@1+ (1,0) [0|0] "" XXX
 SG_ HOT m1 : 8|8@1+ (1,-40) [0|0] "C" XXX
 SG_ COLD m2 : 8|8@1- (1,0) [0|0] "C" XXX

BO_ 201 LOST: 8 XXX
 SG_ HOT m1 : 8|8@1+ (1,-40) [0|0] "C" XXX

SIG_VALTYPE_ 180 FLOAT : 1;

VAL_ 180 LEVER 0 "P" 1 "R" 14 "Error" 15 "SNA" ;
"#;

fn file(text: &str) -> (tempfile::NamedTempFile, Result<DbcFile, SignalError>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let dbc = DbcFile::load(file.path());
    (file, dbc)
}

#[test]
fn numbers_are_unpacked() {
    let (_file, dbc) = file(DBC);
    let dbc = dbc.unwrap();
    type Case<'a> = (&'a str, &'a str, u32, &'a [u8], Option<f64>);
    let cases: &[Case<'_>] = &[
        ("SPEED", "SPEED", 0xb4, &[0, 0, 0, 0, 0, 0x0b, 0x7a, 0], Some(29.38)),
        ("SPEED", "SPEED", 0xb4, &[0, 0, 0, 0, 0, 0x0b], None),
        ("SPEED", "SPEED", 0xb5, &[0; 8], None),
        // Bits 4 to 15, signed: 0xffe is -2.
        ("SPEED", "LITTLE", 0xb4, &[0xe0, 0xff], Some(0.0)),
        ("SPEED", "LITTLE", 0xb4, &[0x20, 0x00], Some(2.0)),
        ("SPEED", "WIDE", 0xb4, &[0xff; 8], Some(-1.0)),
        ("EXT", "WHEEL", 2_566_834_942, &[0, 0, 0x48], Some(72.0)),
        ("EXT", "WHEEL", 2_566_834_942 & 0x7fff_ffff, &[0, 0, 0x48], None),
        // A value that the file calls unavailable is none.
        ("SPEED", "LEVER", 0xb4, &[1], Some(1.0)),
        ("SPEED", "LEVER", 0xb4, &[2], Some(2.0)),
        ("SPEED", "LEVER", 0xb4, &[14], None),
        ("SPEED", "LEVER", 0xb4, &[15], None),
        ("MUX", "HOT", 200, &[1, 60], Some(20.0)),
        ("MUX", "HOT", 200, &[2, 60], None),
        ("MUX", "HOT", 200, &[1], None),
        ("MUX", "COLD", 200, &[2, 0xf6], Some(-10.0)),
        ("MUX", "MODE", 200, &[2], Some(2.0)),
    ];
    for (message, signal, id, data, want) in cases {
        let layout = dbc.layout(message, signal).unwrap();
        let got = layout.physical(&CanFrame::new(*id, data));
        let same = match (got, want) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (a, b) => a.is_none() && b.is_none(),
        };
        assert!(same, "{message}.{signal} of {data:x?}: {got:?}, not {want:?}");
    }
}

#[test]
fn what_cannot_be_used_is_told_by_name() {
    let (file, dbc) = file(DBC);
    let dbc = dbc.unwrap();
    for (message, signal, why) in [
        ("SPED", "SPEED", "SPEED"),
        ("SPEED", "SPEEED", "LITTLE"),
        ("SPEED", "FLOAT", "no integer"),
        ("LOST", "HOT", "no switch"),
    ] {
        let e = dbc.layout(message, signal).unwrap_err().to_string();
        assert!(e.contains(why) && e.contains(&file.path().display().to_string()), "{e}");
    }
}

#[test]
fn a_broken_file_is_told_with_its_line() {
    let broken = DBC.replace("SG_ WHEEL : 8|16", "SG_ WHEEL : 8!16");
    let line = broken.lines().position(|l| l.contains("8!16")).unwrap() as u64 + 1;
    let (_file, dbc) = file(&broken);
    let e = dbc.unwrap_err();
    assert!(matches!(e, SignalError::Malformed { line: l, .. } if l.abs_diff(line) <= 1), "{e}");
    assert!(DbcFile::load(Path::new("/nowhere.dbc")).unwrap_err().to_string().contains("/nowhere"));
}

proptest! {
    #[test]
    fn any_packing_never_panics(
        start_bit: u64,
        near in 0_u64..600,
        size in 1_u64..=64,
        big_endian: bool,
        signed: bool,
        data in proptest::collection::vec(any::<u8>(), 0..=64),
    ) {
        for start_bit in [start_bit, near] {
            let v = Bits { start_bit, size, big_endian, signed }.read(&data);
            prop_assert!(v.is_none_or(|v| signed || v >= 0));
        }
    }

    #[test]
    fn any_file_never_panics(cut in 0_usize..1200, at in 0_usize..1200, byte: u8) {
        let mut bytes = DBC.as_bytes().to_vec();
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        bytes.truncate(cut);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        if let Ok(dbc) = DbcFile::load(file.path()) {
            for (m, s) in [("SPEED", "SPEED"), ("MUX", "HOT"), ("EXT", "WHEEL")] {
                if let Ok(layout) = dbc.layout(m, s) {
                    layout.physical(&CanFrame::new(layout.id(), &[byte; 8]));
                }
            }
        }
    }
}
