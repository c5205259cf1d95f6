//! The kernel's test camera: its faults, and its plug.

use std::fs;

use anyhow::{Context, Result};
use v4l::{
    Device,
    control::{Control, Value},
};

/// Where the driver is taken from its device and given to it again.
const DRIVER: &str = "/sys/bus/platform/drivers/vivid";
const DEVICE: &str = "vivid.0";

/// Sets one of its controls; a button is pressed with 1.
///
/// # Errors
/// Where it has no such control.
pub(crate) fn set(node: &str, name: &str, value: i64) -> Result<()> {
    let device = Device::with_path(node).with_context(|| node.to_owned())?;
    let controls = device.query_controls()?;
    let control = controls.iter().find(|control| control.name == name);
    let id = control.with_context(|| format!("the camera has no control `{name}`"))?.id;
    device
        .set_control(Control { id, value: Value::Integer(value) })
        .with_context(|| format!("control `{name}`"))
}

/// Pulls all test cameras out.
///
/// # Errors
/// What the kernel said.
pub(crate) fn unplug() -> Result<()> {
    fs::write(format!("{DRIVER}/unbind"), DEVICE).context("unbind")
}

/// Plugs them in again.
///
/// # Errors
/// What the kernel said.
pub(crate) fn plug_in() -> Result<()> {
    fs::write(format!("{DRIVER}/bind"), DEVICE).context("bind")
}
