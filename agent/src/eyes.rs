//! When a camera's pictures are looked at, and in which thread.
//!
//! INVARIANT: perception never holds up the pipeline of a live unit: it has a thread of its own for
//! each camera, and pictures that come while it is busy are left out.

use std::{
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use temoin_proto::{perception::Sight, samples::Frame, time::MonoTime};

use crate::{capture::Captured, perception::Perception};

/// Where perception runs.
enum Place {
    /// In the pipeline's loop: every picture that is due is looked at.
    Loop(Box<dyn Perception>),
    /// In a thread of its own.
    Thread(SyncSender<(Frame, Instant)>),
}

/// One camera's perception.
pub struct Eyes {
    place: Place,
    period: Duration,
    next: MonoTime,
}

/// What became of a picture.
#[derive(Debug, PartialEq)]
pub enum Looked {
    /// It was not due.
    NotDue,
    /// It was looked at in the loop.
    Seen(Sight),
    /// It is being looked at; what is seen comes back through the pipeline's channel.
    Later,
    /// The thread was busy with an earlier one.
    Skipped,
    /// The thread has ended.
    Gone,
}

impl Eyes {
    /// In the loop, so that a replay at full speed sees the same every time.
    pub fn in_loop(perception: Box<dyn Perception>, rate_hz: f64) -> Self {
        Self::new(Place::Loop(perception), rate_hz)
    }

    /// Starts a thread for perception; what it sees comes back through the pipeline's channel.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn in_thread(
        mut perception: Box<dyn Perception>,
        rate_hz: f64,
        back: SyncSender<Captured>,
    ) -> std::io::Result<Self> {
        let (to, from) = sync_channel::<(Frame, Instant)>(1);
        // It ends with the pipeline, and nothing waits for it.
        thread::Builder::new().name("perception".into()).spawn(move || {
            for (frame, taken) in from {
                let sight = perception.observe(&frame);
                // Before the answer: the pipeline then owns the pixels alone and copies none.
                drop(frame);
                if back.send(Captured::Observed(sight, taken)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::new(Place::Thread(to), rate_hz))
    }

    fn new(place: Place, rate_hz: f64) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / rate_hz).unwrap_or(Duration::MAX);
        Self { place, period, next: MonoTime::ZERO }
    }

    /// Looks at a picture that came at `taken`, where one is due.
    pub fn look(&mut self, frame: &Frame, taken: Instant) -> Looked {
        if frame.at < self.next {
            return Looked::NotDue;
        }
        // From the plan, not from the frame: else 10 Hz out of 15 pictures a second become 7.5.
        self.next = if frame.at.since(self.next) > self.period {
            frame.at + self.period
        } else {
            self.next + self.period
        };
        match &mut self.place {
            Place::Loop(perception) => Looked::Seen(perception.observe(frame)),
            Place::Thread(to) => match to.try_send((frame.clone(), taken)) {
                Ok(()) => Looked::Later,
                Err(TrySendError::Full(_)) => Looked::Skipped,
                Err(TrySendError::Disconnected(_)) => Looked::Gone,
            },
        }
    }
}
