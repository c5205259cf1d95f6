//! The devices of a unit: cameras, GNSS, IMU, vehicle bus, button, lamp, speaker and clock.
//! One file per device kind, each behind a trait of [`device`]; `replay` and `sim` stand in for
//! all of them at once. [`mapped_file`] is the disk's part: a large file, mapped.
//!
//! INVARIANT: everything that leaves this crate is on the unit's own monotonic time line
//! ([`temoin_proto::time::MonoTime`]) and in vehicle axes (ISO 8855: x forward, y left, z up).
//! No device clock and no device axis gets past it.
//!
//! INVARIANT: one call in [`mapped_file`] is the only `unsafe` here.
//!
//! Nothing here writes to disk: a crash leaves nothing behind.
#![deny(unsafe_code)]

pub mod camera_v4l2;
pub mod can_frame;
pub mod can_socketcan;
pub mod candump;
pub mod clock;
pub mod csv_signals;
pub mod dbc;
pub mod device;
pub mod drive;
mod drive_file;
mod frame_grid;
pub mod gnss_serial;
pub mod gpsd;
pub mod gpx;
pub mod isotp;
pub mod mapped_file;
pub mod nmea;
pub mod obd;
pub mod pace;
pub mod receiver;
pub mod replay;
#[cfg(test)]
mod shared_data;
pub mod sim;
mod sim_paint;
mod sim_road;
mod sim_scene;
mod time_map;
pub mod ubx;
pub mod vehicle;
pub mod video_file;

pub use device::{Camera, CameraError, Clock, HwError, Lamp, SignalError, SignalSource, Speaker};
pub use drive::Drive;
pub use replay::{Replay, ReplayItem, ReplayOptions};
