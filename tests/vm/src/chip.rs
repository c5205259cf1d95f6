//! Chips on an emulated bus (`i2c-stub`), found by their real drivers.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// A chip on the emulated bus.
pub(crate) struct Chip {
    /// What its driver calls it.
    pub(crate) name: &'static str,
    driver: &'static str,
    address: u8,
    bus: u32,
}

impl Chip {
    /// Finds the bus, gives the chip its registers (each the first, and those from it on) and lets the driver
    /// find it.
    pub(crate) fn plug(
        name: &'static str,
        driver: &'static str,
        address: u8,
        registers: &[(u8, &[u8])],
    ) -> Result<Self> {
        let bus = (0..16).find(|n| {
            let name = fs::read_to_string(format!("/sys/bus/i2c/devices/i2c-{n}/name"));
            name.is_ok_and(|name| name.starts_with("SMBus stub"))
        });
        let chip = Self { name, driver, address, bus: bus.context("no emulated bus")? };
        for (first, values) in registers {
            chip.set(*first, values)?;
        }
        fs::write(
            format!("/sys/bus/i2c/devices/i2c-{}/new_device", chip.bus),
            format!("{name} {address:#x}"),
        )
        .context("the chip cannot be added to the bus")?;
        Ok(chip)
    }

    /// Sets registers from this one on.
    pub(crate) fn set(&self, first: u8, values: &[u8]) -> Result<()> {
        for (register, value) in (first..).zip(values) {
            self.i2cset(&format!("{register:#x} {value:#x} b"))?;
        }
        Ok(())
    }

    fn i2cset(&self, what: &str) -> Result<()> {
        let arguments = format!("-f -y {} {:#x} {what}", self.bus, self.address);
        let done = Command::new("i2cset").args(arguments.split_whitespace()).status();
        ensure!(done.context("i2cset")?.success(), "i2cset {arguments}");
        Ok(())
    }

    /// Takes it from its driver, or gives it back.
    pub(crate) fn bind(&self, what: &str) -> Result<()> {
        let path = PathBuf::from("/sys/bus/i2c/drivers").join(self.driver).join(what);
        fs::write(path, format!("{}-{:04x}", self.bus, self.address)).context(what.to_owned())
    }
}
