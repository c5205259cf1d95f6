//! `temoin-attack`: makes a leak out of a clip, to look at what the forensic mark is scored with.
#![forbid(unsafe_code)]

use std::{io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use temoin_benches::attacks::{Attack, Clip, cut};

/// Makes a leak out of a clip: filmed from a monitor, recorded off the screen, edited, uploaded.
///
/// Example: temoin-attack view.mp4 --attack medium --seed 3 --out leak.mp4
#[derive(Parser)]
#[command(name = "temoin-attack", version)]
struct Args {
    /// Any file that ffmpeg opens.
    clip: PathBuf,
    /// Which attack; an unknown name lists them all.
    #[arg(long, value_name = "NAME", default_value = "medium")]
    attack: String,
    /// Another seed is another leak.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Trims: from here on, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    from_s: f64,
    /// Trims: so long, seconds.
    #[arg(long, value_name = "SECONDS")]
    length_s: Option<f64>,
    /// Where the leak goes, as MP4.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let attack = Attack::named(&args.attack).with_context(|| {
        let names: Vec<&str> = Attack::all().into_iter().map(Attack::name).collect();
        format!("there is no attack `{}`: choose from {}", args.attack, names.join(", "))
    })?;
    let from = Duration::try_from_secs_f64(args.from_s).context("--from-s")?;
    let length = args.length_s.map(Duration::try_from_secs_f64).transpose();
    let length = length.context("--length-s")?.unwrap_or(Duration::MAX);
    let clip = cut(&Clip::read(&args.clip)?, from, length);
    let leak = attack.apply(&clip, args.seed)?;
    leak.write(&args.out)?;
    let (width, height) = leak.size()?;
    writeln!(
        std::io::stdout(),
        "{}: {} pictures of {width}x{height}, {:.2} a second",
        args.out.display(),
        leak.pictures.len(),
        leak.mean_fps()
    )?;
    Ok(())
}
