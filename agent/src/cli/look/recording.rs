//! The annotated copy: a video, or the last picture as PNG. Written beside its place, for the owner
//! alone, and renamed once it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use temoin_media::{
    fmp4::Writer,
    frame::I420Picture,
    h264::{AccessUnit, Encoder, EncoderConfig, StreamConfig},
    png,
};
use temoin_proto::time::MonoTime;

/// How long the first coded picture may take.
const FIRST: Duration = Duration::from_secs(10);

/// A copy that is being written.
pub(super) struct Recording {
    path: PathBuf,
    encoder: EncoderConfig,
    kind: Kind,
}

enum Kind {
    /// The last picture.
    Still(Option<I420Picture>),
    NoVideo,
    Video(Box<Video>),
}

struct Video {
    encoder: Encoder,
    out: Out,
}

/// What comes out of the encoder goes here.
struct Out {
    file: File,
    writer: Option<Writer>,
    group: Vec<AccessUnit>,
    frame: Duration,
}

impl Recording {
    pub(super) fn new(path: PathBuf, encoder: EncoderConfig) -> Self {
        let still = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        let kind = if still { Kind::Still(None) } else { Kind::NoVideo };
        Self { path, encoder, kind }
    }

    pub(super) fn push(&mut self, picture: I420Picture, at: MonoTime) -> Result<()> {
        if matches!(self.kind, Kind::NoVideo) {
            self.encoder.width = picture.width();
            self.encoder.height = picture.height();
            self.kind = Kind::Video(Box::new(Video {
                encoder: Encoder::new(self.encoder.clone())?,
                out: Out {
                    file: create(&self.path)?,
                    writer: None,
                    group: Vec::new(),
                    frame: Duration::from_secs(1) / self.encoder.fps.max(1),
                },
            }));
        }
        match &mut self.kind {
            Kind::Still(last) => *last = Some(picture),
            Kind::NoVideo => {}
            Kind::Video(video) => {
                video.encoder.push(picture, at)?;
                while let Some(unit) = video.encoder.try_next()? {
                    video.out.take(unit, video.encoder.stream())?;
                }
            }
        }
        Ok(())
    }

    /// Ends it and says where it is; `None` where no picture came.
    pub(super) fn finish(self) -> Result<Option<PathBuf>> {
        match self.kind {
            Kind::NoVideo | Kind::Still(None) => return Ok(None),
            Kind::Still(Some(picture)) => {
                let mut file = create(&self.path)?;
                file.write_all(&png::encode(&picture.view())?).with_context(cannot(&self.path))?;
            }
            Kind::Video(video) => video.finish()?,
        }
        fs::rename(part(&self.path), &self.path).with_context(cannot(&self.path))?;
        Ok(Some(self.path))
    }
}

fn cannot(path: &Path) -> impl Fn() -> String {
    let path = path.display().to_string();
    move || format!("cannot write `{path}`")
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn create(path: &Path) -> Result<File> {
    let part = part(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&part).with_context(cannot(&part))
}

impl Video {
    fn finish(self) -> Result<()> {
        let Self { mut encoder, mut out } = self;
        // Its stream is known once a picture has come out.
        while encoder.stream().is_none()
            && let Some(unit) = encoder.next_within(FIRST)?
        {
            out.take(unit, encoder.stream())?;
        }
        let stream = encoder.stream().cloned();
        for unit in encoder.finish()? {
            out.take(unit, stream.as_ref())?;
        }
        out.end_group(None, stream.as_ref())
    }
}

impl Out {
    fn take(&mut self, unit: AccessUnit, stream: Option<&Arc<StreamConfig>>) -> Result<()> {
        if unit.key && !self.group.is_empty() {
            self.end_group(Some(unit.at), stream)?;
        }
        self.group.push(unit);
        Ok(())
    }

    fn end_group(
        &mut self,
        next: Option<MonoTime>,
        stream: Option<&Arc<StreamConfig>>,
    ) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let stream = stream.context("the encoder never described its stream")?;
                let writer = Writer::new(StreamConfig::clone(stream), first.at);
                self.file.write_all(&writer.init(None)?)?;
                none.insert(writer)
            }
        };
        let end = next.unwrap_or(last.at + self.frame);
        self.file.write_all(&writer.fragment(&group, end)?)?;
        Ok(())
    }
}
