//! The portal in a real browser, against a real fleet that drove the scripted drive.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use temoin_tests::{
    fleet::Fleet,
    process::{Process, Programs, run},
};

/// How long the drive and its upload may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn every_role_in_a_browser() -> Result<()> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let missing = [Path::new(&chromium), &scripts.join("node_modules/playwright-core")]
        .into_iter()
        .find(|p| !p.exists())
        .map(|p| p.display().to_string());
    if let Some(missing) = missing {
        println!("skipped: `{missing}` is missing; `make test` installs it where it can");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut fleet = Fleet::create(Programs::find()?, folder.path(), "127.0.0.1:0", "127.0.0.1:0")?;
    // As a fleet has it, and so that the test need not wait long for being asked again.
    let config = fleet.server_folder().join("config.toml");
    let text = std::fs::read_to_string(&config)?
        .replace("second_factor = \"optional\"", "second_factor = \"required\"")
        .replace("step_up_after_s = 300", "step_up_after_s = 10");
    std::fs::write(&config, text)?;
    let server = fleet.start_server(None)?;
    fleet.enrol("[video]\nwidth = 640\nheight = 360\nmax_bitrate_kbps = 600")?;
    let agent = fleet.agent(&["replay", "--sim", "--speed", "max"]);
    let mut agent = Process::start("temoin-agent", agent, None)?;
    assert!(agent.wait(LIMIT)?.success(), "{}", agent.errors());

    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portal");
    std::fs::create_dir_all(&shots)?;
    let portal = fleet.addresses.context("no address")?.https;
    let mut node = Command::new("node");
    node.arg(scripts.join("portal.mjs"))
        .current_dir(&scripts)
        .env("PORTAL", format!("https://localhost:{}", portal.port()))
        .env("PASSWORD", &fleet.password)
        .env("CHROMIUM", &chromium)
        .env("SHOTS", &shots);
    let said = run(node, None)?;
    assert!(said.contains("browser: ok"), "{said}");
    println!("screenshots: {}", shots.display());
    assert!(server.stop(Duration::from_secs(15))?.success());
    Ok(())
}

/// The checks that a driver's browser does, against trees made by the words of RFC 6962.
#[test]
fn the_checks_of_a_proof() -> Result<()> {
    if Command::new("node").arg("--version").output().is_err() {
        println!("skipped: `node` is missing; `make test` installs it where it can");
        return Ok(());
    }
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/tlog.mjs"));
    let said = run(node, None)?;
    assert!(said.contains("tlog: ok"), "{said}");
    Ok(())
}
