//! What each stage of a look costs, for evaluation: processor time of the thread that looks, which
//! other work on the machine does not change. (Models run in that thread as long as `infer` gives
//! them one.)

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The stages of one camera's looks.
pub trait Stages: Copy + Eq + 'static {
    /// Every stage, in the order of a look.
    const ALL: &'static [Self];

    /// Its name in figures.
    fn as_str(self) -> &'static str;
}

/// Processor time spent since the start, by stage.
#[derive(Clone, Debug)]
pub struct Times<S> {
    looks: u32,
    spent: Vec<(S, Duration)>,
}

impl<S: Stages> Default for Times<S> {
    fn default() -> Self {
        Self { looks: 0, spent: S::ALL.iter().map(|s| (*s, Duration::ZERO)).collect() }
    }
}

impl<S: Stages> Times<S> {
    /// Looks counted.
    pub const fn looks(&self) -> u32 {
        self.looks
    }

    /// Milliseconds of a stage in a look, the mean of all looks; 0 before the first.
    pub fn mean_ms(&self, stage: S) -> f64 {
        let spent: Duration =
            self.spent.iter().filter(|(s, _)| *s == stage).map(|(_, spent)| spent).sum();
        spent.as_secs_f64() * 1e3 / f64::from(self.looks.max(1))
    }

    /// [`Self::mean_ms`] of every stage, with its name.
    pub fn all_ms(&self) -> Vec<(&'static str, f64)> {
        S::ALL.iter().map(|s| (s.as_str(), self.mean_ms(*s))).collect()
    }

    pub(super) const fn look(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    pub(super) fn measure<T>(&mut self, stage: S, work: impl FnOnce() -> T) -> T {
        let begin = thread_time();
        let done = work();
        let took = thread_time().saturating_sub(begin);
        for (_, spent) in self.spent.iter_mut().filter(|(s, _)| *s == stage) {
            *spent += took;
        }
        done
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perception::Stage;

    #[test]
    fn each_stage_has_its_own_time() {
        let mut times = Times::default();
        assert!(times.mean_ms(Stage::Eyes).abs() < f64::EPSILON);
        for _ in 0..2 {
            times.look();
            let done = times.measure(Stage::Eyes, || {
                let begin = thread_time();
                while thread_time().saturating_sub(begin) < Duration::from_millis(2) {}
                7
            });
            assert_eq!(done, 7);
        }
        assert_eq!(times.looks(), 2);
        assert!(times.mean_ms(Stage::Eyes) >= 2.0);
        assert!(times.mean_ms(Stage::Head).abs() < f64::EPSILON);
        let named: Vec<&str> = times.all_ms().into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, ["face", "others", "face_state", "head", "eyes", "phone"]);
    }
}
