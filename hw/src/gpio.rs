//! Single lines of a GPIO chip, through the kernel's character device: the driver's buttons, what says
//! something by its level (the ignition), and what is switched (a lamp).
//!
//! A line is given back to the kernel when it is dropped, and by a crash.

use std::{io, path::PathBuf, time::Duration};

use gpiocdev::{
    Chip, Request,
    line::{Bias, EdgeDetection, EventClock, Value},
    request::Builder,
};
use serde::Deserialize;
use temoin_proto::samples::{ButtonPress, Signal};

use crate::{
    clock::SystemClock,
    device::{SignalError, SignalSource},
    pace::StopToken,
    waiting::LOOK,
};

/// Who holds the lines, as other programs are told.
const CONSUMER: &str = "temoin";
/// A contact that closes bounces for less. Own choice: twice what most do.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// A line, and how it is wired.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineConfig {
    /// Its name (`PH.00`), or its chip and number (`gpiochip0:23`).
    pub line: String,
    /// Whether it is on when its voltage is low.
    #[serde(default)]
    pub active_low: bool,
    /// The resistor that the chip is to connect; what it has where that is not given.
    #[serde(default)]
    pub pull: Option<Pull>,
}

/// A chip's own resistor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// To the supply.
    Up,
    /// To ground.
    Down,
}

/// Where a line is.
struct Found {
    chip: PathBuf,
    offset: u32,
    /// Who uses it.
    user: Option<String>,
}

impl LineConfig {
    /// Where the line is, in words. Changes nothing.
    ///
    /// # Errors
    /// Where there is no such line, or another program has it.
    pub fn describe(&self) -> Result<String, SignalError> {
        let found = self.find()?;
        let place = format!("`{}`, line {}", found.chip.display(), found.offset);
        match found.user {
            Some(user) if user == CONSUMER => Ok(format!("{place}, used by the agent that runs")),
            Some(user) => Err(self.unusable(format!("`{user}` uses this line: stop it first"))),
            None => Ok(place),
        }
    }

    fn unusable(&self, what: String) -> SignalError {
        SignalError::Unusable { path: PathBuf::from(&self.line), what }
    }

    fn find(&self) -> Result<Found, SignalError> {
        let by_number = || {
            let (chip, offset) = self.line.split_once(':')?;
            Some((chip, offset.parse::<u32>().ok()?))
        };
        if let Some((chip, offset)) = by_number() {
            let path = PathBuf::from("/dev").join(chip);
            let info = Chip::from_path(&path).and_then(|chip| chip.line_info(offset));
            let info = info.map_err(|e| self.unusable(e.to_string()))?;
            let user = info.used.then_some(info.consumer);
            return Ok(Found { chip: path, offset, user });
        }
        let found = gpiocdev::find_named_line(&self.line).ok_or_else(|| {
            self.unusable(
                "no GPIO chip has a line of this name; `gpioinfo` lists them, and a line without a name \
                 is written `gpiochip0:23`"
                    .to_owned(),
            )
        })?;
        let user = found.info.used.then_some(found.info.consumer);
        Ok(Found { chip: found.chip, offset: found.info.offset, user })
    }

    /// Asks for the line; `how` says what for.
    fn request(&self, how: impl FnOnce(&mut Builder)) -> Result<Request, SignalError> {
        let found = self.find()?;
        let mut builder = Request::builder();
        builder.on_chip(&found.chip).with_consumer(CONSUMER).with_line(found.offset);
        how(&mut builder);
        if self.active_low {
            builder.as_active_low();
        }
        if let Some(pull) = self.pull {
            builder.with_bias(match pull {
                Pull::Up => Bias::PullUp,
                Pull::Down => Bias::PullDown,
            });
        }
        builder.request().map_err(|e| match found.user {
            Some(user) => self.unusable(format!("`{user}` uses this line: stop it first")),
            None => self.unusable(e.to_string()),
        })
    }
}

/// The driver's button.
pub struct Button {
    config: LineConfig,
    request: Request,
    stop: StopToken,
    gone: bool,
}

impl Button {
    /// Takes its line.
    ///
    /// # Errors
    /// Where there is no such line, or another program has it.
    pub fn open(config: &LineConfig, stop: StopToken) -> Result<Self, SignalError> {
        let request = config.request(|line| {
            line.as_input()
                .with_edge_detection(EdgeDetection::RisingEdge)
                .with_event_clock(EventClock::Monotonic)
                .with_debounce_period(DEBOUNCE);
        })?;
        Ok(Self { config: config.clone(), request, stop, gone: false })
    }

    fn wait(&self) -> Result<Option<Signal>, gpiocdev::Error> {
        while !self.stop.is_stopped() {
            if self.request.wait_edge_event(LOOK)? {
                let stamp = Duration::from_nanos(self.request.read_edge_event()?.timestamp_ns);
                let at = SystemClock::from_kernel_monotonic(stamp);
                return Ok(Some(Signal::Button(ButtonPress { at })));
            }
        }
        Ok(None)
    }
}

impl SignalSource for Button {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        if self.gone {
            return Ok(None);
        }
        let pressed = self.wait();
        self.gone = !matches!(pressed, Ok(Some(_)));
        pressed.map_err(|e| SignalError::Read {
            path: PathBuf::from(&self.config.line),
            source: io::Error::other(e),
        })
    }
}

/// A line whose level says something: the ignition.
pub struct Level {
    config: LineConfig,
    request: Request,
    stop: StopToken,
    last: Option<bool>,
}

impl Level {
    /// Takes its line.
    ///
    /// # Errors
    /// Where there is no such line, or another program has it.
    pub fn open(config: &LineConfig, stop: StopToken) -> Result<Self, SignalError> {
        let request = config.request(|line| {
            line.as_input()
                .with_edge_detection(EdgeDetection::BothEdges)
                .with_debounce_period(DEBOUNCE);
        })?;
        Ok(Self { config: config.clone(), request, stop, last: None })
    }

    /// Waits until the line is on or off, and later until that changed. None: it was stopped.
    ///
    /// # Errors
    /// Where the chip is gone.
    pub fn next_level(&mut self) -> Result<Option<bool>, SignalError> {
        self.wait().map_err(|e| SignalError::Read {
            path: PathBuf::from(&self.config.line),
            source: io::Error::other(e),
        })
    }

    fn wait(&mut self) -> Result<Option<bool>, gpiocdev::Error> {
        while !self.stop.is_stopped() {
            // What counts is how it is: of edges that come quickly, some are lost.
            let on = self.request.lone_value()? == Value::Active;
            if self.last.replace(on) != Some(on) {
                return Ok(Some(on));
            }
            if self.request.wait_edge_event(LOOK)? {
                self.request.read_edge_event()?;
            }
        }
        Ok(None)
    }
}

/// A line that is switched on and off.
pub(crate) struct Switch {
    config: LineConfig,
    request: Request,
}

impl Switch {
    /// Takes the line, off.
    ///
    /// # Errors
    /// Where there is no such line, or another program has it.
    pub(crate) fn open(config: &LineConfig) -> Result<Self, SignalError> {
        let request = config.request(|line| {
            line.as_output(Value::Inactive);
        })?;
        Ok(Self { config: config.clone(), request })
    }

    /// Switches it.
    ///
    /// # Errors
    /// Where the chip does not, or is gone.
    pub(crate) fn set(&self, on: bool) -> Result<(), SignalError> {
        let value = if on { Value::Active } else { Value::Inactive };
        self.request.set_lone_value(value).map_err(|e| self.config.unusable(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> LineConfig {
        LineConfig { line: line.to_owned(), active_low: false, pull: None }
    }

    #[test]
    fn a_line_that_is_not_there_is_named() {
        for line in ["NO.SUCH_LINE", "gpiochip99:3"] {
            let said = config(line).describe().unwrap_err().to_string();
            assert!(said.contains(line), "{said}");
            let Err(e) = Button::open(&config(line), StopToken::new()) else { panic!("opened") };
            assert!(e.to_string().contains(line), "{e}");
        }
    }

    #[test]
    fn a_line_is_configured_by_its_name_and_wiring() {
        let parse = |text: &str| toml::from_str::<LineConfig>(text);
        assert_eq!(parse("line = \"PH.00\"").unwrap(), config("PH.00"));
        let wired = LineConfig { active_low: true, pull: Some(Pull::Up), ..config("gpiochip0:23") };
        let text = "line = \"gpiochip0:23\"\nactive_low = true\npull = \"up\"";
        assert_eq!(parse(text).unwrap(), wired);
        assert!(parse("line = \"PH.00\"\npull = \"sideways\"").is_err());
        assert!(parse("active_low = true").is_err());
    }
}
