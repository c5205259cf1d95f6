use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    samples::{ControlState, Signal},
    time::MonoTime,
};

use super::*;
use crate::can_frame::CanFrame;

const DBC: &str = r#"VERSION ""

NS_ :

BS_:

BU_: XXX

BO_ 1 SPEED: 8 XXX
 SG_ SPEED : 0|16@1+ (0.01,0) [0|0] "km/h" XXX
 SG_ RPM : 16|16@1+ (0.25,0) [0|0] "rpm" XXX

BO_ 2 FRONT: 8 XXX
 SG_ FL : 0|16@1+ (0.01,0) [0|0] "" XXX
 SG_ FR : 16|16@1+ (0.01,0) [0|0] "" XXX

BO_ 3 REAR: 8 XXX
 SG_ RL : 0|16@1+ (0.01,0) [0|0] "" XXX
 SG_ RR : 16|16@1+ (0.01,0) [0|0] "" XXX

BO_ 4 BODY: 8 XXX
 SG_ BELT : 0|2@1+ (1,0) [0|0] "" XXX
 SG_ PEDAL : 8|8@1+ (0.5,0) [0|0] "%" XXX
 SG_ LEVER : 16|4@1+ (1,0) [0|0] "" XXX
 SG_ LEFT : 24|1@1+ (1,0) [0|0] "" XXX
 SG_ RIGHT : 25|1@1+ (1,0) [0|0] "" XXX

VAL_ 4 LEVER 0 "P" 1 "R" 2 "N" 3 "D" 4 "L" 15 "SNA" ;
"#;

const MODEL: &str = r#"
name = "Test van"
dbc = "van.dbc"
[speed]
signal = "SPEED.SPEED"
[wheels]
front_left = "FRONT.FL"
front_right = "FRONT.FR"
rear_left = "REAR.RL"
rear_right = "REAR.RR"
unit = "km/h"
[brake]
signal = "BODY.PEDAL"
pressed_above = 2.0
[gear]
signal = "BODY.LEVER"
park = ["P"]
reverse = [1]
neutral = ["N"]
forward = ["D", "L"]
[turn]
left_lamp = "BODY.LEFT"
right_lamp = "BODY.RIGHT"
[belt]
signal = "BODY.BELT"
fastened = [0]
unfastened = [1]
[engine]
signal = "SPEED.RPM"
"#;

fn folder(model: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("van.dbc"), DBC).unwrap();
    std::fs::write(dir.path().join("van.toml"), model).unwrap();
    dir
}

fn load(model: &str) -> Result<VehicleModel, SignalError> {
    let dir = folder(model);
    VehicleModel::load(&dir.path().join("van.toml"), None)
}

struct Bus {
    decoder: VehicleDecoder,
    out: VecDeque<Signal>,
}

impl Bus {
    fn new() -> Self {
        let decoder = VehicleDecoder::new(load(MODEL).unwrap());
        Self { decoder, out: VecDeque::new() }
    }

    /// What a frame after so many milliseconds says.
    fn hears(&mut self, ms: u64, id: u32, data: &[u8]) -> Vec<Signal> {
        let at = MonoTime::from_ns(0) + Duration::from_millis(ms);
        self.decoder.decode(&CanFrame::new(id, data), at, &mut self.out);
        let said: Vec<_> = self.out.drain(..).collect();
        assert!(said.iter().all(|s| s.at() == at));
        said
    }

    fn states(&mut self, ms: u64, id: u32, data: &[u8]) -> Vec<ControlState> {
        let said = self.hears(ms, id, data).into_iter();
        said.filter_map(|s| if let Signal::Control(c) = s { Some(c.state) } else { None }).collect()
    }
}

#[test]
fn a_whole_model() {
    let model = load(MODEL).unwrap();
    assert_eq!((model.name(), model.ids(), model.obd()), ("Test van", vec![1, 2, 3, 4], None));
    let mut bus = Bus::new();
    let said = bus.hears(0, 1, &[0x10, 0x0e, 0x40, 0x1f]);
    assert!(matches!(said[0], Signal::Speed(s) if (s.mps - 10.0).abs() < 1e-9), "{said:?}");
    assert!(matches!(said[1], Signal::Control(c) if c.state == ControlState::EngineRpm(2000.0)));
    assert_eq!(said.len(), 2);
    let body = bus.states(0, 4, &[0, 5, 3, 0b10]);
    assert_eq!(
        body,
        [
            ControlState::BrakePressed(true),
            ControlState::Gear(Gear::Forward),
            ControlState::TurnSignal(TurnSignal::Right),
            ControlState::BeltFastened(true),
        ]
    );
}

#[test]
fn wheels_of_two_messages_are_told_together_or_not_at_all() {
    let mut bus = Bus::new();
    assert_eq!(bus.hears(0, 2, &[0x10, 0x0e, 0x20, 0x1c]), []);
    let said = bus.hears(20, 3, &[0x10, 0x0e, 0, 0]);
    let [Signal::Wheels(w)] = said[..] else { panic!("{said:?}") };
    for (ours, want) in w.mps.iter().zip([10.0, 20.0, 10.0, 0.0]) {
        assert!((ours - want).abs() < 1e-9, "{w:?}");
    }
    // A rear axle that came too long ago is no part of it.
    assert_eq!(bus.hears(40, 3, &[0, 0, 0, 0]), []);
    assert_eq!(bus.hears(400, 2, &[0, 0, 0, 0]), []);
    assert_eq!(bus.hears(410, 3, &[0, 0, 0, 0]).len(), 1);
}

#[test]
fn values_that_nobody_named_say_nothing() {
    let mut bus = Bus::new();
    // Belt 2 and 3, lever 5 and SNA, a frame that is cut short.
    for data in [&[2, 0, 5, 0][..], &[3, 0, 15, 0], &[0]] {
        let said = bus.states(0, 4, data);
        assert!(
            said.iter().all(|s| !matches!(s, ControlState::Gear(_)))
                && !said.contains(&ControlState::BeltFastened(false)),
            "{data:?}: {said:?}"
        );
    }
    // 0xffff of a speed is 'not available' in most cars; 20000 rpm is none of a van.
    assert_eq!(bus.hears(0, 1, &[0xff, 0xff, 0xff, 0xff]).len(), 1, "16383 rpm");
    assert_eq!(bus.decoder.dropped(), 1);
    assert_eq!(bus.hears(0, 2, &[0xff, 0xff, 0, 0]), []);
    assert_eq!(bus.hears(0, 3, &[0; 4]), [], "a wheel is unknown");
}

#[test]
fn controls_are_told_when_they_change_and_twice_a_second() {
    let mut bus = Bus::new();
    let belt = |s: &ControlState| matches!(s, ControlState::BeltFastened(_));
    let mut told = Vec::new();
    for ms in (0..2000).step_by(10) {
        let unlatched = u8::from((730..1000).contains(&ms));
        told.extend(bus.states(ms, 4, &[unlatched]).into_iter().filter(belt).map(|s| (ms, s)));
    }
    let (on, off) = (ControlState::BeltFastened(true), ControlState::BeltFastened(false));
    assert_eq!(told, [(0, on), (500, on), (730, off), (1000, on), (1500, on)]);
    let rpm = (0..1000).step_by(10).map(|ms| bus.states(3000 + ms, 1, &[0, 0, 9, 9]).len());
    assert_eq!(rpm.sum::<usize>(), 10);
}

#[test]
fn mistakes_are_told_with_file_and_line() {
    let without = |part: &str, with: &str| MODEL.replace(part, with);
    for (model, why) in [
        (without("[speed]", "[sped]"), "line 4"),
        (without("unit = \"km/h\"", "units = 3"), "line 11"),
        (without("unit = \"km/h\"", ""), "km/h, mph or m/s"),
        (without("\"BODY.BELT\"", "\"BELT\""), "MESSAGE.SIGNAL"),
        (without("\"BODY.BELT\"", "\"BODY.BUCKLE\""), "BELT"),
        (without("unfastened = [1]", "unfastened = [0]"), "two states"),
        (without("park = [\"P\"]", "park = [\"Parking\"]"), "SNA"),
        (without("pressed_above", "pressed = [1]\npressed_above"), "either"),
        (without("right_lamp = \"BODY.RIGHT\"", ""), "left_lamp"),
        (without("dbc = \"van.dbc\"", ""), "name it as `dbc`"),
        (without("dbc = \"van.dbc\"", "dbc = \"no.dbc\""), "no.dbc"),
        ("name = \"nothing\"".to_owned(), "no signal"),
        ("[obd]\nenabled = true\nperiod_s = nan".to_owned(), "period_s"),
    ] {
        let e = load(&model).unwrap_err().to_string();
        assert!(e.contains(why), "{why} is not in: {e}");
    }
}

#[test]
fn obd_is_asked_only_where_the_model_says_so() {
    for (text, want) in [
        ("[obd]\nenabled = true", true),
        ("[obd]\nenabled = false\nvin = true", false),
        ("", false),
    ] {
        let model = load(&format!("{MODEL}\n{text}")).unwrap();
        assert_eq!(model.obd().is_some(), want, "{text}");
        // What the bus tells is not asked for.
        assert!(model.obd().is_none_or(|o| !o.speed && !o.rpm && !o.vin));
    }
    let obd = load("[obd]\nenabled = true\nvin = true\nperiod_s = 2").unwrap().obd().unwrap();
    assert!(obd.vin && obd.speed && obd.period_s == 2.0 && !obd.extended_ids);
}
