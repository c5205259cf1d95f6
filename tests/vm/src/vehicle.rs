//! Ignition, supply, and the button by which the driver stops recording.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use temoin_agent::{config::DeviceConfig, health::State, machine::News};
use temoin_hw::supply::SupplyConfig;

use crate::{bench::Bench, cab, chip::Chip, guest};

const SOON: Duration = Duration::from_secs(10);
/// Within which a device is back after a fault's end.
const BACK: Duration = Duration::from_secs(2);
/// Its voltage, in steps of 25 mV, of 12 bits in the upper ones of two registers (LTC4151 data sheet,
/// table 2).
const VOLTAGE: u8 = 0x02;

fn set(line: usize, on: bool) -> Result<()> {
    let pull = if on { "pull-up" } else { "pull-down" };
    Ok(fs::write(cab::outside_of(line, "pull")?, pull)?)
}

/// The ignition's level is told at once and with each change; a wire that is gone is no ignition that is
/// off. The driver's button is another one than the one that saves.
pub(crate) fn ignition() -> Result<()> {
    guest::mount_configfs()?;
    cab::chip(&["IGNITION", "PRIVACY"])?;
    set(0, true)?;
    let bench = Bench::start(&DeviceConfig {
        ignition: Some(cab::line("IGNITION")),
        privacy_button: Some(cab::line("PRIVACY")),
        ..DeviceConfig::default()
    })?;
    let is = |on| move |news: &News| *news == News::Ignition(on);
    bench.news(SOON, is(Some(true)))?;
    for on in [false, true, false] {
        set(0, on)?;
        bench.news(SOON, is(Some(on)))?;
    }
    bench.health("privacy_button", State::Ok, SOON)?;
    set(1, true)?;
    bench.news(SOON, |news| *news == News::Privacy)?;
    cab::plug(false)?;
    bench.news(SOON, is(None))?;
    bench.health("ignition", State::Failed, SOON)?;
    cab::plug(true)?;
    let ended = Instant::now();
    bench.news(SOON, is(Some(false)))?;
    ensure!(ended.elapsed() <= BACK, "it was back only after {:?}", ended.elapsed());
    bench.end()
}

/// A real monitor's driver, its voltage followed, and a monitor that goes and comes back.
pub(crate) fn supply() -> Result<()> {
    let monitor = Chip::plug("ltc4151", "ltc4151", 0x6f, &[(VOLTAGE, &[0x1E, 0xC0])])?;
    let supply = Some(SupplyConfig { hwmon: "ltc4151".to_owned(), channel: 1, times: 1.0 });
    let bench = Bench::start(&DeviceConfig { supply, ..DeviceConfig::default() })?;
    let measures = |volts: f64| move |news: &News| matches!(news, News::Supply(found) if (found - volts).abs() < 0.02);
    bench.news(SOON, measures(12.3))?;
    monitor.set(VOLTAGE, &[0x16, 0])?;
    let since = Instant::now();
    bench.news(SOON, measures(8.8))?;
    // The driver asks its chip six times a second, the unit the driver ten times.
    ensure!(since.elapsed() <= Duration::from_millis(400), "seen after {:?}", since.elapsed());
    monitor.bind("unbind")?;
    bench.health("supply", State::Failed, SOON)?;
    monitor.bind("bind")?;
    bench.health("supply", State::Ok, SOON)?;
    bench.news(SOON, measures(8.8))?;
    bench.end()
}
