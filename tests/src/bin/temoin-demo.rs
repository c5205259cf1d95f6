//! `make demo`: a whole fleet on this machine, from a van's cameras to a dispatcher's browser.
//!
//! With `DEMO_ONCE=1` it drives at full speed, checks that the clips arrived, that the right role
//! can view them and a wrong one cannot, and ends by itself; else it drives in real time and stays
//! until Ctrl-C.
#![forbid(unsafe_code)]

use std::{
    fmt::Write as _,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use temoin_tests::{
    drives,
    fleet::{ACCOUNTS, DRIVER, Fleet},
    process::{OnLine, Process, Programs},
};
use tokio::signal::unix::{SignalKind, signal};

/// How long the server may take to have the last clip, and a drive to be over.
const LIMIT: Duration = Duration::from_secs(600);
/// How long a program may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(demo()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("demo: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for the person at the terminal; a closed terminal is no reason to fail.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

async fn demo() -> Result<()> {
    let once = std::env::var_os("DEMO_ONCE").is_some_and(|v| v != "0");
    let folder = tempfile::Builder::new().prefix("temoin-demo-").tempdir()?;
    let root = folder.path();
    let programs = Programs::find()?;
    say("making a demo fleet: keys, CA, accounts");
    let (https, grpc) = if once { (0, 0) } else { (free_or_any(8443), free_or_any(7443)) };
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let mut fleet = Fleet::create(programs, root, &listen(https), &listen(grpc))?;
    let server = fleet.start_server(Some(echo("server")))?;
    let drive = choose_drive(root)?;
    // The scripted drive brings its own limit.
    let limit = drive.as_ref().map_or("", |_| "[rules.vehicle]\nspeed_limit_kmh = 50\n");
    fleet.enrol(limit)?;
    say(&welcome(&fleet)?);

    let mut arguments = vec!["replay"];
    let drive_text;
    match &drive {
        Some(path) => {
            drive_text = path.to_str().context("the folder's path is not UTF-8")?.to_owned();
            arguments.push(&drive_text);
        }
        None => arguments.push("--sim"),
    }
    if once {
        arguments.extend(["--speed", "max"]);
    }
    say(if drive.is_some() {
        "van-12 drives: a real driver's video and a real car's bus, IMU and GNSS"
    } else {
        "van-12 drives the built-in scripted drive (drawn pictures, simulated signals)"
    });
    let agent = Process::start("temoin-agent", fleet.agent(&arguments), Some(echo("van-12")))?;
    let outcome = if once { check(&fleet, agent).await } else { stay(agent).await };
    let stopped = server.stop(STOP_LIMIT).context("stopping the server");
    outcome?;
    success(stopped?, "the server")
}

/// The port that the README names, or any where another program has it.
fn free_or_any(port: u16) -> u16 {
    if TcpListener::bind(("127.0.0.1", port)).is_ok() { port } else { 0 }
}

/// The drive's folder; None: the simulated one.
fn choose_drive(root: &Path) -> Result<Option<PathBuf>> {
    let Some(data) = drives::shared_data() else { return Ok(None) };
    let folder = root.join("drive");
    drives::city(&data, &folder)?;
    Ok(Some(folder))
}

/// Prints a program's lines as they come, without the drive's bookkeeping.
fn echo(who: &'static str) -> OnLine {
    Box::new(move |line| {
        if !line.starts_with("listening") {
            say(&format!("  {who:7} {line}"));
        }
    })
}

fn welcome(fleet: &Fleet) -> Result<String> {
    let portal = fleet.addresses.context("the server never ran")?.https;
    let mut text = format!("\nportal: https://localhost:{}\n", portal.port());
    writeln!(
        text,
        "        (its certificate is the demo fleet's own: {}; a browser asks once)",
        fleet.server_folder().join("pki/ca.crt").display()
    )?;
    writeln!(text, "sign in with the password {}", fleet.password)?;
    writeln!(
        text,
        "(no second factor is asked for: `[sign_in] second_factor = \"optional\"`, for this demo only)"
    )?;
    for a in &ACCOUNTS {
        let own = if a.login == DRIVER { " (drives van-12)" } else { "" };
        let depot = a.depot.map(|d| format!(", depot {d}")).unwrap_or_default();
        writeln!(text, "  {:6} {}{depot}{own}", a.login, a.role.replace('_', " "))?;
    }
    Ok(text)
}

/// Ctrl-C, or a polite end from outside.
async fn stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C; the drive may end before.
async fn stay(mut agent: Process) -> Result<()> {
    let stop = stopped();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            stopped = &mut stop => {
                success(agent.stop(STOP_LIMIT)?, "van-12")?;
                return stopped;
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        match agent.try_wait()? {
            None => {}
            Some(status) if status.success() => break,
            Some(_) => bail!("van-12 failed:\n{}", agent.errors()),
        }
    }
    say("van-12 has parked and everything is uploaded; the portal stays up. Ctrl-C ends the demo");
    stop.await
}

fn success(status: ExitStatus, who: &str) -> Result<()> {
    ensure!(status.success(), "{who} ended with {status}");
    Ok(())
}

/// What the demo promises, checked as a person would: over HTTP.
async fn check(fleet: &Fleet, mut agent: Process) -> Result<()> {
    let began = Instant::now();
    let status = tokio::task::block_in_place(|| agent.wait(LIMIT))?;
    if !status.success() {
        bail!("van-12 failed:\n{}", agent.errors());
    }
    let drove_s = began.elapsed().as_secs_f64();
    let lines = agent.lines();
    let flagged = lines.iter().filter(|l| l.starts_with("event ")).count();
    let uploaded =
        lines.iter().filter(|l| l.starts_with("clip ") && l.ends_with(" uploaded")).count();
    ensure!(
        flagged > 0 && uploaded > 0,
        "the drive flagged {flagged} events and uploaded {uploaded} clips"
    );

    let dispatcher = fleet.signed_in("kai").await?;
    let events = dispatcher.events("/events").await?;
    ensure!(
        events.len() == flagged,
        "the unit flagged {flagged} events, the portal lists {}",
        events.len()
    );
    let event = events.first().context("no event")?;
    let view = dispatcher.view(event, "triage").await?;
    let mut seen = Vec::new();
    for track in &view.tracks {
        let streamed = dispatcher.stream(&view, &track.name).await?;
        seen.push(format!(
            "{} {} KiB, first frame after {:.0} ms",
            track.name,
            streamed.bytes.len() / 1024,
            streamed.first_frame_ms
        ));
    }
    let own = fleet.signed_in(DRIVER).await?;
    let mine = own.events("/my").await?;
    ensure!(mine == events, "the driver does not see every event of their own");

    let mut refused = Vec::new();
    for login in ["mia", "fay", "ada", "emil"] {
        let client = fleet.signed_in(login).await?;
        let status = client.open_view(event, "triage").await?.status();
        ensure!(status.is_client_error(), "{login} asked for the clip and got {status}");
        refused.push(format!("{login} {}", status.as_u16()));
    }
    say(&format!(
        "\ndemo: ok\n  drive and upload   {drove_s:.1} s\n  flagged events     {flagged}\n  clips in the server {uploaded}\n  viewed by kai (dispatcher): {}\n  refused: {}",
        seen.join("; "),
        refused.join(", ")
    ));
    Ok(())
}
