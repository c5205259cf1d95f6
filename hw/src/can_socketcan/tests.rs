use std::sync::Mutex;

use socketcan::{CanFdFrame, CanRemoteFrame, ExtendedId, StandardId};
use temoin_proto::time::WallTime;

use super::*;

const DBC: &str = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: XXX\n\nBO_ 180 SPEED: 8 XXX\n \
    SG_ SPEED : 0|16@1+ (0.01,0) [0|0] \"km/h\" XXX\n";

fn model(text: &str) -> VehicleModel {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("van.dbc"), DBC).unwrap();
    std::fs::write(dir.path().join("van.toml"), text).unwrap();
    VehicleModel::load(&dir.path().join("van.toml"), None).unwrap()
}

const HEARD: &str = "dbc = \"van.dbc\"\n[speed]\nsignal = \"SPEED.SPEED\"\n";
const ASKED: &str = "dbc = \"van.dbc\"\n[speed]\nsignal = \"SPEED.SPEED\"\n\
    [obd]\nenabled = true\nrpm = true\n";

/// A bus that plays what it was given, then is gone.
struct Played(VecDeque<io::Result<Option<(CanFrame, MonoTime)>>>);

impl Receive for Played {
    fn receive(&mut self, _wait: Duration) -> io::Result<Option<(CanFrame, MonoTime)>> {
        self.0.pop_front().unwrap_or_else(|| Err(Errno::NETDOWN.into()))
    }
}

#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<CanFrame>>>);

impl Transmit for Sent {
    fn transmit(&mut self, frame: &CanFrame) -> io::Result<()> {
        self.0.lock().unwrap().push(frame.clone());
        Err(io::ErrorKind::WouldBlock.into())
    }
}

struct Stands;

impl Clock for Stands {
    fn now(&self) -> MonoTime {
        at(1000)
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_ms: 0, uncertainty_ms: 0 }
    }
}

fn at(ms: u64) -> MonoTime {
    MonoTime::from_ns(ms * 1_000_000)
}

fn speed(kmh: u8, ms: u64) -> io::Result<Option<(CanFrame, MonoTime)>> {
    let raw = (u16::from(kmh) * 100).to_le_bytes();
    Ok(Some((CanFrame::new(180, &raw), at(ms))))
}

fn bus(text: &str, played: Vec<io::Result<Option<(CanFrame, MonoTime)>>>) -> (VehicleBus, Sent) {
    let sent = Sent::default();
    let bus = VehicleBus::over(
        "can9",
        Box::new(Played(played.into())),
        Some(Box::new(sent.clone())),
        model(text),
        StopToken::new(),
        Arc::new(Stands),
    );
    (bus, sent)
}

#[test]
fn samples_come_at_the_kernels_time_which_never_falls() {
    let (mut bus, sent) =
        bus(HEARD, vec![speed(36, 1000), Ok(None), speed(72, 900), speed(72, 1100)]);
    let mut got = Vec::new();
    let e = loop {
        match bus.next_signal() {
            Ok(Some(Signal::Speed(s))) => got.push((s.at, s.mps)),
            Ok(other) => panic!("{other:?}"),
            Err(e) => break e,
        }
    };
    assert_eq!(got, [(at(1000), 10.0), (at(1000), 20.0), (at(1100), 20.0)]);
    assert!(matches!(&e, SignalError::Unplugged { .. }) && e.to_string().contains("can9"), "{e}");
    assert!(matches!(bus.next_signal(), Ok(None)), "after the fault");
    assert!(sent.0.lock().unwrap().is_empty(), "a frame was sent without the model's leave");
}

#[test]
fn a_model_that_allows_it_is_asked() {
    let answer = CanFrame::new(0x7e8, &[4, 0x41, 0x0c, 0x1a, 0xf8]);
    let (mut bus, sent) = bus(ASKED, vec![speed(36, 1000), Ok(Some((answer, at(1010))))]);
    assert!(matches!(bus.next_signal(), Ok(Some(Signal::Speed(_)))));
    assert!(matches!(bus.next_signal(), Ok(Some(Signal::Control(_)))));
    let request = CanFrame::new(0x7df, &[2, 1, 0x0c, 0, 0, 0, 0, 0]);
    assert_eq!(*sent.0.lock().unwrap(), [request]);
    assert_eq!(bus.vin(), None);
}

#[test]
fn only_what_the_model_needs_is_let_through() {
    let pass = |filters: &[(u32, u32)], id: u32| filters.iter().any(|(f, m)| id & m == f & m);
    let few = filters(&[0xb4, EXTENDED | 0x18fe_f1fe], None);
    for (id, want) in [
        (0xb4, true),
        (0xb5, false),
        (0xb4 | EXTENDED, false),
        (0x4000_00b4, false),
        (EXTENDED | 0x18fe_f1fe, true),
        (0x7e8, false),
    ] {
        assert_eq!(pass(&few, id), want, "{id:x}");
    }
    let obd = filters(&[], Some(ObdConfig::default()));
    assert!((0x7e8..=0x7ef).all(|id| pass(&obd, id)) && !pass(&obd, 0x7e0) && !pass(&obd, 0x7f0));
    let extended = ObdConfig { extended_ids: true, ..ObdConfig::default() };
    let obd = filters(&[], Some(extended));
    assert!(pass(&obd, EXTENDED | 0x18da_f110) && !pass(&obd, EXTENDED | 0x18da_10f1));
}

#[test]
fn frames_of_every_kind() {
    let id = StandardId::new(0xb4).unwrap();
    let long = ExtendedId::new(0x18fe_f1fe).unwrap();
    let normal = CanAnyFrame::Normal(CanDataFrame::new(id, &[1, 2]).unwrap());
    assert_eq!(data_frame(&normal), Some(CanFrame::new(0xb4, &[1, 2])));
    let fd = CanAnyFrame::Fd(CanFdFrame::new(long, &[7; 64]).unwrap());
    assert_eq!(data_frame(&fd), Some(CanFrame::new(EXTENDED | 0x18fe_f1fe, &[7; 64])));
    let remote = CanAnyFrame::Remote(CanRemoteFrame::new_remote(id, 3).unwrap());
    assert_eq!(data_frame(&remote), None);
}

/// With an interface (`ip link add vcan0 type vcan; ip link set vcan0 up`) what is sent is heard
/// with the kernel's time; without one the refusal says what to do.
#[test]
fn a_real_socket() {
    match Listener::open("vcan0", &[0xb4], None) {
        Ok(mut listener) => {
            let before = SystemClock.now();
            let mut asker = Asker::open("vcan0", ObdConfig::default()).unwrap();
            asker.transmit(&CanFrame::new(0xb5, &[9])).unwrap();
            asker.transmit(&CanFrame::new(0xb4, &[1, 2, 3])).unwrap();
            let (frame, at) = listener.receive(Duration::from_secs(5)).unwrap().unwrap();
            assert_eq!(frame, CanFrame::new(0xb4, &[1, 2, 3]), "the filter let another through");
            assert!(at >= before.saturating_sub(Duration::from_millis(50)));
            assert!(at <= SystemClock.now());
        }
        Err(e) => println!("skipped: no vcan0 here ({e})"),
    }
    let Err(e) = VehicleBus::open("no-such-can", model(HEARD), StopToken::new()) else {
        panic!("opened")
    };
    let said = e.to_string();
    assert!(said.contains("no-such-can") && said.contains("CAN"), "{said}");
}

/// The same with a whole bus: a control unit on `vcan0` tells its speed and is asked for the rest.
#[test]
fn a_real_bus_with_a_control_unit() {
    let (ask, unit) = (&[0x7df, 0x7e0], "vcan0");
    let (mut heard, mut tell) =
        match (Listener::open(unit, ask, None), Asker::open(unit, ObdConfig::default())) {
            (Ok(heard), Ok(tell)) => (heard, tell),
            (Err(e), _) | (_, Err(e)) => {
                println!("skipped: no vcan0 here ({e})");
                return;
            }
        };
    let stop = StopToken::new();
    let text = format!("{ASKED}vin = true\n");
    let mut bus = VehicleBus::open(unit, model(&text), stop.clone()).unwrap();
    let ended = stop.clone();
    let control_unit = std::thread::spawn(move || {
        let vin = b"\x49\x02\x011M8GDM9AXKP042788";
        let mut answer = |id: u32, data: &[u8]| tell.transmit(&CanFrame::new(id, data)).unwrap();
        while !ended.is_stopped() {
            answer(180, &[0x10, 0x0e]);
            let Some((frame, _)) = heard.receive(Duration::from_millis(20)).unwrap() else {
                continue;
            };
            match (frame.id, &frame.data[..3]) {
                (0x7df, [2, 1, 0x0c]) => answer(0x7e8, &[4, 0x41, 0x0c, 0x1a, 0xf8, 0, 0, 0]),
                (0x7df, [2, 9, 2]) => answer(0x7e8, &[&[0x10, 20], &vin[..6]].concat()),
                (0x7e0, [0x30, 0, 0]) => {
                    answer(0x7e8, &[&[0x21], &vin[6..13]].concat());
                    answer(0x7e8, &[&[0x22], &vin[13..]].concat());
                }
                other => panic!("{other:?}"),
            }
        }
    });
    let (mut speeds, mut rpm) = (0, 0);
    let began = std::time::Instant::now();
    while (speeds < 5 || rpm < 2 || bus.vin().is_none()) && began.elapsed().as_secs() < 30 {
        match bus.next_signal().unwrap() {
            Some(Signal::Speed(s)) if s.mps == 10.0 => speeds += 1,
            Some(Signal::Control(_)) => rpm += 1,
            other => panic!("{other:?}"),
        }
    }
    stop.stop();
    control_unit.join().unwrap();
    assert!(speeds >= 5 && rpm >= 2, "{speeds} {rpm}");
    assert_eq!(bus.vin().map(Vin::as_str), Some("1M8GDM9AXKP042788"));
}
