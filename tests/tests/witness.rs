//! A witness as a process of its own: without its word nobody is shown a recording, and it gives its
//! word to one history only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use temoin_tests::{
    client::Client,
    fleet::{Fleet, START_LIMIT},
    process::{Process, Programs, command, run},
    stage::LIMIT,
};

/// How long a cosignature is good for in these tests, seconds.
const WITHIN_S: u64 = 4;

fn beside(programs: &Programs, name: &str) -> Result<PathBuf> {
    let path = programs.server.with_file_name(name);
    ensure!(path.is_file(), "`{name}` is not built: run `cargo build --workspace --bins`");
    Ok(path)
}

struct Council {
    program: PathBuf,
    folder: PathBuf,
    key: String,
    address: String,
}

impl Council {
    fn create(programs: &Programs, root: &Path) -> Result<Self> {
        let program = beside(programs, "temoin-witness")?;
        let folder = root.join("witness");
        let text = folder.display().to_string();
        let name = "council.example/w1";
        let key = run(command(&program, &["init", &text, "--name", name]), None)?;
        // A port of its own, which it keeps over its restarts: none that the system gives to somebody
        // else's connection while it is not bound (ip_local_port_range begins at 32768).
        let from = 20_000 + u16::try_from(std::process::id() % 10_000)?;
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = (from..from + 1000).find(is_free).context("no free port")?;
        let address = format!("127.0.0.1:{port}");
        Ok(Self { program, folder, key: key.trim().to_owned(), address })
    }

    fn add_log(&self, fleet: &Fleet) -> Result<String> {
        let key = fs::read_to_string(fleet.server_folder().join("access-log/public-key"))?;
        let text = self.folder.display().to_string();
        run(command(&self.program, &["add-log", &text, "--key", key.trim()]), None)?;
        Ok(key.trim().to_owned())
    }

    /// Over HTTPS, with a certificate of the fleet's CA: it is not one that the system knows.
    fn serve(&self, fleet: &Fleet) -> Result<Process> {
        let text = self.folder.display().to_string();
        let mut serve = command(&self.program, &["serve", &text, "--listen", &self.address]);
        let pki = fleet.server_folder().join("pki");
        serve.arg("--tls-certificate").arg(pki.join("https.crt"));
        serve.arg("--tls-key").arg(pki.join("https.key"));
        let process = Process::start("temoin-witness", serve, None)?;
        process.wait_for("the witness to listen", START_LIMIT, |l| l.starts_with("listening "))?;
        Ok(process)
    }
}

/// Opens views until one is answered like this.
async fn until(client: &Client, event: &str, wanted: StatusCode) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.open_view(event, "triage").await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if status == wanted {
            return Ok(text);
        }
        let expected = [StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE];
        ensure!(expected.contains(&status), "{status}: {text}");
        ensure!(Instant::now() < deadline, "still {status} and not {wanted}: {text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn put_back(copy_of: &Path, log: &Path) -> Result<()> {
    fs::remove_dir_all(log)?;
    copy(copy_of, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_views_without_a_witness() -> Result<()> {
    let programs = Programs::find()?;
    let verify = beside(&programs, "temoin-verify")?;
    let dir = tempfile::tempdir()?;
    let council = Council::create(&programs, dir.path())?;
    let mut fleet = Fleet::create(programs, dir.path(), "127.0.0.1:0", "127.0.0.1:0")?;
    let said = fleet.admin(&["check"], None)?;
    ensure!(said.contains("no witness is configured"), "{said}");
    let config = fleet.server_folder().join("config.toml");
    let mut text: toml::Table = toml::from_str(&fs::read_to_string(&config)?)?;
    let log_table: toml::Table = toml::from_str(&format!("cosigned_within_s = {WITHIN_S}"))?;
    text.insert("log".to_owned(), log_table.into());
    let (key, address) = (&council.key, &council.address);
    let witness: toml::Table = toml::from_str(&format!(
        "name = \"council\"\nkey = \"{key}\"\nurl = \"https://{address}\"\nca = \"pki/ca.crt\""
    ))?;
    text.insert("witness".to_owned(), toml::Value::Array(vec![witness.into()]));
    fs::write(&config, toml::to_string(&text)?)?;
    let said = fleet.admin(&["check"], None)?;
    ensure!(!said.contains("no witness"), "{said}");
    // The key service wants the witness's word too, and looks at it itself.
    let rule = format!("[witness]\npublic_keys = [{key:?}]\nmax_age_s = {WITHIN_S}\n");
    let keys_config = fleet.keys_config();
    fs::write(&keys_config, fs::read_to_string(&keys_config)? + &rule)?;
    fleet.keys = None;
    fleet.start_keys()?;

    let server = fleet.start_server(None)?;
    fleet.enrol("[video]\nwidth = 320\nheight = 180\nmax_bitrate_kbps = 300")?;
    let drive = fleet.agent(&["replay", "--sim", "--speed", "max"]);
    let mut agent = Process::start("temoin-agent", drive, None)?;
    tokio::task::block_in_place(|| agent.wait(LIMIT))?;
    let kai = fleet.signed_in("kai").await?;
    let mut event = None;
    for candidate in kai.all_events("/events").await? {
        let status = kai.open_view(&candidate, "triage").await?.status();
        // The log does not know the witness yet.
        if status == StatusCode::SERVICE_UNAVAILABLE {
            event = Some(candidate);
            break;
        }
    }
    let event = event.context("no event with a recording")?;
    let health = kai.page("/healthz").await?;
    ensure!(
        health.0 == StatusCode::SERVICE_UNAVAILABLE && health.1.contains("witness"),
        "{health:?}"
    );

    // The witness comes.
    let log_key = council.add_log(&fleet)?;
    let witness = council.serve(&fleet)?;
    until(&kai, &event, StatusCode::CREATED).await?;
    // On a slow disk a cosignature may be kept too late once, and the next is in time.
    let deadline = Instant::now() + Duration::from_secs(60);
    while kai.page("/healthz").await? != (StatusCode::OK, "ok\n".to_owned()) {
        ensure!(Instant::now() < deadline, "the server is not well again with a witness");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let head = kai.page("/log/checkpoint").await?.1;
    ensure!(head.contains("council.example/w1"), "{head}");

    // Anybody checks it from outside.
    let portal = fleet.addresses.context("no address")?.https.port();
    let ca = fleet.server_folder().join("pki/ca.crt").display().to_string();
    let url = format!("https://localhost:{portal}/log");
    let kept = dir.path().join("kept").display().to_string();
    let check = |since: Option<&str>| {
        let mut c: Command = command(&verify, &[&url, "--key", &log_key, "--witness", key]);
        c.args(["--ca", &ca, "--save", &kept]);
        if let Some(since) = since {
            c.args(["--since", since]);
        }
        tokio::task::block_in_place(|| run(c, None))
    };
    let said = check(None)?;
    ensure!(
        said.contains("every entry is as it was signed") && said.contains("cosigned by"),
        "{said}"
    );

    // It goes, and views stop; it comes back, and they go on.
    let older = dir.path().join("older");
    drop(witness);
    until(&kai, &event, StatusCode::SERVICE_UNAVAILABLE).await?;
    let mut witness = council.serve(&fleet)?;
    until(&kai, &event, StatusCode::CREATED).await?;
    let said = check(Some(&kept))?;
    ensure!(said.contains("it only grew since"), "{said}");

    // The log's folder is put back to an older copy: the server is started on it.
    let stop = Duration::from_secs(15);
    let log = fleet.server_folder().join("access-log");
    tokio::task::block_in_place(|| server.stop(stop))?;
    copy(&log, &older)?;
    let server = fleet.start_server(None)?;
    let kai = fleet.signed_in("kai").await?;
    until(&kai, &event, StatusCode::CREATED).await?;
    until(&kai, &event, StatusCode::CREATED).await?;
    // What it wrote last is witnessed before it is thrown away.
    let size = |text: &str| text.lines().nth(1).and_then(|l| l.parse::<u64>().ok());
    let deadline = Instant::now() + Duration::from_secs(30);
    let before = size(&String::from_utf8(fs::read(older.join("checkpoint"))?)?).context("size")?;
    while size(&kai.page("/log/checkpoint").await?.1) <= Some(before + 1) {
        ensure!(Instant::now() < deadline, "the last entries are not witnessed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::task::block_in_place(|| server.stop(stop))?;
    put_back(&older, &log)?;
    // A clever one who also removes what the witness said.
    for without_cosigned in [false, true] {
        if without_cosigned {
            put_back(&older, &log)?;
            fs::remove_file(log.join("cosigned"))?;
        }
        let server = fleet.start_server(None)?;
        let kai = fleet.signed_in("kai").await?;
        let said = until(&kai, &event, StatusCode::SERVICE_UNAVAILABLE).await?;
        ensure!(said.contains("witness"), "{said}");
        // It goes on and becomes longer than what was cosigned: another history.
        let mia = fleet.signed_in("mia").await?;
        for _ in 0..4 {
            mia.open_view(&event, "triage").await?;
        }
        let deadline = Instant::now() + Duration::from_secs(2 * WITHIN_S);
        while Instant::now() < deadline {
            let status = kai.open_view(&event, "triage").await?.status();
            ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "a forked log shows recordings");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        tokio::task::block_in_place(|| server.stop(stop))?;
    }
    witness.kill_now()?;
    Ok(())
}
