//! `serve`: opens everything, listens, and ends in order.

use std::{io::IsTerminal as _, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

use super::say;
use crate::{
    app::{App, system_clock},
    config::Config,
    grpc, https, log, pki, portal,
    records::Forgotten,
    report::Report,
    trace::socket,
    witnesses,
};

/// The end of everything after a signal, where something does not end by itself.
const LAST_WORD: Duration = Duration::from_secs(5);

pub(super) async fn run(path: &Path) -> Result<(), anyhow::Error> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("TEMOIN_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // A second provider cannot be installed, and there is only this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = Config::read(path)?;
    let report = Report::new(|happening| {
        if let Err(error) = say(&happening.to_string()) {
            tracing::warn!(%error, "an event could not be printed");
        }
    });
    let app = App::open(config.clone(), system_clock(), report).await?;
    let identity = match (&config.https.certificate, &config.https.private_key) {
        (Some(certificate), Some(key)) => {
            pki::read_identity(&config.folder.join(certificate), &config.folder.join(key))?
        }
        (Some(_) | None, Some(_) | None) => app.pki().https_identity(&config.https.hosts)?,
    };
    let tls = https::tls_config(&identity).context("the portal's certificate cannot be used")?;
    let portal_listener = listen(config.https.listen, "https.listen").await?;
    let unit_listener = listen(config.grpc.listen, "grpc.listen").await?;
    // Before anybody is told that the server is up: a signal would kill it until this is in place.
    let signalled = signals()?;
    say(&format!(
        "listening https={} grpc={}",
        portal_listener.local_addr()?,
        unit_listener.local_addr()?
    ))?;
    let (stop, stopped) = watch::channel(false);
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        // An error says that the sender is gone: then it is time to stop, too.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let hosts = config.https.hosts.clone();
    let units = tokio::spawn({
        let (app, wait) = (app.clone(), wait(stopped.clone()));
        async move { grpc::serve(app, unit_listener, &hosts, wait).await }
    });
    let people = tokio::spawn({
        let (router, wait) = (portal::router(app.clone()), wait(stopped));
        async move { https::serve(portal_listener, tls, router, wait).await }
    });
    let rounds = tokio::spawn(retention_rounds(app.clone()));
    let witnesses = tokio::spawn(witnesses::rounds(app.clone()));
    let waiting = tokio::spawn(log::rounds(app.clone()));
    let tracing_here = tokio::spawn(trace_requests(app.clone()));
    let (mut units, mut people) = (units, people);
    let ended = tokio::select! {
        name = signalled => {
            tracing::info!("{name}: stopping");
            Ok(())
        }
        ended = &mut units => flatten(ended).and(Err(anyhow::anyhow!("the units' listener ended"))),
        ended = &mut people => flatten(ended).and(Err(anyhow::anyhow!("the portal's listener ended"))),
    };
    // A round that is cut off is ended by the next start.
    rounds.abort();
    witnesses.abort();
    waiting.abort();
    tracing_here.abort();
    app.streams().stop_all();
    stop.send_replace(true);
    let all = async {
        for task in [units, people] {
            if !task.is_finished()
                && let Err(error) = flatten(task.await)
            {
                tracing::warn!(%error, "a listener did not end well");
            }
        }
        app.close().await;
    };
    if tokio::time::timeout(LAST_WORD, all).await.is_err() {
        tracing::warn!("some connections did not end in time and were cut off");
    }
    ended
}

/// Traces what is handed in on the command line.
async fn trace_requests(app: App) {
    if let Err(error) = socket::serve(app).await {
        tracing::error!(%error, "files cannot be traced on the command line; in the portal they can");
    }
}

/// Deletes and forgets what is due, at the start and every hour.
async fn retention_rounds(app: App) {
    let mut hours = tokio::time::interval(Duration::from_secs(3600));
    hours.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        hours.tick().await;
        match app.delete_due().await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "recordings whose time was over are deleted"),
            Err(error) => {
                tracing::error!(error = %crate::error::chain(&error), "what is due is not deleted; again in an hour");
            }
        }
        match app.forget_due().await {
            Ok(Forgotten { events: 0, accounts: 0 }) => {}
            Ok(Forgotten { events, accounts }) => {
                tracing::info!(
                    events,
                    accounts,
                    "what is older than retention.records_days is forgotten"
                );
            }
            Err(error) => {
                tracing::error!(error = %crate::error::chain(&error), "what is old is not forgotten; again in an hour");
            }
        }
    }
}

fn flatten(
    ended: Result<Result<(), anyhow::Error>, tokio::task::JoinError>,
) -> Result<(), anyhow::Error> {
    ended.map_err(anyhow::Error::from)?
}

/// SIGINT or SIGTERM, whichever comes first from now on.
fn signals() -> Result<impl Future<Output = &'static str>, anyhow::Error> {
    let mut int = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut term = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => "SIGINT",
            _ = term.recv() => "SIGTERM",
        }
    })
}

async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, anyhow::Error> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return anyhow::anyhow!(
                "port {} of {} is in use by another program: stop it, or change `{key}` in the \
                 configuration",
                address.port(),
                address.ip()
            );
        }
        anyhow::Error::new(error)
            .context(format!("cannot listen on {address} (`{key}` in the configuration)"))
    })
}
