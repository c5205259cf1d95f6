//! The access log: every access to a recording and every deletion, append-only, as a Merkle tree
//! whose signed head anyone can check offline. Usable without the server.
//!
//! | module | what |
//! |---|---|
//! | [`leaf`] | one entry, its canonical bytes, and why it says nothing about a person |
//! | [`tree`] | RFC 6962 hashing and proofs |
//! | [`checkpoint`] | the signed head (C2SP signed note, Ed25519) and its keys |
//! | [`cosignature`] | what a witness puts under a head, and its keys (C2SP tlog-cosignature) |
//! | [`witness_request`] | what a witness is asked (C2SP tlog-witness) |
//! | [`record`] | the entries file |
//! | `chunks` | where chunks of entries are in it, so that a large log opens quickly |
//! | [`files`] | what the log asks of the disk, and nothing else |
//! | [`log`] | the durable store, its writer thread and its recovery |
//! | [`proof`] | one entry with its proof, as a text (C2SP tlog-proof) |
//! | [`tiles`] | the log as a folder of C2SP tlog-tiles, for monitors and witnesses |
//! | [`verify`] | the check of a whole log, written apart from what wrote it |
//!
//! # Life of an entry
//! 1. [`AccessLog::append`] checks the leaf, turns it into bytes and hands it to the writer thread.
//! 2. The writer takes all that wait (group commit), writes their records behind the last one and
//!    syncs the entries file.
//! 3. It signs the head over all of them, in memory. Only then do the callers get their
//!    [`LogIndex`], the proof that the key service wants before it unwraps the key of a clip.
//! 4. Within [`PUBLISH_AFTER`](log::PUBLISH_AFTER) it replaces `checkpoint`: temporary file, sync,
//!    rename, sync of the folder.
//!
//! INVARIANT: an entry whose caller got a [`LogIndex`] is in the log after every crash. No two
//! heads signed by one log disagree about a prefix. After a failed write or sync nothing is
//! acknowledged any more until the log is opened again.
//!
//! # Which libraries
//! `tlog_tiles` does hashing, proofs and tiles, `signed_note` the note format. Signing is ring's
//! Ed25519, as everywhere in the project: the signer of `signed_note` would need a second random
//! generator and its own traits. [`verify`] computes the root itself, with ring's SHA-256, so that
//! a fault of `tlog_tiles` cannot hide there.
#![forbid(unsafe_code)]

pub mod checkpoint;
mod chunks;
pub mod cosignature;
pub mod files;
pub mod leaf;
pub mod log;
pub mod proof;
pub mod record;
pub mod tiles;
pub mod tree;
pub mod verify;
pub mod witness_request;

pub use checkpoint::{Checkpoint, LogKey, LogPublicKey};
pub use cosignature::{WitnessKey, WitnessPublicKey};
pub use leaf::{Action, Leaf, PersonSalt, PersonTag, Purpose};
pub use log::{AccessLog, LogError, LogIndex};
pub use proof::EntryProof;
pub use tree::Hash;
pub use witness_request::AddCheckpoint;
