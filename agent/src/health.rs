//! Device health: what each part of the unit says of itself, in plain words for an installer.
//!
//! INVARIANT: no statement names a person or a place.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use temoin_proto::wire;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works in part.
    Degraded,
    /// Does not work.
    Failed,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// The latest statement of every part.
#[derive(Debug, Default)]
pub struct HealthBoard(Mutex<BTreeMap<String, (State, String)>>);

impl HealthBoard {
    /// Sets what a part says. A change is logged; the same statement again is not.
    pub fn set(&self, part: &str, state: State, text: impl Into<String>) {
        let text = text.into();
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if board.get(part).is_some_and(|(s, t)| (*s, t) == (state, &text)) {
            return;
        }
        match state {
            State::Ok => tracing::info!(part, "{text}"),
            State::Degraded | State::Failed => {
                tracing::warn!(part, state = state.as_str(), "{text}")
            }
        }
        board.insert(part.to_owned(), (state, text));
    }

    /// How a part is, where it said anything.
    pub fn state(&self, part: &str) -> Option<State> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.get(part).map(|(state, _)| *state)
    }

    /// Everything, for a heartbeat.
    pub fn items(&self) -> Vec<wire::HealthItem> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board
            .iter()
            .map(|(part, (state, text))| wire::HealthItem {
                part: part.clone(),
                state: state.as_str().to_owned(),
                text: text.clone(),
            })
            .collect()
    }
}
