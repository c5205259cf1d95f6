//! Bad input and faults: a clear error, and nothing lost.
#![expect(clippy::panic, reason = "what was not refused is a failure")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use temoin_tests::{
    drives,
    fleet::{Fleet, UNIT},
    journal::UnitJournal,
    process::{Programs, command, run},
    stage::{LIMIT, Stage},
    storage,
};

const SMALL: &str = "[video]\nwidth = 320\nheight = 180\nmax_bitrate_kbps = 300";

/// What a failing command says.
fn refusal(command: Command) -> String {
    match run(command, None) {
        Ok(said) => panic!("it should have failed, and said: {said}"),
        Err(e) => format!("{e:#}"),
    }
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in:\n{text}");
    }
}

#[test]
fn recorded_drives_that_cannot_be_used() -> Result<()> {
    let programs = Programs::find()?;
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    fs::write(path("noise.mp4"), [7_u8; 5000])?;
    fs::write(path("drive.toml"), "[drive]\nspeling = 1\n[cabin]\nvideo = \"gone.mp4\"\n")?;
    fs::write(path("bad.csv"), "t_s,speed\n1,2\n")?;
    let noise = path("noise.mp4").display().to_string();
    let folder = dir.path().display().to_string();
    let csv = path("bad.csv").display().to_string();
    for (arguments, words) in [
        (vec!["replay", "--cabin", &noise], vec!["noise.mp4"]),
        (vec!["replay", "--cabin", "/nonexistent.mp4"], vec!["/nonexistent.mp4"]),
        (vec!["replay", &folder], vec!["drive.toml", "speling", "gone.mp4"]),
        (vec!["replay", "--csv", &csv], vec!["bad.csv", "speed"]),
        (vec!["replay"], vec!["--cabin", "--sim"]),
        (vec!["run", "--config", "/nonexistent.toml"], vec!["/nonexistent.toml", "--config"]),
    ] {
        says(&refusal(command(&programs.agent, &arguments)), &words);
    }
    Ok(())
}

#[test]
fn a_wrong_model_is_refused() -> Result<()> {
    let programs = Programs::find()?;
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("yunet_n_320_320.onnx"), b"not the model")?;
    let folder = dir.path().display().to_string();
    let said = refusal(command(&programs.agent, &["models", "verify", &folder]));
    says(&said, &["yunet_n_320_320.onnx", "make models"]);
    // The unit drives on without it, and says what it cannot see.
    let mut drive = command(&programs.agent, &["-v", "replay", "--sim", "--speed", "max"]);
    drive.env("TEMOIN_MODELS", dir.path());
    run(drive, None)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_work_once_and_in_time() -> Result<()> {
    let stage = Stage::new(SMALL).await?;
    let fleet = &stage.fleet;
    let ticket = fleet.root.join("second.toml");
    let ticket_text = ticket.display().to_string();
    let grpc = format!("https://{}", fleet.addresses.context("no address")?.grpc);
    let new_ticket = |valid: &str| {
        drop(fs::remove_file(&ticket));
        let arguments = [
            "unit",
            "enrol-code",
            UNIT,
            "--out",
            &ticket_text,
            "--server",
            &grpc,
            "--valid-s",
            valid,
        ];
        fleet.admin(&arguments, None)
    };
    let enrol = |data: &str| {
        let config = fleet.root.join(format!("{data}.toml"));
        let data = fleet.root.join(data).display().to_string();
        fs::write(&config, format!("data_dir = {data:?}\n")).map(|()| {
            let mut c = command(&fleet.programs.agent, &["enrol", "--ticket", &ticket_text]);
            c.arg("--config").arg(config);
            c
        })
    };
    tokio::task::block_in_place(|| -> Result<()> {
        // Enrolled already: not over the same data.
        says(&refusal(fleet.agent(&["enrol", "--ticket", &ticket_text])), &["enrolled already"]);
        new_ticket("3600")?;
        run(enrol("a")?, None)?;
        says(&refusal(enrol("b")?), &["refuses the ticket", "new one"]);
        let text = fs::read_to_string(&ticket)?;
        fs::write(&ticket, text.replace("code = \"", "code = \"X"))?;
        says(&refusal(enrol("c")?), &["refuses the ticket"]);
        new_ticket("1")?;
        // A second is the shortest that a ticket can be valid.
        let ends = SystemTime::now() + Duration::from_millis(1100);
        while SystemTime::now() < ends {
            std::thread::yield_now();
        }
        says(&refusal(enrol("d")?), &["refuses the ticket"]);
        fs::write(&ticket, "server = 1")?;
        says(&refusal(enrol("e")?), &["second.toml"]);
        Ok(())
    })
}

#[test]
fn ports_and_folders_in_use() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.to_string();
    let mut fleet = Fleet::create(Programs::find()?, dir.path(), &port, "127.0.0.1:0")?;
    let Err(error) = fleet.start_server(None) else { panic!("the port was taken") };
    let number = port.rsplit(':').next().unwrap_or_default();
    says(&format!("{error:#}"), &[number, "in use"]);
    drop(taken);
    let _server = fleet.start_server(None)?;
    let Err(error) = fleet.start_server(None) else { panic!("two servers on one folder") };
    says(&format!("{error:#}"), &["server"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_on_one_folder() -> Result<()> {
    let stage = Stage::new(SMALL).await?;
    let first = stage.drive(&["replay", "--sim"])?;
    tokio::task::block_in_place(|| first.wait_for("an alert", LIMIT, |l| l.starts_with("alert")))?;
    let mut second = stage.drive(&["replay", "--sim"])?;
    let status = tokio::task::block_in_place(|| second.wait(LIMIT))?;
    assert!(!status.success());
    says(&second.errors(), &["another temoin-agent", "data_dir"]);
    Ok(())
}

/// A unit whose clock is years behind enrols, uploads, and its events have the right time: the
/// dispatcher sees only those of the last 72 h.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_wrong_by_years() -> Result<()> {
    if Command::new("faketime").arg("--version").output().is_err() {
        println!("skipped: `faketime` is missing; `make test` installs it");
        return Ok(());
    }
    let stage = Stage::new(SMALL).await?;
    let mut faked = Command::new("faketime");
    faked.args(["--exclude-monotonic", "-f", "-2500d"]).arg(&stage.fleet.programs.agent);
    faked.args(["replay", "--sim", "--speed", "max", "--config"]).arg(stage.fleet.agent_config());
    let said = tokio::task::block_in_place(|| run(faked, None))?;
    let journal = UnitJournal::read(&said.lines().collect::<Vec<_>>());
    let dispatcher = stage.fleet.signed_in("kai").await?;
    let mut flagged: Vec<String> = journal.events.iter().map(|e| e.id.clone()).collect();
    flagged.sort();
    assert!(!flagged.is_empty());
    assert_eq!(dispatcher.all_events("/events").await?, flagged);
    Ok(())
}

/// A small disk, mounted until it goes out of scope; None where that is not allowed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|o| o.status.success());
        if !mounted {
            println!("skipped: a small disk cannot be mounted here (not root)");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that is being killed may still hold a file in it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// A unit's disk of 300 KiB: what does not fit is recorded as lost and reported, the rest arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() -> Result<()> {
    let stage = Stage::new(SMALL).await?;
    let spool = stage.fleet.unit_folder().join("data/spool");
    fs::create_dir_all(&spool)?;
    let Some(_disk) = SmallDisk::mount(&spool, "300k") else { return Ok(()) };
    full_disk(&stage).await
}

/// The server's disk is full: the unit keeps everything and says so; with room again, all of it
/// arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().to_owned();
    let Some(_server_disk) = SmallDisk::mount(&root, "24m") else { return Ok(()) };
    fs::create_dir(root.join("unit"))?;
    let Some(_unit_disk) = SmallDisk::mount(&root.join("unit"), "100m") else { return Ok(()) };
    let stage = Stage::new_in(folder, SMALL).await?;

    // Room for the database to say what happened, and for no clip.
    let ballast = root.join("ballast");
    let free = fill(&ballast)?;
    let mut agent = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    tokio::task::block_in_place(|| {
        agent.wait_for("the drive's end", LIMIT, |l| l.starts_with("drive ended"))
    })?;
    let deadline = Instant::now() + LIMIT;
    while !agent.errors().contains("no room") {
        ensure!(Instant::now() < deadline, "{free} bytes were left\n{}", agent.errors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::remove_file(&ballast)?;
    Stage::finish(&mut agent)?;
    let journal = UnitJournal::read(&agent.lines());
    let objects = storage::objects(&stage.fleet.server_folder())?;
    assert_eq!(objects.keys().collect::<BTreeSet<_>>(), journal.spooled.keys().collect());
    assert_eq!(journal.uploaded.len(), journal.spooled.len());
    Ok(())
}

/// Fills a disk up to about 600 KiB; gives how much that left.
fn fill(ballast: &Path) -> Result<u64> {
    let mut file = fs::File::create(ballast)?;
    let block = vec![1; 64 << 10];
    let mut written = 0;
    while file.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    let leave = 600 << 10;
    file.set_len(written.saturating_sub(leave))?;
    Ok(leave)
}

async fn full_disk(stage: &Stage) -> Result<()> {
    stage.tap.cut();
    let mut agent = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    tokio::task::block_in_place(|| {
        agent.wait_for("the drive's end", LIMIT, |l| l.starts_with("drive ended"))
    })?;
    stage.tap.mend();
    Stage::finish(&mut agent)?;
    let journal = UnitJournal::read(&agent.lines());
    let objects = storage::objects(&stage.fleet.server_folder())?;
    let clips: BTreeSet<&String> = journal.events.iter().map(|e| &e.clip).collect();
    assert!(objects.len() < clips.len(), "the disk was never full: {journal:?}");
    assert_eq!(objects.keys().collect::<BTreeSet<_>>(), journal.spooled.keys().collect());
    let dispatcher = stage.fleet.signed_in("kai").await?;
    let events = dispatcher.all_events("/events").await?;
    assert_eq!(events.len(), journal.events.len(), "an event without a clip is an event");
    Ok(())
}

/// The unit is off a moment after a crash: what it had of the clip arrives once it is on again.
#[tokio::test(flavor = "multi_thread")]
async fn the_power_goes_with_a_crash() -> Result<()> {
    let stage = Stage::new(SMALL).await?;
    let (video, drive) = (stage.folder.path().join("test.mp4"), stage.folder.path().join("crash"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15", "-t", "4"]);
    ffmpeg.arg(&video);
    tokio::task::block_in_place(|| run(ffmpeg, None))?;
    drives::crash(&video, &video, 6, &drive)?;
    let drive = drive.to_str().context("path")?;
    let mut unit = stage.drive(&["replay", drive, "--speed", "real"])?;
    let crash = tokio::task::block_in_place(|| {
        let line = unit.wait_for("the crash", LIMIT, |line| line.contains(" collision "))?;
        let event = UnitJournal::read(&[line]).events.pop().context("no event")?;
        let kept = format!("clip {} so_far", event.clip);
        unit.wait_for("its pictures", LIMIT, |line| line.starts_with(&kept))?;
        unit.kill_now()?;
        anyhow::Ok(event)
    })?;
    let cut_off = UnitJournal::read(&unit.lines());
    assert!(!cut_off.spooled.contains_key(&crash.clip), "it was whole before: {cut_off:?}");

    let mut next = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    Stage::finish(&mut next)?;
    assert!(UnitJournal::read(&next.lines()).uploaded.contains(&crash.clip));
    let dispatcher = stage.fleet.signed_in("kai").await?;
    let view = dispatcher.view(&crash.id, "triage").await?;
    let road = dispatcher.stream(&view, "road").await?;
    assert!(road.bytes.len() > 10_000, "{} bytes of the road", road.bytes.len());
    let left = storage::files(&stage.fleet.unit_folder().join("data/spool"))?;
    assert!(left.is_empty(), "left in the spool: {left:?}");
    Ok(())
}

/// kill -9 of unit and server, 20 times at random moments: afterwards every clip that was in a
/// spool is in the server, once, and every event with it.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills() -> Result<()> {
    let mut stage = Stage::new(SMALL).await?;
    let mut random = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()) | 1;
    println!("seed {random}");
    let mut moment = |most_ms: u64| {
        // xorshift64: any spread will do.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Duration::from_millis(100 + random % most_ms)
    };
    let mut lines = Vec::new();
    for round in 0..10 {
        let mut agent = stage.drive(&["replay", "--sim", "--speed", "max", "--no-wait"])?;
        // A kill needs a moment that nothing announces.
        tokio::time::sleep(moment(3000)).await;
        if round % 2 == 0 {
            stage.crash_server()?;
            tokio::time::sleep(moment(1500)).await;
            agent.kill_now()?;
        } else {
            agent.kill_now()?;
            lines.extend(agent.lines());
            agent = stage.drive(&["replay", "--sim", "--speed", "max", "--no-wait"])?;
            tokio::time::sleep(moment(2000)).await;
            agent.kill_now()?;
        }
        lines.extend(agent.lines());
    }
    let mut last = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    Stage::finish(&mut last)?;
    lines.extend(last.lines());

    let journal = UnitJournal::read(&lines);
    let objects = storage::objects(&stage.fleet.server_folder())?;
    for clip in journal.spooled.keys() {
        let tracks =
            objects.get(clip).with_context(|| format!("clip {clip} is not in the server"))?;
        let bytes: u64 = tracks.values().map(|f| fs::metadata(f).map_or(0, |m| m.len())).sum();
        assert_eq!(Some(&bytes), journal.spooled.get(clip), "clip {clip}");
    }
    // The line about a clip can be lost with the unit, the clip cannot.
    let flagged: BTreeSet<&String> = journal.events.iter().map(|e| &e.clip).collect();
    for clip in objects.keys() {
        assert!(flagged.contains(clip), "clip {clip} was never flagged");
    }
    let left = storage::files(&stage.fleet.unit_folder().join("data/spool"))?;
    assert!(left.is_empty(), "left in the spool: {left:?}");
    let manager = stage.fleet.signed_in("sam").await?;
    let events: BTreeSet<String> = manager.all_events("/events").await?.into_iter().collect();
    for event in journal.events.iter().filter(|e| journal.spooled.contains_key(&e.clip)) {
        assert!(events.contains(&event.id), "event {} is not in the server", event.id);
    }
    assert!(journal.spooled.len() >= 5, "hardly anything was spooled: {journal:?}");
    stage.fleet.admin(&["verify-log"], None)?;
    Ok(())
}
