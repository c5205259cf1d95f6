//! A video file in place of a camera.
//!
//! GStreamer decodes any file it knows, turns it upright, scales it into the wanted size with
//! black bars where the shape differs, and hands out I420. Sound is not decoded. Each frame keeps
//! its own time; where the file has more frames a second than wanted, some are left out. The file
//! `/dev/stdin` is what the process was given open: nothing is opened then.
//!
//! INVARIANT: at most a few decoded frames are held: the decoder waits for the consumer.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::VideoFrameExt;
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};

use crate::{
    device::{Camera, CameraError},
    drive::VideoInput,
    frame_grid::FrameGrid,
};

/// Decoded frames that wait for the consumer.
const QUEUED_FRAMES: u32 = 3;
/// How long a file may give nothing before that is a fault.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// A file is cut short where this much of it is missing, and more than [`CUT_PART`] of it. Own
/// choice: the sound of a whole file may well be a little longer than its pictures.
const CUT_S: f64 = 1.0;
const CUT_PART: f64 = 0.05;

/// What pictures are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSize {
    /// Width, pixels; even.
    pub width: u32,
    /// Height, pixels; even.
    pub height: u32,
    /// Frames a second at most.
    pub fps: u32,
}

impl Default for PictureSize {
    fn default() -> Self {
        Self { width: 1280, height: 720, fps: 15 }
    }
}

impl PictureSize {
    /// Whether I420 pictures of this size can be.
    ///
    /// # Errors
    /// [`CameraError::BadSize`].
    pub fn check(self) -> Result<Self, CameraError> {
        let Self { width, height, fps } = self;
        let side = |n: u32| n.is_multiple_of(2) && (16..=4096).contains(&n);
        if side(width) && side(height) && (1..=240).contains(&fps) {
            Ok(self)
        } else {
            Err(CameraError::BadSize { width, height, fps })
        }
    }
}

/// The camera.
pub struct VideoFile {
    id: CameraId,
    input: VideoInput,
    size: PictureSize,
    zero: MonoTime,
    playing: Option<Playing>,
    /// Where the present round begins, in seconds of the drive.
    round_s: f64,
    last_at: Option<MonoTime>,
}

impl VideoFile {
    /// Opens the file; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where it cannot be read, is no video, or a plugin is missing.
    pub fn open(
        id: CameraId,
        input: &VideoInput,
        size: PictureSize,
        zero: MonoTime,
    ) -> Result<Self, CameraError> {
        let size = size.check()?;
        let playing = Some(Playing::start(input, size)?);
        let round_s = input.offset_s;
        Ok(Self { id, input: input.clone(), size, zero, playing, round_s, last_at: None })
    }

    fn place(&self, file_s: f64) -> MonoTime {
        let drive_s = (self.round_s + file_s - self.input.start_s).max(0.0);
        self.zero + Duration::try_from_secs_f64(drive_s).unwrap_or(Duration::MAX)
    }

    /// At the end of a round: the next one, where it loops.
    fn next_round(&mut self, played: &Playing) -> Result<(), CameraError> {
        if !self.input.looped {
            return Ok(());
        }
        let round_s = played.end_s - self.input.start_s;
        // Without this a file that has nothing after `start_s` would go round for ever.
        if round_s <= 0.0 {
            return Err(media(&self.input.file, "it has no picture after start_s"));
        }
        self.round_s += round_s;
        self.playing = Some(Playing::start(&self.input, self.size)?);
        Ok(())
    }
}

impl Camera for VideoFile {
    fn id(&self) -> CameraId {
        self.id
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        while let Some(mut playing) = self.playing.take() {
            // After an error `playing` stays empty: no more will come.
            let Some((file_s, data)) = playing.next_picture(&self.input, self.size)? else {
                self.next_round(&playing)?;
                continue;
            };
            self.playing = Some(playing);
            let at = self.place(file_s);
            if self.last_at.is_some_and(|last| at <= last) {
                continue;
            }
            self.last_at = Some(at);
            return Ok(Some(Frame {
                camera: self.id,
                at,
                width: self.size.width,
                height: self.size.height,
                format: PixelFormat::I420,
                data,
            }));
        }
        Ok(None)
    }
}

/// One pipeline, from the beginning of the file to its end.
struct Playing {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    bus: gst::Bus,
    frames: u64,
    /// Where the last picture ends, seconds of the file.
    end_s: f64,
}

impl Drop for Playing {
    fn drop(&mut self) {
        if let Err(e) = self.pipeline.set_state(gst::State::Null) {
            tracing::debug!(error = %e, "a video pipeline did not stop cleanly");
        }
    }
}

fn media(path: &Path, reason: impl Into<String>) -> CameraError {
    CameraError::Media { path: path.to_owned(), reason: reason.into() }
}

fn element(path: &Path, name: &str, package: &'static str) -> Result<gst::Element, CameraError> {
    gst::ElementFactory::make(name).build().map_err(|_| CameraError::MissingPlugin {
        path: path.to_owned(),
        what: format!("element `{name}`"),
        package,
    })
}

/// What is open already, as the system names it.
pub const STDIN: &str = "/dev/stdin";
const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";

/// Where Debian has the decoder that GStreamer asks for in these words.
fn decoder_package(what: &str) -> &'static str {
    let what = what.to_ascii_lowercase();
    let any = |names: &[&str]| names.iter().any(|n| what.contains(n));
    if any(&["vp8", "vp9", "matroska", "quicktime", "jpeg", "avi", "flv"]) {
        GOOD
    } else if any(&["mpeg-ts", "mpegts", "av1", "mpeg transport"]) {
        "gstreamer1.0-plugins-bad"
    } else {
        "gstreamer1.0-libav"
    }
}

/// Where what is open already is read from its beginning again.
fn rewind() -> io::Result<()> {
    rustix::fs::seek(io::stdin(), rustix::fs::SeekFrom::Start(0))?;
    Ok(())
}

impl Playing {
    fn start(input: &VideoInput, size: PictureSize) -> Result<Self, CameraError> {
        let path = &input.file;
        // GStreamer's own words for a missing file do not name it.
        if path != Path::new(STDIN) {
            std::fs::File::open(path)
                .map_err(|source| CameraError::Open { path: path.clone(), source })?;
        }
        gst::init().map_err(|e| media(path, format!("GStreamer does not start: {e}")))?;
        quiet_gstreamer();
        let mut playing = Self::paused(path, size)?;
        if input.start_s > 0.0 {
            let to = Duration::try_from_secs_f64(input.start_s)
                .ok()
                .and_then(|d| gst::ClockTime::try_from(d).ok())
                .ok_or_else(|| media(path, "start_s is no time in a video"))?;
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            if playing.pipeline.seek_simple(flags, to).is_err() {
                // A fragmented MP4, as streams and browsers make them, has no list of its pictures: it is
                // played from its beginning, and what comes before is left out.
                drop(playing);
                if path == Path::new(STDIN) {
                    rewind().map_err(|source| CameraError::Open { path: path.clone(), source })?;
                }
                playing = Self::paused(path, size)?;
            }
        }
        playing.set_state(path, gst::State::Playing)?;
        Ok(playing)
    }

    /// At its first picture.
    fn paused(path: &Path, size: PictureSize) -> Result<Self, CameraError> {
        let playing = Self::build(path, size)?;
        playing.set_state(path, gst::State::Paused)?;
        playing.wait_for_first(path)?;
        Ok(playing)
    }

    fn build(path: &Path, size: PictureSize) -> Result<Self, CameraError> {
        let pipeline = gst::Pipeline::new();
        let source = if path == Path::new(STDIN) {
            element(path, "fdsrc", CORE)?
        } else {
            let source = element(path, "filesrc", CORE)?;
            source.set_property("location", path.display().to_string());
            source
        };
        let decode = element(path, "decodebin", BASE)?;
        // Sound and subtitles are not decoded at all. `ANY`: decoders whose pictures may lie in
        // other memory than the machine's count too.
        let pictures = gst::Caps::builder("video/x-raw").any_features().build();
        decode.set_property("caps", pictures);
        decode.set_property("expose-all-streams", false);
        let upright = element(path, "videoflip", GOOD)?;
        upright.set_property_from_str("video-direction", "auto");
        let convert = element(path, "videoconvert", BASE)?;
        let scale = element(path, "videoscale", BASE)?;
        scale.set_property("add-borders", true);
        let side = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", side(size.width))
            .field("height", side(size.height))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        let sink = gst_app::AppSink::builder()
            .caps(&caps)
            .sync(false)
            .max_buffers(QUEUED_FRAMES)
            .drop(false)
            .build();
        let chain = [&upright, &convert, &scale, sink.upcast_ref()];
        let broken = |_| media(path, "GStreamer cannot join its elements");
        pipeline.add_many([&source, &decode]).map_err(broken)?;
        pipeline.add_many(chain).map_err(broken)?;
        source.link(&decode).map_err(broken)?;
        gst::Element::link_many(chain).map_err(broken)?;

        let entry = upright
            .static_pad("sink")
            .ok_or_else(|| media(path, "GStreamer cannot join its elements"))?;
        // Frames that are not wanted go before anything is spent on them.
        let grid = Mutex::new(FrameGrid::new(size.fps));
        entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let pts = info.buffer().and_then(|b| b.pts());
            let mut grid = grid.lock().unwrap_or_else(PoisonError::into_inner);
            if pts.is_some_and(|pts| grid.admits(pts.nseconds())) {
                gst::PadProbeReturn::Ok
            } else {
                // Not `Drop`: with GStreamer 1.22 the binding then unrefs a buffer that is gone.
                drop(info.take_buffer());
                gst::PadProbeReturn::Handled
            }
        });
        let weak = entry.downgrade();
        decode.connect_pad_added(move |_, pad| {
            // The first video of the file; a second one stays unlinked.
            if let Some(entry) = weak.upgrade()
                && !entry.is_linked()
                && let Err(e) = pad.link(&entry)
            {
                tracing::warn!(error = %e, "a video stream could not be joined");
            }
        });
        let bus = pipeline.bus().ok_or_else(|| media(path, "GStreamer gives no bus"))?;
        Ok(Self { pipeline, sink, bus, frames: 0, end_s: f64::NEG_INFINITY })
    }

    fn set_state(&self, path: &Path, state: gst::State) -> Result<(), CameraError> {
        match self.pipeline.set_state(state) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.fault(path).unwrap_or_else(|| media(path, "GStreamer refuses it"))),
        }
    }

    /// Waits until the first picture is decoded, the file turns out to have none, or an error.
    fn wait_for_first(&self, path: &Path) -> Result<(), CameraError> {
        let began = Instant::now();
        loop {
            if let Some(e) = self.fault(path) {
                return Err(e);
            }
            let (outcome, _, _) = self.pipeline.state(LOOK);
            match outcome {
                Ok(gst::StateChangeSuccess::Async) => {}
                Ok(_) => return Ok(()),
                Err(_) => {
                    let why = || media(path, "it is damaged, or no video");
                    return Err(self.fault(path).unwrap_or_else(why));
                }
            }
            if began.elapsed() > PATIENCE {
                let waited_s = PATIENCE.as_secs();
                return Err(CameraError::Stalled { path: path.to_owned(), waited_s });
            }
        }
    }

    /// What the pipeline has complained of, in the words for the operator.
    fn fault(&self, path: &Path) -> Option<CameraError> {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(e) = message.view() else { return None };
        let (error, debug) = (e.error(), e.debug().unwrap_or_default());
        // What it misses stands in the debug text only, the pictures' decoder first.
        let missing = debug.lines().find_map(|l| l.strip_prefix("Missing "));
        match missing {
            Some(what) if error.matches(gst::CoreError::MissingPlugin) => {
                let what = what.split(" (").next().unwrap_or(what).to_owned();
                let package = decoder_package(&what);
                Some(CameraError::MissingPlugin { path: path.to_owned(), what, package })
            }
            _ => Some(media(path, error.message())),
        }
    }

    /// The next picture and its time in the file, seconds.
    fn next_picture(
        &mut self,
        input: &VideoInput,
        size: PictureSize,
    ) -> Result<Option<(f64, Bytes)>, CameraError> {
        let path = &input.file;
        let mut began = Instant::now();
        loop {
            if let Some(sample) = self.sink.try_pull_sample(LOOK) {
                began = Instant::now();
                let Some((file_s, length_s)) = stream_time(&sample) else { continue };
                if file_s < input.start_s - 1e-6 {
                    continue;
                }
                if input.length_s.is_some_and(|l| file_s >= input.start_s + l) {
                    self.end_s = input.start_s + input.length_s.unwrap_or(0.0);
                    return Ok(None);
                }
                self.frames += 1;
                self.end_s = file_s + length_s.unwrap_or(1.0 / f64::from(size.fps));
                let picture = packed(&sample, size)
                    .ok_or_else(|| media(path, "GStreamer gives a picture of another size"))?;
                return Ok(Some((file_s, picture)));
            }
            // The frames before a fault have been handed out by now.
            if let Some(e) = self.fault(path) {
                return Err(e);
            }
            if self.sink.is_eos() {
                return self.at_end(input);
            }
            if began.elapsed() > PATIENCE {
                let waited_s = PATIENCE.as_secs();
                return Err(CameraError::Stalled { path: path.clone(), waited_s });
            }
        }
    }

    fn at_end(&self, input: &VideoInput) -> Result<Option<(f64, Bytes)>, CameraError> {
        if self.frames == 0 {
            return Err(media(&input.file, "it has no picture where it is to be played"));
        }
        let promised_s = self
            .pipeline
            .query_duration::<gst::ClockTime>()
            .map_or(0.0, |d| Duration::from(d).as_secs_f64());
        let missing_s = promised_s - self.end_s;
        if missing_s > CUT_S && missing_s > promised_s * CUT_PART {
            let path = PathBuf::from(&input.file);
            return Err(CameraError::Truncated { path, found_s: self.end_s, promised_s });
        }
        Ok(None)
    }
}

/// Where a sample lies in its file and how long it lasts, seconds.
fn stream_time(sample: &gst::Sample) -> Option<(f64, Option<f64>)> {
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_stream_time(buffer.pts()?)?;
    let seconds = |t: gst::ClockTime| Duration::from(t).as_secs_f64();
    Some((seconds(at), buffer.duration().map(seconds).filter(|d| *d > 0.0)))
}

/// The planes without the padding at the ends of their rows.
pub(crate) fn packed(sample: &gst::Sample, size: PictureSize) -> Option<Bytes> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let width = usize::try_from(size.width).ok()?;
    let height = usize::try_from(size.height).ok()?;
    let total = PixelFormat::I420.size_bytes(width, height);
    let mut out = BytesMut::with_capacity(total);
    for (plane, stride) in (0_u32..).zip(frame.plane_stride()) {
        let (w, h) = if plane == 0 { (width, height) } else { (width / 2, height / 2) };
        let stride = usize::try_from(*stride).ok().filter(|s| *s >= w)?;
        for row in frame.plane_data(plane).ok()?.chunks(stride).take(h) {
            out.put_slice(row.get(..w)?);
        }
    }
    (out.len() == total).then(|| out.freeze())
}

/// GStreamer writes its complaints to standard error by itself; they reach the operator through
/// the errors here.
pub(crate) fn quiet_gstreamer() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        if std::env::var_os("GST_DEBUG").is_none() {
            gst::log::set_default_threshold(gst::DebugLevel::None);
        }
    });
}

#[cfg(test)]
mod tests;
