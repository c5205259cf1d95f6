//! When a camera's pictures are looked at, and in which thread.
//!
//! INVARIANT: perception never holds up the pipeline of a live unit: it has a thread of its own for
//! each camera, and pictures that come while it is busy are left out. INVARIANT: that thread is over
//! before the process ends: ONNX Runtime takes itself apart then, and a model that still ran would
//! run on what is gone.

use std::{
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use temoin_proto::{perception::Sight, samples::Frame, time::MonoTime};

use crate::{capture::Captured, perception::Perception};

/// Where perception runs.
enum Place {
    /// In the pipeline's loop: every picture that is due is looked at.
    Loop(Box<dyn Perception>),
    /// In a thread of its own.
    Thread(ToThread),
}

/// The way to that thread. Who drops it waits until the thread has ended, which is after the
/// picture that it looks at; whoever receives what it sees must be gone by then.
struct ToThread {
    to: Option<SyncSender<(Frame, Instant)>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ToThread {
    fn drop(&mut self) {
        self.to = None;
        // While a panic goes up, what it would wait for may never come.
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking())
            && thread.join().is_err()
        {
            tracing::error!("the perception thread ended by a panic");
        }
    }
}

/// One camera's perception.
pub struct Eyes {
    place: Place,
    period: Duration,
    /// One of so many pictures that are due is looked at.
    one_of: u32,
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
        let thread = thread::Builder::new().name("perception".into()).spawn(move || {
            for (frame, taken) in from {
                let sight = perception.observe(&frame);
                // Before the answer: the pipeline then owns the pixels alone and copies none.
                drop(frame);
                if back.send(Captured::Observed(sight, taken)).is_err() {
                    return;
                }
            }
        })?;
        let place = Place::Thread(ToThread { to: Some(to), thread: Some(thread) });
        Ok(Self::new(place, rate_hz))
    }

    fn new(place: Place, rate_hz: f64) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / rate_hz).unwrap_or(Duration::MAX);
        Self { place, period, one_of: 1, next: MonoTime::ZERO }
    }

    /// Looks at one of so many pictures that are due by its rate.
    pub const fn slow(&mut self, one_of: u32) {
        self.one_of = one_of;
    }

    /// Looks at a picture that came at `taken`, where one is due.
    pub fn look(&mut self, frame: &Frame, taken: Instant) -> Looked {
        if frame.at < self.next {
            return Looked::NotDue;
        }
        // From the plan, not from the frame: else 10 Hz out of 15 pictures a second become 7.5.
        let period = self.period.saturating_mul(self.one_of);
        self.next =
            if frame.at.since(self.next) > period { frame.at + period } else { self.next + period };
        match &mut self.place {
            Place::Loop(perception) => Looked::Seen(perception.observe(frame)),
            Place::Thread(ToThread { to: None, .. }) => Looked::Gone,
            Place::Thread(ToThread { to: Some(to), .. }) => {
                match to.try_send((frame.clone(), taken)) {
                    Ok(()) => Looked::Later,
                    Err(TrySendError::Full(_)) => Looked::Skipped,
                    Err(TrySendError::Disconnected(_)) => Looked::Gone,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use temoin_media::frame::I420Picture;
    use temoin_proto::{perception::NotSeen, samples::CameraId};

    use super::*;
    use crate::perception::HealthStatement;

    /// Says when its last picture is done; it takes its time over it.
    struct Slow(Arc<AtomicBool>);

    impl Perception for Slow {
        fn observe(&mut self, frame: &Frame) -> Sight {
            thread::sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::SeqCst);
            Sight::unseen(frame.camera, frame.at, NotSeen::NoFace)
        }

        fn health(&self) -> Vec<HealthStatement> {
            Vec::new()
        }
    }

    #[test]
    fn no_picture_is_looked_at_once_the_eyes_are_gone() {
        let done = Arc::new(AtomicBool::new(false));
        let (back, from) = sync_channel(0);
        let mut eyes = Eyes::in_thread(Box::new(Slow(Arc::clone(&done))), 10.0, back).unwrap();
        let black = I420Picture::black(64, 64).unwrap();
        let frame = black.into_frame(CameraId::Cabin, MonoTime::from_secs_f64(1.0));
        assert_eq!(eyes.look(&frame, Instant::now()), Looked::Later);
        drop(from);
        drop(eyes);
        assert!(done.load(Ordering::SeqCst));
    }
}
