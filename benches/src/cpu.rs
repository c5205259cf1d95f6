//! Processor time, user and system: what other work on a shared machine changes least.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Processor seconds of this process so far, all its threads.
pub fn of_this_process() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// Processor seconds of this thread so far.
pub fn of_this_thread() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    let part = Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0));
    (whole + part).as_secs_f64()
}

/// Processor seconds of all ended children of this process, in steps of 10 ms.
///
/// # Errors
/// Where `/proc` does not say.
pub fn of_ended_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // proc(5): fields 16 and 17, of which 1 and 2 are before the last parenthesis.
    let fields = stat.rsplit_once(')').context("/proc/self/stat")?.1.split_whitespace();
    let ticks: Vec<f64> = fields.skip(13).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
    Ok(ticks.iter().sum::<f64>() / per_second)
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, process::Command, time::Instant};

    use super::*;

    #[test]
    fn work_is_counted_where_it_is_done() {
        let (process, thread) = (of_this_process(), of_this_thread());
        let children = of_ended_children().unwrap();
        let began = Instant::now();
        let mut n = 1_u64;
        while of_this_thread() - thread < 0.005 {
            n = black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            assert!(began.elapsed() < Duration::from_secs(20), "work is not counted");
        }
        assert!(of_ended_children().unwrap() - children < 0.02);
        let idle = std::thread::spawn(of_this_thread).join().unwrap();
        assert!(of_this_process() - process >= 0.005 && idle < 0.005, "{idle}");
        let status = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"])
            .status()
            .unwrap();
        assert!(status.success());
        assert!(of_ended_children().unwrap() - children >= 0.02);
    }
}
