//! What a run cost and how quick it was, for benchmarks: written as JSON with `--report FILE`.

use std::time::{Duration, Instant};

use serde::Serialize;
use temoin_proto::time::MonoTime;

/// Longest list of latencies that is kept; later ones replace none.
const MOST: usize = 200_000;
/// A driver's four buffers are full then, at 15 pictures a second.
const DROPPED_AFTER: Duration = Duration::from_millis(4000 / 15);

/// Collected while the pipeline runs.
#[derive(Debug)]
pub struct Metrics {
    began: Instant,
    first: Option<(MonoTime, Instant)>,
    last: MonoTime,
    frames: u64,
    late_frames: u64,
    worst_late: Duration,
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
    /// Pictures that came to the pipeline so late that a camera's driver would have dropped them, by the
    /// first one's time. None in a replay at full speed.
    pub late_frames: u64,
    /// How late the latest of them all was, milliseconds: the longest stall.
    pub worst_late_ms: f64,
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
            late_frames: 0,
            worst_late: Duration::ZERO,
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
        self.frame_at(at, Instant::now());
    }

    fn frame_at(&mut self, at: MonoTime, now: Instant) {
        let (first, then) = *self.first.get_or_insert((at, now));
        let late = now.saturating_duration_since(then + at.since(first));
        self.worst_late = self.worst_late.max(late);
        self.late_frames += u64::from(late > DROPPED_AFTER);
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
            drive_s: self.first.map_or(0.0, |(first, _)| self.last.since(first).as_secs_f64()),
            wall_s: self.began.elapsed().as_secs_f64(),
            cpu_s,
            peak_rss_mib,
            frames: self.frames,
            late_frames: self.late_frames,
            worst_late_ms: self.worst_late.as_secs_f64() * 1000.0,
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
    fn a_picture_that_comes_late_is_counted() {
        let (mut metrics, began) = (Metrics::default(), Instant::now());
        // At 10.0 s, 100 ms late, 300 ms late, and in time again.
        for (at_s, after_ms) in [(10.0, 0), (10.1, 200), (10.2, 500), (10.6, 600)] {
            let now = began + Duration::from_millis(after_ms);
            metrics.frame_at(MonoTime::from_secs_f64(at_s), now);
        }
        let report = metrics.report();
        assert_eq!((report.frames, report.late_frames), (4, 1));
        assert!((report.worst_late_ms - 300.0).abs() < 0.01, "{report:?}");
    }

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
