//! The machine's watchdog: a timer in hardware that resets the machine when nobody has fed it for so long.
//!
//! It runs from the moment it is opened. A crash leaves it running, which is what it is for; who stops on
//! purpose says so, and it is off (unless the kernel was told that it never is, `nowayout`).

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::device::SignalError;

/// What is written to say that it is to be off.
const OFF: &[u8] = b"V";
const FOOD: &[u8] = b".";

/// The watchdog.
#[derive(Debug)]
pub struct Watchdog {
    path: PathBuf,
    file: File,
    timeout: Duration,
}

impl Watchdog {
    /// Starts it.
    ///
    /// # Errors
    /// Where it is not there, or another program has it.
    pub fn open(path: &Path) -> Result<Self, SignalError> {
        let timeout = timeout(path)?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|source| SignalError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, timeout })
    }

    /// What there is, in words. Does not start it.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn describe(path: &Path) -> Result<String, SignalError> {
        std::fs::metadata(path)
            .map_err(|source| SignalError::Open { path: path.to_owned(), source })?;
        let seconds = timeout(path)?.as_secs();
        Ok(format!("`{}`: resets the machine after {seconds} s", path.display()))
    }

    /// How long it waits for food.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Feeds it.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn feed(&mut self) -> Result<(), SignalError> {
        self.write(FOOD)
    }

    /// Stops it.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn off(mut self) -> Result<(), SignalError> {
        self.write(OFF)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SignalError> {
        let value = String::from_utf8_lossy(bytes);
        self.file.write_all(bytes).map_err(|source| SignalError::Setting {
            path: self.path.clone(),
            value: value.into_owned(),
            source,
        })
    }
}

/// How long it waits, as its driver says: without opening it, which would start it.
fn timeout(path: &Path) -> Result<Duration, SignalError> {
    // `watchdog` is the first, under its old name.
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if name == "watchdog" { "watchdog0" } else { name };
    let attribute = Path::new("/sys/class/watchdog").join(name).join("timeout");
    let text = std::fs::read_to_string(&attribute)
        .map_err(|source| SignalError::Read { path: attribute.clone(), source })?;
    let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| SignalError::Unusable {
        path: attribute,
        what: format!("`{}` is no time", text.trim()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_there_is_named() {
        let path = Path::new("/dev/no-such-watchdog");
        for said in [Watchdog::open(path).unwrap_err(), Watchdog::describe(path).unwrap_err()] {
            assert!(said.to_string().contains("no-such-watchdog"), "{said}");
        }
    }
}
