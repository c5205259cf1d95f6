//! The key service: a process of its own, under a user of its own, that alone holds the fleet's
//! private keys. The server asks it over a Unix socket and gets the key of one clip only against
//! an entry of the access log, whose proof is checked here, against a log key that is pinned here.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | `keys.toml` |
//! | [`guard`] | what protects the keyring file at rest: passphrase, AWS KMS or PKCS#11 |
//! | [`keyring`] | the private keys, in memory and as a sealed file |
//! | [`rules`] | what is allowed: pure functions |
//! | [`seen`] | the newest head of the log, durable |
//! | [`tombstones`] | clips whose keys are never given out again, durable |
//! | [`message`] | what goes over the socket |
//! | [`service`] | one request to one answer |
//! | [`socket`] | who may connect, and the connections |
//!
//! # What goes on in an unwrap
//! proof parsed and checked with the pinned key → rule (this clip, a view or export, not older than
//! 15 min) → not a destroyed clip → the proof's head continues the newest head seen, and is written
//! → where witnesses are named, their signature is young enough → HPKE open → answer.
//!
//! INVARIANT: no private key leaves the process, and no clip's key without such a proof. Private
//! keys are in this process's memory while it runs, whatever guards the file: neither KMS nor a
//! token has an X25519 operation that fits HPKE.
//!
//! A crash loses nothing that was answered: head and tombstones are synced before the answer.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod guard;
pub mod keyring;
pub mod message;
mod place;
pub mod rules;
mod sealing;
pub mod secret;
pub mod seen;
pub mod service;
pub mod socket;
pub mod tombstones;

pub use guard::{Guard, GuardError};
pub use keyring::{Keyring, KeyringError};
pub use message::{Answer, LogProof, PublicKey, Refusal, Request, Wrapped};
pub use service::Service;
