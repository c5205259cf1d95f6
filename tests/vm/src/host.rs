//! Outside of the machine: boots one for each scenario and judges what comes on its serial line.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    guest::{FAILED, FIGURE, RESET, WELL},
    power::DISK,
    scenario::{ALL, Disk, Receiver, Scenario},
    signals,
};

/// Longest that a machine may run; the slowest scenario takes a third of it on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Machines at once; each has one processor.
const MACHINES: usize = 4;
/// How often a receiver speaks.
const EVERY: Duration = Duration::from_millis(50);
/// Modules without which the machine does not find its root.
const ROOT: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// The first program of the machine. The kernel passes `scenario` and `target` on: that is what Debian's own
/// first program starts behind the scenario, on a root that can be written, in memory.
const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /host
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /host
root=/host
if [ -n "$target" ]; then
  $b mkdir -p /over /root
  $b mount -t tmpfs over /over
  $b mkdir /over/upper /over/work
  $b mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /root
  root=/root
fi
for folder in proc sys dev; do $b mount --bind /$folder $root/$folder; done
$b mount -t tmpfs -o mode=1777 tmp $root/tmp
$b chroot $root "@program@" guest "$scenario" "@kernel@" || $b poweroff -f
[ -z "$target" ] || exec $b switch_root $root /lib/systemd/systemd --unit="$target" --show-status=no
$b poweroff -f
"#;

/// A line to whoever started this.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// How scenarios are run.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// The unpacked kernel (`scripts/vm-kernel.sh` prints it).
    #[arg(long, value_name = "FOLDER")]
    kernel: PathBuf,
    /// Where the machines' serial lines are written, and `vm.json` with the figures.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Only scenarios with this in their name.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

impl Run {
    /// Whether all scenarios went well.
    ///
    /// # Errors
    /// Where no machine can be made.
    pub(crate) fn run(self) -> Result<bool> {
        fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let kernel =
            self.kernel.canonicalize().with_context(|| self.kernel.display().to_string())?;
        let folder = tempfile::Builder::new().prefix("temoin-vm-").tempdir()?;
        let rig = Rig::build(&kernel, folder.path())?;
        let wanted = |s: &&Scenario| self.only.as_ref().is_none_or(|only| s.name.contains(only));
        let total = ALL.iter().filter(wanted).count();
        ensure!(total > 0, "no scenario is called that");
        let jobs = Mutex::new(jobs(ALL.iter().filter(wanted)));
        let (passed, figures) = (AtomicUsize::new(0), Mutex::new(Figures::new()));
        let began = Instant::now();
        // By itself: what is locked where a loop asks stays locked throughout its body.
        let next = || lock(&jobs).pop_front();
        let work = || {
            while let Some(job) = next() {
                for scenario in job {
                    let since = Instant::now();
                    let log = self.out.join(format!("{}.log", scenario.name));
                    let verdict = rig.boot(scenario, &log, &figures);
                    let seconds = since.elapsed().as_secs_f64();
                    match verdict {
                        Ok(()) => {
                            passed.fetch_add(1, Ordering::Relaxed);
                            say(&format!("ok      {:28} {seconds:5.1} s", scenario.name));
                        }
                        Err(e) => {
                            say(&format!("FAILED  {:28} {seconds:5.1} s  {e:#}", scenario.name));
                        }
                    }
                }
            }
        };
        let machines = thread::available_parallelism().map_or(1, usize::from).min(MACHINES);
        thread::scope(|scope| (0..machines).for_each(|_| drop(scope.spawn(work))));
        let (passed, mut figures) = (passed.into_inner(), lock(&figures).clone());
        let seconds = began.elapsed().as_secs_f64();
        say(&format!(
            "{passed} of {total} in {seconds:.0} s; the machines' words: {}",
            self.out.display()
        ));
        for (name, count) in [("passed", passed), ("total", total)] {
            let count = f64::from(u32::try_from(count)?);
            figures.insert(format!("unit.vm_scenarios_{name}"), count);
        }
        let figures = serde_json::to_string_pretty(&figures)?;
        fs::write(self.out.join("vm.json"), format!("{figures}\n"))?;
        Ok(passed == total)
    }
}

/// What machines measured, by name.
type Figures = BTreeMap<String, f64>;

/// What one after the other is run: those that read a disk's log behind the one that writes it. The
/// longest first.
fn jobs<'a>(scenarios: impl Iterator<Item = &'a Scenario>) -> VecDeque<Vec<&'a Scenario>> {
    let mut jobs: VecDeque<Vec<&Scenario>> = VecDeque::new();
    for scenario in scenarios {
        let disk = scenario.disk.map(Disk::name);
        let same = |job: &&mut Vec<&Scenario>| {
            disk.is_some() && job.iter().any(|other| other.disk.map(Disk::name) == disk)
        };
        match jobs.iter_mut().find(same) {
            Some(job) => job.push(scenario),
            None => jobs.push_back(vec![scenario]),
        }
    }
    jobs.make_contiguous().sort_by_key(|job| Reverse(job.len()));
    jobs
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all machines have.
struct Rig {
    image: PathBuf,
    initramfs: PathBuf,
    folder: PathBuf,
}

impl Rig {
    /// A machine's disk, as arguments.
    fn disk(&self, disk: Disk) -> Result<Vec<String>> {
        let path = |name: &str| self.folder.join(name);
        let file = |path: &Path, node: &str, more: &str| {
            format!("driver=file,filename={},node-name={node}{more}", path.display())
        };
        let mut words = Vec::new();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        let drive = match disk {
            Disk::Logged(name) => {
                let (disk, log) = (path(name), path(&format!("{name}.log")));
                for (path, bytes) in [(&disk, DISK), (&log, 0)] {
                    fs::File::create(path)?.set_len(bytes)?;
                }
                add("-blockdev", file(&disk, "disk", ""));
                add("-blockdev", file(&log, "log", ""));
                add(
                    "-blockdev",
                    "driver=blklogwrites,node-name=logged,file=disk,log=log".to_owned(),
                );
                "logged"
            }
            Disk::Log(name) => {
                let log = path(&format!("{name}.log"));
                ensure!(log.exists(), "the machine that writes this log was not run");
                add("-blockdev", file(&log, "log", ",read-only=on"));
                "log"
            }
        };
        add("-device", format!("virtio-blk-pci,drive={drive}"));
        Ok(words)
    }

    fn build(kernel: &Path, folder: &Path) -> Result<Self> {
        let release =
            kernel.file_name().and_then(|name| name.to_str()).context("the kernel has no name")?;
        let image = kernel.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.exists(), "there is no kernel `{}`", image.display());
        let root = folder.join("root");
        let (bin, modules) = (root.join("bin"), root.join("modules"));
        for folder in [&bin, &modules] {
            fs::create_dir_all(folder)?;
        }
        let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output()?.stdout;
        let busybox = String::from_utf8(busybox)?;
        fs::copy(busybox.trim(), bin.join("busybox")).context("busybox")?;
        for (n, module) in modules_of(kernel, release)?.iter().enumerate() {
            let name = module.file_name().and_then(|name| name.to_str()).unwrap_or("module");
            fs::copy(module, modules.join(format!("{n:02}-{name}")))?;
        }
        let program = std::env::current_exe()?;
        let init = INIT
            .replace("@program@", &program.display().to_string())
            .replace("@kernel@", &kernel.display().to_string());
        fs::write(root.join("init"), init)?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        let initramfs = folder.join("initramfs");
        let packed = Command::new("sh")
            .args(["-c", "find . | cpio --quiet -o -H newc >../initramfs"])
            .current_dir(&root)
            .status()?;
        ensure!(packed.success(), "cpio failed");
        Ok(Self { image, initramfs, folder: folder.to_owned() })
    }

    /// Runs one scenario to its end.
    fn boot(&self, scenario: &Scenario, log: &Path, figures: &Mutex<Figures>) -> Result<()> {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"]);
        command.args(["-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio"]);
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.initramfs);
        let target = scenario.target.map(|target| format!(" target={target}")).unwrap_or_default();
        let words = format!("console=ttyS0 quiet panic=-1 scenario={}{target}", scenario.name);
        command.args(["-append", &words]);
        let root = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
        command.args(["-virtfs", root]);
        let socket = self.folder.join(format!("{}.line", scenario.name));
        if let Some(receiver) = scenario.receiver {
            let line = format!("socket,id=line,server=on,wait=on,path={}", socket.display());
            command.args(["-chardev", &line]);
            command.args(match receiver {
                Receiver::Port => ["-serial", "chardev:line"].as_slice(),
                Receiver::Usb => &["-device", "qemu-xhci", "-device", "usb-serial,chardev=line"],
            });
        }
        command.args(scenario.machine);
        command.args(scenario.disk.map(|disk| self.disk(disk)).transpose()?.unwrap_or_default());
        let mut machine = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the program qemu-system-x86_64 is needed")?;
        let speaks = || thread::spawn(move || feed(&socket, &signals::sentences()));
        let line = scenario.receiver.map(|_| speaks());
        let (to, lines) = mpsc::channel();
        let serial = machine.stdout.take().context("no serial line")?;
        let reader = thread::spawn(move || {
            for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        let verdict = judge(&lines, log, scenario.is_reset, figures);
        // It powers off by itself where it can.
        drop(machine.kill());
        let ended = machine.wait_with_output()?;
        drop(lines);
        drop(reader.join());
        // It ended with the machine at the latest; what it could not send, the scenario has missed.
        drop(line.map(thread::JoinHandle::join));
        verdict.with_context(|| String::from_utf8_lossy(&ended.stderr).trim().to_owned())
    }
}

/// Takes a figure that a machine tells: how it is put together with that of another, its name and value.
fn take(figures: &mut Figures, told: &str) -> Result<()> {
    let words: Vec<&str> = told.split(' ').collect();
    let [how, name, value] = words[..] else { anyhow::bail!("`{told}` is no figure") };
    let value: f64 = value.parse()?;
    let before = figures.entry(name.to_owned()).or_insert(0.0);
    *before = match how {
        "sum" => *before + value,
        "most" => before.max(value),
        _ => anyhow::bail!("`{told}` is no figure"),
    };
    Ok(())
}

/// Sends a text on the receiver's line, a line of it every so often, until the machine ends.
fn feed(socket: &Path, text: &str) -> std::io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut line = loop {
        match UnixStream::connect(socket) {
            Ok(line) => break line,
            Err(e) if Instant::now() > until => return Err(e),
            // The machine has not made it yet.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    // What the machine sends (a terminal echoes until it is told not to) must not fill the line.
    let mut back = line.try_clone()?;
    let sink = thread::spawn(move || std::io::copy(&mut back, &mut std::io::sink()).map(drop));
    for sentence in text.split_inclusive('\n') {
        if line.write_all(sentence.as_bytes()).is_err() {
            // The machine ended.
            break;
        }
        thread::sleep(EVERY);
    }
    sink.join().unwrap_or(Ok(()))
}

/// Reads what a machine says until it has said how it went.
fn judge(
    lines: &mpsc::Receiver<String>,
    log: &Path,
    is_reset: bool,
    figures: &Mutex<Figures>,
) -> Result<()> {
    let mut log = fs::File::create(log).with_context(|| log.display().to_string())?;
    let until = Instant::now() + PATIENCE;
    let mut resets = false;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                anyhow::bail!("nothing was said for {} s", PATIENCE.as_secs())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) if resets => return Ok(()),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                anyhow::bail!("the machine went off without a word of how it went")
            }
        };
        writeln!(log, "{line}")?;
        if line == WELL {
            ensure!(!is_reset, "the machine was not reset");
            return Ok(());
        }
        resets |= is_reset && line == RESET;
        if let Some(told) = line.strip_prefix(FIGURE) {
            take(&mut lock(figures), told)?;
        }
        if let Some(why) = line.strip_prefix(FAILED) {
            anyhow::bail!("{why}");
        }
    }
}

/// The files of [`ROOT`] and what they need, in the order in which they are loaded.
fn modules_of(kernel: &Path, release: &str) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for module in ROOT {
        let out = Command::new("modprobe")
            .arg("-d")
            .arg(kernel)
            .args(["-S", release, "--show-depends", module])
            .output()
            .context("modprobe")?;
        ensure!(out.status.success(), "the kernel has no {module}");
        for line in String::from_utf8(out.stdout)?.lines() {
            let Some(file) = line.trim().strip_prefix("insmod ") else { continue };
            let file = PathBuf::from(file.trim());
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}
