//! There is one way to pixels: every other one that somebody may try gives nothing, with a real
//! server, a real key service and a real unit's recording. Ciphertext is all that can be had.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use temoin_tests::{
    client::Client,
    fleet::Fleet,
    process::{Process, Programs, command, run},
    storage,
};

/// How long the drive and its upload may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
/// What no video lacks: boxes of an MP4.
const VIDEO: [&[u8]; 4] = [b"ftyp", b"moov", b"mdat", b"avcC"];

fn is_video(bytes: &[u8]) -> bool {
    VIDEO.iter().any(|mark| bytes.windows(mark.len()).any(|w| w == *mark))
}

/// A fleet whose server runs.
fn served(root: &Path) -> Result<(Fleet, Process)> {
    let mut fleet = Fleet::create(Programs::find()?, root, "127.0.0.1:0", "127.0.0.1:0")?;
    let server = fleet.start_server(None)?;
    Ok((fleet, server))
}

/// The same with a unit's recording.
fn driven(root: &Path) -> Result<(Fleet, Process)> {
    let (fleet, server) = served(root)?;
    fleet.enrol("[video]\nwidth = 640\nheight = 360\nmax_bitrate_kbps = 600")?;
    let agent = fleet.agent(&["replay", "--sim", "--speed", "max"]);
    let mut agent = Process::start("temoin-agent", agent, None)?;
    ensure!(agent.wait(LIMIT)?.success(), "{}", agent.errors());
    Ok((fleet, server))
}

/// Nothing of a picture is in the answer.
async fn gives_nothing(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<StatusCode> {
    let answer = client.get_with(path, headers).await?;
    let status = answer.status();
    let bytes = answer.bytes().await?;
    ensure!(!is_video(&bytes), "{path} gave a video");
    Ok(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_way_gives_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (fleet, server) = tokio::task::block_in_place(|| driven(folder.path()))?;
    let kai = fleet.signed_in("kai").await?;
    let event = kai.events("/events").await?.first().context("no event")?.clone();
    let view = kai.view(&event, "triage").await?;
    let seen = kai.stream(&view, "road").await?;
    ensure!(is_video(&seen.bytes), "the one way is open");
    let id = &view.view_id;

    // Object addresses, thumbnails, previews, and whatever else a server might have.
    let objects = storage::objects(&fleet.server_folder())?;
    let clip = objects.keys().next().context("no clip")?;
    for path in [
        format!("/objects/{clip}/road.sealed"),
        format!("/{clip}/road.sealed"),
        format!("/static/../objects/{clip}/road.sealed"),
        format!("/static/x/..%2f..%2fobjects%2f{clip}%2froad.sealed"),
        format!("/clips/{clip}"),
        format!("/events/{event}/thumbnail.jpg"),
        format!("/events/{event}/preview.mp4"),
        format!("/events/{event}/road.mp4"),
        format!("/views/{clip}/road.mp4"),
        format!("/views/{event}/road.mp4"),
        format!("/views/{id}/road"),
        format!("/views/{id}/road.mp4/"),
        format!("/views/{id}/road_unblurred.mp4"),
        format!("/views/{id}/cabin_unblurred.mp4"),
        format!("/views/{id}/../{id}/road.jpg"),
    ] {
        let status = gives_nothing(&kai, &path, &[]).await?;
        ensure!(status.is_client_error(), "{path}: {status}");
    }
    // A view's address without the browser's proof, and a proof that counted already.
    let road = format!("/views/{id}/road.mp4");
    let status = gives_nothing(&kai, &road, &[]).await?;
    ensure!(status.is_client_error(), "without a proof: {status}");
    let proof = kai.proof("GET", &road).await?;
    let first = kai.get_with(&road, &[("x-temoin-proof", &proof)]).await?;
    ensure!(first.status() == StatusCode::OK, "{}", first.status());
    drop(first);
    let status = gives_nothing(&kai, &road, &[("x-temoin-proof", &proof)]).await?;
    ensure!(status.is_client_error(), "a proof that was replayed: {status}");
    let cabin = format!("/views/{id}/cabin.mp4");
    let proof = kai.proof("GET", &road).await?;
    let status = gives_nothing(&kai, &cabin, &[("x-temoin-proof", &proof)]).await?;
    ensure!(status.is_client_error(), "another address's proof: {status}");
    // The cookie, stolen: another client with it, and with a proof of its own key.
    let thief = fleet.client()?;
    let cookie = kai.stolen_cookie()?;
    let list = thief.get_with("/events", &[("cookie", cookie)]).await?;
    ensure!(list.status() == StatusCode::OK, "the cookie is none: {}", list.status());
    let own = fleet.signed_in("mia").await?.proof("GET", &road).await?;
    for headers in [&[("cookie", cookie)][..], &[("cookie", cookie), ("x-temoin-proof", &own)]] {
        let status = gives_nothing(&thief, &road, headers).await?;
        ensure!(status != StatusCode::OK, "a stolen cookie: {status}");
    }
    // Every id changed by one digit.
    for (at, digit) in id.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
        let other = if digit == '0' { '1' } else { '0' };
        let changed: String =
            id.char_indices().map(|(i, c)| if i == at { other } else { c }).collect();
        let answer = kai.file(&format!("/views/{changed}/road.mp4")).await?;
        ensure!(answer.status() == StatusCode::NOT_FOUND, "{changed}: {}", answer.status());
    }
    // Parts of a file: ranges are not answered.
    for range in ["bytes=0-", "bytes=100-200", "bytes=-1"] {
        let proof = kai.proof("GET", &road).await?;
        let headers = [("range", range), ("x-temoin-proof", proof.as_str())];
        let answer = kai.get_with(&road, &headers).await?;
        ensure!(answer.status() != StatusCode::PARTIAL_CONTENT, "{range}");
        ensure!(answer.headers().get("content-range").is_none(), "{range}");
    }
    // Others' sessions, who is nobody, and another fleet's.
    for login in ["mia", "emil", "fay", "ada", "pia", "dana"] {
        let other = fleet.signed_in(login).await?;
        let answer = other.file(&road).await?;
        ensure!(answer.status() == StatusCode::NOT_FOUND, "{login}: {}", answer.status());
    }
    let nobody = fleet.client()?;
    let status = gives_nothing(&nobody, &road, &[]).await?;
    ensure!(status != StatusCode::OK, "nobody: {status}");
    let second = tempfile::tempdir()?;
    let (elsewhere, other_server) = tokio::task::block_in_place(|| served(second.path()))?;
    let stranger = elsewhere.signed_in("kai").await?;
    let status = gives_nothing(&nobody, &road, &[("cookie", stranger.stolen_cookie()?)]).await?;
    ensure!(status != StatusCode::OK, "another fleet's session: {status}");

    // What lies on the server's disk: the whole data folder, the database and the objects in it.
    let (mut sockets, mut read) = (Vec::new(), 0);
    for file in storage::files(&fleet.server_folder())? {
        if fs::metadata(&file).is_ok_and(|file| file.file_type().is_socket()) {
            sockets.push(file);
            continue;
        }
        read += 1;
        let bytes = match fs::read(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.with_context(|| file.display().to_string())?,
        };
        ensure!(!is_video(&bytes), "{} holds a video", file.display());
    }
    ensure!(read > 5, "only {read} files in the data folder");
    // And who may connect there: the command line hands in files that leaked, and has a report back. Not
    // without a grant, whatever it says.
    let [socket] = sockets.as_slice() else { anyhow::bail!("sockets: {sockets:?}") };
    let mode = fs::metadata(socket)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{} may be opened by others: {mode:o}", socket.display());
    let leak = second.path().join("leak.mp4");
    fs::write(&leak, b"no video")?;
    let config = fleet.server_folder().join("config.toml").display().to_string();
    let grant = "0198f0e4-0000-7000-8000-000000000000";
    let leak = leak.display().to_string();
    let mut trace =
        command(&fleet.programs.server, &["trace", &leak, "--grant", grant, "--config", &config]);
    let refused = trace.current_dir(second.path()).output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("no such grant"), "{said}");
    // The command line has no command that shows a picture.
    let help = run(command(&fleet.programs.server, &["--help"]), None)?;
    for word in ["export", "decrypt", "unseal", "extract", "clip"] {
        ensure!(!help.to_lowercase().contains(&format!("  {word}")), "`{word}` in\n{help}");
    }

    // A second tab after sign-out.
    let cookie = kai.stolen_cookie()?.to_owned();
    let proofs = [kai.proof("GET", &road).await?, kai.proof("GET", &road).await?];
    kai.post("/sign-out", &[]).await?;
    for (headers, proof) in [vec![], vec![("cookie", cookie.as_str())]].into_iter().zip(&proofs) {
        let mut headers = headers;
        headers.push(("x-temoin-proof", proof));
        let status = gives_nothing(&kai, &road, &headers).await?;
        ensure!(status != StatusCode::OK, "after signing out: {status}");
    }
    ensure!(server.stop(Duration::from_secs(15))?.success(), "the server");
    ensure!(other_server.stop(Duration::from_secs(15))?.success(), "the other server");
    Ok(())
}
