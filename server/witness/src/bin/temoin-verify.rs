//! `temoin-verify`: the check of an access log from outside, with nothing but what is published, the
//! public keys, and checkpoints that were kept.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use temoin_access_log::{
    Checkpoint, EntryProof, LogPublicKey, WitnessPublicKey,
    verify::{VerifyError, published_head, verify_published},
};
use temoin_witness::outside::Source;

const EXAMPLES: &str = "\
Examples:
  temoin-verify https://fleet.example/log --key 'fleet.example/access-log+9d449c4c+AYEK...' \\
      --witness 'council.example/w1+5d4b8a11+BGQ0...' --since last-month.checkpoint \\
      --save this-month.checkpoint
  temoin-verify consistency mine.checkpoint yours.checkpoint --key ... --log https://fleet.example/log
  temoin-verify inclusion entry-41.tlog-proof --key ...

Exit status: 0 where all holds, 1 where something is wrong with the log, 2 where it could not be checked.";

/// Checks an access log from outside: every entry, consistency, one entry, forks.
#[derive(Debug, Parser)]
#[command(name = "temoin-verify", version, after_help = EXAMPLES,
          args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The published log: a folder, or an address such as `https://fleet.example/log`.
    #[arg(value_name = "FOLDER_OR_URL", required = true)]
    log: Option<String>,
    #[command(flatten)]
    keys: Option<Keys>,
    /// A checkpoint that was kept: the log must still contain it; may be given several times.
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    /// Keep the checkpoint that was checked in this file, for the next --since.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// A certificate (PEM) that the address is checked with, instead of those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The keys that everything is checked with. They must have come another way than the log.
#[derive(Debug, Args)]
struct Keys {
    /// The log's public key.
    #[arg(long, value_name = "VKEY")]
    key: LogPublicKey,
    /// A witness that must have cosigned; may be given several times.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<WitnessPublicKey>,
}

/// What a check of the whole log is asked for.
struct Whole {
    log: String,
    keys: Keys,
    since: Vec<PathBuf>,
    save: Option<PathBuf>,
    ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks that one checkpoint's log is the beginning of the other's.
    Consistency {
        /// A checkpoint.
        old: PathBuf,
        /// Another.
        new: PathBuf,
        #[command(flatten)]
        keys: Keys,
        /// The published log, needed where the sizes are not the same.
        #[arg(long, value_name = "FOLDER_OR_URL")]
        log: Option<String>,
        /// A certificate (PEM) that the address is checked with.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Checks the proof of one entry.
    Inclusion {
        /// The proof, as the portal gives it.
        proof: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
}

/// Something is wrong with the log; anything else is that it could not be checked.
#[derive(Debug)]
struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn wrong(text: impl std::fmt::Display) -> anyhow::Error {
    Wrong(text.to_string()).into()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.log, cli.keys) {
        (Some(Command::Consistency { old, new, keys, log, ca }), _, _) => {
            consistency(&old, &new, &keys, log.as_deref(), ca.as_deref())
        }
        (Some(Command::Inclusion { proof, keys }), _, _) => inclusion(&proof, &keys),
        (None, Some(log), Some(keys)) => {
            whole(&Whole { log, keys, since: cli.since, save: cli.save, ca: cli.ca })
        }
        (None, _, _) => Err(anyhow!("give a log and its --key: see temoin-verify --help")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let wrong = error.downcast_ref::<Wrong>().is_some();
            let word = if wrong { "WRONG" } else { "not checked" };
            // Nobody is left to tell where standard error is gone.
            drop(writeln!(std::io::stderr(), "temoin-verify: {word}: {error:#}"));
            ExitCode::from(if wrong { 1 } else { 2 })
        }
    }
}

fn say(line: &str) -> Result<(), anyhow::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

fn read(path: &Path) -> Result<Vec<u8>, anyhow::Error> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn read_checkpoint(path: &Path, keys: &Keys) -> Result<Checkpoint, anyhow::Error> {
    Checkpoint::parse(&read(path)?, &keys.key)
        .map_err(|e| wrong(format!("{}: {e}", path.display())))
}

fn source(log: &str, ca: Option<&Path>) -> Result<Source, anyhow::Error> {
    Source::new(log, ca.map(read).transpose()?.as_deref())
}

/// A log that cannot be read is not a log that is wrong; a file of it that is gone is.
fn judged(error: VerifyError) -> anyhow::Error {
    match &error {
        VerifyError::File(e) if e.source.kind() != std::io::ErrorKind::NotFound => error.into(),
        VerifyError::Key { .. } => error.into(),
        VerifyError::File(_)
        | VerifyError::Checkpoint(_)
        | VerifyError::Header(_)
        | VerifyError::Entry { .. }
        | VerifyError::Tile(_)
        | VerifyError::Missing { .. }
        | VerifyError::Root { .. }
        | VerifyError::Rollback { .. }
        | VerifyError::Fork { .. } => wrong(error),
    }
}

fn say_witnesses(head: &Checkpoint, keys: &Keys) -> Result<(), anyhow::Error> {
    for witness in &keys.witness {
        match witness.cosigned_at(head) {
            Some(unix_s) => {
                say(&format!("cosigned by {} at {unix_s} (unix time)", witness.name()))?
            }
            None => return Err(wrong(format!("not cosigned by the witness {}", witness.name()))),
        }
    }
    Ok(())
}

fn whole(asked: &Whole) -> Result<(), anyhow::Error> {
    let kept = asked
        .since
        .iter()
        .map(|path| read_checkpoint(path, &asked.keys))
        .collect::<Result<Vec<_>, _>>()?;
    let source = source(&asked.log, asked.ca.as_deref())?;
    let head = published_head(&source, &asked.keys.key).map_err(judged)?;
    let verified = verify_published(&source, &head, &kept).map_err(judged)?;
    say(&format!("size {}", head.size()))?;
    say(&format!("root {}", head.root()))?;
    if verified.unknown_entries > 0 {
        say(&format!("{} entries are of a later version", verified.unknown_entries))?;
    }
    say_witnesses(&head, &asked.keys)?;
    for kept in &kept {
        say(&format!("it only grew since the kept checkpoint of {} entries", kept.size()))?;
    }
    if let Some(path) = &asked.save {
        std::fs::write(path, head.note())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    say("every entry is as it was signed")
}

fn consistency(
    old: &Path,
    new: &Path,
    keys: &Keys,
    log: Option<&str>,
    ca: Option<&Path>,
) -> Result<(), anyhow::Error> {
    let (mut old, mut new) = (read_checkpoint(old, keys)?, read_checkpoint(new, keys)?);
    if old.size() > new.size() {
        std::mem::swap(&mut old, &mut new);
    }
    if old.size() == new.size() {
        if old.root() != new.root() {
            return Err(wrong(format!(
                "the log has two histories: both checkpoints sign {} entries, but not the same \
                 ones, and both signatures are good; keep both files, they are the proof",
                old.size()
            )));
        }
        return say(&format!("both sign the same {} entries", old.size()));
    }
    let Some(log) = log else {
        bail!(
            "checkpoints of {} and {} entries: give the published log with --log",
            old.size(),
            new.size()
        );
    };
    let source = source(log, ca)?;
    let head = published_head(&source, &keys.key).map_err(judged)?;
    verify_published(&source, &head, &[old.clone(), new.clone()]).map_err(judged)?;
    say(&format!("the log of {} entries is the beginning of that of {}", old.size(), new.size()))
}

fn inclusion(path: &Path, keys: &Keys) -> Result<(), anyhow::Error> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| wrong(format!("`{}` is not a proof: not UTF-8", path.display())))?;
    let proof = EntryProof::parse(&text).map_err(wrong)?;
    let (leaf, head) = proof.check(&keys.key).map_err(wrong)?;
    say_witnesses(&head, keys)?;
    say(&format!("entry {} is in the log of {} entries", proof.index, head.size()))?;
    let leaf = leaf.to_bytes().context("the entry")?;
    say(&String::from_utf8_lossy(&leaf))
}
