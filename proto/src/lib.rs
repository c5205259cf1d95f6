//! What the parts of Temoin share: ids, time, samples, events, manifests, the sealed format and
//! the wire format between unit and fleet server.
//!
//! Everything may depend on this crate; it depends on no other crate of the project.
#![forbid(unsafe_code)]

pub mod convert;
pub mod events;
pub mod geo;
pub mod ids;
pub mod manifest;
pub mod mark;
pub mod perception;
pub mod picture_stats;
pub mod samples;
pub mod sealed;
pub mod time;

/// The generated types and services of `fleet/v1/fleet.proto`.
pub mod wire {
    #![expect(
        missing_docs,
        clippy::allow_attributes,
        reason = "generated; the documentation is in fleet.proto"
    )]
    tonic::include_proto!("fleet.v1");
}
