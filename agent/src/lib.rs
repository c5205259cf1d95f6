//! The unit in the van: edges around [`temoin_agent_core`].
//!
//! ```text
//! capture → pipeline (perception, encoders, core) → sealer → spool → upload ═▶ fleet server
//! ```
//!
//! INVARIANT: unflagged video never leaves RAM, and nothing touches the disk unsealed: the only
//! ways out are [`sealer`] for a flagged clip and [`spool`] for an event's record. (`cli::look`, for
//! an installer, writes nothing of a camera once the unit is enrolled.)
//! INVARIANT: a fault never beeps at the driver; it shows in device health.
#![forbid(unsafe_code)]

pub mod cab;
#[cfg(test)]
mod camera_health_tests;
pub mod camera_stats;
pub mod capture;
pub mod cli;
mod clip_file;
pub mod config;
mod core_health;
pub mod durable;
pub mod encoders;
pub mod eyes;
pub mod health;
pub mod identity;
pub mod infer;
mod journal;
pub mod last_fault;
pub mod limit_watch;
pub mod limits;
pub mod machine;
pub mod metrics;
pub mod model_pack;
pub mod mount_file;
pub mod net;
pub mod odometer;
pub mod outlines;
pub mod perception;
pub mod pipeline;
pub mod privacy_blur;
mod recorder;
pub mod seal;
pub mod sealer;
pub mod spool;
pub mod standing_orders;
pub mod trusted_time;
pub mod under_way;
pub mod unit;
pub mod upload;
pub mod watchdog;
