//! The tell-tale lamp: one light on a GPIO line, that says by how it blinks what the unit does.
//!
//! | state | light |
//! |---|---|
//! | off | dark |
//! | alerts only | a short flash every two seconds: somebody is at home, nothing is recorded |
//! | recording | steady |
//! | rolling store | steady, with a short gap every second |
//! | fault | on and off, once a second |
//! | which unit is this? | on and off, three times a second, for five seconds |
//!
//! No pattern needs a colour, and none flashes more than three times a second (WCAG 2.3.1: seizures).
//!
//! A crash leaves the line to the kernel.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    device::{Lamp, LampState, SignalError},
    gpio::{LineConfig, Switch},
};

/// How long to wait before a line that failed is taken again.
const REOPEN: Duration = Duration::from_millis(500);
/// How long the lamp says which unit this is.
const IDENTIFIES: Duration = Duration::from_secs(5);
/// On and off, three times a second.
const IDENTIFY: Pattern = Pattern { lit_ms: 167, dark_ms: 167 };

/// How long it is lit and then dark, again and again, milliseconds; of one that is 0 the other is for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern {
    lit_ms: u64,
    dark_ms: u64,
}

impl Pattern {
    const fn of(state: LampState) -> Self {
        let (lit_ms, dark_ms) = match state {
            LampState::Off => (0, 1),
            LampState::AlertsOnly => (100, 1900),
            LampState::Recording => (1, 0),
            LampState::RollingStore => (900, 100),
            LampState::Fault => (500, 500),
        };
        Self { lit_ms, dark_ms }
    }

    /// Whether it is lit after so long, and how long that stays; none: for good.
    fn at(self, passed: Duration) -> (bool, Option<Duration>) {
        if self.lit_ms == 0 || self.dark_ms == 0 {
            return (self.dark_ms == 0, None);
        }
        let (lit, dark) = (Duration::from_millis(self.lit_ms), Duration::from_millis(self.dark_ms));
        let round_ns = (lit + dark).as_nanos();
        let into = Duration::from_nanos(u64::try_from(passed.as_nanos() % round_ns).unwrap_or(0));
        if into < lit { (true, Some(lit - into)) } else { (false, Some(lit + dark - into)) }
    }
}

enum Told {
    Show(LampState),
    Identify,
}

/// The lamp. Its line is taken again where it failed.
pub struct GpioLamp {
    to: Sender<Told>,
    thread: Option<thread::JoinHandle<()>>,
}

impl GpioLamp {
    /// Starts it, dark. `report` is told when the line can be used and why when not, each time that changes.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub fn start(
        config: LineConfig,
        report: impl FnMut(Result<(), &SignalError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (to, told) = channel();
        let thread = thread::Builder::new()
            .name("lamp".into())
            .spawn(move || light(|| Switch::open(&config), &told, report))?;
        Ok(Self { to, thread: Some(thread) })
    }

    fn tell(&self, told: Told) -> io::Result<()> {
        self.to.send(told).map_err(|_| io::Error::other("the lamp's thread ended"))
    }
}

impl Lamp for GpioLamp {
    fn show(&mut self, state: LampState) -> io::Result<()> {
        self.tell(Told::Show(state))
    }

    fn identify(&mut self) -> io::Result<()> {
        self.tell(Told::Identify)
    }
}

impl Drop for GpioLamp {
    fn drop(&mut self) {
        // The thread ends, and switches it off, when nobody can tell it anything any more.
        self.to = channel().0;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lamp's thread ended by a panic");
        }
    }
}

/// What can be lit.
trait Light {
    fn set(&self, on: bool) -> Result<(), SignalError>;
}

impl Light for Switch {
    fn set(&self, on: bool) -> Result<(), SignalError> {
        Self::set(self, on)
    }
}

/// Lights it as told, until nobody can tell it anything.
fn light<L: Light>(
    open: impl Fn() -> Result<L, SignalError>,
    told: &Receiver<Told>,
    mut report: impl FnMut(Result<(), &SignalError>),
) {
    let mut pattern = Pattern::of(LampState::Off);
    let mut since = Instant::now();
    let mut identify: Option<Instant> = None;
    let mut taken: Option<L> = None;
    let (mut is, mut reported) = (None, None);
    loop {
        identify = identify.filter(|since| since.elapsed() < IDENTIFIES);
        let (on, stays) = match identify {
            Some(since) => IDENTIFY.at(since.elapsed()),
            None => pattern.at(since.elapsed()),
        };
        let line = taken.take().map_or_else(
            || {
                is = None;
                open()
            },
            Ok,
        );
        let lit = line.and_then(|light| match is == Some(on) {
            true => Ok(light),
            false => light.set(on).map(|()| light),
        });
        if reported != Some(lit.is_ok()) {
            reported = Some(lit.is_ok());
            report(lit.as_ref().map(|_| ()));
        }
        let wait = match lit {
            Ok(light) => {
                (taken, is) = (Some(light), Some(on));
                stays
            }
            Err(_) => Some(stays.map_or(REOPEN, |stays| stays.min(REOPEN))),
        };
        let heard = match wait {
            Some(wait) => told.recv_timeout(wait),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match heard {
            Ok(Told::Show(state)) => (pattern, since) = (Pattern::of(state), Instant::now()),
            Ok(Told::Identify) => identify = Some(Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(light) = taken
        && let Err(e) = light.set(false)
    {
        report(Err(&e));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[test]
    fn each_state_can_be_told_from_the_others() {
        let ms = Duration::from_millis;
        let steady = [(LampState::Off, false), (LampState::Recording, true)];
        for (state, lit) in steady {
            assert_eq!(Pattern::of(state).at(ms(12_345)), (lit, None));
        }
        let alerts = Pattern::of(LampState::AlertsOnly);
        assert_eq!(alerts.at(ms(0)), (true, Some(ms(100))));
        assert_eq!(alerts.at(ms(100)), (false, Some(ms(1900))));
        assert_eq!(alerts.at(ms(20_099)), (true, Some(ms(1))));
        let share = |state| {
            let lit = (0..10_000).filter(|n| Pattern::of(state).at(ms(*n)).0).count();
            lit / 100
        };
        use LampState::{AlertsOnly, Fault, Off, Recording, RollingStore};
        let shares = [Off, AlertsOnly, Fault, RollingStore, Recording].map(share);
        assert_eq!(shares, [0, 5, 50, 90, 100]);
    }

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Seen {
        fn say(&self, what: impl Into<String>) {
            self.0.lock().unwrap().push(what.into());
        }

        /// Waits for so many things to be seen.
        fn wait(&self, count: usize) -> Vec<String> {
            let until = Instant::now() + Duration::from_secs(20);
            loop {
                let seen = self.0.lock().unwrap().clone();
                if seen.len() >= count {
                    return seen;
                }
                assert!(Instant::now() < until, "only {seen:?}");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    struct Made(Seen);

    impl Light for Made {
        fn set(&self, on: bool) -> Result<(), SignalError> {
            self.0.say(if on { "on" } else { "off" });
            Ok(())
        }
    }

    #[test]
    fn it_shows_what_it_is_told_and_goes_dark_at_the_end() {
        let (seen, (to, told)) = (Seen::default(), channel());
        let (of_light, of_report) = (seen.clone(), seen.clone());
        let lamp = thread::spawn(move || {
            light(|| Ok(Made(of_light.clone())), &told, |said| of_report.say(format!("{said:?}")));
        });
        assert_eq!(seen.wait(2), ["off", "Ok(())"]);
        to.send(Told::Show(LampState::Recording)).unwrap();
        to.send(Told::Show(LampState::Recording)).unwrap();
        assert_eq!(seen.wait(3)[2..], ["on"]);
        to.send(Told::Identify).unwrap();
        // It blinks by itself, and is steady again afterwards.
        assert_eq!(seen.wait(7)[3..7], ["off", "on", "off", "on"]);
        drop(to);
        lamp.join().unwrap();
        assert_eq!(seen.0.lock().unwrap().last().map(String::as_str), Some("off"));
    }

    #[test]
    fn a_line_that_is_not_there_is_told_once_and_taken_when_it_comes() {
        let (seen, (to, told)) = (Seen::default(), channel());
        let (of_light, of_report) = (seen.clone(), seen.clone());
        let tries = Mutex::new(0);
        let lamp = thread::spawn(move || {
            let open = || {
                let mut tries = tries.lock().unwrap();
                *tries += 1;
                match *tries {
                    1..=3 => Err(SignalError::Unplugged { path: PathBuf::from("lamp") }),
                    _ => Ok(Made(of_light.clone())),
                }
            };
            light(open, &told, |said| {
                of_report.say(said.map_or_else(ToString::to_string, |()| "well".to_owned()));
            });
        });
        to.send(Told::Show(LampState::Recording)).unwrap();
        assert_eq!(seen.wait(3), ["`lamp` was unplugged", "on", "well"]);
        drop(to);
        lamp.join().unwrap();
    }
}
