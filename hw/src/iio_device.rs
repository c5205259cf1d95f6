//! A device of Linux's Industrial I/O: found by its name, set up through its attributes.
//!
//! Attributes are files of one value each (kernel: `Documentation/ABI/testing/sysfs-bus-iio`). Their units
//! are m/s², rad/s and Hz: `(raw + offset) * scale`.
//!
//! A crash leaves the device as it was set up; the next start sets it up anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    device::SignalError,
    iio_scan::Kind,
    sysfs::{subfolders, value},
};

/// The timer that is made for a device which has no trigger of its own.
const TIMER: &str = "temoin";

/// Where the kernel shows its devices.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Attributes, a folder for each device and trigger.
    pub(crate) devices: PathBuf,
    /// Device nodes.
    pub(crate) nodes: PathBuf,
    /// A folder that is made here becomes a timer.
    pub(crate) timers: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            devices: "/sys/bus/iio/devices".into(),
            nodes: "/dev".into(),
            timers: "/sys/kernel/config/iio/triggers/hrtimer".into(),
        }
    }
}

/// What makes a device take a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Its own queue of samples.
    Own,
    /// The trigger of this name, in this folder.
    Named(String, PathBuf),
    /// A timer, which is not there yet.
    Timer,
}

/// A device.
#[derive(Debug)]
pub(crate) struct IioDevice {
    places: Places,
    folder: PathBuf,
    /// Its node.
    pub(crate) node: PathBuf,
    /// What its driver calls it.
    pub(crate) name: String,
}

impl IioDevice {
    /// Finds a device by its name or its node.
    ///
    /// # Errors
    /// [`SignalError::Unusable`], with the names of those that there are.
    pub(crate) fn find(places: Places, wanted: &str) -> Result<Self, SignalError> {
        let mut names = Vec::new();
        for folder in subfolders(&places.devices, "iio:device") {
            let Some(entry) = folder.file_name().and_then(|n| n.to_str()) else { continue };
            let node = places.nodes.join(entry);
            let name = value(&folder.join("name")).unwrap_or_default();
            if name == wanted || Path::new(wanted) == node {
                return Ok(Self { places, folder, node, name });
            }
            names.push(format!("`{name}`"));
        }
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(SignalError::Unusable {
            path: wanted.into(),
            what: format!(
                "there is no such motion sensor; of Linux's IIO devices there are: {there}. Check its \
                 wiring and that its driver is loaded"
            ),
        })
    }

    /// Whether it has this attribute.
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.folder.join(attribute).exists()
    }

    /// An attribute's text.
    ///
    /// # Errors
    /// [`SignalError::Read`].
    pub(crate) fn read(&self, attribute: &str) -> Result<String, SignalError> {
        let path = self.folder.join(attribute);
        value(&path).map_err(|source| SignalError::Read { path, source })
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`SignalError::Setting`].
    pub(crate) fn write(&self, attribute: &str, value: &str) -> Result<(), SignalError> {
        set(&self.folder.join(attribute), value)
    }

    /// Turns on the buffer's channels of these names, and all others off.
    ///
    /// # Errors
    /// Where that is refused.
    pub(crate) fn enable_only(&self, channels: &[String]) -> Result<(), SignalError> {
        let folder = self.folder.join("scan_elements");
        let listed = fs::read_dir(&folder)
            .map_err(|source| SignalError::Read { path: folder.clone(), source })?;
        for entry in listed.flatten() {
            let name = entry.file_name();
            let Some(channel) = name.to_str().and_then(|name| name.strip_suffix("_en")) else {
                continue;
            };
            let on = channels.iter().any(|wanted| wanted == channel);
            set(&entry.path(), if on { "1" } else { "0" })?;
        }
        Ok(())
    }

    /// A channel's index in the buffer, and how its value lies there.
    ///
    /// # Errors
    /// Where the kernel says something else.
    pub(crate) fn kind(&self, channel: &str) -> Result<(u32, Kind), SignalError> {
        let attribute = |what: &str| format!("scan_elements/{channel}_{what}");
        let unusable = |what: String| SignalError::Unusable { path: self.folder.clone(), what };
        let kind = self.read(&attribute("type"))?.parse().map_err(unusable)?;
        let index = self.read(&attribute("index"))?;
        let index = index.parse().map_err(|_| unusable(format!("`{index}` is no index")))?;
        Ok((index, kind))
    }

    /// What is added to a channel's raw value, and what that is multiplied with. `shared` is its name
    /// without its axis.
    ///
    /// # Errors
    /// Where there is no scale.
    pub(crate) fn conversion(
        &self,
        channel: &str,
        shared: &str,
    ) -> Result<(f64, f64), SignalError> {
        let number = |what: &str| -> Result<Option<f64>, SignalError> {
            let names = [format!("{channel}_{what}"), format!("{shared}_{what}")];
            let Some(name) = names.iter().find(|name| self.has(name)) else { return Ok(None) };
            let text = self.read(name)?;
            let number = text.parse().ok().filter(|n: &f64| n.is_finite());
            number.map(Some).ok_or_else(|| SignalError::Unusable {
                path: self.folder.join(name),
                what: format!("`{text}` is no number"),
            })
        };
        let scale = number("scale")?.ok_or_else(|| SignalError::Unusable {
            path: self.folder.clone(),
            what: format!("nothing says in which unit `{channel}` measures"),
        })?;
        Ok((number("offset")?.unwrap_or(0.0), scale))
    }

    /// Sets how often it measures: as often as is wished, or the next more often, of what it can.
    ///
    /// # Errors
    /// Where that is refused.
    pub(crate) fn set_rate(&self, hz: f64) -> Result<(), SignalError> {
        for shared in ["", "in_accel_", "in_anglvel_"] {
            let attribute = format!("{shared}sampling_frequency");
            if self.has(&attribute) {
                // Some drivers name what they can once for all sensors of a chip.
                let own = self.read(&format!("{attribute}_available"));
                let able = own.or_else(|_| self.read("sampling_frequency_available"));
                let able = able.unwrap_or_default();
                self.write(&attribute, &at_least(&able, hz).unwrap_or_else(|| hz.to_string()))?;
            }
        }
        Ok(())
    }

    /// Sets the range of `shared` (`in_accel`) so that it reaches to `most` if the device can; a smaller
    /// one is finer.
    ///
    /// # Errors
    /// Where that is refused.
    pub(crate) fn set_range(&self, shared: &str, kind: Kind, most: f64) -> Result<(), SignalError> {
        let able = self.read(&format!("{shared}_scale_available")).unwrap_or_default();
        match at_least(&able, most / kind.most()) {
            Some(scale) => self.write(&format!("{shared}_scale"), &scale),
            None => Ok(()),
        }
    }

    /// What will make it take samples. Changes nothing.
    ///
    /// # Errors
    /// Where there is nothing that could.
    pub(crate) fn trigger(&self, wished: Option<&str>) -> Result<Trigger, SignalError> {
        if !self.has("trigger/current_trigger") {
            return Ok(Trigger::Own);
        }
        let triggers: Vec<(String, PathBuf)> = subfolders(&self.places.devices, "trigger")
            .into_iter()
            .filter_map(|folder| Some((value(&folder.join("name")).ok()?, folder)))
            .collect();
        let unusable = |what: &str| {
            let names: Vec<String> = triggers.iter().map(|(name, _)| format!("`{name}`")).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let what = format!("{what}; of triggers there are: {names}");
            SignalError::Unusable { path: self.folder.clone(), what }
        };
        let named = |name: &str| {
            let found = triggers.iter().find(|(n, _)| n == name);
            found.map(|(name, folder)| Trigger::Named(name.clone(), folder.clone()))
        };
        if let Some(wished) = wished {
            let missing = || unusable(&format!("there is no trigger `{wished}`"));
            return named(wished).ok_or_else(missing);
        }
        // Its own lies beside it, on the same bus.
        let home = |folder: &Path| {
            folder.canonicalize().ok().and_then(|real| real.parent().map(Path::to_path_buf))
        };
        let own_home = home(&self.folder);
        let own =
            triggers.iter().find(|(_, folder)| own_home.is_some() && home(folder) == own_home);
        if let Some((name, folder)) = own {
            return Ok(Trigger::Named(name.clone(), folder.clone()));
        }
        if let Some(timer) = named(TIMER) {
            return Ok(timer);
        }
        match self.places.timers.is_dir() {
            true => Ok(Trigger::Timer),
            false => Err(unusable(
                "nothing makes the sensor measure: connect its interrupt, or load the kernel's \
                 `iio-trig-hrtimer`, or name a trigger",
            )),
        }
    }

    /// Connects it to its trigger.
    ///
    /// # Errors
    /// Where that is refused.
    pub(crate) fn connect(&self, trigger: Trigger, hz: f64) -> Result<(), SignalError> {
        let (name, folder) = match trigger {
            Trigger::Own => return Ok(()),
            Trigger::Named(name, folder) => (name, folder),
            Trigger::Timer => {
                let path = self.places.timers.join(TIMER);
                match fs::create_dir(&path) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(SignalError::Setting {
                            path,
                            value: TIMER.to_owned(),
                            source: e,
                        });
                    }
                    _ => {}
                }
                match self.trigger(Some(TIMER))? {
                    Trigger::Named(name, folder) => (name, folder),
                    Trigger::Own | Trigger::Timer => return Ok(()),
                }
            }
        };
        // A timer has a rate of its own.
        let rate = folder.join("sampling_frequency");
        if rate.exists() {
            set(&rate, &hz.to_string())?;
        }
        self.write("trigger/current_trigger", &name)
    }
}

/// The least of these numbers that is enough, as it is written (a driver looks for the very digits); the
/// greatest where none is. They are a list, or a range (`[least step most]`) in which any will do.
fn at_least(able: &str, needed: f64) -> Option<String> {
    let able = able.trim();
    let number = |word: &str| word.parse().ok().filter(|n: &f64| n.is_finite());
    if let Some(range) = able.strip_prefix('[').and_then(|able| able.strip_suffix(']')) {
        let ends: Vec<f64> = range.split_whitespace().filter_map(number).collect();
        let [least, _, most] = ends[..] else { return None };
        return (least <= most).then(|| needed.clamp(least, most).to_string());
    }
    let listed = able.split_whitespace().filter_map(|word| Some((number(word)?, word)));
    let by_size = |a: &(f64, &str), b: &(f64, &str)| a.0.total_cmp(&b.0);
    let enough = listed.clone().filter(|(n, _)| *n >= needed).min_by(by_size);
    enough.or_else(|| listed.max_by(by_size)).map(|(_, word)| word.to_owned())
}

fn set(path: &Path, value: &str) -> Result<(), SignalError> {
    let failed =
        |source| SignalError::Setting { path: path.to_owned(), value: value.to_owned(), source };
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_larger_of_what_a_device_can() {
        for (able, needed, chosen) in [
            ("25 50 100 200", 100.0, Some("100")),
            ("25 50 100 200", 110.0, Some("200")),
            ("200 25 100 50", 60.0, Some("100")),
            ("25 50", 100.0, Some("50")),
            ("0.000598 0.001197 0.002394 0.004785", 0.003, Some("0.004785")),
            ("[1 1 400]", 100.0, Some("100")),
            ("[1 1 50]", 100.0, Some("50")),
            ("[5 1]", 100.0, None),
            ("[9 1 5]", 100.0, None),
            ("", 100.0, None),
            ("many inf nan", 100.0, None),
        ] {
            assert_eq!(at_least(able, needed).as_deref(), chosen, "{able} {needed}");
        }
    }
}
