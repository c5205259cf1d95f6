//! What it takes until the server has a clip's key: proof, socket, the key service's checks and its
//! writing down of the head, beside the bare HPKE opening of such a key. The sync that the service
//! makes after its answer is `bare.head_sync_...`.

use std::{
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use temoin_access_log::{AccessLog, Action, Leaf};
use temoin_keys::{
    Answer, LogProof, Request,
    message::{MAX_ANSWER_LEN, next_len, read_body, send},
};
use temoin_proto::{
    ids::ClipId,
    sealed::{ClipKey, generate_fleet_key},
};
use temoin_tests::{
    fleet::START_LIMIT,
    process::{Process, Programs, command, run},
};
use tokio::net::UnixStream;

use crate::figures::{Figure, median, percentile};

/// Unwraps that are measured.
const COUNT: usize = 1000;
const DATA_SET: &str = "a view's entry each, one after another over one connection";

/// Unwraps through the real process.
///
/// # Errors
/// Where the service does not run or refuses.
pub async fn figures(programs: &Programs) -> Result<Vec<Figure>> {
    let folder = tempfile::Builder::new().prefix("temoin-keys-").tempdir()?;
    let log = AccessLog::create(&folder.path().join("log"), "bench.example/access-log")?;
    let _service = start(programs, folder.path(), &log)?;
    let mut stream = UnixStream::connect(folder.path().join("socket")).await?;
    let Answer::Public(fleet) = ask(&mut stream, &Request::Public).await? else {
        bail!("the key service gave no public key");
    };
    let (private, public) = generate_fleet_key();
    let (mut unwrap_ms, mut same_head_ms) = (vec![], vec![]);
    let (mut bare_ms, mut sync_ms) = (vec![], vec![]);
    let disk = std::fs::File::create(folder.path().join("disk"))?;
    disk.write_all_at(&[0; 4096], 0)?;
    disk.sync_all()?;
    for _ in 0..COUNT {
        let (clip, key) = (ClipId::new(), ClipKey::generate()?);
        let wrapped = key.wrap(clip, &fleet.id, &fleet.x25519)?;
        let from = log.len();
        let mut leaf = Leaf::new(jiff::Timestamp::now().as_millisecond(), Action::VIEW);
        leaf.clip = Some(clip);
        let index = log.append(leaf)?.get();
        // The log has grown, as with each new view; then as with the later requests of a view.
        for (from, to) in [(from, &mut unwrap_ms), (log.len(), &mut same_head_ms)] {
            let began = Instant::now();
            let hashes = log.consistency_proof(from, log.len())?;
            let proof = LogProof::new(&log.entry_proof(index)?, from, &hashes);
            let request = Request::Unwrap { clip, wrapped: wrapped.clone().into(), proof };
            let Answer::Unwrapped { .. } = ask(&mut stream, &request).await? else {
                bail!("the key service refused a good entry");
            };
            to.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let wrapped = key.wrap(clip, "bare", &public)?;
        let began = Instant::now();
        drop(ClipKey::unwrap(&wrapped, clip, &private)?);
        bare_ms.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        disk.write_all_at(log.checkpoint().note().as_bytes(), 0)?;
        disk.sync_data()?;
        sync_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let of = |name, value, limit| Figure::new(name, value, "ms", COUNT, DATA_SET).limit(limit);
    let (bare_p50, bare_p99) = (median(&bare_ms)?, percentile(&bare_ms, 99)?);
    Ok(vec![
        of("access.unwrap_p99_ms", percentile(&unwrap_ms, 99)?, bare_p99).goal("below 3"),
        of("access.unwrap_p50_ms", median(&unwrap_ms)?, bare_p50),
        of("access.unwrap_again_p99_ms", percentile(&same_head_ms, 99)?, bare_p99),
        of("access.unwrap_again_p50_ms", median(&same_head_ms)?, bare_p50),
        Figure::new("bare.head_sync_p99_ms", percentile(&sync_ms, 99)?, "ms", COUNT, DATA_SET),
        Figure::new("bare.head_sync_p50_ms", median(&sync_ms)?, "ms", COUNT, DATA_SET),
    ])
}

fn start(programs: &Programs, folder: &Path, log: &AccessLog) -> Result<Process> {
    let passphrase = folder.join("passphrase");
    std::fs::write(&passphrase, "a passphrase of a bench")?;
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600))?;
    let config = folder.join("keys.toml");
    let text = format!(
        "folder = \"data\"\nsocket = \"socket\"\nallowed_uids = [{}]\nlog_public_key = \"{}\"\n\
         [guard]\nkind = \"passphrase\"\npassphrase = {{ file = \"passphrase\" }}\n",
        rustix::process::getuid().as_raw(),
        log.public_key()
    );
    std::fs::write(&config, text)?;
    let with = |what| {
        let mut command = command(&programs.keys, &[what, "--config"]);
        command.arg(&config);
        command
    };
    run(with("init"), None)?;
    let service = Process::start("temoin-keys", with("serve"), None)?;
    service.wait_for("the key service", START_LIMIT, |l| l.starts_with("listening "))?;
    Ok(service)
}

async fn ask(stream: &mut UnixStream, request: &Request) -> Result<Answer> {
    send(stream, &request.encode()?).await?;
    let len = next_len(stream, MAX_ANSWER_LEN).await?.context("the key service hung up")?;
    Ok(Answer::decode(&read_body(stream, len).await?)?)
}
