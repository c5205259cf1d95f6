//! The fleet server: ingest, storage, access decisions, viewing and the portal.
//!
//! | module | what |
//! |---|---|
//! | [`grpc`], [`enrol`], [`ingest`] | what units talk to |
//! | [`https`], [`portal`] | what people talk to |
//! | [`authn`], [`authz`] | who somebody is, and what they may do |
//! | [`sign_in`], [`second_factor`], [`sessions`] | signing in, and what one holds then |
//! | [`binding`], [`devices`], [`sign_in_key`], [`totp`] | what these rest on |
//! | [`show`] | what the portal may show, decided |
//! | [`contest`], [`driver_score`], [`limit_proposals`] | a driver's objections, score, and corrections of limits, decided |
//! | [`score`] | the sum of a score, pure |
//! | [`view`] | the only way to pixels |
//! | [`witnesses`] | without whose word about the access log nobody is shown a recording |
//! | [`log`], [`keys`], [`pki`] | the access log, the fleet's keys, the CA |
//! | [`db`], [`objects`] | rows, and sealed clips |
//!
//! INVARIANT: every struct that reaches the portal has been through a decision of [`authz`]; every
//! pixel has been through [`view`].
#![forbid(unsafe_code)]

pub mod app;
pub mod authn;
pub mod authz;
pub mod binding;
mod brake;
pub mod cli;
pub mod config;
pub mod contest;
pub mod db;
pub mod devices;
pub mod driver_score;
#[cfg(test)]
mod driver_tests;
pub mod enrol;
pub mod error;
pub mod feed;
pub mod grants;
pub mod grpc;
pub mod https;
pub mod ingest;
pub mod keys;
pub mod limit_proposals;
pub mod log;
pub mod objects;
pub mod pki;
pub mod portal;
pub mod records;
pub mod report;
pub mod retention;
pub mod score;
pub mod second_factor;
pub mod second_person;
pub mod sessions;
pub mod show;
pub mod sign_in;
pub mod sign_in_key;
#[cfg(test)]
mod test_fleet;
#[cfg(test)]
mod test_keys;
pub mod totp;
pub mod trace;
pub mod view;
pub mod witnesses;
