//! Inside of the machine.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};

use crate::{host::say, scenario::ALL};

/// How the line begins that says that all went well.
pub(crate) const WELL: &str = "temoin-vm: well";
/// How the line begins that says what went wrong.
pub(crate) const FAILED: &str = "temoin-vm: FAILED: ";

/// The line that says that what follows is the machine's reset.
pub(crate) const RESET: &str = "temoin-vm: is reset now";

/// How the line begins that tells a figure.
pub(crate) const FIGURE: &str = "temoin-vm: figure ";

/// Tells a figure. Of several machines `sum` or `most` counts.
pub(crate) fn figure(how: &str, name: &str, value: f64) {
    say(&format!("{FIGURE}{how} {name} {value}"));
}

/// Mounts the folder in which drivers are asked to make devices.
///
/// # Errors
/// Where the kernel has none.
pub(crate) fn mount_configfs() -> Result<()> {
    mount("configfs", "/sys/kernel/config", "configfs", MountFlags::empty(), None)
        .context("/sys/kernel/config")
}

/// Loads the drivers and runs the scenario.
///
/// # Errors
/// What went wrong.
pub(crate) fn run(name: &str, kernel: &Path) -> Result<()> {
    let scenario =
        ALL.iter().find(|s| s.name == name).with_context(|| format!("no scenario `{name}`"))?;
    for driver in scenario.drivers {
        let words = driver.split_whitespace();
        let done = Command::new("modprobe").arg("-d").arg(kernel).args(words).status();
        let done = done.context("modprobe")?;
        ensure!(done.success(), "the driver `{driver}` cannot be loaded");
    }
    (scenario.run)()?;
    if scenario.target.is_none() {
        say(WELL);
    }
    Ok(())
}
