//! The key service as a process: who gets nothing from it, its crash, and a rotation.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use temoin_access_log::{AccessLog, Action, Leaf};
use temoin_keys::{
    Answer, Keyring, LogProof, PublicKey, Refusal, Request,
    guard::{Cost, PassphraseGuard},
    message::{MAX_ANSWER_LEN, next_len, read_body, send},
};
use temoin_proto::{ids::ClipId, sealed::ClipKey};
use temoin_tests::{
    client::Client,
    fleet::Fleet,
    journal::UnitJournal,
    process::Programs,
    stage::{LIMIT, Stage},
    storage,
};
use tokio::net::UnixStream;

const SMALL: &str = "[video]\nwidth = 320\nheight = 180\nmax_bitrate_kbps = 300";

async fn ask(socket: &Path, request: &Request) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    send(&mut stream, &request.encode()?).await?;
    let len = next_len(&mut stream, MAX_ANSWER_LEN).await?.context("the connection was closed")?;
    Ok(Answer::decode(&read_body(&mut stream, len).await?)?)
}

async fn public(socket: &Path) -> Result<PublicKey> {
    let answer = ask(socket, &Request::Public).await?;
    if let Answer::Public(key) = answer { Ok(key) } else { bail!("{answer:?}") }
}

fn entry(log: &AccessLog, clip: ClipId) -> Result<LogProof> {
    let mut leaf = Leaf::new(jiff::Timestamp::now().as_millisecond(), Action::VIEW);
    leaf.clip = Some(clip);
    let index = log.append(leaf)?.get();
    Ok(LogProof::new(&log.entry_proof(index)?, 0, &[]))
}

/// A broken portal has the socket and every wrapped key, but no entry of the log; a database
/// administrator has all of the server's folder; somebody else has the machine.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_entry_gets_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut fleet = Fleet::create(Programs::find()?, folder.path(), "127.0.0.1:0", "127.0.0.1:0")?;
    let socket = fleet.keys_folder().join("socket");
    let key = public(&socket).await?;
    let clip = ClipId::new();
    let wrapped = ClipKey::generate()?.wrap(clip, &key.id, &key.x25519)?;
    let unwrap = |proof| Request::Unwrap { clip, wrapped: wrapped.clone().into(), proof };

    // The portal: without a proof, with one of a log of its own, of the same name.
    let none = LogProof { entry: String::new(), from: 0, consistency: Vec::new() };
    let own = AccessLog::create(&folder.path().join("own"), "localhost/access-log")?;
    for (proof, expected) in [(none, Refusal::Malformed), (entry(&own, clip)?, Refusal::NotProven)]
    {
        let answer = ask(&socket, &unwrap(proof)).await?;
        let Answer::Refused(why) = answer else { panic!("{answer:?}") };
        assert_eq!(why, expected);
    }
    // With an entry, it gets what the entry says, and it is in the log.
    let log = AccessLog::open(&fleet.server_folder().join("access-log"))?;
    let other = entry(&log, ClipId::new())?;
    let answer = ask(&socket, &unwrap(other)).await?;
    assert!(matches!(answer, Answer::Refused(Refusal::NotLogged)), "{answer:?}");
    let answer = ask(&socket, &unwrap(entry(&log, clip)?)).await?;
    assert!(matches!(answer, Answer::Unwrapped { .. }), "{answer:?}");
    drop(log);

    // The administrator: no file of the server is, or opens, a keyring.
    let guess = PassphraseGuard::new("a good guess at it".to_owned().into(), Cost::default())?;
    for file in storage::files(&fleet.server_folder())? {
        assert!(Keyring::open(&file, &guess).is_err(), "{}", file.display());
        let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
        assert!(!text.contains("temoin keyring"), "{}", file.display());
    }
    // The key service's own folder lets nobody else in, and the file alone does not open.
    let ring = fleet.keys_folder().join("data/keyring");
    assert!(Keyring::open(&ring, &guess).is_err());

    // Another user: the same program, where the service expects somebody else.
    fleet.keys = None;
    let config = fs::read_to_string(fleet.keys_config())?;
    let me = rustix::process::getuid().as_raw();
    let others = config.replace(&format!("[{me}]"), &format!("[{}]", me + 1));
    ensure!(others != config, "no uid in {config}");
    fs::write(fleet.keys_config(), others)?;
    fleet.start_keys()?;
    assert!(ask(&socket, &Request::Public).await.is_err());
    let said = format!("{:#}", fleet.admin(&["check"], None).err().context("it was let in")?);
    assert!(said.contains("key service at"), "{said}");
    Ok(())
}

async fn health(client: &Client) -> Result<StatusCode> {
    Ok(client.get("/healthz").await?.status())
}

/// Views are refused while it is away and work again when it is back, without a restart of the
/// server; and a clip outlives the key that it was sealed for.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_rotation() -> Result<()> {
    let mut stage = Stage::new(SMALL).await?;
    let mut agent = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    Stage::finish(&mut agent)?;
    let journal = UnitJournal::read(&agent.lines());
    let event = &journal.events.first().context("no event")?.id;
    let dispatcher = stage.fleet.signed_in("kai").await?;
    let view = dispatcher.view(event, "triage").await?;
    assert_eq!(health(&dispatcher).await?, StatusCode::OK);

    let mut keys = stage.fleet.keys.take().context("no key service")?;
    keys.kill_now()?;
    assert_eq!(health(&dispatcher).await?, StatusCode::SERVICE_UNAVAILABLE);
    let refused = dispatcher.open_view(event, "triage").await?.status();
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _) = dispatcher.page("/events").await?;
    assert_eq!(status, StatusCode::OK, "all but pictures goes on");
    stage.fleet.start_keys()?;
    assert_eq!(health(&dispatcher).await?, StatusCode::OK);
    let track = &view.tracks.first().context("no track")?.name;
    let bytes = dispatcher.stream(&view, track).await?.bytes;
    assert!(!bytes.is_empty(), "the view that was open goes on");

    let objects = |stage: &Stage| -> Result<Vec<(std::path::PathBuf, Vec<u8>)>> {
        let objects = storage::objects(&stage.fleet.server_folder())?;
        let paths = objects.into_values().flat_map(std::collections::BTreeMap::into_values);
        paths.map(|path| Ok((path.clone(), fs::read(path)?))).collect()
    };
    let before = objects(&stage)?;
    let socket = stage.fleet.keys_folder().join("socket");
    let old = public(&socket).await?.id;
    stage.fleet.keys_command(&["rotate"])?;
    stage.fleet.keys.as_ref().context("no key service")?.hang_up()?;
    let taken_up = async {
        while public(&socket).await?.id == old {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, taken_up).await??;
    let said = stage.fleet.admin(&["rewrap"], None)?;
    assert!(said.contains("deleted 0, not to be opened 0"), "{said}");
    assert!(!said.contains(&old), "no clip is left for the old key: {said}");
    stage.fleet.keys_command(&["forget", &old])?;
    stage.fleet.keys = None;
    stage.fleet.start_keys()?;
    let view = dispatcher.view(event, "triage").await?;
    let track = &view.tracks.first().context("no track")?.name;
    assert!(!dispatcher.stream(&view, track).await?.bytes.is_empty());
    assert_eq!(objects(&stage)?, before, "no object was touched");
    Ok(())
}
