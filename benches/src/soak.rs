//! A long drive in real time: whether memory stays flat, whether a picture is missed, what the disk and the
//! processor have to bear.

use std::{fs, time::Instant};

use anyhow::{Context, Result, ensure};
use temoin_hw::thermal;
use temoin_tests::process::Process;

use crate::{
    figures::{Figure, median, percentile},
    line::Drove,
};

const MB: f64 = 1e6;
/// Memory counts from here on, seconds: models are loaded and the ring is full. In a short drive after a third
/// of it.
const SETTLED_S: f64 = 300.0;

/// What the unit used at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Seconds since its start.
    at_s: f64,
    /// Memory, bytes.
    rss: f64,
    /// Bytes that it had the disk write.
    written: f64,
    /// The hottest sensor of the machine, where it has one.
    celsius: Option<f64>,
}

/// See the module.
pub struct Soak {
    began: Instant,
    samples: Vec<Sample>,
}

impl Default for Soak {
    fn default() -> Self {
        Self { began: Instant::now(), samples: Vec::new() }
    }
}

impl Soak {
    /// Looks at the running unit.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn look(&mut self, unit: &Process) -> Result<()> {
        let folder = format!("/proc/{}", unit.id());
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            fs::read_to_string(&path).context(path)
        };
        let (Ok(statm), Ok(io)) = (read("statm"), read("io")) else {
            // It has just ended.
            return Ok(());
        };
        let page = f64::from(u32::try_from(rustix::param::page_size())?);
        let Some(pages) = statm.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok())
        else {
            return Ok(());
        };
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        self.samples.push(Sample {
            at_s: self.began.elapsed().as_secs_f64(),
            rss: pages * page,
            written: written.and_then(|n| n.parse().ok()).unwrap_or(0.0),
            celsius: thermal::hottest().map(|hottest| hottest.celsius),
        });
        Ok(())
    }

    /// What came of it.
    ///
    /// # Errors
    /// Where too little was seen.
    pub fn figures(&self, drove: &Drove, data_set: &str) -> Result<Vec<Figure>> {
        let report = &drove.report;
        let of = |name, value, unit, count| Figure::new(name, value, unit, count, data_set);
        let count = self.samples.len();
        let (first, last) = settled(&self.samples)?;
        let pictures = usize::try_from(report.frames)?;
        let looks = report.frame_to_decision_ms.len();
        let cores = std::thread::available_parallelism()?.get();
        let cores = f64::from(u32::try_from(cores)?);
        let clips: u64 = drove.journal.spooled.values().sum();
        let written = self.samples.last().map_or(0.0, |s| s.written);
        #[expect(clippy::cast_precision_loss, reason = "counts of hours and megabytes")]
        let (late, skipped, clips) =
            (report.late_frames as f64, report.skipped_observations as f64, clips as f64);
        let hottest = self.samples.iter().filter_map(|s| s.celsius).reduce(f64::max);
        let mut figures = vec![
            of("unit.soak_rss_growth_mb", (last - first) / MB, "MB", count)
                .goal("0, after minute 5"),
            of("unit.soak_rss_mb", last / MB, "MB", count),
            of("unit.soak_missed_frames", late, "pictures", pictures).goal("0"),
            of("unit.soak_worst_stall_ms", report.worst_late_ms, "ms", pictures),
            of("unit.soak_skipped_looks", skipped, "pictures", looks),
            of(
                "unit.soak_frame_to_alert_p99_ms",
                percentile(&report.frame_to_decision_ms, 99)?,
                "ms",
                looks,
            )
            .goal("below 150"),
            of("unit.soak_cpu_load", drove.cpu_s / report.wall_s / cores, "1", 1),
            of("unit.soak_written_mb", written / MB, "MB", count).limit(clips / MB),
        ];
        figures.extend(hottest.map(|celsius| of("unit.soak_hottest_c", celsius, "°C", count)));
        Ok(figures)
    }
}

/// Memory once it is settled, and at the end: the middle of the first and of the last quarter of what
/// follows.
fn settled(samples: &[Sample]) -> Result<(f64, f64)> {
    let end_s = samples.last().map_or(0.0, |s| s.at_s);
    let from_s = SETTLED_S.min(end_s / 3.0);
    let rss: Vec<f64> = samples.iter().filter(|s| s.at_s >= from_s).map(|s| s.rss).collect();
    let quarter = rss.len() / 4;
    ensure!(quarter > 0, "the drive was over too soon");
    let (first, last) = (rss.get(..quarter), rss.get(rss.len() - quarter..));
    Ok((median(first.unwrap_or_default())?, median(last.unwrap_or_default())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak(minutes: u32, mb: impl Fn(f64) -> f64) -> (f64, f64) {
        let sample = |n| {
            let at_s = f64::from(n);
            Sample { at_s, rss: mb(at_s / 60.0), written: 0.0, celsius: None }
        };
        settled(&(0..=minutes * 60).map(sample).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn memory_counts_once_it_is_settled() {
        let fills = |minute: f64| 300.0 * (minute / 4.0).min(1.0);
        assert_eq!(soak(60, fills), (300.0, 300.0));
        let (first, last) = soak(60, |minute| fills(minute) + minute);
        assert!((last - first - 41.25).abs() < 0.5, "a megabyte a minute: {first}, {last}");
        // One that takes a lot for a moment does not grow.
        let peak = |minute: f64| if (59.0..59.2).contains(&minute) { 900.0 } else { 300.0 };
        assert_eq!(soak(60, peak), (300.0, 300.0));
        assert_eq!(soak(3, |minute| if minute < 1.0 { 0.0 } else { 300.0 }), (300.0, 300.0));
        assert!(settled(&[]).is_err());
    }
}
