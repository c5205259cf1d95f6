//! What the line costs, how quick it is and how well it scores.
//!
//! | module | what |
//! |---|---|
//! | [`figures`], [`machine`] | a figure with the limit beside it; on which machine and commit |
//! | [`input`], [`line`](mod@line), [`viewing`] | the whole line, out of real processes |
//! | [`limits_bench`] | the speed limits' file and look-up |
//! | [`access_log_bench`] | what a durable entry costs, and how a large log behaves |
//! | [`mark_cost`], [`trace_bench`] | what the forensic mark costs, and finding the clip that a leak shows |
//! | [`bare`] | the limits: the same work without the line around it |
//! | [`score`] | what the detectors get right |
//! | [`nmea_score`] | receivers' logs against gpsd's own decoder |
//! | [`watch`], [`piped`] | clips and drives, shown to perception |
//! | [`packs`], [`labels`], [`mounts`], [`perception`] | with which networks, against which labels, on which mount, in which order |
//! | [`eyes`], [`eye_score`], [`driver_score`], [`zone_score`], [`degraded`], [`road_score`], [`distance_score`], [`blur_score`], [`event_score`] | what perception gets right |
//! | [`motion_score`], [`jair`] | what is right about how the vehicle is driven |
//! | [`attacks`], [`peers`] | what the forensic mark has to survive; another mark, to compare with |
//! | [`stats`], [`curves`], [`covered`], [`charts`] | numbers over lists, and pictures of them |
//!
//! INVARIANT: a figure names the data it was measured on, how often, and, where there is one, a
//! limit that was measured in the same run on the same data.
//! INVARIANT: nothing of `../shared/data` is copied; pictures stay in memory.
#![forbid(unsafe_code)]

pub mod access_log_bench;
pub mod attacks;
pub mod bare;
pub mod blur_score;
pub mod charts;
pub mod core_cost;
pub mod covered;
pub mod cpu;
pub mod curves;
pub mod decisions;
pub mod decoys;
pub mod degraded;
pub mod distance_score;
pub mod driver_score;
pub mod event_score;
pub mod eye_score;
pub mod eyes;
pub mod figures;
pub mod input;
pub mod jair;
pub mod keys_bench;
pub mod labels;
pub mod limits_bench;
pub mod line;
pub mod machine;
pub mod mark_cost;
pub mod mark_score;
pub mod motion_score;
pub mod mounts;
pub mod nmea_score;
pub mod packs;
pub mod peers;
pub mod perception;
pub mod piped;
pub mod road_score;
pub mod score;
pub mod soak;
pub mod stats;
pub mod trace_bench;
pub mod trace_memory;
pub mod viewing;
pub mod watch;
pub mod zone_score;
