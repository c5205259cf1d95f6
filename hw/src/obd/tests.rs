use proptest::prelude::*;

use super::*;

const T: MonoTime = MonoTime::from_ns(1_000_000_000_000);

fn after(ms: u64) -> MonoTime {
    T + Duration::from_millis(ms)
}

fn all() -> ObdConfig {
    ObdConfig { vin: true, ..ObdConfig::default() }
}

/// A vehicle that answers what it is asked; gives the ids and payloads that were sent to it.
struct Vehicle {
    asking: Asking,
    sent: Vec<CanFrame>,
    out: VecDeque<Signal>,
    vin: &'static [u8],
    answers: bool,
}

impl Vehicle {
    fn new(config: ObdConfig) -> Self {
        Self {
            asking: Asking::new(config, T),
            sent: Vec::new(),
            out: VecDeque::new(),
            vin: b"1M8GDM9AXKP042788",
            answers: true,
        }
    }

    fn hears(&mut self, at: MonoTime, id: u32, data: &[u8]) {
        let answer = self.asking.on_frame(at, &CanFrame::new(id, data), &mut self.out);
        self.sent.extend(answer);
    }

    /// Ten milliseconds at a time.
    fn run(&mut self, from_ms: u64, to_ms: u64) {
        for ms in (from_ms..to_ms).step_by(10) {
            let now = after(ms);
            let Some(request) = self.asking.poll(now) else { continue };
            self.sent.push(request.clone());
            if !self.answers {
                continue;
            }
            match request.data[1..3] {
                [0x01, 0x0d] => self.hears(now, 0x7e8, &[3, 0x41, 0x0d, 72, 0, 0, 0, 0]),
                [0x01, 0x0c] => self.hears(now, 0x7e8, &[4, 0x41, 0x0c, 0x1a, 0xf8, 0, 0, 0]),
                [0x09, 0x02] => {
                    let message = [&[0x49, 2, 1][..], self.vin].concat();
                    let head = [&[0x10, 20][..], &message[..6]].concat();
                    self.hears(now, 0x7e8, &head);
                    for (n, part) in message[6..].chunks(7).enumerate() {
                        let n = u8::try_from(n + 1).unwrap();
                        self.hears(now, 0x7e8, &[&[0x20 | n][..], part].concat());
                    }
                }
                _ => panic!("{request:?}"),
            }
        }
    }
}

#[test]
fn a_vehicle_that_answers() {
    let mut v = Vehicle::new(all());
    v.run(0, 2000);
    assert_eq!(v.asking.vin().unwrap().as_str(), "1M8GDM9AXKP042788");
    let speeds = v.out.iter().filter(|s| matches!(s, Signal::Speed(s) if s.mps == 20.0)).count();
    let rpm =
        |s: &&Signal| matches!(s, Signal::Control(c) if c.state == ControlState::EngineRpm(1726.0));
    let rpms = v.out.iter().filter(rpm).count();
    assert_eq!((speeds, rpms), (4, 4), "each once in half a second");
    assert_eq!(v.out.len(), 8);
    // One VIN request with one flow control to the unit that answers, and no third kind.
    let to = |id: u32| v.sent.iter().filter(|f| f.id == id).count();
    assert_eq!((to(0x7df), to(0x7e0), v.sent.len()), (9, 1, 10));
    assert!(!format!("{:?}", v.asking).contains("1M8G"), "the number is in a debug text");
}

#[test]
fn a_silent_vehicle_may_sleep() {
    let mut v = Vehicle::new(ObdConfig::default());
    v.answers = false;
    v.run(0, 60_000);
    assert!(v.asking.is_silent());
    assert_eq!(v.sent.len(), usize::try_from(PATIENCE).unwrap(), "{:?}", v.sent);
    // It is asked rarely, and as usual once it answers.
    v.answers = true;
    v.run(60_000, 180_000);
    assert!(!v.asking.is_silent() && v.out.len() > 100);
}

#[test]
fn what_is_refused_is_not_asked_again() {
    let mut asking = Asking::new(ObdConfig { rpm: false, ..ObdConfig::default() }, T);
    let mut out = VecDeque::new();
    let mut sent = 0;
    for ms in (0..10_000).step_by(10) {
        if asking.poll(after(ms)).is_some() {
            sent += 1;
            let no = CanFrame::new(0x7e8, &[3, 0x7f, 0x01, 0x12]);
            assert_eq!(asking.on_frame(after(ms), &no, &mut out), None);
        }
    }
    assert_eq!((sent, asking.next_deadline(), out.len()), (TRIES, None, 0));
}

#[test]
fn pending_answers_are_waited_for() {
    let mut v = Vehicle::new(ObdConfig { rpm: false, ..ObdConfig::default() });
    assert!(v.asking.poll(T).is_some());
    v.hears(after(20), 0x7e8, &[3, 0x7f, 0x01, 0x78]);
    assert!(v.asking.poll(after(3000)).is_none(), "asked twice");
    v.hears(after(3000), 0x7e8, &[3, 0x41, 0x0d, 36]);
    assert!(matches!(v.out.pop_front(), Some(Signal::Speed(s)) if s.mps == 10.0));
}

#[test]
fn others_on_the_bus_get_no_word() {
    let mut v = Vehicle::new(all());
    let long = [0x10, 20, 0x49, 2, 1, b'1', b'M', b'8'];
    // Nothing was asked; then the speed was.
    v.hears(T, 0x7e8, &long);
    v.asking.items.retain(|i| i.ask == Ask::Speed);
    assert!(v.asking.poll(T).is_some());
    v.hears(after(1), 0x7e8, &long);
    v.hears(after(1), 0x7e0, &long);
    v.hears(after(1), 0x123, &[3, 0x41, 0x0d, 36]);
    v.hears(after(1), EXTENDED | 0x18da_f110, &[3, 0x41, 0x0d, 36]);
    v.hears(after(1), 0x7e9, &[3, 0x41, 0x0c, 36]);
    assert_eq!((v.sent.len(), v.out.len()), (0, 0), "{:?} {:?}", v.sent, v.out);
}

#[test]
fn identifiers_of_29_bits() {
    let config = ObdConfig { extended_ids: true, speed: false, rpm: false, ..all() };
    let mut v = Vehicle::new(config);
    assert_eq!(v.asking.poll(T).unwrap().id, EXTENDED | 0x18db_33f1);
    v.hears(T, EXTENDED | 0x18da_f110, &[0x10, 20, 0x49, 2, 1, b'1', b'M', b'8']);
    assert_eq!(v.sent, [CanFrame::new(EXTENDED | 0x18da_10f1, &FLOW_CONTROL)]);
    let (id, mask) = Asking::answers(config);
    assert!((EXTENDED | 0x18da_f1e8) & mask == id && 0x7e8 & mask != id);
}

#[test]
fn numbers_that_are_no_vin() {
    for (bytes, ok) in [
        (&b"1M8GDM9AXKP042788"[..], true),
        (b"\x00\x00\x001M8GDM9AXKP042788", true),
        (b"1M8GDM9AXKP04278", false),
        (b"1M8GDM9AXKP0427880", false),
        (b"1M8GDM9AXKP04278I", false),
        (b"1m8gdm9axkp042788", false),
        (b"\0\0", false),
        (b"", false),
    ] {
        assert_eq!(Vin::of(bytes).is_some(), ok, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_answers_never_panic_and_requests_keep_their_distance(
        frames in proptest::collection::vec(
            (0_u32..0x10, proptest::collection::vec(any::<u8>(), 0..9)), 0..80)
    ) {
        let mut asking = Asking::new(all(), T);
        let mut out = VecDeque::new();
        let mut last: Option<MonoTime> = None;
        for (n, (id, data)) in frames.iter().enumerate() {
            let now = after(n as u64 * 20);
            if asking.poll(now).is_some() {
                prop_assert!(last.is_none_or(|l| now.since(l) >= MIN_GAP));
                last = Some(now);
            }
            asking.on_frame(now, &CanFrame::new(0x7e0 + id, data), &mut out);
        }
        prop_assert!(out.iter().all(|s| matches!(s, Signal::Speed(_) | Signal::Control(_))));
    }
}
