//! Which encoder records: the first of those that are wanted which works on this machine.

use temoin_media::h264::{Encoder, EncoderConfig, EncoderKind, H264Error};

use crate::health::State;

/// What came of it: the encoder, and what device health says of it.
#[derive(Debug)]
pub struct Choice {
    /// How pictures are encoded.
    pub encoder: EncoderConfig,
    /// How that is.
    pub state: State,
    /// In words.
    pub text: String,
}

/// Tries them in their order. Where none works, the first is kept: it may work later, and device health
/// says what is wrong.
pub fn choose(encoder: &EncoderConfig, wanted: &[EncoderKind]) -> Choice {
    choose_by(encoder, wanted, Encoder::probe)
}

fn choose_by(
    encoder: &EncoderConfig,
    wanted: &[EncoderKind],
    works: impl Fn(EncoderConfig) -> Result<(), H264Error>,
) -> Choice {
    let of_kind = |kind| EncoderConfig { kind, ..encoder.clone() };
    let mut refused = Vec::new();
    for kind in wanted.iter().copied() {
        match works(of_kind(kind)) {
            Ok(()) => {
                let EncoderConfig { width, height, fps, max_bitrate_kbps, .. } = encoder;
                let name = kind.as_str();
                let chosen = format!(
                    "{name}: {width}x{height}, {fps} pictures a second, {max_bitrate_kbps} kbit/s at most"
                );
                let (state, text) = if refused.is_empty() {
                    (State::Ok, chosen)
                } else {
                    (State::Degraded, format!("{chosen}; {}", refused.join("; ")))
                };
                return Choice { encoder: of_kind(kind), state, text };
            }
            Err(e) => refused.push(format!("not {}: {}", kind.as_str(), crate::net::chain(&e))),
        }
    }
    let text = format!("nothing can be recorded: {}", refused.join("; "));
    Choice { encoder: encoder.clone(), state: State::Failed, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: H264Error = H264Error::Malformed("it is broken");

    #[test]
    fn the_first_that_works_records() {
        use EncoderKind::{NvV4l2, OpenH264, X264};
        let encoder = EncoderConfig::new(320, 192, 15);
        let wanted = [NvV4l2, X264, OpenH264];
        let works = |good: &'static [EncoderKind]| {
            move |e: EncoderConfig| if good.contains(&e.kind) { Ok(()) } else { Err(BROKEN) }
        };
        let first = choose_by(&encoder, &wanted, works(&[NvV4l2, X264]));
        assert_eq!((first.encoder.kind, first.state), (NvV4l2, State::Ok));
        let second = choose_by(&encoder, &wanted, works(&[OpenH264]));
        assert_eq!((second.encoder.kind, second.state), (OpenH264, State::Degraded));
        for said in ["openh264: 320x192", "not nvv4l2", "not x264", "it is broken"] {
            assert!(second.text.contains(said), "{}", second.text);
        }
        let none = choose_by(&encoder, &wanted, works(&[]));
        assert_eq!(none.state, State::Failed);
    }

    #[test]
    fn a_real_one_is_tried() {
        let encoder = EncoderConfig::new(320, 192, 15);
        // No test machine has a Jetson's.
        let choice = choose(&encoder, &[EncoderKind::NvV4l2, EncoderKind::X264]);
        assert_eq!((choice.encoder.kind, choice.state), (EncoderKind::X264, State::Degraded));
        assert!(choice.text.contains("nvidia-l4t-gstreamer"), "{}", choice.text);
    }
}
