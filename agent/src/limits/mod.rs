//! Speed limits offline, the edges: an OpenStreetMap extract becomes the limits file, and the unit opens
//! it. What a limit is and where the vehicle is are decided in [`temoin_agent_core::limits`].
//!
//! INVARIANT: `build` never leaves half a file under the name that was asked for.

pub mod build;
pub mod file;
pub mod osm;
pub mod pbf;

#[cfg(test)]
pub(crate) mod pbf_writer;
#[cfg(test)]
mod real_map_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;

pub use self::{
    build::{BuildError, Built},
    file::{MapFile, read_overrides},
};
