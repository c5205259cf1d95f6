//! The program as an operator uses it: its commands, its messages, its end.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use temoin_keys::{Keyring, Service, rules::Limits, service::Terms};

fn server(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_temoin-server"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn good(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = server(args).output().unwrap();
    assert!(status.success(), "{args:?}: {}", text(&stderr));
    text(&stdout)
}

fn refused(args: &[&str]) -> String {
    let Output { status, stderr, .. } = server(args).output().unwrap();
    assert!(!status.success(), "{args:?} was done");
    let stderr = text(&stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

struct Fleet {
    keys: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let keys = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let fleet = Self { keys, dir: tempfile::tempdir().unwrap() };
        let any = "127.0.0.1:0";
        let socket = fleet.path("socket");
        good(&["init", &fleet.path("data"), "--https", any, "--grpc", any, "--keys", &socket]);
        fleet
    }

    /// Runs a key service for this fleet, in this process.
    fn start_keys(&self) {
        let folder = self.dir.path().join("keys");
        std::fs::create_dir(&folder).unwrap();
        Service::create(&folder).unwrap();
        let log_key =
            temoin_access_log::verify::read_public_key(&self.dir.path().join("data/access-log"))
                .unwrap();
        let terms = Terms { log_key, limits: Limits::default(), witnesses: None };
        let ring = Keyring::new().unwrap();
        let service = Arc::new(Service::open(&folder, ring, terms, Arc::new(|| 0)).unwrap());
        let listener = {
            let _inside = self.keys.enter();
            temoin_keys::socket::bind(&self.dir.path().join("socket"), None).unwrap()
        };
        let me = [rustix::process::getuid().as_raw()];
        self.keys.spawn(async move {
            temoin_keys::socket::serve(listener, service, &me, std::future::pending()).await;
        });
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn config(&self) -> String {
        self.path("data/config.toml")
    }

    fn at(&self, args: &[&str]) -> Vec<String> {
        let mut args: Vec<String> = args.iter().map(ToString::to_string).collect();
        args.extend(["--config".to_owned(), self.config()]);
        args
    }

    fn good(&self, args: &[&str]) -> String {
        let args = self.at(args);
        good(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn refused(&self, args: &[&str]) -> String {
        let args = self.at(args);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A server that runs; killed where a test fails.
struct Running {
    child: Child,
    first_line: String,
}

impl Running {
    fn start(fleet: &Fleet) -> Self {
        let mut child = server(&["serve", "--config", &fleet.config()]).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        Self { child, first_line }
    }

    fn stop(mut self) {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_fleet_is_set_up_beside_the_running_server() {
    let fleet = Fleet::new();
    for (file, expected) in [
        ("data", 0o700),
        ("data/config.toml", 0o600),
        ("data/pki/ca.key", 0o600),
        ("data/pki/https.key", 0o600),
        ("data/pki/ca.crt", 0o644),
    ] {
        assert_eq!(mode(&fleet.path(file)), expected, "{file}");
    }
    fleet.start_keys();
    let again = refused(&["init", &fleet.path("data")]);
    assert!(again.contains("exists already"), "{again}");

    let running = Running::start(&fleet);
    let line = running.first_line.trim_end();
    let rest = line.strip_prefix("listening https=127.0.0.1:").unwrap();
    assert!(rest.contains(" grpc=127.0.0.1:"), "{line}");
    let second = fleet.refused(&["serve"]);
    assert!(second.contains("another temoin-server runs"), "{second}");

    fleet.good(&["depot", "add", "north"]);
    assert!(fleet.refused(&["depot", "add", "north"]).contains("exists already"));
    let user = ["user", "add", "ann", "--name", "Ann Onym", "--short-name", "A. Onym"];
    let no_depot = fleet.refused(&[user.as_slice(), &["--role", "driver"]].concat());
    assert!(no_depot.contains("--depot"), "{no_depot}");
    let driver = [user.as_slice(), &["--role", "driver", "--depot", "north"]].concat();
    let made = fleet.good(&driver);
    assert!(made.contains("password (shown only now): "), "{made}");
    assert!(fleet.refused(&driver).contains("`ann` exists already"));
    let wrong = fleet.refused(&[user.as_slice(), &["--role", "boss"]].concat());
    assert!(wrong.contains("safety_manager"), "{wrong}");

    let unit = ["unit", "add", "van-12", "--depot", "north"];
    let installer = fleet.refused(&[unit.as_slice(), &["--installer", "ann"]].concat());
    assert!(installer.contains("`ann` is no installer"), "{installer}");
    let nobody = fleet.refused(&[unit.as_slice(), &["--installer", "bob"]].concat());
    assert!(nobody.contains("there is no account `bob`"), "{nobody}");
    let rick =
        ["user", "add", "rick", "--name", "Rick", "--short-name", "R", "--role", "installer"];
    fleet.good(&rick);
    fleet.good(&[unit.as_slice(), &["--installer", "rick"]].concat());
    let ticket = fleet.path("ticket.toml");
    let code = ["unit", "enrol-code", "van-12", "--out", &ticket];
    let nowhere = fleet.refused(&code);
    assert!(nowhere.contains("--server"), "port 0 is no address for a unit: {nowhere}");
    let here = [code.as_slice(), &["--server", "https://127.0.0.1:7443"]].concat();
    fleet.good(&here);
    assert_eq!(mode(&ticket), 0o600);
    let written: toml::Table = std::fs::read_to_string(&ticket).unwrap().parse().unwrap();
    assert_eq!(written["unit"].as_str(), Some("van-12"));
    assert_eq!(written["code"].as_str().map(str::len), Some(14));
    assert!(written["ca_pem"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert!(fleet.refused(&here).contains("ticket.toml"), "a ticket is never overwritten");
    let unknown = ["unit", "enrol-code", "van-99", "--out", &fleet.path("t2")];
    assert!(fleet.refused(&unknown).contains("there is no unit `van-99`"));

    fleet.good(&["shift", "set", "--unit", "van-12", "--driver", "ann"]);
    assert!(
        fleet.refused(&["shift", "set", "--unit", "van-12", "--driver", "bob"]).contains("`bob`")
    );
    fleet.good(&["unit", "revoke", "van-12"]);
    fleet.good(&["check"]);
    let rewrapped = fleet.good(&["rewrap"]);
    assert!(rewrapped.contains("rewrapped 0"), "{rewrapped}");
    // Depot, accounts, unit, ticket, shift and revocation; nothing of what was refused.
    let began = Instant::now();
    let mut log = fleet.good(&["verify-log"]);
    while !log.starts_with("size 7\n") && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
        log = fleet.good(&["verify-log"]);
    }
    assert!(log.starts_with("size 7\nroot "), "{log}");
    running.stop();
    assert_eq!(fleet.good(&["verify-log"]), log);
    Running::start(&fleet).stop();
}

#[test]
fn a_password_comes_from_standard_input() {
    let fleet = Fleet::new();
    let add = |login: &str, password: &str| {
        let config = fleet.config();
        let mut child = server(&[
            "user",
            "add",
            login,
            "--name",
            "N",
            "--short-name",
            "N",
            "--role",
            "auditor",
            "--password-stdin",
            "--config",
            &config,
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let done = add("eve", "a good password\n");
    assert!(done.status.success());
    assert!(!text(&done.stdout).contains("password"), "not printed");
    let short = add("bob", "short\n");
    assert!(!short.status.success());
    assert!(text(&short.stderr).contains("8 to 256"), "{}", text(&short.stderr));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let fleet = Fleet::new();
    let config = std::fs::read_to_string(fleet.config()).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(fleet.config(), config.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1))
        .unwrap();
    let used = fleet.refused(&["serve"]);
    assert!(used.contains(&format!("port {port}")) && used.contains("https.listen"), "{used}");
    std::fs::write(fleet.config(), format!("{config}\n[colour]\n")).unwrap();
    assert!(fleet.refused(&["check"]).contains("colour"));
    std::fs::write(fleet.config(), &config).unwrap();

    // Everything that is wrong at once.
    std::fs::remove_file(fleet.path("data/pki/ca.crt")).unwrap();
    let wrong = fleet.refused(&["check"]);
    for part in ["the key service at", "start temoin-keys", "ca.crt"] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert!(fleet.refused(&["serve"]).contains("ca.crt"));
    let nowhere = refused(&["check", "--config", &fleet.path("nothing.toml")]);
    assert!(nowhere.contains("nothing.toml"), "{nowhere}");
    assert!(Path::new(&fleet.path("data")).exists());
}
