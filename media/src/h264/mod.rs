//! H.264 through GStreamer: coded pictures, what describes a stream of them, encoder and decoder.
//!
//! Coded pictures travel in the form that MP4 stores (AVCC): every NAL unit after its length in
//! 4 bytes, SPS and PPS apart from them in the [`StreamConfig`]. Nothing is converted between
//! encoder, ring, clip, view and decoder.
//!
//! INVARIANT: a stream has no B-frames, so decode order is display order; each GOP is closed and
//! begins with an IDR picture; a stream's SPS and PPS never change.

mod decode;
mod encode;
mod pipeline;
#[cfg(test)]
mod tests;

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
pub use decode::{DecodedPicture, Decoder};
pub use encode::{Effort, Encoder, EncoderConfig, EncoderKind};
use mp4_atom::{Atom, Avcc};
use temoin_proto::time::MonoTime;

use crate::frame::PictureError;

/// Largest picture that is encoded or decoded: 1920 x 1088.
pub const MAX_WIDTH: u32 = 1920;
/// See [`MAX_WIDTH`].
pub const MAX_HEIGHT: u32 = 1088;
/// Largest access unit that is accepted, bytes: an IDR picture of 1920x1088 at the best quality
/// takes about a third.
pub const MAX_UNIT_BYTES: usize = 4 << 20;
/// Largest SPS or PPS that is accepted, bytes.
const MAX_PARAMETER_SET_BYTES: usize = 1024;

/// What went wrong with H.264.
#[derive(Debug, thiserror::Error)]
pub enum H264Error {
    /// GStreamer itself.
    #[error("gstreamer does not start: {0}")]
    Start(String),
    /// An element is not installed.
    #[error("gstreamer has no `{element}`: install the package {package}")]
    MissingElement {
        /// Its name.
        element: &'static str,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// A size that is not coded here.
    #[error("video of {width}x{height} is not possible: sides must be even, at most 1920x1088")]
    Size {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// A picture that is not of the stream's size.
    #[error("a picture of {got_width}x{got_height} came into a stream of {width}x{height}")]
    SizeChanged {
        /// Width of the stream.
        width: u32,
        /// Height of the stream.
        height: u32,
        /// Width of the picture.
        got_width: u32,
        /// Height of the picture.
        got_height: u32,
    },
    /// A setting outside of its range.
    #[error("encoder setting {name} is {value}: it must be {range}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// Time does not go forward.
    #[error("a picture of {at} came after one of {last}: times must rise")]
    TimeOrder {
        /// The late picture's time.
        at: MonoTime,
        /// The time before it.
        last: MonoTime,
    },
    /// The pipeline reported an error.
    #[error("{what} failed in `{element}`: {message}")]
    Pipeline {
        /// Encoder or decoder.
        what: &'static str,
        /// Where in it.
        element: String,
        /// What it says.
        message: String,
    },
    /// Nothing came out for a long time.
    #[error("{what} has done nothing for {waited_s} s")]
    Stalled {
        /// Encoder or decoder.
        what: &'static str,
        /// How long.
        waited_s: u64,
    },
    /// Pictures went in that did not come out.
    #[error("{what} gave no picture for the one of {at}")]
    Lost {
        /// Encoder or decoder.
        what: &'static str,
        /// Time of the first picture that is missing.
        at: MonoTime,
    },
    /// The stream changed its SPS or PPS.
    #[error("the stream changed its parameters in the middle")]
    ConfigChanged,
    /// SPS and PPS are not such.
    #[error("no usable parameter sets: {0}")]
    Config(&'static str),
    /// Not a coded picture.
    #[error("not a coded picture: {0}")]
    Malformed(&'static str),
    /// A raw picture was not possible.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// One coded picture.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The time of the picture that went into the encoder, unchanged.
    pub at: MonoTime,
    /// An IDR picture: decoding can begin here.
    pub key: bool,
    /// Its NAL units, each after its length in 4 bytes, big-endian; no SPS and no PPS.
    pub data: Bytes,
}

impl std::fmt::Debug for AccessUnit {
    // Never the video.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessUnit")
            .field("at", &self.at)
            .field("key", &self.key)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// What a decoder must know before the first picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    width: u32,
    height: u32,
    avcc: Avcc,
}

impl StreamConfig {
    /// A stream of this size with these parameter sets, given as the body of an `avcC` box
    /// (`AVCDecoderConfigurationRecord`, ISO/IEC 14496-15).
    ///
    /// # Errors
    /// [`H264Error::Size`], and [`H264Error::Config`] where the record is damaged or is not what
    /// Temoin writes: one SPS, one PPS, lengths of 4 bytes.
    pub fn new(width: u32, height: u32, mut avcc: &[u8]) -> Result<Self, H264Error> {
        let good = |side: u32, most: u32| side.is_multiple_of(2) && (2..=most).contains(&side);
        if !good(width, MAX_WIDTH) || !good(height, MAX_HEIGHT) {
            return Err(H264Error::Size { width, height });
        }
        let avcc = Avcc::decode_body(&mut avcc).map_err(|_| H264Error::Config("damaged"))?;
        let nal_type = |nal: &Vec<u8>| nal.first().map(|b| b & 0x1f);
        let (sps, pps) = (&avcc.sequence_parameter_sets, &avcc.picture_parameter_sets);
        if avcc.length_size != 4 {
            return Err(H264Error::Config("lengths must have 4 bytes"));
        }
        if sps.len() != 1 || pps.len() != 1 {
            return Err(H264Error::Config("one SPS and one PPS are needed"));
        }
        if sps.iter().any(|n| nal_type(n) != Some(7)) || pps.iter().any(|n| nal_type(n) != Some(8))
        {
            return Err(H264Error::Config("SPS or PPS is something else"));
        }
        if sps.iter().chain(pps).any(|n| n.len() > MAX_PARAMETER_SET_BYTES) {
            return Err(H264Error::Config("SPS or PPS is too long"));
        }
        Ok(Self { width, height, avcc })
    }

    /// Width, pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The codec for a media source in a browser (RFC 6381), such as `avc1.64001F`.
    pub fn codec_string(&self) -> String {
        format!(
            "avc1.{:02X}{:02X}{:02X}",
            self.avcc.avc_profile_indication,
            self.avcc.profile_compatibility,
            self.avcc.avc_level_indication
        )
    }

    /// The body of the `avcC` box.
    ///
    /// # Errors
    /// [`H264Error::Config`] where it cannot be written; not for one that [`Self::new`] read.
    pub fn to_avcc(&self) -> Result<Vec<u8>, H264Error> {
        let mut out = Vec::new();
        self.avcc
            .encode_body(&mut out)
            .map_err(|_| H264Error::Config("the record cannot be written"))?;
        Ok(out)
    }

    /// The parameter sets as the fMP4 writer wants them.
    pub(crate) const fn avcc(&self) -> &Avcc {
        &self.avcc
    }
}

/// The NAL units of a coded picture in AVCC form, without their lengths.
pub(crate) struct NalUnits<'a>(&'a [u8]);

/// Walks over the NAL units of `data`. A damaged one is the last.
pub(crate) const fn nal_units(data: &[u8]) -> NalUnits<'_> {
    NalUnits(data)
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = Result<&'a [u8], H264Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let nal = self.0.split_first_chunk::<4>().and_then(|(len, rest)| {
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            rest.split_at_checked(len).filter(|(nal, _)| !nal.is_empty())
        });
        let Some((nal, rest)) = nal else {
            self.0 = &[];
            return Some(Err(H264Error::Malformed("a NAL unit reaches over the end")));
        };
        self.0 = rest;
        Some(Ok(nal))
    }
}

/// Whether this is a coded picture in AVCC form as this crate writes it, and whether it is an IDR
/// picture.
///
/// # Errors
/// [`H264Error::Malformed`] with the reason.
pub fn check_unit(data: &[u8]) -> Result<bool, H264Error> {
    if data.len() > MAX_UNIT_BYTES {
        return Err(H264Error::Malformed("it is too long"));
    }
    let (mut slices, mut key) = (0, false);
    for nal in nal_units(data) {
        match nal?.first().map(|b| b & 0x1f) {
            Some(1) => slices += 1,
            Some(5) => {
                slices += 1;
                key = true;
            }
            Some(6) => {}
            // SPS and PPS would change the picture's size behind the reader's back.
            _ => return Err(H264Error::Malformed("a NAL unit of a type that has no place here")),
        }
    }
    if slices == 0 { Err(H264Error::Malformed("it has no slice")) } else { Ok(key) }
}

/// Text that names nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is no {what}: one of {known} is needed")]
pub struct NameError {
    what: &'static str,
    got: String,
    known: &'static str,
}

impl FromStr for EncoderKind {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| NameError {
            what: "encoder",
            got: s.to_owned(),
            known: "x264, openh264, nvv4l2, v4l2, vaapi",
        })
    }
}

impl FromStr for Effort {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| NameError {
            what: "effort",
            got: s.to_owned(),
            known: "ultrafast, superfast, veryfast",
        })
    }
}

/// The length of a GOP: what a clip is cut to, and what a decoder waits for at most.
pub const GOP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod form {
    use proptest::prelude::*;

    use super::*;

    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter()
            .flat_map(|n| [&u32::try_from(n.len()).unwrap().to_be_bytes()[..], n].concat())
            .collect()
    }

    #[test]
    fn units_are_checked() {
        for (name, data, want) in [
            ("idr", unit(&[&[0x65, 1]]), Some(true)),
            ("sei and p", unit(&[&[0x06, 1], &[0x41, 1]]), Some(false)),
            ("two slices", unit(&[&[0x41, 1], &[0x41, 2]]), Some(false)),
            ("empty", vec![], None),
            ("only sei", unit(&[&[0x06, 1]]), None),
            ("sps", unit(&[&[0x67, 1], &[0x65, 1]]), None),
            ("empty nal", unit(&[&[], &[0x65, 1]]), None),
            ("short length", vec![0, 0, 1], None),
            ("over the end", vec![0, 0, 0, 9, 0x65], None),
            ("annex b", vec![0, 0, 0, 1, 0x65, 0, 0, 0, 1, 0x65, 2], None),
        ] {
            assert_eq!(check_unit(&data).ok(), want, "{name}");
        }
    }

    #[test]
    fn parameter_sets_are_checked() {
        let avcc = |sps: &[u8], pps: &[u8]| {
            let mut out =
                vec![1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, u8::try_from(sps.len()).unwrap()];
            out.extend_from_slice(sps);
            out.extend_from_slice(&[1, 0, u8::try_from(pps.len()).unwrap()]);
            out.extend_from_slice(pps);
            out
        };
        let good = avcc(&[0x67, 0x42, 0xc0, 0x1f], &[0x68, 1]);
        let config = StreamConfig::new(640, 360, &good).unwrap();
        assert_eq!(config.codec_string(), "avc1.42C01F");
        assert_eq!(config.to_avcc().unwrap(), good);
        for (width, height, bytes) in [
            (641, 360, good.clone()),
            (1922, 1080, good.clone()),
            (0, 0, good.clone()),
            (640, 360, avcc(&[0x68, 1], &[0x68, 1])),
            (640, 360, avcc(&[0x67, 1], &[])),
            (640, 360, good[..good.len() - 1].to_vec()),
            (640, 360, vec![]),
        ] {
            assert!(
                StreamConfig::new(width, height, &bytes).is_err(),
                "{width}x{height} {bytes:?}"
            );
        }
    }

    #[test]
    fn names() {
        for kind in EncoderKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for effort in Effort::ALL {
            assert_eq!(effort.as_str().parse(), Ok(effort));
        }
        let error = "h265".parse::<EncoderKind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`h265` is no encoder: one of x264, openh264, nvv4l2, v4l2, vaapi is needed"
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _unit = check_unit(&data);
            let _config = StreamConfig::new(640, 360, &data);
        }
    }
}
