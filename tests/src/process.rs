//! A child process whose output lines can be waited for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long what a program said is waited for once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The programs under test, as built beside the running one.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `temoin-agent`
    pub agent: PathBuf,
    /// `temoin-keys`
    pub keys: PathBuf,
    /// `temoin-server`
    pub server: PathBuf,
}

impl Programs {
    /// Finds the programs in the build folder that the running program lies in.
    ///
    /// # Errors
    /// Where they are not built.
    pub fn find() -> Result<Self> {
        let here = std::env::current_exe().context("where am I?")?;
        let find = |name: &str| {
            here.ancestors()
                .skip(1)
                .take(2)
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
                .with_context(|| {
                    format!(
                        "`{name}` is not built beside `{}`: run `cargo build --workspace --bins`",
                        here.display()
                    )
                })
        };
        Ok(Self {
            agent: find("temoin-agent")?,
            keys: find("temoin-keys")?,
            server: find("temoin-server")?,
        })
    }
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    errors: Vec<String>,
    /// How many of its two streams came to their end: only after both is all that it said here.
    closed: u8,
}

impl Output {
    fn ended(&self) -> bool {
        self.closed == 2
    }
}

/// What a program said, and what tells of more.
type Shared = Arc<(Mutex<Output>, Condvar)>;

/// Reads a stream to its end on a thread of its own.
fn follow(
    stream: impl Read + Send + 'static,
    shared: &Shared,
    keep: impl Fn(&mut Output, String) + Send + 'static,
) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let (output, changed) = &*shared;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            keep(&mut output.lock().unwrap_or_else(PoisonError::into_inner), line);
            changed.notify_all();
        }
        output.lock().unwrap_or_else(PoisonError::into_inner).closed += 1;
        changed.notify_all();
    });
}

/// A running program with its output.
pub struct Process {
    name: String,
    child: Child,
    output: Shared,
}

/// What to do with each line of standard output as it comes.
pub type OnLine = Box<dyn Fn(&str) + Send>;

impl Process {
    /// Starts `command`; `on_line` sees each line of standard output as it comes.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn start(name: &str, mut command: Command, on_line: Option<OnLine>) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = Shared::default();
        let stdout = child.stdout.take().context("no standard output")?;
        follow(stdout, &output, move |output, line| {
            if let Some(f) = &on_line {
                f(&line);
            }
            output.lines.push(line);
        });
        let stderr = child.stderr.take().context("no standard error")?;
        follow(stderr, &output, |output, line| output.errors.push(line));
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Waits until a line of standard output satisfies `wanted`, past ones included.
    ///
    /// # Errors
    /// Where the program ends first or `limit` passes.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + limit;
        let (lock, changed) = &*self.output;
        let mut output = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = 0;
        loop {
            if let Some(line) = output.lines.iter().skip(seen).find(|l| wanted(l)) {
                return Ok(line.clone());
            }
            seen = output.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if output.ended() || left.is_zero() {
                let why = if output.ended() { "it ended" } else { "time ran out" };
                let (said, errors) = (output.lines.join("\n"), output.errors.join("\n"));
                bail!("{}: waiting for {what}: {why}\n{said}\n{errors}", self.name);
            }
            output = changed.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines of standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// What it said on standard error so far.
    pub fn errors(&self) -> String {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).errors.join("\n")
    }

    /// How it ended, where it has.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end, and for all that it said.
    ///
    /// # Errors
    /// Where `limit` passes; it is killed then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let (lock, changed) = &*self.output;
                let output = lock.lock().unwrap_or_else(PoisonError::into_inner);
                let left = deadline.saturating_duration_since(Instant::now());
                // A program that it started may still hold its output.
                drop(changed.wait_timeout_while(output, left.min(LAST_WORDS), |o| !o.ended()));
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("{} did not end within {limit:?}\n{}", self.name, self.errors());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// Where it does not end within `limit`.
    pub fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait(limit)
    }

    /// Tells it to read its keyring anew (SIGHUP).
    ///
    /// # Errors
    /// Where the signal cannot be sent.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(rustix::process::Signal::HUP)
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// Where the signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        if let Some(pid) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Kills it at once, as a crash would (SIGKILL).
    ///
    /// # Errors
    /// Where it cannot be killed.
    pub fn kill_now(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// CPU time used so far, seconds, user and system, of the process itself.
    ///
    /// # Errors
    /// Where `/proc` does not say.
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = stat.rsplit_once(')').context("/proc stat")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks =
            |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("/proc stat");
        Ok((ticks(11)? + ticks(12)?)
            / f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended: nothing to do, and nothing to say.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// Where it fails; the error carries what it said.
pub fn run(mut command: Command, input: Option<&str>) -> Result<String> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command of a program with arguments.
pub fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
