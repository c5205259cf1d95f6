//! The devices of a unit: cameras, GNSS, IMU, vehicle bus, button, lamp, speaker and clock.
//! One file per device kind, each behind a trait of [`device`]; `replay` and `sim` stand in for
//! all of them at once. [`mapped_file`] is the disk's part: a large file, mapped.
//!
//! INVARIANT: everything that leaves this crate is on the unit's own monotonic time line
//! ([`temoin_proto::time::MonoTime`]) and in vehicle axes (ISO 8855: x forward, y left, z up), but for
//! [`imu_iio`], whose axes are the sensor's own until the core has learned how it sits. No device clock
//! gets past it.
//!
//! INVARIANT: one call in [`mapped_file`] is the only `unsafe` here.
//!
//! Nothing here writes to disk: a crash leaves nothing behind.
#![deny(unsafe_code)]

pub mod camera_gst;
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
pub mod gpio;
pub mod gpsd;
pub mod gpx;
mod iio_device;
mod iio_scan;
pub mod imu_iio;
pub mod isotp;
pub mod lamp_gpio;
pub mod mapped_file;
mod mjpeg;
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
pub mod speaker_alsa;
pub mod supply;
mod sysfs;
pub mod thermal;
mod time_map;
mod tones;
pub mod ubx;
pub mod vehicle;
pub mod video_file;
mod waiting;
pub mod watchdog;

pub use device::{Camera, CameraError, Clock, HwError, Lamp, SignalError, SignalSource, Speaker};
pub use drive::Drive;
pub use replay::{Replay, ReplayItem, ReplayOptions};
