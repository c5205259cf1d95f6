//! Reads a model file. See [`super`] for what is in it.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use temoin_proto::samples::{Gear, TurnSignal};

use super::{Brake, Quantity, States, Turn, VehicleModel, speed};
use crate::{
    dbc::{DbcFile, SignalLayout, split_name},
    device::SignalError,
    nmea::open_file,
    obd::ObdConfig,
};

const MAX_BYTES: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    name: Option<String>,
    dbc: Option<DbcNames>,
    speed: Option<QuantityTable>,
    wheels: Option<WheelsTable>,
    brake: Option<BrakeTable>,
    gear: Option<GearTable>,
    turn: Option<TurnTable>,
    belt: Option<BeltTable>,
    engine: Option<QuantityTable>,
    obd: Option<ObdTable>,
}

/// One DBC file, or several of which each explains a part of the bus.
#[derive(Deserialize)]
#[serde(untagged)]
enum DbcNames {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantityTable {
    signal: String,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WheelsTable {
    front_left: String,
    front_right: String,
    rear_left: String,
    rear_right: String,
    unit: Option<String>,
}

/// A value as it is in the frame, or the name that the DBC gives it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Raw(i64),
    Name(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrakeTable {
    signal: String,
    #[serde(default)]
    pressed: Vec<Value>,
    #[serde(default)]
    released: Vec<Value>,
    pressed_above: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GearTable {
    signal: String,
    #[serde(default)]
    park: Vec<Value>,
    #[serde(default)]
    reverse: Vec<Value>,
    #[serde(default)]
    neutral: Vec<Value>,
    #[serde(default)]
    forward: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnTable {
    signal: Option<String>,
    #[serde(default)]
    off: Vec<Value>,
    #[serde(default)]
    left: Vec<Value>,
    #[serde(default)]
    right: Vec<Value>,
    #[serde(default)]
    both: Vec<Value>,
    left_lamp: Option<String>,
    right_lamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeltTable {
    signal: String,
    fastened: Vec<Value>,
    unfastened: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObdTable {
    enabled: bool,
    speed: Option<bool>,
    rpm: Option<bool>,
    vin: Option<bool>,
    extended_ids: Option<bool>,
    period_s: Option<f64>,
}

/// The file that is read, and its DBC files.
struct Reader<'a> {
    path: &'a Path,
    dbcs: Vec<DbcFile>,
}

impl Reader<'_> {
    fn unusable(&self, what: String) -> SignalError {
        SignalError::Unusable { path: self.path.to_owned(), what }
    }

    fn layout(&self, name: &str) -> Result<SignalLayout, SignalError> {
        let (message, signal) = split_name(name).ok_or_else(|| {
            self.unusable(format!("`{name}` is no signal: write `MESSAGE.SIGNAL`"))
        })?;
        let dbc = self.dbcs.iter().find(|d| d.has(message)).or(self.dbcs.first());
        dbc.ok_or_else(|| self.unusable(format!("`{name}` needs a DBC file: name it as `dbc`")))?
            .layout(message, signal)
    }

    fn speed(&self, name: &str, unit: Option<&str>) -> Result<Quantity, SignalError> {
        speed(self.path, self.layout(name)?, unit)
    }

    /// The values of one signal; one that stands for two states is refused.
    fn states<T: Copy + PartialEq>(
        &self,
        key: &str,
        signal: &str,
        table: &[(T, &[Value])],
    ) -> Result<States<T>, SignalError> {
        let layout = self.layout(signal)?;
        let mut values: Vec<(i128, T)> = Vec::new();
        for (state, named) in table {
            for value in *named {
                let raw = match value {
                    Value::Raw(raw) => *raw,
                    Value::Name(name) => {
                        let known = layout.values();
                        let found = known.iter().find(|(_, n)| n == name).map(|(v, _)| *v);
                        found.ok_or_else(|| {
                            let names: Vec<_> = known.iter().map(|(_, n)| n.as_str()).collect();
                            self.unusable(format!(
                                "{key}: the DBC gives `{signal}` no value `{name}`; there are: {}",
                                names.join(", ")
                            ))
                        })?
                    }
                };
                let raw = i128::from(raw);
                if values.iter().any(|(v, s)| *v == raw && s != state) {
                    return Err(
                        self.unusable(format!("{key}: the value {raw} stands for two states"))
                    );
                }
                values.push((raw, *state));
            }
        }
        if values.is_empty() {
            return Err(self.unusable(format!("{key}: no value of `{signal}` is named")));
        }
        Ok(States { layout, values })
    }

    fn wheels(&self, t: &WheelsTable) -> Result<[Quantity; 4], SignalError> {
        let unit = t.unit.as_deref();
        Ok([
            self.speed(&t.front_left, unit)?,
            self.speed(&t.front_right, unit)?,
            self.speed(&t.rear_left, unit)?,
            self.speed(&t.rear_right, unit)?,
        ])
    }

    fn brake(&self, t: &BrakeTable) -> Result<Brake, SignalError> {
        match t.pressed_above {
            Some(_) if !(t.pressed.is_empty() && t.released.is_empty()) => Err(self.unusable(
                "brake: give either `pressed` and `released`, or `pressed_above`".to_owned(),
            )),
            Some(above) if above.is_finite() => Ok(Brake::Pedal(self.layout(&t.signal)?, above)),
            Some(_) => Err(self.unusable("brake.pressed_above: must be a number".to_owned())),
            None => {
                let table = [(true, &*t.pressed), (false, &*t.released)];
                Ok(Brake::Switch(self.states("brake", &t.signal, &table)?))
            }
        }
    }

    fn turn(&self, t: &TurnTable) -> Result<Turn, SignalError> {
        match (&t.signal, &t.left_lamp, &t.right_lamp) {
            (Some(signal), None, None) => {
                let table = [
                    (TurnSignal::Off, &*t.off),
                    (TurnSignal::Left, &*t.left),
                    (TurnSignal::Right, &*t.right),
                    (TurnSignal::Both, &*t.both),
                ];
                Ok(Turn::States(self.states("turn", signal, &table)?))
            }
            (None, Some(left), Some(right)) => {
                Ok(Turn::Lamps { left: self.layout(left)?, right: self.layout(right)? })
            }
            _ => Err(self.unusable(
                "turn: give either `signal`, or `left_lamp` and `right_lamp`".to_owned(),
            )),
        }
    }

    fn engine(&self, t: &QuantityTable) -> Result<Quantity, SignalError> {
        let layout = self.layout(&t.signal)?;
        let unit = t.unit.as_deref().unwrap_or(layout.unit()).to_ascii_lowercase();
        match unit.as_str() {
            "rpm" | "1/min" | "u/min" | "min-1" | "" => Ok(Quantity { layout, to_ours: 1.0 }),
            _ => Err(self.unusable(format!("engine: `{unit}` is not rpm: give its unit"))),
        }
    }

    /// What the bus tells by itself is not asked for, unless the file says so.
    fn obd(&self, t: &ObdTable, file: &ModelFile) -> Result<Option<ObdConfig>, SignalError> {
        let usual = ObdConfig::default();
        let period_s = t.period_s.unwrap_or(usual.period_s);
        if !(0.1..=3600.0).contains(&period_s) {
            return Err(self.unusable(format!("obd.period_s: {period_s} is not 0.1 to 3600")));
        }
        let config = ObdConfig {
            speed: t.speed.unwrap_or(file.speed.is_none()),
            rpm: t.rpm.unwrap_or(file.engine.is_none()),
            vin: t.vin.unwrap_or(usual.vin),
            extended_ids: t.extended_ids.unwrap_or(usual.extended_ids),
            period_s,
        };
        Ok(t.enabled.then_some(config))
    }
}

pub(super) fn load(path: &Path, dbc: Option<&Path>) -> Result<VehicleModel, SignalError> {
    let mut text = String::new();
    open_file(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| SignalError::Read { path: path.to_owned(), source })?;
    let file: ModelFile = toml::from_str(&text).map_err(|e| {
        let before = e.span().and_then(|s| text.get(..s.start)).unwrap_or_default();
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        SignalError::Malformed {
            path: path.to_owned(),
            line: u64::try_from(line).unwrap_or(u64::MAX),
            what: e.message().to_owned(),
        }
    })?;
    // `dbc` is a file in place of the model's own, or a folder that has them.
    let folder = dbc.filter(|d| d.is_dir()).or(path.parent()).unwrap_or(Path::new("."));
    let named = match &file.dbc {
        None => Vec::new(),
        Some(DbcNames::One(name)) => vec![folder.join(name)],
        Some(DbcNames::Several(names)) => names.iter().map(|n| folder.join(n)).collect(),
    };
    let paths = match dbc {
        Some(dbc) if !dbc.is_dir() => vec![dbc.to_owned()],
        _ => named,
    };
    let r =
        Reader { path, dbcs: paths.iter().map(|p| DbcFile::load(p)).collect::<Result<_, _>>()? };
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let model = VehicleModel {
        name: file.name.clone().or(stem).unwrap_or_default(),
        speed: match &file.speed {
            Some(t) => Some(r.speed(&t.signal, t.unit.as_deref())?),
            None => None,
        },
        wheels: file.wheels.as_ref().map(|t| r.wheels(t)).transpose()?,
        brake: file.brake.as_ref().map(|t| r.brake(t)).transpose()?,
        gear: match &file.gear {
            Some(t) => Some(r.states(
                "gear",
                &t.signal,
                &[
                    (Gear::Park, &*t.park),
                    (Gear::Reverse, &*t.reverse),
                    (Gear::Neutral, &*t.neutral),
                    (Gear::Forward, &*t.forward),
                ],
            )?),
            None => None,
        },
        turn: file.turn.as_ref().map(|t| r.turn(t)).transpose()?,
        belt: match &file.belt {
            Some(t) => {
                let table = [(true, &*t.fastened), (false, &*t.unfastened)];
                Some(r.states("belt", &t.signal, &table)?)
            }
            None => None,
        },
        engine: file.engine.as_ref().map(|t| r.engine(t)).transpose()?,
        obd: file.obd.as_ref().map(|t| r.obd(t, &file)).transpose()?.flatten(),
    };
    if model.layouts().next().is_none() && model.obd.is_none() {
        return Err(r.unusable("it names no signal, and OBD-II is not enabled".to_owned()));
    }
    Ok(model)
}
