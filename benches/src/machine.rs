//! On what the figures were measured.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use temoin_hw::{Clock, clock::SystemClock};
use temoin_tests::drives;

/// A machine, the commit that ran on it, and when.
#[derive(Clone, Debug)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    commit: String,
    date: String,
    load: String,
}

/// The checkout that is measured: the one that this is started in, else the one that it was built
/// from. Clones may share a build folder, so the latter can be another's.
///
/// # Errors
/// Where there is none.
pub fn checkout() -> Result<PathBuf> {
    let here = std::env::current_dir().ok();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    let is_one = |root: &PathBuf| root.join("benches/Cargo.toml").is_file();
    here.into_iter()
        .chain(built)
        .find(is_one)
        .context("start this in the checkout: the one that it was built from is gone")
}

/// The recordings beside the checkout, where they are there.
///
/// # Errors
/// Where there is no checkout.
pub fn recordings() -> Result<Option<PathBuf>> {
    Ok(drives::recordings_beside(&checkout()?))
}

impl Machine {
    /// What this machine says of itself now.
    ///
    /// # Errors
    /// Where there is no checkout.
    pub fn here() -> Result<Self> {
        let root = checkout()?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        // Arm boards have no model name here.
        let cpu = value_of(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH).to_owned();
        let kib: f64 = value_of(&meminfo, "MemTotal")
            .and_then(|v| v.split_whitespace().next())
            .and_then(|v| v.parse().ok())
            .unwrap_or(0.0);
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib / f64::from(1 << 20),
            commit: commit(&root),
            date: SystemClock.wall().to_rfc3339(),
            load: load(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "- machine: {}, {} cores, {:.0} GiB", self.cpu, self.cores, self.memory_gib)?;
        writeln!(f, "- commit: {}", self.commit)?;
        write!(f, "- date: {}, load at the start: {}", self.date, self.load)
    }
}

/// The load averages of the last 1, 5 and 15 minutes: over the number of cores, other work takes
/// time from what is measured.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find(|l| l.starts_with(key))?.split_once(':').map(|(_, value)| value.trim())
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(head), Some(changes)) if changes.is_empty() => head,
        (Some(head), _) => format!("{head}, with changes that are not committed"),
        (None, _) => "unknown: not a git checkout".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_named() {
        let text = Machine::here().unwrap().to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("cores") && !text.contains(" 0 GiB"), "{text}");
        assert_eq!(value_of("a: 1\nmodel name\t: X y\n", "model name"), Some("X y"));
    }
}
