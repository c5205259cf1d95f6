//! One data frame of a vehicle bus, from a log or from a socket.

/// Bytes of the longest frame, which is one of CAN FD.
pub const MAX_DATA: usize = 64;
/// Set in [`CanFrame::id`] on an extended (29-bit) identifier, as a DBC file has it.
pub const EXTENDED: u32 = 1 << 31;

/// One data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanFrame {
    /// The identifier; [`EXTENDED`] is set on one of 29 bits.
    pub id: u32,
    /// The payload, at most [`MAX_DATA`] bytes.
    pub data: Vec<u8>,
}

impl CanFrame {
    /// A frame of the first [`MAX_DATA`] of these bytes.
    pub fn new(id: u32, data: &[u8]) -> Self {
        Self { id, data: data.get(..data.len().min(MAX_DATA)).unwrap_or_default().to_vec() }
    }
}
