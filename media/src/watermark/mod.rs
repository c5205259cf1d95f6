//! The forensic mark: a pattern in the luma that names the view a picture came from, and that a
//! phone which films the screen takes along.
//!
//! The picture is a grid of cells, the same whatever its resolution, and time is cut into slots. Each
//! cell is a little brighter or darker for a slot, as the key of the view says
//! ([`temoin_proto::mark`]). How much is decided by what the eye does not see in this picture
//! ([`mask`](self)): more on texture than on a flat wall.
//!
//! | module | what |
//! |---|---|
//! | [`grid`] | cells and slots: what both sides agree on |
//! | [`embed`] | puts the mark in, picture by picture |
//! | [`register`] | lays a leaked video on the original it came from |
//! | [`residual`] | what a leak's picture has that the original has not, cell by cell |
//! | [`detect`] | whose mark that is, and how sure |
//! | [`trace`] | these three, one after the other |
//! | [`fingerprint`] | which clip a leak shows, out of a hundred thousand |
//!
//! How it is found again, and what a finding is worth: `docs/forensic-mark.md`.

pub mod detect;
pub mod embed;
pub mod fingerprint;
pub mod grid;
mod mask;
pub mod register;
pub mod residual;
pub mod trace;

pub use embed::Embedder;
pub use grid::Grid;
