//! The unit's decisions, pure: what happened, whether the driver is warned, what is kept, what is
//! uploaded and what is deleted.
//!
//! In flow order: [`timebase`] → [`vehicle_state`] → detectors → [`policy`] → [`clip`] over
//! [`gop_ring`] and [`signal_history`]; [`drive`] composes them. Detectors of the vehicle are
//! [`harsh_motion`] and [`speeding`]; [`driver`] composes those of the driver: [`attention`] and
//! [`repeated_distraction`] over [`gaze_zone`], [`eye_closure`] and [`drowsiness`] over [`lids`] and
//! [`perclos`], and [`phone`], by what [`calibration`] learned. [`road`] says what was found in road
//! pictures in metres; [`headway`] is arithmetic.
//! [`limits`] says the speed limit where the vehicle is.
//! [`recording`] says what may run now, [`power`] and [`heat`] what the machine can.
//! [`spool_plan`] and [`upload_plan`] decide for the edges that own the disk and the network.
//!
//! INVARIANT: no clock, no randomness, no I/O, no unordered iteration. The same inputs give the
//! same commands, whether live or replayed at any speed.
//! INVARIANT: time is counted in seconds of the sensors' own clocks, never in frames or calls.
//! INVARIANT: 'not seen' is never 'did wrong': an unknown input starts no timer and advances none.
#![forbid(unsafe_code)]

pub mod attention;
pub mod blur_tracks;
pub mod calibration;
pub mod camera_health;
mod camera_view;
pub mod clip;
pub mod collision;
pub mod config;
pub mod drive;
pub mod driver;
pub mod drowsiness;
pub mod eye_closure;
pub mod following;
pub mod gaze_zone;
pub mod gop_ring;
pub mod harsh_check;
pub mod harsh_motion;
pub mod headway;
pub mod heat;
pub mod idling;
pub mod lids;
pub mod limits;
pub mod motion;
pub mod perclos;
pub mod phone;
pub mod policy;
pub mod power;
pub mod recording;
pub mod repeated_distraction;
pub mod road;
pub mod rolling_stop;
pub mod rollover;
pub mod seat_belt;
mod seen_timer;
pub mod signal_history;
pub mod speeding;
pub mod spool_plan;
pub mod timebase;
pub mod upload_plan;
pub mod vehicle_state;
pub mod vehicle_watch;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod stories_collision;
#[cfg(test)]
mod stories_driver;
#[cfg(test)]
mod stories_vehicle;
#[cfg(test)]
mod story;
