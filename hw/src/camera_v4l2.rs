//! A camera that the kernel knows (V4L2), with memory-mapped buffers.
//!
//! Frames carry the kernel's own stamp where that is on `CLOCK_MONOTONIC`, else the time at which
//! they were taken off the queue. Pictures that the driver marks as damaged are left out.
//!
//! Faults of the `v4l` crate (0.14) that this works around: `format()` carries a stale `size`,
//! so a fresh format is asked for; after one timeout every `next()` fails, so the stream is made
//! anew; dropping a stream panics where STREAMOFF fails, so a stream that cannot be stopped is
//! forgotten instead.
//!
//! A crash leaves the device to the kernel, which stops it.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};
use v4l::{
    Device, Format, FourCC, Fraction, FrameInterval,
    buffer::{Flags, Metadata, Type},
    frameinterval::FrameIntervalEnum,
    io::{
        mmap::Stream,
        traits::{CaptureStream, Stream as _},
    },
    video::{Capture, capture::Parameters},
};

use crate::{
    clock::SystemClock,
    device::{Camera, CameraError, Clock},
    frame_grid::FrameGrid,
    mjpeg,
    pace::StopToken,
    video_file::PictureSize,
};

const BUFFERS: u32 = 4;
/// How long a camera may give nothing before that is a fault.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting camera looks whether it is to stop, milliseconds.
const LOOK_MS: i32 = 100;
const POLLIN: i16 = 1;
const ENODEV: i32 = 19;

/// How a camera gives its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// As they are.
    Plain(PixelFormat),
    /// Each as a JPEG.
    Jpeg,
}

/// The formats taken, best first: the fewer bytes a pixel, the less to copy. A JPEG has the fewest and is to
/// be decoded, so it is the last; many cameras give large pictures at a good rate only so.
const FORMATS: [(&[u8; 4], Given); 4] = [
    (b"NV12", Given::Plain(PixelFormat::Nv12)),
    (b"YUYV", Given::Plain(PixelFormat::Yuyv)),
    (b"GREY", Given::Plain(PixelFormat::Gray8)),
    (b"MJPG", Given::Jpeg),
];

/// The camera.
pub struct V4l2Camera {
    id: CameraId,
    path: PathBuf,
    device: Device,
    stream: Option<Capturing>,
    given: Given,
    size: PictureSize,
    stride: usize,
    grid: FrameGrid,
    last_at: Option<MonoTime>,
    stop: StopToken,
    gone: bool,
}

/// A stream that never panics when it goes.
struct Capturing(Option<Stream<'static>>);

impl Drop for Capturing {
    fn drop(&mut self) {
        let Some(mut stream) = self.0.take() else { return };
        if let Err(e) = stream.stop()
            && e.raw_os_error() != Some(ENODEV)
        {
            tracing::warn!(error = %e, "a camera could not be stopped: its buffers are lost");
            std::mem::forget(stream);
        }
    }
}

impl V4l2Camera {
    /// Opens the device and agrees on a format of exactly this size.
    ///
    /// # Errors
    /// Where it cannot be opened, or has no such size in a format that is taken.
    pub fn open(
        id: CameraId,
        path: &Path,
        size: PictureSize,
        stop: StopToken,
    ) -> Result<Self, CameraError> {
        let size = size.check()?;
        let device = Device::with_path(path)
            .map_err(|source| CameraError::Open { path: path.to_owned(), source })?;
        let (given, stride) = negotiate(path, &device, size)?;
        // Without this some drivers stay at 5 frames a second. Not every driver can set it.
        if let Err(e) = device.set_params(&Parameters::with_fps(size.fps)) {
            tracing::debug!(path = %path.display(), error = %e, "frame rate not set");
        }
        Ok(Self {
            id,
            path: path.to_owned(),
            device,
            stream: None,
            given,
            size,
            stride,
            grid: FrameGrid::new(size.fps),
            last_at: None,
            stop,
            gone: false,
        })
    }

    fn failed(&mut self, call: &'static str, source: io::Error) -> CameraError {
        self.stream = None;
        let path = self.path.clone();
        if source.raw_os_error() == Some(ENODEV) {
            self.gone = true;
            CameraError::Unplugged { path }
        } else if source.kind() == io::ErrorKind::TimedOut {
            CameraError::Stalled { path, waited_s: PATIENCE.as_secs() }
        } else {
            CameraError::Device { path, call, source }
        }
    }

    /// Waits until a buffer is filled; false where it is to stop. A stream that has not begun
    /// cannot be waited for: its first `next` begins it.
    fn wait(&self, stream: &Stream<'static>, begun: bool) -> io::Result<bool> {
        let since = Instant::now();
        while begun && stream.handle().poll(POLLIN, LOOK_MS)? == 0 {
            if self.stop.is_stopped() {
                return Ok(false);
            }
            if since.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(!self.stop.is_stopped())
    }

    /// The next buffer's pixels and time; nothing where it is damaged, not wanted, or stopped.
    fn capture(&mut self) -> Result<Option<Frame>, CameraError> {
        let (mut capturing, begun) = match self.stream.take() {
            Some(capturing) => (capturing, true),
            None => {
                let made = Stream::with_buffers(&self.device, Type::VideoCapture, BUFFERS);
                let mut stream = made.map_err(|e| self.failed("VIDIOC_REQBUFS", e))?;
                stream.set_timeout(PATIENCE);
                (Capturing(Some(stream)), false)
            }
        };
        let Some(stream) = capturing.0.as_mut() else { return Ok(None) };
        if !self.wait(stream, begun).map_err(|e| self.failed("poll", e))? {
            return Ok(None);
        }
        let outcome = match CaptureStream::next(stream) {
            Ok((pixels, meta)) => Ok(self.frame(pixels, meta)),
            Err(e) => Err(e),
        };
        match outcome {
            Ok(frame) => {
                self.stream = Some(capturing);
                Ok(frame)
            }
            Err(e) => Err(self.failed("VIDIOC_DQBUF", e)),
        }
    }

    fn frame(&mut self, pixels: &[u8], meta: &Metadata) -> Option<Frame> {
        if meta.flags.contains(Flags::ERROR) {
            tracing::debug!(path = %self.path.display(), "the driver marked a picture as damaged");
            return None;
        }
        let at = stamp(meta);
        if self.last_at.is_some_and(|last| at <= last) || !self.grid.admits(at.as_ns()) {
            return None;
        }
        let used = usize::try_from(meta.bytesused).ok()?;
        let pixels = pixels.get(..used)?;
        let PictureSize { width, height, .. } = self.size;
        let (format, data) = match self.given {
            Given::Plain(format) => {
                (format, pack_rows(pixels, format, width, height, self.stride)?)
            }
            Given::Jpeg => match mjpeg::decode(pixels, self.size) {
                Ok(data) => (PixelFormat::Nv12, data),
                Err(e) => {
                    tracing::debug!(path = %self.path.display(), error = e, "a damaged JPEG");
                    return None;
                }
            },
        };
        self.last_at = Some(at);
        Some(Frame { camera: self.id, at, width, height, format, data })
    }
}

impl Camera for V4l2Camera {
    fn id(&self) -> CameraId {
        self.id
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let since = Instant::now();
        while !self.gone && !self.stop.is_stopped() {
            if let Some(frame) = self.capture()? {
                return Ok(Some(frame));
            }
            // Buffers come, but none of them holds a whole picture.
            if since.elapsed() > PATIENCE && !self.stop.is_stopped() {
                return Err(self.failed("VIDIOC_DQBUF", io::ErrorKind::TimedOut.into()));
            }
        }
        self.stream = None;
        Ok(None)
    }
}

/// Whether the device gives pictures of this size and format often enough, as far as it says.
fn is_quick(device: &Device, fourcc: FourCC, size: PictureSize) -> bool {
    let rate =
        |interval: &Fraction| f64::from(interval.denominator) / f64::from(interval.numerator);
    let most = |interval: FrameInterval| match interval.interval {
        FrameIntervalEnum::Discrete(interval) => rate(&interval),
        FrameIntervalEnum::Stepwise(steps) => rate(&steps.min),
    };
    let intervals = device.enum_frameintervals(fourcc, size.width, size.height);
    let most = intervals.unwrap_or_default().into_iter().map(most).max_by(f64::total_cmp);
    // Cameras round: 29.97.
    most.is_none_or(|most| most >= f64::from(size.fps) * 0.95)
}

/// The first of [`FORMATS`] that the device gives in this size and often enough, or else the first in this
/// size, and the bytes of one row.
fn negotiate(
    path: &Path,
    device: &Device,
    size: PictureSize,
) -> Result<(Given, usize), CameraError> {
    let failed =
        |call| move |source: io::Error| CameraError::Device { path: path.to_owned(), call, source };
    let offered = device.enum_formats().map_err(failed("VIDIOC_ENUM_FMT"))?;
    let mut given = Vec::new();
    let mut able: Vec<(FourCC, Given)> =
        FORMATS.into_iter().map(|(code, given)| (FourCC::new(code), given)).collect();
    able.retain(|(fourcc, _)| offered.iter().any(|o| o.fourcc == *fourcc));
    // Cached: each is asked of the camera.
    able.sort_by_cached_key(|(fourcc, _)| !is_quick(device, *fourcc, size));
    for (fourcc, format) in able {
        // A fresh format has size and stride 0: the driver fills them in.
        let wanted = Format::new(size.width, size.height, fourcc);
        let got = Capture::set_format(device, &wanted).map_err(failed("VIDIOC_S_FMT"))?;
        if (got.width, got.height, got.fourcc) == (size.width, size.height, fourcc) {
            return Ok((format, usize::try_from(got.stride).unwrap_or(0)));
        }
        given.push(format!("{}x{} {}", got.width, got.height, got.fourcc));
    }
    if given.is_empty() {
        given.extend(offered.iter().map(|o| o.fourcc.to_string()));
    }
    Err(CameraError::Format {
        path: path.to_owned(),
        wanted: format!("{}x{} NV12, YUYV, GREY or MJPG", size.width, size.height),
        offered: if given.is_empty() { "no format at all".into() } else { given.join(", ") },
    })
}

/// When the kernel says that a buffer was filled.
fn stamp(meta: &Metadata) -> MonoTime {
    let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
    let since_boot = u64::try_from(meta.timestamp.sec)
        .ok()
        .zip(u64::try_from(meta.timestamp.usec).ok())
        .map(|(s, us)| Duration::from_secs(s) + Duration::from_micros(us));
    match since_boot {
        Some(stamp) if monotonic => SystemClock::from_kernel_monotonic(stamp),
        _ => SystemClock.now(),
    }
}

/// Rows without the driver's padding. Nothing where the buffer is too short for the picture.
fn pack_rows(
    pixels: &[u8],
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: usize,
) -> Option<Bytes> {
    let width = usize::try_from(width).ok()?;
    let height = usize::try_from(height).ok()?;
    let (row, rows) = match format {
        PixelFormat::Nv12 | PixelFormat::I420 => (width, height * 3 / 2),
        PixelFormat::Yuyv => (width * 2, height),
        PixelFormat::Gray8 => (width, height),
    };
    let stride = if stride == 0 { row } else { stride };
    if stride == row {
        return pixels.get(..row * rows).map(Bytes::copy_from_slice);
    }
    let mut out = BytesMut::with_capacity(row * rows);
    for line in pixels.chunks(stride).take(rows) {
        out.put_slice(line.get(..row)?);
    }
    (out.len() == row * rows).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_packed() {
        // 2x2 pictures in rows of 6 bytes; the last row comes without its padding.
        let padded: Vec<u8> = (0..16).collect();
        for (format, want) in [
            (PixelFormat::Yuyv, Some(vec![0, 1, 2, 3, 6, 7, 8, 9])),
            (PixelFormat::Gray8, Some(vec![0, 1, 6, 7])),
            (PixelFormat::Nv12, Some(vec![0, 1, 6, 7, 12, 13])),
        ] {
            let got = pack_rows(&padded, format, 2, 2, 6).map(|b| b.to_vec());
            assert_eq!(got, want, "{format:?}");
        }
        assert_eq!(pack_rows(&padded, PixelFormat::Gray8, 4, 4, 0).unwrap().len(), 16);
        assert!(pack_rows(&padded, PixelFormat::Gray8, 4, 5, 0).is_none());
        assert!(pack_rows(&padded, PixelFormat::Yuyv, 2, 4, 6).is_none());
    }

    #[test]
    fn a_stamp_on_another_clock_is_not_believed() {
        let before = SystemClock.now();
        let meta =
            Metadata { timestamp: v4l::timestamp::Timestamp::new(5, 0), ..Metadata::default() };
        assert!(stamp(&meta) >= before);
        let meta = Metadata { flags: Flags::TIMESTAMP_MONOTONIC, ..meta };
        assert!(stamp(&meta) < before);
    }

    #[test]
    fn what_is_no_camera_is_refused_by_name() {
        for path in ["/dev/no-such-video", "/dev/null"] {
            let size = PictureSize::default();
            let Err(e) = V4l2Camera::open(CameraId::Road, Path::new(path), size, StopToken::new())
            else {
                panic!("{path} opened")
            };
            assert!(e.to_string().contains(path), "{e}");
        }
    }
}
