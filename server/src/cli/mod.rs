//! The command line, one file for each subcommand that does something of its own.

mod admin;
mod check;
pub(crate) mod init;
mod retention;
mod rewrap;
mod serve;
mod trace;
mod verify_log;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use temoin_proto::ids::UnitId;

use crate::{authz::Role, config::Config, db::Db};

const EXAMPLES: &str = "\
Examples:
  temoin-server init /var/lib/temoin --host fleet.example
  temoin-server depot add north --config /var/lib/temoin/config.toml
  temoin-server user add dana --name 'Dana Moreau' --short-name 'D. Moreau' --role dispatcher \\
      --depot north --config /var/lib/temoin/config.toml
  temoin-server unit add van-12 --depot north --config /var/lib/temoin/config.toml
  temoin-server unit enrol-code van-12 --out ticket.toml --config /var/lib/temoin/config.toml
  temoin-server serve --config /var/lib/temoin/config.toml

  temoin-server trace leak.mp4 --grant 0198f0e4-... --config /var/lib/temoin/config.toml

All but `init` and `serve` work while the server runs; `trace` works then only.";

/// The fleet server of Temoin.
#[derive(Debug, Parser)]
#[command(name = "temoin-server", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which configuration.
#[derive(Debug, Args)]
struct At {
    /// The configuration, as `init` wrote it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a data folder: configuration, CA, database and access log.
    Init(init::Init),
    /// Runs the server.
    Serve(At),
    /// Says everything that is wrong with the configuration and the data folder; changes nothing.
    Check(At),
    /// Depots.
    #[command(subcommand)]
    Depot(Depot),
    /// Accounts.
    #[command(subcommand)]
    User(User),
    /// Units.
    #[command(subcommand)]
    Unit(Unit),
    /// Who drives which unit.
    #[command(subcommand)]
    Shift(Shift),
    /// Wraps all clips' keys anew for the fleet's current key, after `temoin-keys rotate`. Can be
    /// stopped and run again.
    Rewrap(At),
    /// Checks the whole access log and prints its size and root.
    VerifyLog(At),
    /// Prints which recordings are deleted within some days, which are held, and how many events are
    /// forgotten. Changes nothing: the running server does what is due, every hour.
    Retention {
        /// How far to look ahead, days.
        #[arg(long, default_value_t = 0)]
        days: u32,
        #[command(flatten)]
        at: At,
    },
    /// Finds the recording that a leaked video shows, and whose view of it it was. The server must run: it
    /// does the work, logs it, and shows it in the portal.
    Trace(trace::Trace),
    /// Prints who may do what, as the policies of this build decide it, and which of these rights
    /// each address of the portal asks for.
    Rights,
}

#[derive(Debug, Subcommand)]
enum Depot {
    /// Adds a depot.
    Add {
        /// Its name.
        name: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
enum User {
    /// Adds an account. Without --password-stdin a password is made and printed once.
    Add(AddUser),
    /// Switches an account off: its sessions and running views end. Off for
    /// `retention.records_days`, it is erased.
    Disable {
        /// What the person types to sign in.
        login: String,
        #[command(flatten)]
        at: At,
    },
    /// Ends all of somebody's sessions and running views, at once. They are told when they sign in.
    SignOut(Login),
    /// Removes somebody's second factor, where phone and recovery codes are lost, and ends their
    /// sessions. They set up another with their password, and are told.
    ResetSecondFactor(Login),
    /// Switches an account on again.
    Enable {
        /// What the person types to sign in.
        login: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Args)]
struct Login {
    /// What the person types to sign in.
    login: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct AddUser {
    /// What the person types to sign in.
    login: String,
    /// The person's name.
    #[arg(long)]
    name: String,
    /// What stands in the mark on every picture that the person watches, at most 20 characters.
    #[arg(long)]
    short_name: String,
    /// driver, dispatcher, safety_manager, fleet_admin, privacy_officer, auditor, installer or
    /// vendor_support.
    #[arg(long)]
    role: Role,
    /// The depot, needed for drivers and dispatchers.
    #[arg(long)]
    depot: Option<String>,
    /// A driver's safety manager; without, it is whoever is safety manager of the depot.
    #[arg(long, value_name = "LOGIN")]
    manager: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Unit {
    /// Adds a unit, which then waits for its enrolment.
    Add {
        /// Its name, such as van-12.
        unit: UnitId,
        /// Its depot.
        #[arg(long)]
        depot: String,
        /// Who puts it in: sees and tries this unit, and none that others put in.
        #[arg(long, value_name = "LOGIN")]
        installer: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Makes a one-time code and writes the ticket that the unit reads.
    EnrolCode(EnrolCode),
    /// Ends a unit's certificate, at once.
    Revoke {
        /// Its name.
        unit: UnitId,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Args)]
struct EnrolCode {
    /// The unit's name.
    unit: UnitId,
    /// Where to write the ticket; must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How long the code lasts, seconds.
    #[arg(long, default_value_t = 86_400)]
    valid_s: u32,
    /// The address that the ticket names, instead of the configured one.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Shift {
    /// Says that this driver drives this unit from now on, or from a given time, until changed.
    Set {
        /// The unit's name.
        #[arg(long)]
        unit: UnitId,
        /// The driver's login.
        #[arg(long)]
        driver: String,
        /// When it began, such as 2026-11-21T06:00:00Z; now where it is not given. Replaces what
        /// was set for that time and later.
        #[arg(long, value_name = "TIME")]
        from: Option<jiff::Timestamp>,
        #[command(flatten)]
        at: At,
    },
}

/// Runs a command; its errors go to standard error with all their causes.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let done = runtime.block_on(dispatch(cli.command));
    // Workers that wait for a disk or a client must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let chain = crate::error::chain(error.as_ref());
    // Nobody is left to tell where standard error is gone.
    drop(writeln!(std::io::stderr(), "temoin-server: {chain}"));
    ExitCode::FAILURE
}

/// One line on standard output.
fn say(line: &str) -> Result<(), anyhow::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

async fn dispatch(command: Command) -> Result<(), anyhow::Error> {
    match command {
        Command::Init(init) => init::run(init).await,
        Command::Serve(at) => serve::run(&at.config).await,
        Command::Check(at) => check::run(&at.config).await,
        Command::Rewrap(at) => rewrap::run(&at.config).await,
        Command::VerifyLog(at) => verify_log::run(&at.config),
        Command::Retention { days, at } => retention::run(&at.config, days).await,
        Command::Trace(trace) => trace::run(trace).await,
        Command::Rights => say(crate::portal::rights().trim_end()),
        Command::Depot(Depot::Add { name, at }) => admin::add_depot(&at.config, &name).await,
        Command::User(User::Add(add)) => admin::add_user(add).await,
        Command::User(User::Disable { login, at }) => {
            admin::set_disabled(&at.config, &login, true).await
        }
        Command::User(User::Enable { login, at }) => {
            admin::set_disabled(&at.config, &login, false).await
        }
        Command::User(User::SignOut(who)) => admin::sign_out(&who.at.config, &who.login).await,
        Command::User(User::ResetSecondFactor(who)) => {
            admin::reset_second_factor(&who.at.config, &who.login).await
        }
        Command::Unit(Unit::Add { unit, depot, installer, at }) => {
            admin::add_unit(&at.config, &unit, &depot, installer.as_deref()).await
        }
        Command::Unit(Unit::EnrolCode(code)) => admin::enrol_code(code).await,
        Command::Unit(Unit::Revoke { unit, at }) => admin::revoke(&at.config, &unit).await,
        Command::Shift(Shift::Set { unit, driver, from, at }) => {
            admin::set_shift(&at.config, &unit, &driver, from).await
        }
    }
}

/// The configuration and its database, beside a server that may run.
async fn open(config: &Path) -> Result<(Config, Db), anyhow::Error> {
    let config = Config::read(config)?;
    let path = config.database();
    anyhow::ensure!(
        path.exists(),
        "there is no database {}: make a data folder with `temoin-server init`",
        path.display()
    );
    let db = Db::open(&path).await?;
    Ok((config, db))
}

/// A socket address out of an option, with a hint where it is none.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and port such as 127.0.0.1:8443"))
}
