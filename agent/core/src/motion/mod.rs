//! How the vehicle moves, from sensors that err: [`mount`] finds the vehicle's axes in the unit's,
//! [`speed_filter`] fuses speeds with the accelerometer, [`yaw`] frees the turn rate of the
//! gyroscope's bias, [`standstill`] knows a parked van by its stillness, [`free_fall`] a unit that
//! drops. [`crate::vehicle_state`]
//! composes them.

pub mod free_fall;
pub mod mount;
pub mod speed_filter;
pub mod standstill;
pub mod yaw;
