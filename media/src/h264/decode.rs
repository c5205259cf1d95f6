//! The decoder: coded pictures in, raw pictures out, one for one and with the same times.
//!
//! What comes in was authenticated before, but it is other people's bytes all the same: damage that
//! is noticed is an error and never a wait. Damage within a slice that still reads as one is
//! concealed by libav; that the bytes are the unit's own is for the seal to say.
//!
//! INVARIANT: memory is bounded: pictures are at most 1920x1088 by the stream's own SPS (checked
//! before the decoder sees it), and at most two coded ones wait.

use std::time::Duration;

use gstreamer as gst;
use gstreamer_video::{VideoFrameRef, VideoInfo, prelude::*};
use temoin_proto::time::MonoTime;

use super::{
    AccessUnit, H264Error, MAX_HEIGHT, MAX_WIDTH, StreamConfig, check_unit,
    pipeline::{Pipeline, bool_error, need},
};
use crate::{frame::I420Picture, rounding::index};

const WHAT: &str = "the decoder";

/// A raw picture with its time.
#[derive(Clone, Debug)]
pub struct DecodedPicture {
    /// The time of the coded picture, unchanged.
    pub at: MonoTime,
    /// The picture.
    pub picture: I420Picture,
}

/// Decodes one stream. Use it like an [`super::Encoder`], and take what is ready after each push:
/// raw pictures that nobody takes are kept.
pub struct Decoder {
    pipeline: Pipeline,
    size: (u32, u32),
    info: Option<(gst::Caps, VideoInfo)>,
    begun: bool,
}

impl Decoder {
    /// Starts a decoder with this many threads (0 counts as 1).
    ///
    /// # Errors
    /// [`H264Error::MissingElement`] with the package to install, and [`H264Error::Pipeline`]
    /// where the decoder refuses to start.
    pub fn new(stream: &StreamConfig, threads: u32) -> Result<Self, H264Error> {
        need(&["appsrc", "appsink", "h264parse", "avdec_h264"])?;
        let caps = gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", gst::Buffer::from_slice(stream.to_avcc()?))
            .build();
        // The filter refuses an SPS that says more than is allowed, before anything is allocated.
        // Slice threads only: frame threads would hold pictures back.
        let description = format!(
            "appsrc name=src ! h264parse \
             ! video/x-h264,width=[2,{MAX_WIDTH}],height=[2,{MAX_HEIGHT}] \
             ! avdec_h264 thread-type=slice max-threads={} output-corrupt=false max-errors=0 \
             ! video/x-raw,format=I420 ! appsink name=sink",
            threads.clamp(1, 16)
        );
        let pipeline = Pipeline::start(WHAT, &description, &caps)?;
        Ok(Self { pipeline, size: (stream.width(), stream.height()), info: None, begun: false })
    }

    /// Puts a coded picture in. The first one must be a key frame. Waits while two others are
    /// still waiting.
    ///
    /// # Errors
    /// [`H264Error::Malformed`], [`H264Error::TimeOrder`], and where decoding failed
    /// [`H264Error::Pipeline`] or [`H264Error::Stalled`].
    pub fn push(&mut self, unit: AccessUnit) -> Result<(), H264Error> {
        let key = check_unit(&unit.data)?;
        if !self.begun && !key {
            return Err(H264Error::Malformed("the first one is no key frame"));
        }
        self.pipeline.push(unit.at, gst::Buffer::from_slice(unit.data), None)?;
        self.begun = true;
        Ok(())
    }

    /// The next raw picture, where one is ready.
    ///
    /// # Errors
    /// Where decoding failed: [`H264Error::Pipeline`], [`H264Error::Lost`] for a picture that
    /// could not be decoded, [`H264Error::SizeChanged`] where the video is not of the size that
    /// the stream claims.
    pub fn try_next(&mut self) -> Result<Option<DecodedPicture>, H264Error> {
        self.next_within(Duration::ZERO)
    }

    /// The next raw picture; waits up to `wait` for it.
    ///
    /// # Errors
    /// Those of [`Self::try_next`].
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<DecodedPicture>, H264Error> {
        let Some((at, sample)) = self.pipeline.pull(wait)? else { return Ok(None) };
        self.picture(at, &sample).map(Some)
    }

    /// Ends the stream: from now on [`Self::next_last`] gives what is still inside.
    ///
    /// # Errors
    /// [`H264Error::Pipeline`] where decoding failed.
    pub fn end(&mut self) -> Result<(), H264Error> {
        if self.begun { self.pipeline.end() } else { Ok(()) }
    }

    /// After [`Self::end`]: the next raw picture, or `None` when all have come out.
    ///
    /// # Errors
    /// Those of [`Self::try_next`], and [`H264Error::Stalled`].
    pub fn next_last(&mut self) -> Result<Option<DecodedPicture>, H264Error> {
        if !self.begun {
            return Ok(None);
        }
        let Some((at, sample)) = self.pipeline.pull_last()? else { return Ok(None) };
        self.picture(at, &sample).map(Some)
    }

    fn picture(&mut self, at: MonoTime, sample: &gst::Sample) -> Result<DecodedPicture, H264Error> {
        let (width, height) = self.size;
        let caps = sample.caps().ok_or(H264Error::Malformed("no caps"))?;
        if self.info.as_ref().is_none_or(|(known, _)| !known.is_equal_fixed(caps)) {
            let info = VideoInfo::from_caps(caps).map_err(|e| bool_error(WHAT, &e))?;
            if (info.width(), info.height()) != (width, height) {
                return Err(H264Error::SizeChanged {
                    width,
                    height,
                    got_width: info.width(),
                    got_height: info.height(),
                });
            }
            self.info = Some((caps.to_owned(), info));
        }
        let (Some((_, info)), Some(buffer)) = (&self.info, sample.buffer()) else {
            return Err(H264Error::Malformed("no buffer"));
        };
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            return Err(H264Error::Lost { what: WHAT, at });
        }
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info)
            .map_err(|e| bool_error(WHAT, &e))?;
        let mut data = Vec::with_capacity(index(width) * index(height) * 3 / 2);
        let (w, h) = (index(width), index(height));
        for (plane, w, h) in [(0, w, h), (1, w / 2, h / 2), (2, w / 2, h / 2)] {
            let bytes = frame.plane_data(plane).map_err(|e| bool_error(WHAT, &e))?;
            let stride = frame.plane_stride().get(index(plane)).copied().unwrap_or(0);
            let stride = usize::try_from(stride).unwrap_or(0);
            if stride == w {
                data.extend_from_slice(bytes.get(..w * h).unwrap_or_default());
            } else {
                // A stride of 0 leaves `data` too short, which `from_vec` refuses.
                for row in bytes.chunks(stride.max(1)).take(h) {
                    data.extend_from_slice(row.get(..w).unwrap_or_default());
                }
            }
        }
        Ok(DecodedPicture { at, picture: I420Picture::from_vec(width, height, data)? })
    }
}
