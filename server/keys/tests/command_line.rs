//! The program as an operator uses it: made, run, rotated, and guarded by a PKCS#11 token.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what fails here fails the test; the lints spare only marked functions"
)]

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use temoin_access_log::AccessLog;
use temoin_keys::{
    Answer, PublicKey, Request,
    message::{MAX_ANSWER_LEN, next_len, read_body, send},
};
use tokio::net::UnixStream;

struct Place {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Place {
    fn new(guard: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir, env: Vec::new() };
        let log = AccessLog::create(&place.path("log"), "test.example/log").unwrap();
        let me = rustix::process::getuid().as_raw();
        let key = log.public_key();
        place.write(
            "keys.toml",
            &format!(
                "folder = \"data\"\nsocket = \"socket\"\nallowed_uids = [{me}]\n\
                 log_public_key = \"{key}\"\n[guard]\n{guard}\n"
            ),
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_temoin-keys"));
        command.args(args).arg("--config").arg(self.path("keys.toml"));
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn good(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        assert!(status.success(), "{args:?}: {}", text(&stderr));
        text(&stdout)
    }

    fn refused(&self, args: &[&str]) -> String {
        let Output { status, stderr, .. } = self.command(args).output().unwrap();
        assert!(!status.success(), "{args:?} was done");
        let stderr = text(&stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    fn serve(&self) -> Running {
        let mut child = self.command(&["serve"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening "), "{line}");
        Running(child)
    }
}

/// Killed where a test fails.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn ask(socket: &Path, request: &Request) -> Answer {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    send(&mut stream, &request.encode().unwrap()).await.unwrap();
    let len = next_len(&mut stream, MAX_ANSWER_LEN).await.unwrap().unwrap();
    Answer::decode(&read_body(&mut stream, len).await.unwrap()).unwrap()
}

async fn public(socket: &Path) -> PublicKey {
    let Answer::Public(key) = ask(socket, &Request::Public).await else { panic!() };
    key
}

#[tokio::test]
async fn the_life_of_a_keyring() {
    let place = Place::new("kind = \"passphrase\"\npassphrase = { file = \"passphrase\" }");
    place.write("passphrase", "too short\n");
    assert!(place.refused(&["init"]).contains("too short"));
    place.write("passphrase", "correct horse battery\n");
    let made = place.good(&["init"]);
    let first = made.split("current ").nth(1).unwrap().trim().to_owned();
    assert!(place.refused(&["init"]).contains("exists already"));
    for (name, expected) in
        [("data", 0o700), ("data/keyring", 0o600), ("data/head", 0o600), ("data/tombstones", 0o600)]
    {
        let mode = std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{name}");
    }

    let running = place.serve();
    let socket = place.path("socket");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(place.refused(&["serve"]).contains("another temoin-keys"));
    // No core dump ever holds a key.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.0.id())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|w| *w == "0").count(), 2, "{core}");
    assert_eq!(public(&socket).await.id, first);

    let rotated = place.good(&["rotate"]);
    assert!(rotated.contains("SIGHUP"), "{rotated}");
    assert_eq!(public(&socket).await.id, first, "not before it is told");
    running.signal("-HUP");
    let second = loop {
        let now = public(&socket).await.id;
        if now != first {
            break now;
        }
        tokio::task::yield_now().await;
    };
    assert!(place.refused(&["forget", &second]).contains("current key"));
    assert!(place.refused(&["forget", "other"]).contains("not in the keyring"));
    place.good(&["forget", &first]);
    let checked = place.good(&["check"]);
    assert!(checked.contains(&format!("keys {second}\n")), "{checked}");

    // A crash leaves the socket; the next service takes its place.
    running.signal("-KILL");
    drop(running);
    assert!(socket.exists());
    let mut running = place.serve();
    assert_eq!(public(&socket).await.id, second);
    running.signal("-TERM");
    assert!(running.0.wait().unwrap().success());

    place.write("passphrase", "another horse battery\n");
    assert!(place.refused(&["serve"]).contains("wrong passphrase"));
    place.write("data/tombstones", "gone");
    std::fs::remove_file(place.path("data/head")).unwrap();
    let wrong = place.refused(&["check"]);
    for part in ["wrong passphrase", "head"] {
        assert!(wrong.contains(part), "{wrong}");
    }
}

#[test]
fn a_token_guards_the_keyring() {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
    let module = places.iter().find(|path| Path::new(path).exists());
    let (Some(module), Ok(_)) = (module, Command::new("softhsm2-util").arg("--version").output())
    else {
        println!("SKIPPED: no PKCS#11 token to test with: `apt-get install softhsm2`");
        return;
    };
    let mut place = Place::new(&format!(
        "kind = \"pkcs11\"\nmodule = \"{module}\"\ntoken = \"temoin\"\nkey = \"fleet\"\n\
         pin = {{ file = \"pin\" }}"
    ));
    let tokens = place.path("tokens");
    std::fs::create_dir(&tokens).unwrap();
    place.write("softhsm2.conf", &format!("directories.tokendir = {}\n", tokens.display()));
    place.env.push(("SOFTHSM2_CONF", place.path("softhsm2.conf").display().to_string()));
    place.write("pin", "1234\n");
    let no_token = place.refused(&["init"]);
    assert!(no_token.contains("no token is labelled `temoin`"), "{no_token}");
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "temoin", "--pin", "1234", "--so-pin", "5678"])
        .envs(place.env.iter().map(|(k, v)| (k, v)))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let no_key = place.refused(&["init"]);
    assert!(no_key.contains("make-token-key"), "{no_key}");
    place.good(&["make-token-key"]);
    assert!(place.refused(&["make-token-key"]).contains("already"));
    place.good(&["init"]);
    let before = place.good(&["check"]);
    let running = place.serve();
    place.good(&["rotate"]);
    drop(running);
    assert_ne!(place.good(&["check"]), before);

    place.write("pin", "4321\n");
    let wrong = place.refused(&["check"]);
    assert!(wrong.contains("accept the PIN") && !wrong.contains("4321"), "{wrong}");
    place.write("pin", "1234\n");
    // From the token to a passphrase, with the same keys.
    let keys = place.good(&["check"]);
    let moved = std::fs::read_to_string(place.path("keys.toml")).unwrap();
    let (head, _) = moved.split_once("[guard]").unwrap();
    let guard = "[guard]\nkind = \"passphrase\"\npassphrase = { file = \"passphrase\" }\n";
    place.write("new.toml", &format!("{head}{guard}"));
    place.write("passphrase", "correct horse battery\n");
    place.good(&["reseal", "--new", &place.path("new.toml").display().to_string()]);
    let other = place.refused(&["check"]);
    assert!(other.contains("guarded by a passphrase"), "{other}");
    std::fs::rename(place.path("new.toml"), place.path("keys.toml")).unwrap();
    assert_eq!(place.good(&["check"]), keys);
}
