//! What a vehicle's bus says: which signal of which message is the speed, the belt, the gear.
//!
//! A *model file* names the DBC and the signals, one file for each vehicle model:
//!
//! ```toml
//! name = "Example Van, 2020 on"
//! dbc = "example.dbc"            # or several; beside this file, unless the drive or the unit
//!                                # names another file, or the folder that has them
//!
//! [speed]
//! signal = "SPEED.SPEED"         # MESSAGE.SIGNAL of the DBC
//! unit = "km/h"                  # only where the DBC does not say
//!
//! [wheels]
//! front_left = "WHEELS.FL"       # and front_right, rear_left, rear_right
//!
//! [brake]                        # values: numbers as they are in the frame, or the DBC's names
//! signal = "BRAKE.PRESSED"
//! pressed = [1]
//! released = [0]                 # or, for a pedal's position: pressed_above = 2.0
//!
//! [gear]
//! signal = "GEAR.LEVER"
//! park = ["P"]
//! reverse = ["R"]
//! neutral = ["N"]
//! forward = ["D", "S"]
//!
//! [turn]
//! signal = "LAMPS.TURN"
//! off = [3]
//! left = [1]
//! right = [2]                    # and both; or left_lamp and right_lamp, each 0 or 1
//!
//! [belt]
//! signal = "BODY.DRIVER_UNLATCHED"
//! fastened = [0]
//! unfastened = [1]
//!
//! [engine]
//! signal = "ENGINE.RPM"
//!
//! [obd]                          # absent or not enabled: nothing is ever sent
//! enabled = false                # asks for speed and rpm where they are not named above
//! vin = false                    # asks once for the identification number
//! period_s = 0.5
//! ```
//!
//! INVARIANT: a value that the file does not name says nothing: 'not seen' is never 'did wrong'.
//! INVARIANT: unknown keys are refused; nothing here sends.

use std::{collections::BTreeSet, path::Path};

use temoin_proto::samples::{Gear, TurnSignal};

use crate::{
    can_frame::CanFrame,
    dbc::{DbcFile, SignalLayout},
    device::SignalError,
    obd::ObdConfig,
};

mod decode;
mod file;

pub use decode::VehicleDecoder;

/// A number of the vehicle and how it becomes ours.
#[derive(Clone, Debug, PartialEq)]
struct Quantity {
    layout: SignalLayout,
    to_ours: f64,
}

/// Which states the values of a signal stand for.
#[derive(Clone, Debug, PartialEq)]
struct States<T> {
    layout: SignalLayout,
    values: Vec<(i128, T)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Brake {
    Switch(States<bool>),
    /// Pressed above so much of the signal's own unit.
    Pedal(SignalLayout, f64),
}

#[derive(Clone, Debug, PartialEq)]
enum Turn {
    States(States<TurnSignal>),
    Lamps { left: SignalLayout, right: SignalLayout },
}

/// One vehicle model: what to look for on its bus.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleModel {
    name: String,
    speed: Option<Quantity>,
    wheels: Option<[Quantity; 4]>,
    brake: Option<Brake>,
    gear: Option<States<Gear>>,
    turn: Option<Turn>,
    belt: Option<States<bool>>,
    engine: Option<Quantity>,
    obd: Option<ObdConfig>,
}

impl VehicleModel {
    /// Reads a model file and the DBC files that it names: those beside it, those in `dbc` where
    /// that is a folder, or `dbc` in their place.
    ///
    /// # Errors
    /// Where a file cannot be read or used: with its path, and the line where that is known.
    pub fn load(path: &Path, dbc: Option<&Path>) -> Result<Self, SignalError> {
        file::load(path, dbc)
    }

    /// A model of which nothing but the speed is known, in `unit` where the DBC does not say.
    ///
    /// # Errors
    /// Where the DBC cannot be used or has no such signal.
    pub fn speed_only(
        dbc: &Path,
        (message, signal): (&str, &str),
        unit: Option<&str>,
    ) -> Result<Self, SignalError> {
        let layout = DbcFile::load(dbc)?.layout(message, signal)?;
        Ok(Self {
            name: layout.name().to_owned(),
            speed: Some(speed(dbc, layout, unit)?),
            wheels: None,
            brake: None,
            gear: None,
            turn: None,
            belt: None,
            engine: None,
            obd: None,
        })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to ask by OBD-II, where the model's file allows it.
    pub fn obd(&self) -> Option<ObdConfig> {
        self.obd
    }

    /// The identifiers that it needs, rising, as in [`CanFrame::id`].
    pub fn ids(&self) -> Vec<u32> {
        self.layouts().map(SignalLayout::id).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The signals that it needs, as `MESSAGE.SIGNAL`, each once.
    pub fn signal_names(&self) -> Vec<&str> {
        self.layouts().map(SignalLayout::name).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the frame carries one of them.
    pub(crate) fn carries(&self, frame: &CanFrame) -> bool {
        self.layouts().any(|l| l.raw(frame).is_some())
    }

    fn layouts(&self) -> impl Iterator<Item = &SignalLayout> {
        let quantities = self.speed.iter().chain(self.wheels.iter().flatten()).chain(&self.engine);
        let brake = self.brake.iter().map(|b| match b {
            Brake::Switch(s) => &s.layout,
            Brake::Pedal(layout, _) => layout,
        });
        let turn = self.turn.iter().flat_map(|t| match t {
            Turn::States(s) => vec![&s.layout],
            Turn::Lamps { left, right } => vec![left, right],
        });
        quantities
            .map(|q| &q.layout)
            .chain(brake)
            .chain(self.gear.iter().map(|s| &s.layout))
            .chain(turn)
            .chain(self.belt.iter().map(|s| &s.layout))
    }
}

/// A speed in a unit that is known here. `file` is the one to correct.
fn speed(file: &Path, layout: SignalLayout, unit: Option<&str>) -> Result<Quantity, SignalError> {
    let unit = unit.unwrap_or(layout.unit());
    let to_ours = match unit.to_ascii_lowercase().as_str() {
        "km/h" | "kph" | "kmh" | "kmph" => 1.0 / 3.6,
        "mph" | "mi/h" => 0.447_04,
        "m/s" | "mps" => 1.0,
        "kn" | "kt" | "knots" => 1852.0 / 3600.0,
        _ => {
            return Err(SignalError::Unusable {
                path: file.to_owned(),
                what: format!(
                    "`{}` is in `{unit}`: give its unit as km/h, mph or m/s",
                    layout.name()
                ),
            });
        }
    };
    Ok(Quantity { layout, to_ours })
}

#[cfg(test)]
mod tests;
