//! A camera that GStreamer reaches: on a Jetson those on its CSI ports (`nvarguscamerasrc`), and whatever
//! else an installer can write a pipeline for.
//!
//! The pipeline is given up to where pictures lie in the machine's own memory; size, format and what is done
//! with them are added here. Times are those of the pipeline's clock, which is the kernel's monotonic one.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};

use crate::{
    clock::SystemClock,
    device::{Camera, CameraError},
    frame_grid::FrameGrid,
    pace::StopToken,
    video_file::{PictureSize, packed, quiet_gstreamer},
};

/// Pictures that wait for whoever takes them; older ones are dropped, as a driver would.
const QUEUED: u32 = 3;
/// How long a camera may give nothing before that is a fault.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to begin: drivers of CSI cameras start a service first.
const BEGINS: Duration = Duration::from_secs(10);
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
const SINK: &str = "temoin";

/// The camera.
pub struct GstCamera {
    id: CameraId,
    size: PictureSize,
    running: Running,
    grid: FrameGrid,
    last_at: Option<MonoTime>,
    /// Since when nothing came, and how long that may last.
    silent: (Instant, Duration),
    stop: StopToken,
    gone: bool,
}

struct Running {
    words: PathBuf,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    bus: gst::Bus,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(e) = self.pipeline.set_state(gst::State::Null) {
            tracing::debug!(error = %e, "a camera's pipeline did not stop cleanly");
        }
    }
}

impl Running {
    fn new(pipeline: &str, size: PictureSize) -> Result<Self, CameraError> {
        let words = PathBuf::from(pipeline);
        let failed = |reason: String| CameraError::Pipeline { pipeline: words.clone(), reason };
        gst::init().map_err(|e| failed(format!("GStreamer does not start: {e}")))?;
        quiet_gstreamer();
        let PictureSize { width, height, .. } = size;
        let whole = format!(
            "{pipeline} ! videoconvert ! videoscale ! \
             video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 ! \
             appsink name={SINK} sync=false drop=true max-buffers={QUEUED}"
        );
        let parsed = gst::parse::launch(&whole).map_err(|e| failed(e.message().to_owned()))?;
        let no_camera = || failed("it is no pipeline that ends in pictures".to_owned());
        let pipeline = parsed.downcast::<gst::Pipeline>().map_err(|_| no_camera())?;
        // Its sources may bring clocks of their own.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let sink = pipeline.by_name(SINK).and_then(|sink| sink.downcast().ok());
        let (sink, bus) = sink.zip(pipeline.bus()).ok_or_else(no_camera)?;
        Ok(Self { words, pipeline, sink, bus })
    }

    fn start(&self) -> Result<(), CameraError> {
        let refused = |_| self.fault().unwrap_or_else(|| self.failed("GStreamer refuses it"));
        self.pipeline.set_state(gst::State::Playing).map(drop).map_err(refused)
    }

    fn failed(&self, reason: &str) -> CameraError {
        CameraError::Pipeline { pipeline: self.words.clone(), reason: reason.to_owned() }
    }

    /// What the pipeline has complained of.
    fn fault(&self) -> Option<CameraError> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(e) = message.view() else { return None };
        Some(self.failed(e.error().message()))
    }

    /// When a picture was taken.
    fn taken(&self, sample: &gst::Sample) -> Option<MonoTime> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let running = segment.to_running_time(sample.buffer()?.pts()?)?;
        let clock = self.pipeline.base_time()?.checked_add(running)?;
        Some(SystemClock::from_kernel_monotonic(clock.into()))
    }
}

impl GstCamera {
    /// Starts the pipeline.
    ///
    /// # Errors
    /// Where it is none, an element is missing, or its camera refuses.
    pub fn open(
        id: CameraId,
        pipeline: &str,
        size: PictureSize,
        stop: StopToken,
    ) -> Result<Self, CameraError> {
        let size = size.check()?;
        let running = Running::new(pipeline, size)?;
        running.start()?;
        let (grid, silent) = (FrameGrid::new(size.fps), (Instant::now(), BEGINS));
        Ok(Self { id, size, running, grid, last_at: None, silent, stop, gone: false })
    }

    /// Whether such a pipeline can be made. Does not start it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(pipeline: &str) -> Result<(), CameraError> {
        Running::new(pipeline, PictureSize::default()).map(drop)
    }

    /// The next picture; none where there is none yet, it is not wanted, or it was the last.
    fn picture(&mut self) -> Result<Option<Frame>, CameraError> {
        let Some(sample) = self.running.sink.try_pull_sample(LOOK) else {
            if let Some(e) = self.running.fault() {
                return Err(e);
            }
            let (since, patience) = self.silent;
            self.gone = self.running.sink.is_eos();
            if since.elapsed() > patience && !self.gone {
                let path = self.running.words.clone();
                return Err(CameraError::Stalled { path, waited_s: patience.as_secs() });
            }
            return Ok(None);
        };
        self.silent = (Instant::now(), PATIENCE);
        let at = self.running.taken(&sample);
        let Some(at) = at.filter(|at| self.last_at.is_none_or(|last| *at > last)) else {
            return Ok(None);
        };
        if !self.grid.admits(at.as_ns()) {
            return Ok(None);
        }
        let data = packed(&sample, self.size)
            .ok_or_else(|| self.running.failed("it gives a picture of another size"))?;
        self.last_at = Some(at);
        let PictureSize { width, height, .. } = self.size;
        Ok(Some(Frame { camera: self.id, at, width, height, format: PixelFormat::I420, data }))
    }
}

impl Camera for GstCamera {
    fn id(&self) -> CameraId {
        self.id
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        while !self.gone && !self.stop.is_stopped() {
            match self.picture() {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(e) => {
                    self.gone = true;
                    return Err(e);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Clock as _;

    const SIZE: PictureSize = PictureSize { width: 320, height: 180, fps: 15 };
    const SOURCE: &str =
        "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1";

    fn open(pipeline: &str) -> Result<GstCamera, CameraError> {
        GstCamera::open(CameraId::Cabin, pipeline, SIZE, StopToken::new())
    }

    #[test]
    fn pictures_come_at_the_wanted_rate_with_the_time_at_which_they_were_taken() {
        let mut camera = open(SOURCE).unwrap();
        let mut times = Vec::new();
        for _ in 0..20 {
            let frame = camera.next_frame().unwrap().unwrap();
            assert_eq!(frame.data.len(), 320 * 180 * 3 / 2);
            let age = SystemClock.now().secs_from(frame.at);
            assert!((0.0..2.0).contains(&age), "taken {age} s ago");
            times.push(frame.at);
        }
        let took = times[19].secs_from(times[0]);
        // A busy machine drops some.
        assert!(took > 19.0 / 15.0 * 0.95, "20 pictures in {took} s");
        assert!(times.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn one_that_ends_ends_and_one_that_stands_is_a_fault() {
        let mut camera = open(&SOURCE.replace("ball", "ball num-buffers=4")).unwrap();
        let mut count = 0;
        while camera.next_frame().unwrap().is_some() {
            count += 1;
        }
        assert!((1..=4).contains(&count), "{count}");
        let mut camera = open(&format!("{SOURCE} ! valve drop=true")).unwrap();
        // As after a first picture.
        camera.silent.1 = PATIENCE;
        let said = camera.next_frame();
        assert!(matches!(said, Err(CameraError::Stalled { .. })), "{said:?}");
        assert!(matches!(camera.next_frame(), Ok(None)));
    }

    #[test]
    fn what_is_no_camera_is_refused_with_its_reason() {
        for (pipeline, names) in [
            ("nosuchcamerasrc sensor-id=0", "nosuchcamerasrc"),
            ("videotestsrc ! ! x", "syntax"),
            ("audiotestsrc", "link"),
            ("v4l2src device=/dev/no-such-video", "no-such-video"),
        ] {
            let said = match open(pipeline) {
                Err(e) => e,
                // Some say so once they run.
                Ok(mut camera) => camera.next_frame().unwrap_err(),
            };
            let said = said.to_string();
            assert!(said.contains(names) && said.contains(pipeline), "{said}");
        }
        assert!(GstCamera::check(SOURCE).is_ok());
        assert!(GstCamera::check("nosuchcamerasrc").is_err());
    }
}
