//! The command line of the witness.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use temoin_access_log::LogPublicKey;
use temoin_witness::{Witness, serve, store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  temoin-witness init /var/lib/witness --name council.example/w1
  temoin-witness add-log /var/lib/witness --key 'fleet.example/access-log+9d449c4c+AYEK...'
  temoin-witness serve /var/lib/witness --listen 127.0.0.1:7480

The fleet's operator needs the public key that `init` prints, and the address. The log's key is what
the fleet's server says at /log/key; compare it with what the operator gave you in writing.
Never run two witnesses from one folder or its copy, and never put the folder back to an older state:
what it has signed is all that keeps it from signing another history.";

/// A witness of access logs: signs a log's head only where the log only grew.
#[derive(Debug, Parser)]
#[command(name = "temoin-witness", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the folder of a witness with a key of its own, and prints the public key.
    Init {
        /// The folder: missing or empty.
        folder: PathBuf,
        /// The witness's name, such as council.example/w1.
        #[arg(long)]
        name: String,
    },
    /// Lets the witness sign the heads of a log; also while it serves.
    AddLog {
        /// The witness's folder.
        folder: PathBuf,
        /// The log's public key.
        #[arg(long, value_name = "VKEY")]
        key: LogPublicKey,
    },
    /// Answers POST /add-checkpoint.
    Serve {
        /// The witness's folder.
        folder: PathBuf,
        /// Address and port; port 0 lets the system choose.
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        /// A certificate chain (PEM). Without: plain HTTP, for behind a proxy.
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_certificate: Option<PathBuf>,
        /// Its private key (PEM).
        #[arg(long, value_name = "FILE", requires = "tls_certificate")]
        tls_key: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where standard error is gone.
            drop(writeln!(std::io::stderr(), "temoin-witness: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> Result<(), anyhow::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

fn run(command: Command) -> Result<(), anyhow::Error> {
    match command {
        Command::Init { folder, name } => say(&store::init(&folder, &name)?.to_string()),
        Command::AddLog { folder, key } => Ok(store::add_log(&folder, &key)?),
        Command::Serve { folder, listen, tls_certificate, tls_key } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            let tls = tls_certificate.zip(tls_key);
            runtime.block_on(serve_folder(&folder, listen, tls))
        }
    }
}

async fn serve_folder(
    folder: &Path,
    listen: SocketAddr,
    tls: Option<(PathBuf, PathBuf)>,
) -> Result<(), anyhow::Error> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("TEMOIN_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let witness = Witness::open(folder)?;
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let tls = match &tls {
        Some((certificate, key)) => Some(
            serve::tls_config(&read(certificate)?, &read(key)?)
                .with_context(|| format!("cannot use `{}`", certificate.display()))?,
        ),
        None => None,
    };
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    };
    say(&format!("listening {}", listener.local_addr()?))?;
    let router = serve::router(Arc::new(witness), serve::system_clock);
    serve::serve(listener, tls, router, stop).await;
    Ok(())
}
