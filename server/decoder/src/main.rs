//! `temoin-decoder`: standard input is a file of strangers, standard output its pictures
//! ([`temoin_media::leak`]). Run by `temoin-server`, and by nobody else.
//!
//! Decoders of video are large, old and written in C. What they are given here may have been made to
//! take the process over. So before the first byte of it is looked at, everything that decoding needs
//! is loaded, and the process gives up whatever else it could do: [`sandbox::enter`].
//!
//! Exit code 0 also where the file is none: then the stream ends with the reason.
#![forbid(unsafe_code)]

mod plugins;
mod sandbox;

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use temoin_hw::{
    device::{Camera as _, CameraError},
    drive::VideoInput,
    video_file::{PictureSize, STDIN, VideoFile},
};
use temoin_media::{
    frame::I420Picture,
    leak::{write_end, write_picture},
};
use temoin_proto::{samples::CameraId, time::MonoTime};

/// Decodes the video on standard input into pictures on standard output, able to do nothing else.
#[derive(Debug, Parser)]
#[command(name = "temoin-decoder", version)]
struct Args {
    /// The longer side of the pictures, pixels, even; the picture lies in a square of it.
    #[arg(long, default_value_t = 640)]
    side: u32,
    /// Pictures a second, at most.
    #[arg(long, default_value_t = 15)]
    fps: u32,
    /// Where in the file to begin, seconds.
    #[arg(long, default_value_t = 0.0)]
    from_s: f64,
    /// How much of it, seconds.
    #[arg(long, default_value_t = 60)]
    most_s: u32,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "temoin-decoder: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    ensure!((1..=600).contains(&args.most_s), "--most-s has to be 1 to 600");
    ensure!((0.0..=86_400.0).contains(&args.from_s), "--from-s has to be 0 to 86400");
    let size = PictureSize { width: args.side, height: args.side, fps: args.fps }.check()?;
    plugins::load().context("cannot load GStreamer's decoders")?;
    sandbox::enter().context("cannot give up what decoding does not need")?;
    let mut out = BufWriter::new(io::stdout().lock());
    match decode(size, args, &mut out) {
        Ok(()) => write_end(&mut out, Ok(()))?,
        Err(Failed::File(error)) => write_end(&mut out, Err(&reason(&error)))?,
        // Nobody reads any more: enough was seen.
        Err(Failed::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Failed::Output(error)) => return Err(error.into()),
    }
    Ok(())
}

enum Failed {
    File(CameraError),
    Output(io::Error),
}

fn decode(size: PictureSize, args: &Args, out: &mut impl io::Write) -> Result<(), Failed> {
    let input = VideoInput {
        file: STDIN.into(),
        start_s: args.from_s,
        length_s: Some(f64::from(args.most_s)),
        ..VideoInput::default()
    };
    let mut video =
        VideoFile::open(CameraId::Road, &input, size, MonoTime::ZERO).map_err(Failed::File)?;
    while let Some(frame) = video.next_frame().map_err(Failed::File)? {
        let at: Duration = frame.at.since(MonoTime::ZERO);
        let picture =
            I420Picture::from_frame(frame).map_err(|e| Failed::Output(io::Error::other(e)))?;
        write_picture(out, at, &picture).map_err(Failed::Output)?;
    }
    Ok(())
}

/// In words for who handed the file in, who does not know it as standard input.
fn reason(error: &CameraError) -> String {
    error.to_string().replace(&format!("`{STDIN}`"), "the file")
}
