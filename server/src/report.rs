//! One line per thing that happened, for whoever watches the server: events, clips, views.
//!
//! A line names ids only: no person, no place.

use std::sync::Arc;

use temoin_proto::{
    events::EventKind,
    ids::{ClipId, EventId, UnitId, ViewId},
};

use crate::authz::Purpose;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A new event was stored.
    Event(EventId, EventKind, UnitId),
    /// A clip became complete.
    Clip(ClipId, EventId, UnitId),
    /// Somebody opened a clip.
    View(ViewId, ClipId, Purpose),
}

impl std::fmt::Display for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(event, kind, unit) => write!(f, "event {event} {kind} unit={unit}"),
            Self::Clip(clip, event, unit) => {
                write!(f, "clip {clip} complete event={event} unit={unit}")
            }
            Self::View(view, clip, purpose) => {
                write!(f, "view {view} clip={clip} purpose={}", purpose.as_str())
            }
        }
    }
}

/// Who is told.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(&Happening) + Send + Sync>);

impl Report {
    /// Tells this function.
    pub fn new(tell: impl Fn(&Happening) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells nobody.
    pub fn nobody() -> Self {
        Self::new(|_| ())
    }

    /// Tells it.
    pub fn tell(&self, happening: &Happening) {
        (self.0)(happening);
    }
}
