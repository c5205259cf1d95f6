//! The command line. No secret is ever an argument.

use std::{
    fs::File,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, GuardConfig},
    guard::Pkcs11Guard,
    keyring::Keyring,
    seen::Seen,
    service::{Clock, Service, Terms},
    socket,
    tombstones::Tombstones,
};

const EXAMPLES: &str = "\
Examples:
  temoin-keys init --config /etc/temoin/keys.toml
  temoin-keys check --config /etc/temoin/keys.toml
  temoin-keys serve --config /etc/temoin/keys.toml
  temoin-keys rotate --config /etc/temoin/keys.toml     (then SIGHUP to the running service)
  temoin-keys forget 9d449c4c0b1a2f3e --config /etc/temoin/keys.toml

docs/keys.md says what the configuration holds and when to rotate and forget.";

/// The key service of Temoin: alone holds the fleet's private keys.
#[derive(Debug, Parser)]
#[command(name = "temoin-keys", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which configuration.
#[derive(Debug, Args)]
struct At {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the folder with a new keyring and an empty memory of the log.
    Init(At),
    /// Runs the service. SIGHUP: reads the keyring anew.
    Serve(At),
    /// Makes a new current key; the old ones stay until they are forgotten.
    Rotate(At),
    /// Drops an old key for ever: what is still wrapped for it opens never again.
    Forget {
        /// The key's name.
        key: String,
        #[command(flatten)]
        at: At,
    },
    /// Seals the keyring anew under the guard of another configuration.
    Reseal {
        /// The configuration whose guard is to protect the keyring from now on.
        #[arg(long, value_name = "FILE")]
        new: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Makes the AES key in the PKCS#11 token that the configuration names.
    MakeTokenKey(At),
    /// Says everything that is wrong, and what is there; changes nothing.
    Check(At),
}

/// Runs a command; its errors go to standard error with all their causes.
pub fn run(cli: Cli) -> ExitCode {
    match harden().and_then(|()| dispatch(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where standard error is gone.
            drop(writeln!(std::io::stderr(), "temoin-keys: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Before any key is read: no core dump, no look into the memory by others of the same user, and
/// no file that others can read.
fn harden() -> Result<(), anyhow::Error> {
    use rustix::process::{
        DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("cannot forbid core dumps")?;
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}

/// One line on standard output.
fn say(line: &str) -> Result<(), anyhow::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

fn dispatch(command: Command) -> Result<(), anyhow::Error> {
    match command {
        Command::Init(at) => init(&Config::read(&at.config)?),
        Command::Serve(at) => serve(Config::read(&at.config)?),
        Command::Rotate(at) => change(&at, None, |ring| {
            let id = ring.rotate()?;
            say(&format!("current {id}"))
        }),
        Command::Forget { key, at } => change(&at, None, |ring| {
            ring.forget(&key)?;
            say(&format!("forgotten {key}"))
        }),
        Command::Reseal { new, at } => change(&at, Some(&new), |_| Ok(())),
        Command::MakeTokenKey(at) => {
            let config = Config::read(&at.config)?;
            let GuardConfig::Pkcs11(token) = &config.guard else {
                anyhow::bail!("the configuration's guard is not `pkcs11`");
            };
            Ok(Pkcs11Guard::new(token, &config.base).make_key()?)
        }
        Command::Check(at) => check(&Config::read(&at.config)?),
    }
}

fn init(config: &Config) -> Result<(), anyhow::Error> {
    anyhow::ensure!(
        !config.keyring().exists(),
        "{} exists already: a keyring is never made over another",
        config.keyring().display()
    );
    // Before anything is made: a guard that does not work is found out now.
    let guard = config.guard()?;
    config.make_folder()?;
    for left in ["head", "tombstones"] {
        let path = config.folder.join(left);
        // Left by an `init` that did not end: the keyring is made last.
        if path.exists() {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Service::create(&config.folder)?;
    let keyring = Keyring::new()?;
    keyring.create(&config.keyring(), guard.as_ref())?;
    say(&format!("made {}", config.folder.display()))?;
    say(&format!("current {}", keyring.public().id))
}

/// Held by who reads the keyring to write it.
fn lock_keyring(config: &Config) -> Result<File, anyhow::Error> {
    let path = config.folder.join("keyring.lock");
    let lock = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

/// Reads the keyring, changes it and puts it back, one at a time.
fn change(
    at: &At,
    new: Option<&Path>,
    work: impl FnOnce(&mut Keyring) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let config = Config::read(&at.config)?;
    let lock = lock_keyring(&config)?;
    let guard = config.guard()?;
    let mut ring = Keyring::open(&config.keyring(), guard.as_ref())?;
    let guard = match new {
        None => guard,
        Some(new) => {
            drop(guard);
            Config::read(new)?.guard()?
        }
    };
    let before: Vec<String> = ring.ids().map(str::to_owned).collect();
    work(&mut ring)?;
    ring.save(&config.keyring(), guard.as_ref())?;
    drop(lock);
    if ring.ids().ne(before.iter().map(String::as_str)) {
        say("a service that runs takes it up with SIGHUP")?;
    }
    Ok(())
}

fn check(config: &Config) -> Result<(), anyhow::Error> {
    let mut problems = Vec::new();
    let mut said = Vec::new();
    let keyring = config
        .guard()
        .map_err(anyhow::Error::from)
        .and_then(|guard| Ok(Keyring::open(&config.keyring(), guard.as_ref())?));
    match keyring {
        Ok(ring) => {
            said.push(format!("keys {}", ring.ids().collect::<Vec<_>>().join(" ")));
            said.push(format!("current {}", ring.public().id));
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    match config.log_key().map_err(anyhow::Error::from).and_then(|key| {
        let seen = Seen::open(&config.folder.join("head"), &key)?;
        Ok((seen.head().size, seen.tombstones()))
    }) {
        Ok((size, counted)) => {
            said.push(format!("log entries seen {size}"));
            match Tombstones::check(&config.folder.join("tombstones"), counted) {
                Ok(count) => said.push(format!("destroyed {count}")),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    let fork = config.folder.join("fork");
    if fork.exists() {
        problems.push(format!(
            "the log showed two histories: {} holds both signed heads; show them to the auditor",
            fork.display()
        ));
    }
    for line in said {
        say(&line)?;
    }
    if problems.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(problems.join("\n"))) }
}

fn system_clock() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    })
}

/// The keyring for a service: one of an earlier version is saved in the present form.
fn open_keyring(config: &Config) -> Result<Keyring, anyhow::Error> {
    let lock = lock_keyring(config)?;
    let guard = config.guard()?;
    let ring = Keyring::open(&config.keyring(), guard.as_ref())?;
    if ring.is_upgraded() {
        ring.save(&config.keyring(), guard.as_ref())?;
        tracing::info!("the keyring has a secret for the forensic marks now: back it up anew");
    }
    drop(lock);
    Ok(ring)
}

fn serve(config: Config) -> Result<(), anyhow::Error> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("TEMOIN_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // The guard has a runtime of its own, and may wait for somebody to type.
    let keyring = open_keyring(&config)?;
    let terms =
        Terms { log_key: config.log_key()?, limits: config.limits, witnesses: config.witnesses()? };
    let service = Arc::new(Service::open(&config.folder, keyring, terms, system_clock())?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("cannot start")?;
    let done = runtime.block_on(async {
        let mut ends = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut reload = signal(SignalKind::hangup())?;
        let listener = socket::bind(&config.socket, config.socket_gid)?;
        say(&format!("listening {}", config.socket.display()))?;
        let (again, config) = (Arc::clone(&service), config.clone());
        let allowed = config.allowed_uids.clone();
        let socket = config.socket.clone();
        tokio::spawn(async move {
            while reload.recv().await.is_some() {
                // A thread of its own: a guard does not run inside a runtime.
                let (service, config) = (Arc::clone(&again), config.clone());
                std::thread::spawn(move || reopen(&service, &config));
            }
        });
        let stop = async {
            tokio::select! { _ = ends.0.recv() => {} _ = ends.1.recv() => {} }
        };
        socket::serve(listener, service, &allowed, stop).await;
        // Gone with its listener; a next service would remove it as well.
        drop(std::fs::remove_file(socket));
        Ok(())
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

fn reopen(service: &Service, config: &Config) {
    match open_keyring(config) {
        Ok(ring) => {
            tracing::info!(keys = ?ring, "the keyring was read anew");
            service.replace_keyring(ring);
        }
        Err(error) => tracing::error!("the keyring stays as it was: {error:#}"),
    }
}
