//! `make soak`: an hour's drive in real time with two cameras of 1280x720 and 15 pictures a second, and what the
//! unit used for it.
#![forbid(unsafe_code)]

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use temoin_benches::{
    figures, line,
    machine::{Machine, recordings},
    soak::Soak,
};
use temoin_tests::{
    drives,
    fleet::Fleet,
    process::{Process, Programs},
};

/// How much longer than the drive the unit may take, for its start and its uploads.
const BESIDES: Duration = Duration::from_secs(300);

/// Drives for long in real time and measures whether memory stays flat and no picture is missed. Needs the
/// release programs beside it, which `make soak` builds, and the recordings.
#[derive(Parser)]
#[command(name = "temoin-soak", version)]
struct Args {
    /// How long, in drives of a minute.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..=1440))]
    minutes: u32,
    /// Figures of the same names are replaced in this list.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("soak: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for the person at the terminal; a closed terminal is no reason to fail.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

fn run(args: &Args) -> Result<()> {
    ensure!(!cfg!(debug_assertions), "a debug build says nothing about cost: run `make soak`");
    let machine = Machine::here()?;
    say(&machine.to_string());
    let data =
        recordings()?.context("the recordings beside the checkout are needed: shared/data")?;
    let folder = tempfile::Builder::new().prefix("temoin-soak-").tempdir()?;
    let drive = folder.path().join("drive");
    drives::city_for(&data, &drive, 60, args.minutes)?;
    let drive = drive.to_str().context("path")?;

    let mut fleet = Fleet::create(Programs::find()?, folder.path(), "127.0.0.1:0", "127.0.0.1:0")?;
    let server = fleet.start_server(None)?;
    fleet.enrol("")?;
    say(&format!("driving for {} minutes", args.minutes));
    let limit = Duration::from_secs(u64::from(args.minutes) * 60) + BESIDES;
    let mut soak = Soak::default();
    let arguments = ["replay", drive, "--speed", "real"].map(str::to_owned);
    let drove = line::watched(&fleet, &arguments, limit, |unit: &Process| soak.look(unit))?;
    let status = server.stop(Duration::from_secs(15))?;
    ensure!(status.success(), "the server ended with {status}");

    let data_set = format!("recorded: the minute of `city` {} times in real time", args.minutes);
    let figures = soak.figures(&drove, &data_set)?;
    figures::put_json(&args.out, &figures)?;
    say(&format!("\n{machine}\n\n{}", figures::table(&figures)));
    say(&format!("put into {}", args.out.display()));
    Ok(())
}
