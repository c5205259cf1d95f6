//! A video file that GStreamer cannot play to its end, through the program ffmpeg: animations, and
//! files that are cut short. The unit itself never needs this.
//!
//! INVARIANT: pictures go through a pipe into memory, never to a file.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use temoin_hw::{replay, video_file::PictureSize};
use temoin_media::frame::I420Picture;
use temoin_proto::samples::{CameraId, Frame};

/// The pictures of a file, at a steady rate, whole between black bars, as a unit gets them.
pub struct Piped {
    ffmpeg: Child,
    pictures: ChildStdout,
    camera: CameraId,
    size: PictureSize,
    n: u32,
}

impl Piped {
    /// Starts.
    ///
    /// # Errors
    /// Where there is no ffmpeg.
    pub fn open(file: &Path, camera: CameraId, size: PictureSize) -> Result<Self> {
        let (w, h) = (size.width, size.height);
        let filter = format!(
            "fps={},scale={w}:{h}:force_original_aspect_ratio=decrease,\
             pad={w}:{h}:(ow-iw)/2:(oh-ih)/2",
            size.fps
        );
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(file)
            .args(["-an", "-vf", &filter, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the program ffmpeg is needed to read this clip")?;
        let pictures = ffmpeg.stdout.take().context("ffmpeg gives nothing")?;
        Ok(Self { ffmpeg, pictures, camera, size, n: 0 })
    }

    /// The next picture; `None` at the end.
    ///
    /// # Errors
    /// Where there is none at all.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let (width, height) = (self.size.width, self.size.height);
        let pixels = usize::try_from(width)? * usize::try_from(height)?;
        let mut data = vec![0; pixels * 3 / 2];
        if self.pictures.read_exact(&mut data).is_err() {
            anyhow::ensure!(self.n > 0, "ffmpeg cannot read it either");
            return Ok(None);
        }
        let at = replay::ZERO + Duration::from_secs(u64::from(self.n)) / self.size.fps;
        self.n += 1;
        let picture = I420Picture::from_vec(width, height, data)?;
        Ok(Some(picture.into_frame(self.camera, at)))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It may still have pictures that nobody wants.
        drop(self.ffmpeg.kill());
        drop(self.ffmpeg.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_animation_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.gif");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "color=white:s=40x60:r=5:d=1", "-y"])
            .arg(&file)
            .status();
        if !made.is_ok_and(|s| s.success()) {
            println!("skipped: no ffmpeg");
            return;
        }
        let size = PictureSize { width: 64, height: 32, fps: 10 };
        let mut piped = Piped::open(&file, CameraId::Cabin, size).unwrap();
        let mut times = Vec::new();
        while let Some(frame) = piped.next_frame().unwrap() {
            assert_eq!((frame.width, frame.height, frame.camera), (64, 32, CameraId::Cabin));
            // Bars beside it, for it is taller than wide.
            assert!(frame.data[0] < 30 && frame.data[32 + 16 * 64] > 200);
            times.push(frame.at.secs_from(replay::ZERO));
        }
        assert!((9..=11).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|w| (w[1] - w[0] - 0.1).abs() < 1e-6), "{times:?}");

        std::fs::write(&file, "no animation").unwrap();
        assert!(Piped::open(&file, CameraId::Cabin, size).unwrap().next_frame().is_err());
    }
}
