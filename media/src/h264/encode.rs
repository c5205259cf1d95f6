//! The encoder: raw pictures in, coded pictures out, one for one and with the same times.
//!
//! INVARIANT: the first picture and the first one of each further [`GOP`] of the unit's time is an IDR
//! picture, whatever the frame rate does: those of several cameras come together. No other is with the
//! software encoders; hardware ones may add some of their own. What a crash leaves: nothing, all of it is
//! in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gstreamer::{self as gst};
use gstreamer_video::{DownstreamForceKeyUnitEvent, VideoFormat, VideoFrameFlags, VideoMeta};
use temoin_proto::time::MonoTime;

use super::{
    AccessUnit, GOP, H264Error, MAX_HEIGHT, MAX_UNIT_BYTES, MAX_WIDTH, StreamConfig, check_unit,
    nal_units,
    pipeline::{Pipeline, bool_error, caps_int, need},
};
use crate::{frame::I420Picture, rounding::index};

const WHAT: &str = "the encoder";

/// Which encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderKind {
    /// libx264, in software.
    X264,
    /// Cisco's OpenH264, in software.
    OpenH264,
    /// The hardware encoder of NVIDIA Jetson.
    NvV4l2,
    /// A stateful V4L2 hardware encoder, such as a Raspberry Pi's.
    V4l2,
    /// The hardware encoder of an Intel or AMD graphics unit, by VA-API.
    VaApi,
}

impl EncoderKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::X264, Self::OpenH264, Self::NvV4l2, Self::V4l2, Self::VaApi];

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X264 => "x264",
            Self::OpenH264 => "openh264",
            Self::NvV4l2 => "nvv4l2",
            Self::V4l2 => "v4l2",
            Self::VaApi => "vaapi",
        }
    }

    const fn elements(self) -> &'static [&'static str] {
        match self {
            Self::X264 => &["appsrc", "appsink", "h264parse", "x264enc"],
            Self::OpenH264 => &["appsrc", "appsink", "h264parse", "openh264enc"],
            Self::NvV4l2 => &["appsrc", "appsink", "h264parse", "nvv4l2h264enc", "nvvidconv"],
            Self::V4l2 => &["appsrc", "appsink", "h264parse", "v4l2h264enc", "videoconvert"],
            Self::VaApi => &["appsrc", "appsink", "h264parse", "vah264enc", "videoconvert"],
        }
    }

    /// Whether this machine has it.
    ///
    /// # Errors
    /// [`H264Error::MissingElement`] with the package to install.
    pub fn available(self) -> Result<(), H264Error> {
        need(self.elements())
    }
}

/// How hard libx264 tries: its presets. The others ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Least work, most bytes for the same quality.
    Ultrafast,
    /// The default.
    Superfast,
    /// Fewer bytes, for 1.7 times the work of [`Self::Superfast`] at 1280x720.
    Veryfast,
}

impl Effort {
    /// Every effort, the least first.
    pub const ALL: [Self; 3] = [Self::Ultrafast, Self::Superfast, Self::Veryfast];

    /// The name in the configuration, which is libx264's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
        }
    }
}

/// How to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// With what.
    pub kind: EncoderKind,
    /// Width of the pictures, pixels, even.
    pub width: u32,
    /// Height of the pictures, pixels, even.
    pub height: u32,
    /// Pictures a second, nominal, for the rate control. Times may be irregular.
    pub fps: u32,
    /// Most kilobits a second, averaged over one second.
    pub max_bitrate_kbps: u32,
    /// Threads of a software encoder.
    pub threads: u32,
    /// How hard libx264 tries.
    pub effort: Effort,
}

impl EncoderConfig {
    /// The defaults for this size: libx264, one thread, 0.15 bits a pixel at most (2 Mbit/s for
    /// 1280x720 at 15 pictures a second).
    pub const fn new(width: u32, height: u32, fps: u32) -> Self {
        let kbps = width.saturating_mul(height).saturating_mul(fps) / 6_750;
        Self {
            kind: EncoderKind::X264,
            width,
            height,
            fps,
            max_bitrate_kbps: if kbps < 200 { 200 } else { kbps },
            threads: 1,
            effort: Effort::Superfast,
        }
    }

    fn check(&self) -> Result<(), H264Error> {
        let good = |side: u32, most: u32| side.is_multiple_of(2) && (16..=most).contains(&side);
        if !good(self.width, MAX_WIDTH) || !good(self.height, MAX_HEIGHT) {
            return Err(H264Error::Size { width: self.width, height: self.height });
        }
        for (name, value, range, text) in [
            ("fps", self.fps, 1..=120, "1 to 120"),
            ("max_bitrate_kbps", self.max_bitrate_kbps, 50..=50_000, "50 to 50000"),
            ("threads", self.threads, 1..=16, "1 to 16"),
        ] {
            if !range.contains(&value) {
                return Err(H264Error::Setting { name, value: value.into(), range: text });
            }
        }
        Ok(())
    }

    /// The element with its settings, in the syntax of `gst-launch`.
    fn element(&self) -> String {
        let Self { kind, fps, max_bitrate_kbps: kbps, threads, effort, .. } = self;
        let bps = u64::from(*kbps) * 1000;
        // Key frames come by request (see `push`); these are only a backstop.
        let backstop = fps * 10;
        match kind {
            // Constant quality under a cap. `scenecut=0`: a key frame only where a GOP begins.
            EncoderKind::X264 => format!(
                "x264enc speed-preset={} tune=zerolatency threads={threads} bframes=0 pass=qual \
                 quantizer=23 bitrate={kbps} vbv-buf-capacity=1000 key-int-max={backstop} \
                 option-string=scenecut=0:open-gop=0",
                effort.as_str()
            ),
            EncoderKind::OpenH264 => format!(
                "openh264enc usage-type=camera complexity=low rate-control=bitrate bitrate={bps} \
                 max-bitrate={bps} gop-size={backstop} multi-thread={threads} \
                 enable-frame-skip=false scene-change-detection=false"
            ),
            EncoderKind::NvV4l2 => format!(
                "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc \
                 bitrate={bps} control-rate=1 profile=4 preset-level=1 maxperf-enable=true \
                 num-B-Frames=0 insert-sps-pps=true idrinterval={fps} iframeinterval={fps}"
            ),
            EncoderKind::V4l2 => format!(
                "videoconvert ! v4l2h264enc extra-controls=\"controls,video_bitrate={bps},\
                 h264_i_frame_period={fps},video_b_frames=0,repeat_sequence_header=1\" \
                 ! video/x-h264,level=(string)4"
            ),
            // Its plugin is made by what the machine's driver can do.
            EncoderKind::VaApi => format!(
                "videoconvert ! vah264enc rate-control=cbr bitrate={kbps} b-frames=0 ref-frames=1 \
                 key-int-max={fps}"
            ),
        }
    }
}

/// Encodes one stream. Pictures go in with [`Self::push`]; coded ones come out of
/// [`Self::try_next`], which never waits, and of [`Self::next_within`], which does.
pub struct Encoder {
    config: EncoderConfig,
    pipeline: Pipeline,
    stream: Option<Arc<StreamConfig>>,
    /// Which GOP the last picture belongs to.
    gop: Option<u128>,
}

impl Encoder {
    /// Starts an encoder.
    ///
    /// # Errors
    /// [`H264Error::Size`], [`H264Error::Setting`], [`H264Error::MissingElement`] with the
    /// package to install, and [`H264Error::Pipeline`] where the element refuses to start.
    pub fn new(config: EncoderConfig) -> Result<Self, H264Error> {
        config.check()?;
        config.kind.available()?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", caps_int(config.width))
            .field("height", caps_int(config.height))
            .field("framerate", gst::Fraction::new(caps_int(config.fps), 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .build();
        let description = format!(
            "appsrc name=src ! {} ! h264parse ! video/x-h264,stream-format=avc,alignment=au \
             ! appsink name=sink",
            config.element()
        );
        let pipeline = Pipeline::start(WHAT, &description, &caps)?;
        Ok(Self { config, pipeline, stream: None, gop: None })
    }

    /// Whether an encoder works on this machine: a second of grey pictures must come out as coded ones.
    /// That it is installed says little: a driver may be missing, or another program may have it.
    ///
    /// # Errors
    /// Those of [`Self::new`], [`Self::push`] and [`Self::finish`].
    pub fn probe(config: EncoderConfig) -> Result<(), H264Error> {
        let (width, height, fps) = (config.width, config.height, config.fps);
        let mut encoder = Self::new(config)?;
        let mut coded = 0;
        for n in 0..fps {
            let picture =
                I420Picture::black(width, height).map_err(|_| H264Error::Size { width, height })?;
            let at = Duration::from_secs(1) * n / fps;
            encoder.push(picture, MonoTime::ZERO + at)?;
            coded += u32::from(encoder.try_next()?.is_some());
        }
        coded += u32::try_from(encoder.finish()?.len()).unwrap_or(u32::MAX);
        if coded < fps {
            Err(H264Error::Malformed("fewer pictures than it was given"))
        } else {
            Ok(())
        }
    }

    /// How it encodes.
    pub const fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The stream's parameters; known once the first coded picture has come out.
    pub const fn stream(&self) -> Option<&Arc<StreamConfig>> {
        self.stream.as_ref()
    }

    /// Puts a picture in; its pixels are not copied. Waits while two others are still waiting.
    ///
    /// # Errors
    /// [`H264Error::SizeChanged`], [`H264Error::TimeOrder`], and where encoding failed
    /// [`H264Error::Pipeline`] or [`H264Error::Stalled`].
    pub fn push(&mut self, picture: I420Picture, at: MonoTime) -> Result<(), H264Error> {
        let (width, height) = (self.config.width, self.config.height);
        if (picture.width(), picture.height()) != (width, height) {
            return Err(H264Error::SizeChanged {
                width,
                height,
                got_width: picture.width(),
                got_height: picture.height(),
            });
        }
        // By the unit's own time, so that all cameras' GOPs begin together: a clip is cut at the same moment
        // of each. A millisecond early counts as the next GOP: times of 15 pictures a second are rounded.
        let since = at.since(MonoTime::ZERO) + Duration::from_millis(1);
        let gop = since.as_nanos() / GOP.as_nanos();
        let begins = self.gop.is_none_or(|last| last != gop);
        let event =
            begins.then(|| DownstreamForceKeyUnitEvent::builder().all_headers(true).build());

        let buffer = buffer(picture)?;
        self.pipeline.push(at, buffer, event)?;
        self.gop = Some(gop);
        Ok(())
    }

    /// The next coded picture, where one is ready.
    ///
    /// # Errors
    /// Where encoding failed: [`H264Error::Pipeline`], [`H264Error::Lost`],
    /// [`H264Error::ConfigChanged`], [`H264Error::Config`], [`H264Error::Malformed`].
    pub fn try_next(&mut self) -> Result<Option<AccessUnit>, H264Error> {
        self.next_within(Duration::ZERO)
    }

    /// The next coded picture; waits up to `wait` for it.
    ///
    /// # Errors
    /// Those of [`Self::try_next`].
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<AccessUnit>, H264Error> {
        let Some((at, sample)) = self.pipeline.pull(wait)? else { return Ok(None) };
        self.unit(at, &sample).map(Some)
    }

    /// Ends the stream and returns the coded pictures that had not come out.
    ///
    /// # Errors
    /// Those of [`Self::try_next`], and [`H264Error::Stalled`].
    pub fn finish(mut self) -> Result<Vec<AccessUnit>, H264Error> {
        let mut rest = Vec::new();
        if self.gop.is_none() {
            return Ok(rest);
        }
        self.pipeline.end()?;
        while let Some((at, sample)) = self.pipeline.pull_last()? {
            rest.push(self.unit(at, &sample)?);
        }
        Ok(rest)
    }

    fn unit(&mut self, at: MonoTime, sample: &gst::Sample) -> Result<AccessUnit, H264Error> {
        self.note_stream(sample)?;
        let buffer = sample.buffer().ok_or(H264Error::Malformed("no buffer"))?;
        let map = buffer.map_readable().map_err(|e| bool_error(WHAT, &e))?;
        let data = without_parameter_sets(&map)?;
        let key = check_unit(&data)?;
        Ok(AccessUnit { at, key, data })
    }

    /// Takes SPS and PPS from the sample's caps, and makes sure that they stay the same.
    fn note_stream(&mut self, sample: &gst::Sample) -> Result<(), H264Error> {
        let record = sample
            .caps()
            .and_then(|caps| caps.structure(0))
            .and_then(|s| s.get::<gst::Buffer>("codec_data").ok())
            .ok_or(H264Error::Config("the encoder gave none"))?;
        let record = record.map_readable().map_err(|e| bool_error(WHAT, &e))?;
        let found = StreamConfig::new(self.config.width, self.config.height, &record)?;
        match &self.stream {
            None => self.stream = Some(Arc::new(found)),
            Some(known) if **known == found => {}
            Some(_) => return Err(H264Error::ConfigChanged),
        }
        Ok(())
    }
}

/// A buffer around the picture's own memory. The meta data say how the rows lie: GStreamer would
/// otherwise take them to be padded to 4 bytes.
fn buffer(picture: I420Picture) -> Result<gst::Buffer, H264Error> {
    let (width, height) = (picture.width(), picture.height());
    let (stride, luma) = (caps_int(width), index(width) * index(height));
    let mut buffer = gst::Buffer::from_slice(picture.into_vec());
    if let Some(buffer) = buffer.get_mut() {
        VideoMeta::add_full(
            buffer,
            VideoFrameFlags::empty(),
            VideoFormat::I420,
            width,
            height,
            &[0, luma, luma + luma / 4],
            &[stride, stride / 2, stride / 2],
        )
        .map_err(|e| bool_error(WHAT, &e))?;
    }
    Ok(buffer)
}

/// Coded pictures keep slices and nothing that the stream's parameters say already: SPS, PPS,
/// delimiters, filler and the encoder's own messages go.
fn without_parameter_sets(data: &[u8]) -> Result<Bytes, H264Error> {
    let slice = |nal: &[u8]| matches!(nal.first().map(|b| b & 0x1f), Some(1 | 5));
    if data.len() > MAX_UNIT_BYTES {
        return Err(H264Error::Malformed("it is too long"));
    }
    let mut out = Vec::with_capacity(data.len());
    for nal in nal_units(data) {
        let nal = nal?;
        if slice(nal) {
            let len = u32::try_from(nal.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(nal);
        }
    }
    Ok(Bytes::from(out))
}
