//! `trace`: hands a leaked file to the server that runs, and writes the report.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use temoin_proto::ids::{EventId, GrantId};

use super::{At, say};
use crate::{
    config::Config,
    trace::socket::{Ask, Reports, ask},
};

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The video as it was found.
    file: PathBuf,
    /// The grant that it rests on: an auditor asks for it in the portal (Traces), the privacy officer
    /// gives it, and it stands on the page Requests.
    #[arg(long, value_name = "ID")]
    grant: GrantId,
    /// The event that it shows, where that is known; else the recording is searched for.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// What the reports are called, with `.html` and `.pdf` behind it; must not exist yet.
    #[arg(long, value_name = "PATH", default_value = "trace")]
    out: PathBuf,
    #[command(flatten)]
    at: At,
}

pub(super) async fn run(trace: Trace) -> Result<(), anyhow::Error> {
    let config = Config::read(&trace.at.config)?;
    let file =
        File::open(&trace.file).with_context(|| format!("cannot open {}", trace.file.display()))?;
    let outs = [with_end(&trace.out, "html"), with_end(&trace.out, "pdf")];
    for out in &outs {
        anyhow::ensure!(!out.exists(), "{} exists already: give another --out", out.display());
    }
    let wanted = Ask { grant: trace.grant, event: trace.event };
    let told = |step: &str| {
        // Nobody is left to tell where standard output is gone.
        drop(say(&format!("{step}...")));
    };
    let Reports { sentence, html, pdf } = ask(&config.trace_socket(), &wanted, file, told).await?;
    for (out, bytes) in outs.iter().zip([html, pdf]) {
        fs::write(out, bytes).with_context(|| format!("cannot write {}", out.display()))?;
    }
    say(&sentence)?;
    say(&format!("The reports are {} and {}.", outs[0].display(), outs[1].display()))
}

fn with_end(out: &std::path::Path, end: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}
