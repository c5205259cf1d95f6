//! Files of all kinds, good and bad, through the program as the server runs it.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use temoin_media::leak::{LeakError, LeakPicture, LeakReader, Limits};

const LIMITS: Limits = Limits { side: 320, pictures: 1000 };

/// What the program makes of a file.
fn decode(path: &Path) -> Result<(Vec<LeakPicture>, Option<LeakError>)> {
    decode_from(path, "0")
}

fn decode_from(path: &Path, from_s: &str) -> Result<(Vec<LeakPicture>, Option<LeakError>)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_temoin-decoder"))
        .args(["--side", "320", "--fps", "15", "--most-s", "5", "--from-s", from_s])
        .stdin(File::open(path)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let mut reader = LeakReader::new(output, LIMITS);
    let mut pictures = Vec::new();
    let error = loop {
        match reader.next_picture() {
            Ok(Some(picture)) => pictures.push(picture),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    drop(reader);
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{}: {said}", path.display());
    Ok((pictures, error))
}

/// Makes a file with the `ffmpeg` program, which the tests' set-up installs.
fn ffmpeg(path: &Path, arguments: &str) -> Result<()> {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(path)
        .output()
        .context("ffmpeg is installed by `scripts/setup.sh test`")?;
    ensure!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

#[test]
fn what_sites_and_phones_make_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let input = "-f lavfi -i testsrc2=s=640x360:r=25:d=2";
    for (name, arguments) in [
        ("phone.mp4", format!("{input} -c:v libx264 -pix_fmt yuv420p")),
        ("streamed.mp4", format!("{input} -c:v libx264 -pix_fmt yuv420p -movflags +faststart")),
        ("hevc.mp4", format!("{input} -c:v libx265 -x265-params log-level=none")),
        ("site.webm", format!("{input} -c:v libvpx-vp9 -b:v 500k -deadline realtime")),
        ("old.avi", format!("{input} -c:v mpeg4")),
        ("broadcast.ts", format!("{input} -c:v libx264 -pix_fmt yuv420p")),
        ("desk.mkv", format!("{input} -c:v libx264 -pix_fmt yuv420p")),
        ("upright.mp4", "-f lavfi -i testsrc2=s=360x640:r=25:d=2 -c:v libx264".to_owned()),
    ] {
        let path = folder.path().join(name);
        ffmpeg(&path, &arguments).unwrap();
        let (pictures, error) = decode(&path).unwrap();
        assert!(error.is_none(), "{name}: {error:?}");
        assert!((28..=31).contains(&pictures.len()), "{name}: {} pictures", pictures.len());
        let last = pictures.last().unwrap();
        assert!(last.at > Duration::from_millis(1800), "{name}: {:?}", last.at);
        assert_eq!((last.picture.width(), last.picture.height()), (320, 320), "{name}");
        let luma = last.picture.view().luma();
        let (least, most) = (luma.iter().min().unwrap(), luma.iter().max().unwrap());
        assert!(most - least > 100, "{name}: there is a picture in it");
    }
}

/// Whatever the container: a fragmented one, as our own exports are, has no list of its pictures.
#[test]
fn a_part_of_a_file_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let input = "-f lavfi -i testsrc2=s=640x360:r=15:d=5";
    let x264 = "-c:v libx264 -pix_fmt yuv420p -g 15";
    for (name, arguments) in [
        ("whole.mp4", format!("{input} {x264}")),
        ("fragments.mp4", format!("{input} {x264} -movflags frag_keyframe+empty_moov")),
        ("site.webm", format!("{input} -c:v libvpx-vp9 -b:v 500k -deadline realtime -g 15")),
    ] {
        let path = folder.path().join(name);
        ffmpeg(&path, &arguments).unwrap();
        let (all, error) = decode(&path).unwrap();
        assert!(error.is_none(), "{name}: {error:?}");
        let (part, error) = decode_from(&path, "3").unwrap();
        assert!(error.is_none(), "{name}: {error:?}");
        // Without an edit list, times begin two pictures late.
        assert!((28..=33).contains(&part.len()), "{name}: {} pictures", part.len());
        let first = part.first().unwrap().picture.data();
        let far = |other: &LeakPicture| -> u64 {
            first.iter().zip(other.picture.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        let (nearest, _) = all.iter().enumerate().min_by_key(|(_, picture)| far(picture)).unwrap();
        assert!((42..=46).contains(&nearest), "{name}: it begins with picture {nearest}");

        let (nothing, error) = decode_from(&path, "30").unwrap();
        assert!(nothing.is_empty() && error.is_some(), "{name}: after its end");
    }
}

#[test]
fn strange_videos_are_decoded_within_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    for (name, arguments, pictures) in [
        ("8k.mp4", format!("-f lavfi -i color=s=7680x4320:r=5:d=0.6 {x264}"), 2..=4),
        ("slow.mp4", format!("-f lavfi -i testsrc=s=320x240:r=1:d=4 {x264}"), 3..=5),
        ("one.mp4", format!("-f lavfi -i testsrc=s=320x240:r=25 -frames:v 1 {x264}"), 1..=1),
        ("tiny.mp4", format!("-f lavfi -i testsrc=s=16x16:r=10:d=1 {x264}"), 9..=11),
        ("long.mp4", format!("-f lavfi -i testsrc=s=64x64:r=10:d=30 {x264}"), 49..=51),
    ] {
        let path = folder.path().join(name);
        ffmpeg(&path, &arguments).unwrap();
        let (decoded, error) = decode(&path).unwrap();
        assert!(error.is_none(), "{name}: {error:?}");
        assert!(pictures.contains(&decoded.len()), "{name}: {} pictures", decoded.len());
    }
}

#[test]
fn what_is_no_video_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let good = folder.path().join("good.mp4");
    let x264 = "-c:v libx264 -pix_fmt yuv420p";
    ffmpeg(&good, &format!("-f lavfi -i testsrc2=s=640x360:r=25:d=4 {x264} -movflags +faststart"))
        .unwrap();
    let good = fs::read(good).unwrap();
    let sound = folder.path().join("sound.mp4");
    ffmpeg(&sound, "-f lavfi -i sine=d=1 -c:a aac").unwrap();
    let mut torn = good.clone();
    for byte in torn.iter_mut().skip(5000).step_by(97) {
        *byte ^= 0x5a;
    }
    for (name, path, must_fail) in [
        ("empty", file("empty", b""), true),
        ("zip", file("a.zip", b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), true),
        ("text", file("a.txt", b"not a video at all, but some words\n"), true),
        ("sound alone", sound, true),
        (
            "random",
            file(
                "random",
                &(0..9000_u32).map(|n| ((n * n) >> 3).to_le_bytes()[0]).collect::<Vec<_>>(),
            ),
            true,
        ),
        ("head alone", file("head.mp4", &good[..2000]), true),
        ("cut off", file("cut.mp4", &good[..good.len() / 2]), false),
        ("torn", file("torn.mp4", &torn), false),
    ] {
        let (pictures, error) = decode(&path).unwrap();
        assert!(!must_fail || (pictures.is_empty() && error.is_some()), "{name}");
        if let Some(error) = error {
            let said = error.to_string();
            assert!(said.contains("the file"), "{name}: `{said}`");
            assert!(!said.contains("stdin"), "{name}: `{said}`");
        }
    }
}
