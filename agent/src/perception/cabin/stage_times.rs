//! What each stage of a look at the cabin costs, for evaluation: processor time of the thread that
//! looks, which other work on the machine does not change. (Models run in that thread as long as
//! `infer` gives them one.)

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A stage of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The driver's face is found.
    Face,
    /// The whole picture is searched for other faces.
    Others,
    /// The driver's face is judged by the own network.
    FaceState,
    /// Head pose of the pack.
    Head,
    /// Both eyes.
    Eyes,
    /// The phone.
    Phone,
}

impl Stage {
    /// Every stage, in the order of a look.
    pub const ALL: [Self; 6] =
        [Self::Face, Self::Others, Self::FaceState, Self::Head, Self::Eyes, Self::Phone];

    /// Its name in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Face => "face",
            Self::Others => "others",
            Self::FaceState => "face_state",
            Self::Head => "head",
            Self::Eyes => "eyes",
            Self::Phone => "phone",
        }
    }
}

/// Processor time spent since the start, by stage.
#[derive(Clone, Debug, Default)]
pub struct StageTimes {
    looks: u32,
    spent: [Duration; 6],
}

impl StageTimes {
    /// Looks counted.
    pub const fn looks(&self) -> u32 {
        self.looks
    }

    /// Milliseconds of a stage in a look, the mean of all looks; 0 before the first.
    pub fn mean_ms(&self, stage: Stage) -> f64 {
        let spent: Duration =
            Stage::ALL.iter().zip(self.spent).filter(|(s, _)| **s == stage).map(|(_, d)| d).sum();
        spent.as_secs_f64() * 1e3 / f64::from(self.looks.max(1))
    }

    pub(super) const fn look(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    pub(super) fn measure<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let begin = thread_time();
        let done = work();
        let took = thread_time().saturating_sub(begin);
        for (_, spent) in Stage::ALL.iter().zip(&mut self.spent).filter(|(s, _)| **s == stage) {
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

    #[test]
    fn each_stage_has_its_own_time() {
        let mut times = StageTimes::default();
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
    }
}
