//! What a run cost and how quick it was, for benchmarks: written as JSON with `--report FILE`.

use std::time::{Duration, Instant};

use serde::Serialize;
use temoin_proto::time::MonoTime;

/// Longest list of latencies that is kept; later ones replace none.
const MOST: usize = 200_000;

/// Collected while the pipeline runs.
#[derive(Debug)]
pub struct Metrics {
    began: Instant,
    first: Option<MonoTime>,
    last: MonoTime,
    frames: u64,
    observations: u64,
    skipped_observations: u64,
    alerts: u64,
    frame_to_decision_ms: Vec<f64>,
}

/// The report of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Length of the drive, seconds of its own time.
    pub drive_s: f64,
    /// How long the run took, seconds.
    pub wall_s: f64,
    /// CPU time of the process, user and system, seconds.
    pub cpu_s: f64,
    /// Largest resident memory, MiB.
    pub peak_rss_mib: f64,
    /// Pictures of both cameras.
    pub frames: u64,
    /// Cabin pictures that perception looked at.
    pub observations: u64,
    /// Cabin pictures that it was too busy for.
    pub skipped_observations: u64,
    /// Alerts in the cab.
    pub alerts: u64,
    /// From the picture's arrival to the decision on it, milliseconds, one each.
    pub frame_to_decision_ms: Vec<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            first: None,
            last: MonoTime::ZERO,
            frames: 0,
            observations: 0,
            skipped_observations: 0,
            alerts: 0,
            frame_to_decision_ms: Vec::new(),
        }
    }
}

impl Metrics {
    /// A picture came.
    pub fn frame(&mut self, at: MonoTime) {
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
        self.frames += 1;
    }

    /// Perception was busy and left a picture out.
    pub const fn skipped(&mut self) {
        self.skipped_observations += 1;
    }

    /// The decision on a picture was made, this long after the picture came.
    pub fn decided(&mut self, after: Duration) {
        self.observations += 1;
        if self.frame_to_decision_ms.len() < MOST {
            self.frame_to_decision_ms.push(after.as_secs_f64() * 1000.0);
        }
    }

    /// An alert was said.
    pub const fn alert(&mut self) {
        self.alerts += 1;
    }

    /// The report so far.
    pub fn report(&self) -> Report {
        let (cpu_s, peak_rss_mib) = usage();
        Report {
            drive_s: self.first.map_or(0.0, |first| self.last.since(first).as_secs_f64()),
            wall_s: self.began.elapsed().as_secs_f64(),
            cpu_s,
            peak_rss_mib,
            frames: self.frames,
            observations: self.observations,
            skipped_observations: self.skipped_observations,
            alerts: self.alerts,
            frame_to_decision_ms: self.frame_to_decision_ms.clone(),
        }
    }
}

/// CPU seconds and peak resident MiB of this process, as `/proc` tells; 0 where it does not.
fn usage() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0.0))
        .collect();
    // Fields 14 and 15 of proc(5), the first two of the split line being fields 1 and 2.
    let ticks = fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak_kib: f64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    (ticks / 100.0, peak_kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_used_something() {
        let mut metrics = Metrics::default();
        metrics.frame(MonoTime::from_secs_f64(10.0));
        metrics.frame(MonoTime::from_secs_f64(12.0));
        metrics.decided(Duration::from_millis(5));
        let report = metrics.report();
        assert!((report.drive_s - 2.0).abs() < 1e-9);
        assert!(report.peak_rss_mib > 1.0, "{report:?}");
        assert_eq!(report.frame_to_decision_ms, [5.0]);
    }
}
