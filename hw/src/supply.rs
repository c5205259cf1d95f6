//! The voltage of the vehicle's supply, by a monitor that Linux shows under `/sys/class/hwmon` (kernel:
//! `Documentation/hwmon/sysfs-interface.rst`: `inN_input` in millivolts).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    device::SignalError,
    sysfs::{subfolders, value},
};

const MONITORS: &str = "/sys/class/hwmon";

/// Which monitor, and how it is wired.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupplyConfig {
    /// What its driver calls it (`ina3221`; `cat /sys/class/hwmon/*/name` lists them).
    pub hwmon: String,
    /// Which of its voltages: the number in `in1_input`.
    pub channel: u32,
    /// The supply's voltage over the monitor's, where a divider lies between.
    #[serde(default = "undivided")]
    pub times: f64,
}

const fn undivided() -> f64 {
    1.0
}

/// The monitor.
#[derive(Debug)]
pub struct Supply {
    input: PathBuf,
    times: f64,
}

impl Supply {
    /// Finds it. Changes nothing.
    ///
    /// # Errors
    /// Where there is no such monitor, with the names of those that there are.
    pub fn open(config: &SupplyConfig) -> Result<Self, SignalError> {
        Self::find(Path::new(MONITORS), config)
    }

    fn find(monitors: &Path, config: &SupplyConfig) -> Result<Self, SignalError> {
        let all = subfolders(monitors, "hwmon").into_iter();
        let named: Vec<(String, PathBuf)> =
            all.filter_map(|folder| Some((value(&folder.join("name")).ok()?, folder))).collect();
        let Some((_, folder)) = named.iter().find(|(name, _)| *name == config.hwmon) else {
            let names: Vec<String> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(SignalError::Unusable {
                path: PathBuf::from(&config.hwmon),
                what: format!("no monitor of this name; there are: {there}"),
            });
        };
        let input = folder.join(format!("in{}_input", config.channel));
        let supply = Self { input, times: config.times };
        supply.volts()?;
        Ok(supply)
    }

    /// The voltage now, V.
    ///
    /// # Errors
    /// Where the monitor does not answer, or with no number.
    pub fn volts(&self) -> Result<f64, SignalError> {
        let read = value(&self.input)
            .map_err(|source| SignalError::Read { path: self.input.clone(), source })?;
        match read.parse::<i32>() {
            Ok(millivolts) => Ok(f64::from(millivolts) / 1000.0 * self.times),
            Err(_) => Err(SignalError::Unusable {
                path: self.input.clone(),
                what: format!("`{read}` is no number of millivolts"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(hwmon: &str, channel: u32) -> SupplyConfig {
        SupplyConfig { hwmon: hwmon.to_owned(), channel, times: 11.0 }
    }

    #[test]
    fn it_is_found_by_name_and_read_in_volts() {
        let dir = tempfile::tempdir().unwrap();
        for (n, name) in [(0, "nvme"), (10, "ina3221")] {
            let folder = dir.path().join(format!("hwmon{n}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        }
        let input = dir.path().join("hwmon10/in2_input");
        fs::write(&input, "1120\n").unwrap();
        let supply = Supply::find(dir.path(), &config("ina3221", 2)).unwrap();
        assert!((supply.volts().unwrap() - 12.32).abs() < 1e-9);

        fs::write(&input, "twelve\n").unwrap();
        let said = supply.volts().unwrap_err().to_string();
        assert!(said.contains("in2_input") && said.contains("twelve"), "{said}");
        let said = Supply::find(dir.path(), &config("ina219", 1)).unwrap_err().to_string();
        assert!(said.contains("`nvme`, `ina3221`"), "{said}");
        let said = Supply::find(dir.path(), &config("nvme", 1)).unwrap_err().to_string();
        assert!(said.contains("in1_input"), "{said}");
        let said = Supply::find(&dir.path().join("none"), &config("a", 1)).unwrap_err().to_string();
        assert!(said.contains("there are: none"), "{said}");
    }
}
