//! A whole fleet on this machine, out of real processes: for the demo, the end-to-end tests and
//! the whole-line figures.
//!
//! INVARIANT: every process is ended when its handle is dropped, every port is chosen by the
//! system, and everything lies in one temporary folder.
#![forbid(unsafe_code)]

pub mod client;
pub mod degrade;
pub mod drives;
pub mod fleet;
pub mod fuzz_targets;
pub mod journal;
pub mod process;
pub mod stage;
pub mod storage;
pub mod wire_tap;
pub mod worse;
