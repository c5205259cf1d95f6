//! A witness: it sees the signed heads of access logs, checks that each log only grew since the head
//! before, and only then puts its own signature under the new one. Who hosts it (a works council)
//! needs to trust neither the fleet's server nor its operator: a log that was cut, put back or
//! written twice gets no more signatures, and a server without them shows no more recordings.
//!
//! | module | what |
//! |---|---|
//! | [`store`] | its folder: key, the logs it knows, the newest head of each |
//! | [`judge`] | whether a head gets a cosignature |
//! | [`serve`] | `POST /add-checkpoint` over HTTP or HTTPS (C2SP tlog-witness) |
//! | [`outside`] | a published log, from a folder or an address, for `temoin-verify` |
//!
//! INVARIANT: a head that was cosigned is durable before its cosignature leaves. So no crash makes a
//! witness sign two histories: what it signs next extends all that it ever signed.
#![forbid(unsafe_code)]

pub mod judge;
pub mod outside;
pub mod serve;
pub mod store;

pub use judge::{Refusal, Witness};
pub use store::WitnessError;
