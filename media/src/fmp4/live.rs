//! Fragments as pictures come, for streaming: the first one at once, later ones a little longer.

use std::time::Duration;

use bytes::Bytes;
use temoin_proto::time::MonoTime;

use super::{Fmp4Error, Writer};
use crate::h264::AccessUnit;

/// Cuts a stream into short fragments. A picture's length is known when the next one comes, so
/// one picture is always held back.
#[derive(Debug)]
pub struct LiveFragments {
    writer: Writer,
    held: Vec<AccessUnit>,
    longest: Duration,
    begun: bool,
}

impl LiveFragments {
    /// Fragments of at most about `longest`. The first one has a single picture, so that a player
    /// has something to show as early as possible; no fragment reaches into a second GOP.
    pub const fn new(writer: Writer, longest: Duration) -> Self {
        Self { writer, held: Vec::new(), longest, begun: false }
    }

    /// Takes a picture; returns a fragment where one is complete.
    ///
    /// # Errors
    /// Those of [`Writer::fragment`].
    pub fn push(&mut self, unit: AccessUnit) -> Result<Option<Bytes>, Fmp4Error> {
        let Some(first) = self.held.first() else {
            self.held.push(unit);
            return Ok(None);
        };
        let complete = !self.begun || unit.key || unit.at.since(first.at) >= self.longest;
        let fragment = if complete {
            let fragment = self.writer.fragment(&self.held, unit.at)?;
            self.held.clear();
            self.begun = true;
            Some(fragment)
        } else {
            None
        };
        self.held.push(unit);
        Ok(fragment)
    }

    /// The last fragment; `end` is when the last picture stops being shown. `None` where no
    /// picture came at all.
    ///
    /// # Errors
    /// Those of [`Writer::fragment`].
    pub fn finish(mut self, end: MonoTime) -> Result<Option<Bytes>, Fmp4Error> {
        if self.held.is_empty() {
            return Ok(None);
        }
        self.writer.fragment(&self.held, end).map(Some)
    }
}
