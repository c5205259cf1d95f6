//! A GStreamer pipeline with one way in and one way out, and the times of what is inside.
//!
//! INVARIANT: whoever pushes never waits without a limit: a pipeline that reports an error, or
//! does nothing for [`STALL`], ends the wait with an error. (`appsrc` alone would block for ever
//! once the element after it has failed.)

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gstreamer::{self as gst, glib, prelude::*};
use gstreamer_app::{AppSink, AppSrc};
use temoin_proto::time::MonoTime;

use super::H264Error;

/// How long a pipeline may do nothing, with work queued, before it counts as broken.
const STALL: Duration = Duration::from_secs(20);
/// How often a waiting thread looks for an error.
const LOOK: Duration = Duration::from_millis(50);
/// Pictures that wait in front of the coder: one being worked on and one more.
const QUEUE: u64 = 2;
/// Half a millisecond: some hardware encoders round times to microseconds or a 90 kHz clock.
const SAME_TIME_NS: u64 = 500_000;

/// Elements outside GStreamer's core, and the Debian package of each.
const PACKAGES: [(&str, &str); 11] = [
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("openh264enc", "gstreamer1.0-plugins-bad"),
    ("x264enc", "gstreamer1.0-plugins-ugly"),
    ("avdec_h264", "gstreamer1.0-libav"),
    ("v4l2h264enc", "gstreamer1.0-plugins-good, and a kernel driver with an H.264 encoder"),
    ("vah264enc", "gstreamer1.0-plugins-bad, and a graphics driver that encodes H.264"),
    ("nvv4l2h264enc", "nvidia-l4t-gstreamer, which only Jetson boards have"),
    ("nvvidconv", "nvidia-l4t-gstreamer, which only Jetson boards have"),
];

/// Starts GStreamer (once) and looks for elements.
pub(super) fn need(elements: &[&'static str]) -> Result<(), H264Error> {
    gst::init().map_err(|e| H264Error::Start(e.to_string()))?;
    for &element in elements {
        if gst::ElementFactory::find(element).is_none() {
            let package = PACKAGES.iter().find(|(name, _)| *name == element);
            let package = package.map_or("gstreamer1.0-plugins-base", |(_, package)| package);
            return Err(H264Error::MissingElement { element, package });
        }
    }
    Ok(())
}

/// A running pipeline between an `appsrc` called `src` and an `appsink` called `sink`.
pub(super) struct Pipeline {
    what: &'static str,
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    src: AppSrc,
    sink: AppSink,
    /// Signalled each time that `src` hands something on.
    taken: Arc<(Mutex<u64>, Condvar)>,
    pushed: u64,
    times: Times,
    broken: bool,
}

/// The times of what is inside of the pipeline.
#[derive(Default)]
struct Times {
    first: Option<MonoTime>,
    last: Option<MonoTime>,
    inside: VecDeque<MonoTime>,
}

/// What a look into the way out found.
enum Pulled {
    Sample(gst::Sample),
    NotYet,
    End,
}

impl Pipeline {
    /// Starts the pipeline of this description.
    pub(super) fn start(
        what: &'static str,
        description: &str,
        caps: &gst::Caps,
    ) -> Result<Self, H264Error> {
        let fail = |message: &str| H264Error::Pipeline {
            what,
            element: "pipeline".to_owned(),
            message: message.to_owned(),
        };
        let pipeline = gst::parse::launch(description)
            .map_err(|e| fail(e.message()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| fail("not a pipeline"))?;
        let part = |name: &str| pipeline.by_name(name).ok_or_else(|| fail("an end is missing"));
        let src = part("src")?.downcast::<AppSrc>().map_err(|_| fail("src is no appsrc"))?;
        let sink = part("sink")?.downcast::<AppSink>().map_err(|_| fail("sink is no appsink"))?;
        let bus = pipeline.bus().ok_or_else(|| fail("no bus"))?;

        src.set_caps(Some(caps));
        src.set_format(gst::Format::Time);
        // The wait for room is ours (see the header), so appsrc must neither block nor drop.
        src.set_max_bytes(0);
        sink.set_sync(false);
        sink.set_enable_last_sample(false);
        let taken = Arc::new((Mutex::new(0), Condvar::new()));
        let signal = Arc::clone(&taken);
        let pad = src.static_pad("src").ok_or_else(|| fail("src has no pad"))?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            *signal.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            signal.1.notify_all();
            gst::PadProbeReturn::Ok
        });

        let times = Times::default();
        let mut this =
            Self { what, pipeline, bus, src, sink, taken, pushed: 0, times, broken: false };
        if this.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(this.failure().unwrap_or_else(|| fail("it does not start")));
        }
        Ok(this)
    }

    /// The error that the pipeline reported, where it did.
    fn failure(&mut self) -> Option<H264Error> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        self.broken = true;
        let gst::MessageView::Error(e) = message.view() else { return None };
        Some(H264Error::Pipeline {
            what: self.what,
            element: e.src().map(|s| s.name().to_string()).unwrap_or_default(),
            message: e.error().message().to_owned(),
        })
    }

    fn check(&mut self) -> Result<(), H264Error> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        if self.broken {
            return Err(H264Error::Pipeline {
                what: self.what,
                element: "pipeline".to_owned(),
                message: "it failed before".to_owned(),
            });
        }
        Ok(())
    }

    /// Time since the first picture, which is the pipeline's own time.
    pub(super) fn elapsed(&self, at: MonoTime) -> Duration {
        self.times.first.map_or(Duration::ZERO, |first| at.since(first))
    }

    /// Puts `buffer` in, after `event` where there is one. Waits while [`QUEUE`] are waiting.
    pub(super) fn push(
        &mut self,
        at: MonoTime,
        mut buffer: gst::Buffer,
        event: Option<gst::Event>,
    ) -> Result<(), H264Error> {
        self.check()?;
        if let Some(last) = self.times.last.filter(|last| *last >= at) {
            return Err(H264Error::TimeOrder { at, last });
        }
        self.wait_for_room()?;
        let first = *self.times.first.get_or_insert(at);
        let pts = u64::try_from(at.since(first).as_nanos()).unwrap_or(u64::MAX);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(pts.min(i64::MAX.unsigned_abs())));
        }
        if let Some(event) = event {
            self.src.send_event(event);
        }
        self.times.last = Some(at);
        self.times.inside.push_back(at);
        self.pushed += 1;
        self.src.push_buffer(buffer).map_err(|flow| {
            self.failure().unwrap_or_else(|| H264Error::Pipeline {
                what: self.what,
                element: "src".to_owned(),
                message: format!("{flow:?}"),
            })
        })?;
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), H264Error> {
        let taken = Arc::clone(&self.taken);
        let mut seen = *taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut since = Instant::now();
        while self.pushed.saturating_sub(seen) >= QUEUE {
            self.check()?;
            let guard = taken.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (now, _) = taken
                .1
                .wait_timeout_while(guard, LOOK, |n| *n == seen)
                .unwrap_or_else(PoisonError::into_inner);
            if *now != seen {
                (seen, since) = (*now, Instant::now());
            } else if since.elapsed() > STALL {
                self.broken = true;
                return Err(H264Error::Stalled { what: self.what, waited_s: STALL.as_secs() });
            }
        }
        Ok(())
    }

    fn look(&self, wait: Duration) -> Pulled {
        let wait = gst::ClockTime::try_from(wait).unwrap_or(gst::ClockTime::ZERO);
        match self.sink.try_pull_sample(wait) {
            Some(sample) => Pulled::Sample(sample),
            None if self.sink.is_eos() => Pulled::End,
            None => Pulled::NotYet,
        }
    }

    /// What came out, with the time that went in; waits up to `wait` for it.
    pub(super) fn pull(
        &mut self,
        wait: Duration,
    ) -> Result<Option<(MonoTime, gst::Sample)>, H264Error> {
        match self.look(wait) {
            Pulled::Sample(sample) => {
                let at = self.time_of(&sample)?;
                Ok(Some((at, sample)))
            }
            Pulled::NotYet => self.check().map(|()| None),
            Pulled::End => {
                self.check()?;
                match self.times.inside.pop_front() {
                    Some(at) => Err(H264Error::Lost { what: self.what, at }),
                    None => Ok(None),
                }
            }
        }
    }

    /// Says that nothing more comes in.
    pub(super) fn end(&mut self) -> Result<(), H264Error> {
        self.check()?;
        if self.src.end_of_stream().is_err() {
            self.check()?;
        }
        Ok(())
    }

    /// After [`Self::end`]: the next that comes out, or `None` when all have.
    pub(super) fn pull_last(&mut self) -> Result<Option<(MonoTime, gst::Sample)>, H264Error> {
        let since = Instant::now();
        while since.elapsed() < STALL {
            let out = self.pull(LOOK)?;
            if out.is_some() || self.sink.is_eos() && self.times.inside.is_empty() {
                return Ok(out);
            }
        }
        self.broken = true;
        Err(H264Error::Stalled { what: self.what, waited_s: STALL.as_secs() })
    }

    /// The time that went in with this picture. Elements shift times (x264enc by 1,000 hours) or
    /// round them; the running time and the order tell which one it is.
    fn time_of(&mut self, sample: &gst::Sample) -> Result<MonoTime, H264Error> {
        let running_ns = sample
            .buffer()
            .and_then(gst::BufferRef::pts)
            .and_then(|pts| {
                let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
                segment.to_running_time(pts)
            })
            .map(gst::ClockTime::nseconds);
        let Some(at) = self.times.inside.pop_front() else {
            return Err(self.extra_picture());
        };
        let pushed = u64::try_from(self.elapsed(at).as_nanos()).unwrap_or(u64::MAX);
        match running_ns {
            Some(ns) if ns.abs_diff(pushed) <= SAME_TIME_NS => Ok(at),
            Some(ns) if ns > pushed => {
                self.broken = true;
                Err(H264Error::Lost { what: self.what, at })
            }
            _ => Err(self.extra_picture()),
        }
    }

    fn extra_picture(&mut self) -> H264Error {
        self.broken = true;
        H264Error::Pipeline {
            what: self.what,
            element: "sink".to_owned(),
            message: "a picture came out that never went in".to_owned(),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Waits for the streaming threads; none of them waits for us, so this is short.
        if self.pipeline.set_state(gst::State::Null).is_err() {
            tracing::warn!(what = self.what, "a video pipeline did not stop cleanly");
        }
    }
}

/// `value` as GStreamer's caps want it; sizes here are at most 1920.
pub(super) fn caps_int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Keeps `glib`'s name in one place: a buffer error as an error of ours.
pub(super) fn bool_error(what: &'static str, error: &glib::BoolError) -> H264Error {
    H264Error::Pipeline {
        what,
        element: "buffer".to_owned(),
        message: error.message.clone().into_owned(),
    }
}
