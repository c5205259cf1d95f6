//! Clips in memory, and their way from and to files through the program ffmpeg.
//!
//! INVARIANT: the pictures of a [`Clip`] have one size, and their times rise from 0 or later.
//! INVARIANT: what is coded on the way lies in a temporary file, which is
//! gone when its value is dropped; a crash leaves it in the system's temporary folder.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use temoin_media::frame::I420Picture;
use tempfile::NamedTempFile;

use super::light::whole;

/// A clip in memory: pictures of one size and their times from its begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Each with its time.
    pub pictures: Vec<(Duration, I420Picture)>,
}

impl Clip {
    /// Any file that ffmpeg opens, turned upright; an odd side loses its last row or column.
    ///
    /// # Errors
    /// Where there is no ffmpeg, or no picture in the file.
    pub fn read(path: &Path) -> Result<Self> {
        let times = NamedTempFile::new()?;
        let even = "scale=trunc(iw/2)*2:trunc(ih/2)*2";
        let (mut frames, _) = Frames::start(path, even, Some(times.path()))?;
        let mut pictures = Vec::new();
        while let Some(picture) = frames.next_picture()? {
            pictures.push(picture);
        }
        let text = fs::read_to_string(times.path()).context("ffmpeg wrote no times")?;
        let at = times_of(&text).with_context(|| format!("times of `{}`", path.display()))?;
        ensure!(!pictures.is_empty(), "there is no picture in `{}`", path.display());
        ensure!(at.len() == pictures.len(), "pictures without times in `{}`", path.display());
        let clip = Self { pictures: at.into_iter().zip(pictures).collect() };
        clip.check()?;
        Ok(clip)
    }

    /// Writes it as H.264 at a steady rate (the mean of its own), so well that nothing is seen of it.
    ///
    /// # Errors
    /// Where there is no ffmpeg or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let coding = Coding { rate: Rate::Quality(14), ..Coding::site(0) };
        let mut coder = Coder::start(self.size()?, self.mean_fps(), &coding)?;
        for (_, picture) in &self.pictures {
            coder.push(picture)?;
        }
        let file = coder.finish()?;
        fs::copy(file.path(), path).with_context(|| format!("write `{}`", path.display()))?;
        Ok(())
    }

    /// Width and height, pixels.
    ///
    /// # Errors
    /// Where it is empty.
    pub fn size(&self) -> Result<(u32, u32)> {
        let (_, first) = self.pictures.first().context("the clip has no pictures")?;
        Ok((first.width(), first.height()))
    }

    /// Pictures a second, in the mean; 25 for a single picture.
    pub fn mean_fps(&self) -> f64 {
        let at = |n: usize| self.pictures.get(n).map_or(0.0, |(at, _)| at.as_secs_f64());
        let last = self.pictures.len().saturating_sub(1);
        let passed_s = at(last) - at(0);
        if passed_s > 0.0 { last as f64 / passed_s } else { 25.0 }
    }

    /// When its last picture ends, seconds.
    pub fn end_s(&self) -> f64 {
        self.pictures.last().map_or(0.0, |(at, _)| at.as_secs_f64() + 1.0 / self.mean_fps())
    }

    /// The picture that is shown at a time: the last one that began.
    pub fn shown_at(&self, at_s: f64) -> Option<&I420Picture> {
        let began = self.pictures.partition_point(|(at, _)| at.as_secs_f64() <= at_s + 1e-6);
        self.pictures.get(began.saturating_sub(1)).map(|(_, picture)| picture)
    }

    /// Coded and decoded again, with its own times.
    ///
    /// # Errors
    /// Where there is no ffmpeg, or it does not give as many pictures as it got.
    pub fn coded(&self, coding: &Coding) -> Result<Self> {
        Ok(self.coded_with_size(coding)?.0)
    }

    /// The same, and how many bytes it is coded in.
    ///
    /// # Errors
    /// Those of [`Self::coded`].
    pub fn coded_with_size(&self, coding: &Coding) -> Result<(Self, u64)> {
        let mut coder = Coder::start(self.size()?, self.mean_fps(), coding)?;
        for (_, picture) in &self.pictures {
            coder.push(picture)?;
        }
        let file = coder.finish()?;
        let bytes = file.as_file().metadata()?.len();
        let mut coded = Self::read(file.path())?;
        ensure!(coded.pictures.len() == self.pictures.len(), "ffmpeg lost pictures");
        for ((to, _), (at, _)) in coded.pictures.iter_mut().zip(&self.pictures) {
            *to = *at;
        }
        Ok((coded, bytes))
    }

    /// Whether its pictures have one size and its times rise.
    ///
    /// # Errors
    /// Where not.
    pub fn check(&self) -> Result<()> {
        let size = self.size()?;
        for (_, picture) in &self.pictures {
            ensure!((picture.width(), picture.height()) == size, "a clip has one size of pictures");
        }
        let rise = self.pictures.is_sorted_by(|(a, _), (b, _)| a < b);
        ensure!(rise, "the times of a clip must rise");
        Ok(())
    }
}

/// The part of a clip from `from` on: what is left after a trim. Its times begin at 0.
pub fn cut(clip: &Clip, from: Duration, length: Duration) -> Clip {
    let to = from.saturating_add(length);
    let inside = clip.pictures.iter().filter(|(at, _)| (from..to).contains(at));
    let first = inside.clone().next().map_or(Duration::ZERO, |(at, _)| *at);
    Clip { pictures: inside.map(|(at, p)| (at.saturating_sub(first), p.clone())).collect() }
}

/// Seconds as a duration; none before 0.
pub(super) fn time(at_s: f64) -> Duration {
    Duration::try_from_secs_f64(at_s.max(0.0)).unwrap_or(Duration::ZERO)
}

/// How much the coder may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// This mean, kbit/s, and at most half more of it in any two seconds.
    Kbit(u32),
    /// This quality (x264's CRF), whatever it costs.
    Quality(u32),
}

/// How pictures are coded (x264).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    /// How much it may spend.
    pub rate: Rate,
    /// x264's preset.
    pub preset: &'static str,
    /// B-pictures in a row at most.
    pub b_pictures: u32,
    /// Without looking ahead, and a key picture every second: as the unit and the portal code.
    pub live: bool,
    /// Scaled so that the shorter side has at most so many pixels.
    pub shorter_side: Option<u32>,
}

impl Coding {
    /// What a site for short videos makes of an upload: slow, 480p. The prototype of the mark named
    /// 480p and 600 to 900 kbit/s.
    pub const fn site(kbit: u32) -> Self {
        Self {
            rate: Rate::Kbit(kbit),
            preset: "medium",
            b_pictures: 3,
            live: false,
            shorter_side: Some(480),
        }
    }

    /// What a phone's own coder makes: in real time, without B-pictures.
    pub const fn phone(kbit: u32) -> Self {
        Self {
            rate: Rate::Kbit(kbit),
            preset: "veryfast",
            b_pictures: 0,
            live: false,
            shorter_side: None,
        }
    }

    /// What the portal shows, at this quality (`media/src/h264/encode.rs`; there it is 23).
    pub const fn portal(quality: u32) -> Self {
        Self {
            rate: Rate::Quality(quality),
            preset: "superfast",
            b_pictures: 0,
            live: true,
            shorter_side: None,
        }
    }

    /// The size that comes out of it.
    pub fn size(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let shorter = width.min(height);
        match self.shorter_side {
            Some(wanted) if wanted < shorter => {
                let scaled = |side: u32| {
                    let side = f64::from(side) * f64::from(wanted) / f64::from(shorter);
                    whole(side / 2.0).max(1) * 2
                };
                (scaled(width), scaled(height))
            }
            Some(_) | None => (width, height),
        }
    }
}

/// Codes pictures into a file, at a steady rate.
pub(super) struct Coder {
    ffmpeg: Child,
    pictures: Option<ChildStdin>,
    file: NamedTempFile,
}

impl Coder {
    pub(super) fn start((width, height): (u32, u32), fps: f64, coding: &Coding) -> Result<Self> {
        let file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
        let (to_width, to_height) = coding.size((width, height));
        let scale = format!("scale={to_width}:{to_height}:flags=bicubic");
        let size = format!("{width}x{height}");
        let fps = format!("{}/1000", whole(fps * 1000.0).max(1));
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size]);
        command.args(["-framerate", &fps, "-i", "-", "-vf", &scale, "-c:v", "libx264"]);
        // One thread: what comes out must not depend on the machine.
        command.args(["-preset", coding.preset, "-threads", "1", "-pix_fmt", "yuv420p"]);
        command.args(["-bf", &coding.b_pictures.to_string()]);
        if coding.live {
            command.args(["-tune", "zerolatency", "-x264-params", "scenecut=0:open-gop=0"]);
            command.args(["-force_key_frames", "expr:gte(t,n_forced)"]);
        } else {
            command.args(["-g", "60"]);
        }
        match coding.rate {
            Rate::Kbit(kbit) => {
                let of = |percent: u32| format!("{}k", kbit * percent / 100);
                command.args(["-b:v", &of(100), "-maxrate", &of(150), "-bufsize", &of(300)]);
            }
            Rate::Quality(crf) => {
                command.args(["-crf", &crf.to_string()]);
            }
        }
        let mut ffmpeg = command
            .arg("-y")
            .arg(file.path())
            .stdin(Stdio::piped())
            .spawn()
            .context("the program ffmpeg is needed to code a clip")?;
        let pictures = ffmpeg.stdin.take();
        Ok(Self { ffmpeg, pictures, file })
    }

    pub(super) fn push(&mut self, picture: &I420Picture) -> Result<()> {
        let pipe = self.pictures.as_mut().context("ffmpeg takes no pictures")?;
        pipe.write_all(picture.data()).context("ffmpeg did not take a picture")
    }

    pub(super) fn finish(mut self) -> Result<NamedTempFile> {
        drop(self.pictures.take());
        ensure!(self.ffmpeg.wait()?.success(), "ffmpeg could not code the clip");
        Ok(self.file)
    }
}

/// The pictures of a file, one after the other.
pub(super) struct Frames {
    ffmpeg: Child,
    pipe: BufReader<ChildStdout>,
    size: (u32, u32),
}

impl Frames {
    /// Starts; also gives the size.
    pub(super) fn open(path: &Path) -> Result<(Self, (u32, u32))> {
        Self::start(path, "null", None)
    }

    fn start(path: &Path, filter: &str, times: Option<&Path>) -> Result<(Self, (u32, u32))> {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(path);
        let out = ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", filter];
        command.args(out).args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]);
        if let Some(times) = times {
            command.args(out).args(["-pix_fmt", "yuv420p", "-f", "framecrc"]).arg(times);
        }
        let mut ffmpeg = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the program ffmpeg is needed to read a clip")?;
        let mut pipe = BufReader::new(ffmpeg.stdout.take().context("ffmpeg gives nothing")?);
        let mut line = String::new();
        pipe.read_line(&mut line)?;
        let side = |key: char| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.find_map(|word| word.strip_prefix(key)?.parse::<u32>().ok())
        };
        let size = side('W').zip(side('H'));
        let size = size.with_context(|| format!("no pictures in `{}`", path.display()))?;
        Ok((Self { ffmpeg, pipe, size }, size))
    }

    pub(super) fn next_picture(&mut self) -> Result<Option<I420Picture>> {
        let mut head = String::new();
        if self.pipe.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        let (width, height) = self.size;
        let mut data = vec![0; usize::try_from(width)? * usize::try_from(height)? * 3 / 2];
        self.pipe.read_exact(&mut data).context("ffmpeg gave half a picture")?;
        Ok(Some(I420Picture::from_vec(width, height, data)?))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // It may still have pictures that nobody wants.
        drop(self.ffmpeg.kill());
        drop(self.ffmpeg.wait());
    }
}

/// The times in what ffmpeg's `framecrc` writes, from the first picture on.
fn times_of(text: &str) -> Result<Vec<Duration>> {
    let mut unit_s = None;
    let mut times = Vec::new();
    for line in text.lines() {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            let (n, d) = base.split_once('/').context("a time base is a ratio")?;
            unit_s = Some(n.trim().parse::<f64>()? / d.trim().parse::<f64>()?);
        } else if !line.starts_with('#') {
            let pts = line.split(',').nth(2).context("a picture has a time")?;
            times.push(pts.trim().parse::<f64>()? * unit_s.context("no time base")?);
        }
    }
    let first = times.first().copied().unwrap_or(0.0);
    Ok(times.into_iter().map(|at| time(at - first)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn times_are_read_with_their_base() {
        let text = "#software: x\n#tb 0: 1/600\n#codec_id 0: rawvideo\n\
                    0, 60, 60, 1, 24, 0x1\n0, 90, 90, 1, 24, 0x2\n";
        assert_eq!(times_of(text).unwrap(), [Duration::ZERO, Duration::from_millis(50)]);
        assert!(times_of("0, 1, 1, 1, 24, 0x1").is_err());
    }

    #[test]
    fn a_trim_begins_at_zero_and_keeps_the_steps() {
        let clip = street(32, 16, 20, 10.0);
        let part = cut(&clip, Duration::from_millis(450), Duration::from_millis(500));
        assert_eq!(part.pictures.len(), 5);
        assert_eq!(part.pictures[0], (Duration::ZERO, clip.pictures[5].1.clone()));
        assert_eq!(part.pictures[4].0, Duration::from_millis(400));
        part.check().unwrap();
        assert!(cut(&clip, Duration::from_secs(9), Duration::MAX).check().is_err());
    }

    #[test]
    fn what_is_written_can_be_read_and_coding_keeps_times() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.mp4");
        let mut clip = street(64, 48, 9, 12.5);
        clip.write(&file).unwrap();
        let back = Clip::read(&file).unwrap();
        assert_eq!((back.size().unwrap(), back.pictures.len()), ((64, 48), 9));
        assert!((back.mean_fps() - 12.5).abs() < 0.01);
        for ((a, _), (b, _)) in back.pictures.iter().zip(&clip.pictures) {
            assert!(a.abs_diff(*b) < Duration::from_millis(1));
        }
        clip.pictures[3].0 += Duration::from_millis(7);
        let coded = clip.coded(&Coding::site(600)).unwrap();
        assert_eq!(coded.pictures[3].0, clip.pictures[3].0);
        assert!(Clip::read(&folder.path().join("none.mp4")).is_err());
    }

    #[test]
    fn a_site_makes_the_shorter_side_480_at_most() {
        let site = Coding::site(900);
        for (from, to) in [
            ((1920, 1080), (854, 480)),
            ((720, 1280), (480, 854)),
            ((320, 240), (320, 240)),
            ((486, 482), (484, 480)),
        ] {
            assert_eq!(site.size(from), to, "{from:?}");
        }
    }
}
