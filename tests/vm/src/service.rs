//! The unit's service as its package brings it, started by Debian's own first program: what it can reach,
//! and what not.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    mount::{MountFlags, mount},
    process::{Resource, getrlimit},
};
use temoin_agent::{
    cab,
    config::{CameraConfig, DeviceConfig, SpeakerConfig},
    health::State,
    machine::PowerSwitch,
    watchdog::{self, Rounds},
};
use temoin_hw::pace::StopToken;
use temoin_proto::samples::CameraId;

use crate::{bench::Bench, cab as lines, guest, host::say, imu, signals};

/// What the first program starts.
pub(crate) const TARGET: &str = "temoin-test.target";
const SOON: Duration = Duration::from_secs(40);
const STATE: &str = "/var/lib/temoin";
/// A device that anybody may open, but not the service: the bus of the motion sensor.
const BUS: &str = "/opt/bus";

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging");
const SERVICE: &str = "temoin-agent.service";

/// How much the service could reach at most, of 10, as systemd scores it.
fn exposure() -> Result<f64> {
    let service = Path::new(PACKAGING).join(SERVICE);
    let scored = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(service)
        .output()
        .context("systemd-analyze")?;
    let said = String::from_utf8_lossy(&scored.stdout);
    let last = said.lines().find_map(|line| line.split_once("Overall exposure level for"));
    let score = last.and_then(|(_, line)| line.split_whitespace().nth(1)?.parse().ok());
    score.with_context(|| format!("systemd-analyze gave no score: {said}"))
}

/// Connects every device, and installs the service as the package would.
pub(crate) fn prepare() -> Result<()> {
    guest::mount_configfs()?;
    lines::chip(&["BUTTON", "LAMP"])?;
    imu::plug()?;
    signals::ip("link add dev vcan0 type vcan")?;
    signals::ip("link set vcan0 up")?;

    for (file, line) in [
        ("/etc/passwd", "temoin:x:990:990::/var/lib/temoin:/usr/sbin/nologin"),
        ("/etc/group", "temoin:x:990:"),
    ] {
        let mut file = OpenOptions::new().append(true).open(file).context(file)?;
        writeln!(file, "{line}")?;
    }
    guest::figure("most", "unit.systemd_exposure", exposure()?);
    // Where this machine is a container, the emulated one is none.
    if fs::exists("/.dockerenv")? {
        fs::remove_file("/.dockerenv")?;
    }
    let made = Command::new("mknod").args(["-m", "666", BUS, "c", "89", "0"]).status();
    ensure!(made.context("mknod")?.success(), "no device can be made");
    fs::File::open(BUS).context("the device that anybody may open")?;
    let packaging = Path::new(PACKAGING);
    let units = Path::new("/etc/systemd/system");
    let more = units.join(format!("{SERVICE}.d"));
    for folder in [&more, Path::new("/etc/udev/rules.d")] {
        fs::create_dir_all(folder)?;
    }
    for unit in [SERVICE, "temoin-power-off.path", "temoin-power-off.service"] {
        fs::copy(packaging.join(unit), units.join(unit)).context(unit)?;
    }
    let rules = "60-temoin.rules";
    fs::copy(packaging.join(rules), Path::new("/etc/udev/rules.d").join(rules)).context(rules)?;
    fs::write(
        units.join(TARGET),
        "[Unit]\nRequires=sysinit.target temoin-agent.service temoin-power-off.path\n\
         After=sysinit.target\n",
    )?;
    // All else is the package's.
    let program = std::env::current_exe()?;
    let instead = format!(
        "[Unit]\nConditionPathExists=\nFailureAction=poweroff-force\n\
         [Service]\nRestart=no\nExecStart=\nExecStart=/usr/bin/temoin-agent service\n\
         StandardOutput=file:/dev/ttyS0\nStandardError=file:/dev/ttyS0\n\
         BindReadOnlyPaths={}:/usr/bin/temoin-agent\n",
        program.display()
    );
    fs::write(more.join("test.conf"), instead)?;
    // Something to be mounted over.
    fs::write("/usr/bin/temoin-agent", "")?;
    Ok(())
}

/// The service itself.
pub(crate) fn within() -> Result<()> {
    reaches_its_devices()?;
    reaches_nothing_else()?;
    say(guest::WELL);
    // The machine goes off by this, or not at all.
    PowerSwitch::new("/run/temoin/power-off".into()).ask()?;
    loop {
        thread::park();
    }
}

fn reaches_its_devices() -> Result<()> {
    let devices = DeviceConfig {
        road_camera: Some(CameraConfig::Node("/dev/video0".into())),
        gnss: Some("/dev/ttyS1".into()),
        can: Some(signals::bus("vcan0")?),
        imu: Some(imu::config("bmi160")),
        button: Some(lines::line("BUTTON")),
        lamp: Some(lines::line("LAMP")),
        speaker: Some(SpeakerConfig {
            device: "plughw:0,0".to_owned(),
            ..SpeakerConfig::default()
        }),
        ..DeviceConfig::default()
    };
    let bench = Bench::start(&devices)?;
    let _lamp = cab::lamp(&devices, bench.board())?;
    let _speaker = cab::speaker(&devices, bench.board())?;
    let stop = StopToken::new();
    let watchdog = PathBuf::from("/dev/watchdog0");
    let fed = watchdog::start(watchdog, Rounds::default(), stop.clone(), bench.board().clone())?;
    for part in
        ["camera.road", "gnss", "vehicle_bus", "imu", "button", "lamp", "speaker", "watchdog"]
    {
        bench.health(part, State::Ok, SOON)?;
        say(&format!("{part} is reached"));
    }
    bench.picture(CameraId::Road, SOON)?;
    stop.stop();
    ensure!(fed.join().is_ok(), "the watchdog's thread panicked");
    bench.end()
}

fn reaches_nothing_else() -> Result<()> {
    let written = |path: &str| fs::write(path, "x").is_ok();
    ensure!(written(&format!("{STATE}/x")), "its own folder cannot be written");
    for path in ["/etc/x", "/usr/x", "/var/x", "/home/x", "/root/x", "/boot/x", "/run/x"] {
        ensure!(!written(path), "{path} was written");
    }
    for path in ["/dev/mem", "/dev/port", BUS] {
        ensure!(fs::exists(path)?, "there is no {path}");
        ensure!(fs::File::open(path).is_err(), "{path} was opened");
    }
    ensure!(TcpListener::bind("127.0.0.1:0").is_ok(), "there is no network");
    let quiet = || Stdio::null();
    let links = Command::new("ip").args(["link", "show"]).stdout(quiet()).stderr(quiet()).status();
    ensure!(!links.context("ip")?.success(), "it can speak with the kernel's routing");
    let mounted = mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None);
    ensure!(mounted.is_err(), "it can mount");
    let status = fs::read_to_string("/proc/self/status")?;
    for line in
        ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        ensure!(status.contains(line), "not `{line}` in: {status}");
    }
    let core = getrlimit(Resource::Core);
    ensure!(core.maximum == Some(0), "pictures may be dumped to the disk: {core:?}");
    let group = fs::read_to_string("/proc/self/cgroup")?;
    let group = group.trim().strip_prefix("0::").context("no control group")?;
    let swap = fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.swap.max"));
    let swap = swap.context("what may be swapped")?;
    ensure!(swap.trim() == "0", "pictures may be swapped to the disk: {}", swap.trim());
    Ok(())
}
