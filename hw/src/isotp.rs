//! ISO-TP (ISO 15765-2) as a tester hears it: one message out of the frames of one sender.
//!
//! Pure: who sends the flow control that a long message waits for is decided elsewhere
//! ([`crate::obd`]). Classic frames with normal addressing, which is what OBD-II has
//! (ISO 15765-4); longer lengths than 4095 bytes are refused.
//!
//! INVARIANT: memory is bounded by [`MAX_MESSAGE`]; a frame out of order, a length that cannot be
//! or a pause of more than [`CONSECUTIVE_TIMEOUT`] ends the message, and nothing of it is told.

use std::time::Duration;

use temoin_proto::time::MonoTime;

/// Longest message: what 12 bits of length can say.
pub const MAX_MESSAGE: usize = 4095;
/// How long the next frame of a message may take: `N_Cr` of ISO 15765-2 is 1 s, which
/// ISO 15765-4 shortens to 150 ms for OBD-II.
pub const CONSECUTIVE_TIMEOUT: Duration = Duration::from_millis(150);
/// 'Clear to send, everything, without a pause', filled up to 8 bytes as OBD-II wants it.
pub const FLOW_CONTROL: [u8; 8] = [0x30, 0, 0, 0, 0, 0, 0, 0];
/// The most that one frame carries by itself, bytes.
const SINGLE_MAX: usize = 7;

/// A frame that is no part of a message that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsoTpError {
    /// Fewer bytes than its kind needs.
    #[error("an ISO-TP frame is cut short")]
    Short,
    /// A length that its kind cannot have.
    #[error("an ISO-TP message says it has {0} bytes, which it cannot")]
    Length(usize),
    /// Not the next one.
    #[error("ISO-TP frame {got} came where {expected} was due: the message is let go")]
    Sequence {
        /// The number that was due, 0 to 15.
        expected: u8,
        /// The number that came.
        got: u8,
    },
    /// A kind that nobody knows.
    #[error("an ISO-TP frame of the unknown kind {0}")]
    Kind(u8),
}

/// What a frame brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Nothing yet, or nothing at all.
    Nothing,
    /// The first part of a message whose sender now waits for [`FLOW_CONTROL`].
    First,
    /// A whole message.
    Message(Vec<u8>),
}

/// Puts the messages of one sender together.
#[derive(Clone, Debug, Default)]
pub struct Reassembly {
    data: Vec<u8>,
    length: usize,
    next: u8,
    deadline: Option<MonoTime>,
}

impl Reassembly {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a message has begun and goes on.
    pub fn is_under_way(&self, now: MonoTime) -> bool {
        self.deadline.is_some_and(|d| now <= d)
    }

    /// Takes the payload of one frame.
    ///
    /// # Errors
    /// [`IsoTpError`]; a message under way is let go, and the next one begins anew.
    pub fn push(&mut self, now: MonoTime, frame: &[u8]) -> Result<Brought, IsoTpError> {
        let under_way = self.is_under_way(now);
        if !under_way {
            self.deadline = None;
        }
        let (first, rest) = frame.split_first().ok_or(IsoTpError::Short)?;
        let low = first & 0xf;
        match first >> 4 {
            0 => {
                self.deadline = None;
                let length = usize::from(low);
                if length == 0 || length > SINGLE_MAX {
                    return Err(IsoTpError::Length(length));
                }
                Ok(Brought::Message(rest.get(..length).ok_or(IsoTpError::Short)?.to_vec()))
            }
            1 => {
                self.deadline = None;
                let (second, rest) = rest.split_first().ok_or(IsoTpError::Short)?;
                let length = usize::from(low) << 8 | usize::from(*second);
                if length <= SINGLE_MAX {
                    return Err(IsoTpError::Length(length));
                }
                self.data.clear();
                self.data.extend(rest.get(..6).ok_or(IsoTpError::Short)?);
                self.length = length;
                self.next = 1;
                self.deadline = Some(now + CONSECUTIVE_TIMEOUT);
                Ok(Brought::First)
            }
            // What goes on without a beginning is of somebody else's message.
            2 if !under_way => Ok(Brought::Nothing),
            2 => {
                if low != self.next {
                    self.deadline = None;
                    return Err(IsoTpError::Sequence { expected: self.next, got: low });
                }
                let wanted = (self.length - self.data.len()).min(SINGLE_MAX);
                let Some(part) = rest.get(..wanted) else {
                    self.deadline = None;
                    return Err(IsoTpError::Short);
                };
                self.data.extend(part);
                self.next = (self.next + 1) % 16;
                if self.data.len() < self.length {
                    self.deadline = Some(now + CONSECUTIVE_TIMEOUT);
                    return Ok(Brought::Nothing);
                }
                self.deadline = None;
                Ok(Brought::Message(std::mem::take(&mut self.data)))
            }
            // Flow control is for those who send.
            3 => Ok(Brought::Nothing),
            kind => Err(IsoTpError::Kind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: MonoTime = MonoTime::from_ns(1_000_000_000);

    fn after(ms: u64) -> MonoTime {
        T + Duration::from_millis(ms)
    }

    /// The frames of a message, as a sender cuts it.
    fn cut(message: &[u8]) -> Vec<Vec<u8>> {
        if message.len() <= SINGLE_MAX {
            let mut frame = vec![u8::try_from(message.len()).unwrap()];
            frame.extend(message);
            frame.resize(8, 0);
            return vec![frame];
        }
        let (head, rest) = message.split_at(6);
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let mut frames = vec![[&[0x10 | length[0], length[1]][..], head].concat()];
        for (n, part) in rest.chunks(7).enumerate() {
            let mut frame = [&[0x20 | u8::try_from((n + 1) % 16).unwrap()][..], part].concat();
            frame.resize(8, 0xaa);
            frames.push(frame);
        }
        frames
    }

    fn heard(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut r = Reassembly::new();
        let mut whole = None;
        for (n, frame) in frames.iter().enumerate() {
            match r.push(after(n as u64 * 10), frame).unwrap() {
                Brought::Message(m) => whole = Some(m),
                Brought::First => assert_eq!(n, 0),
                Brought::Nothing => assert!(n > 0),
            }
        }
        whole
    }

    #[test]
    fn messages_of_every_kind_of_length() {
        for length in [1, 7, 8, 13, 14, 20, 300, MAX_MESSAGE] {
            let message: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            assert_eq!(heard(&cut(&message)), Some(message), "{length}");
        }
    }

    #[test]
    fn frames_that_cannot_be() {
        for (frame, want) in [
            (&[][..], IsoTpError::Short),
            (&[0x00, 1], IsoTpError::Length(0)),
            (&[0x08, 1, 2, 3, 4, 5, 6, 7], IsoTpError::Length(8)),
            (&[0x03, 1, 2], IsoTpError::Short),
            (&[0x10], IsoTpError::Short),
            (&[0x10, 7, 1, 2, 3, 4, 5, 6], IsoTpError::Length(7)),
            (&[0x10, 0, 0, 1, 0, 0, 1, 2], IsoTpError::Length(0)),
            (&[0x10, 20, 1, 2], IsoTpError::Short),
            (&[0x40, 0], IsoTpError::Kind(4)),
        ] {
            assert_eq!(Reassembly::new().push(T, frame), Err(want), "{frame:?}");
        }
    }

    #[test]
    fn a_message_with_a_hole_or_a_pause_is_let_go() {
        let frames = cut(&[7; 30]);
        let mut r = Reassembly::new();
        r.push(T, &frames[0]).unwrap();
        assert_eq!(r.push(after(1), &frames[2]), Err(IsoTpError::Sequence { expected: 1, got: 2 }));
        assert_eq!(r.push(after(2), &frames[1]), Ok(Brought::Nothing));
        assert!(!r.is_under_way(after(2)));

        r.push(T, &frames[0]).unwrap();
        r.push(after(100), &frames[1]).unwrap();
        for frame in &frames[2..] {
            assert_eq!(r.push(after(251), frame), Ok(Brought::Nothing));
        }
        // A new message takes the place of one under way.
        r.push(T, &frames[0]).unwrap();
        assert_eq!(r.push(after(1), &[1, 9]), Ok(Brought::Message(vec![9])));
    }

    proptest! {
        #[test]
        fn any_frames_never_panic_and_stay_bounded(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..10), 0..60)
        ) {
            let mut r = Reassembly::new();
            for (n, frame) in frames.iter().enumerate() {
                if let Ok(Brought::Message(m)) = r.push(after(n as u64 * 7), frame) {
                    prop_assert!(!m.is_empty() && m.len() <= MAX_MESSAGE);
                }
                prop_assert!(r.data.len() <= MAX_MESSAGE);
            }
        }
    }
}
