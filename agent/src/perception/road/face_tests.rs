//! Faces of others on real pictures, scaled down until they are as small as on the road:
//! `../shared/data/faces68` beside the checkout, and the program ffmpeg. What is missing skips.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{PictureBox, PrivateArea, PrivateKind},
    samples::CameraId,
    time::MonoTime,
};

use super::{
    clip_tests::{options, shared},
    *,
};

/// A picture's name and its faces in pixels: left, top, width, height.
type Labelled = (String, Vec<[f32; 4]>);

fn labels(xml: &str) -> Vec<Labelled> {
    let value = |line: &str, key: &str| -> Option<String> {
        let (_, rest) = line.split_once(&format!("{key}='"))?;
        Some(rest.split_once('\'')?.0.to_owned())
    };
    let mut all: Vec<Labelled> = Vec::new();
    for line in xml.lines() {
        if line.contains("<image ") {
            all.push((value(line, "file").unwrap(), Vec::new()));
        } else if line.contains("<box ") {
            let side = |key| value(line, key).unwrap().parse::<f32>().unwrap();
            let b = [side("left"), side("top"), side("width"), side("height")];
            all.last_mut().unwrap().1.push(b);
        }
    }
    all
}

/// The picture scaled, in the middle of a gray one of 1280x720; its size and place.
fn placed(file: &Path, scale: f32) -> Option<Frame> {
    let filter = format!(
        "scale=trunc(iw*{scale}/2)*2:trunc(ih*{scale}/2)*2:flags=area,pad=1280:720:200:250:gray"
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(file);
    ffmpeg.args(["-vf", &filter, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let Ok(output) = ffmpeg.stderr(Stdio::inherit()).output() else {
        println!("skipped: the program ffmpeg is not installed");
        return None;
    };
    let picture = I420Picture::from_vec(1280, 720, output.stdout).unwrap();
    Some(picture.into_frame(CameraId::Road, MonoTime::from_secs_f64(1.0)))
}

/// The part of a box that areas cover.
fn covered(b: &PictureBox, areas: &[PrivateArea]) -> f32 {
    let mut inside = 0_u16;
    for n in 0..400_u16 {
        let x = b.x + b.w * (f32::from(n % 20) + 0.5) / 20.0;
        let y = b.y + b.h * (f32::from(n / 20) + 0.5) / 20.0;
        let hit = |a: &PrivateArea| {
            a.kind == PrivateKind::Face
                && (a.area.x..a.area.x + a.area.w).contains(&x)
                && (a.area.y..a.area.y + a.area.h).contains(&y)
        };
        inside += u16::from(areas.iter().any(hit));
    }
    f32::from(inside) / 400.0
}

#[test]
fn faces_that_could_be_recognised_are_covered() {
    let (Some(options), Some(folder)) = (options(), shared("data/faces68")) else { return };
    // Faces of people on foot are near the horizon.
    let xml = fs::read_to_string(folder.join("training_with_face_landmarks.xml")).unwrap();
    let labels = labels(&xml);
    // The boxes of this set are squares from brow to chin, about as wide as the face.
    for (face_px, least) in [(40.0, 0.95), (24.0, 0.9), (18.0, 0.85), (14.0, 0.0)] {
        let (mut hit, mut all, mut areas_in_all) = (0_u32, 0_u32, 0);
        for (name, boxes) in &labels {
            // Scaled so that the median face has this width.
            let mut widths: Vec<f32> = boxes.iter().map(|b| b[2]).collect();
            widths.sort_by(f32::total_cmp);
            let scale = face_px / widths[widths.len() / 2];
            let Some(frame) = placed(&folder.join(name), scale) else { return };
            let mut eyes = RoadEyes::open(&options);
            let others = eyes.observe(&frame).others.unwrap();
            areas_in_all += others.len();
            for [left, top, w, h] in boxes {
                let face = PictureBox {
                    x: (200.0 + left * scale) / 1280.0,
                    y: (250.0 + top * scale) / 720.0,
                    w: w * scale / 1280.0,
                    h: h * scale / 720.0,
                };
                all += 1;
                hit += u32::from(covered(&face, &others) > 0.7);
            }
        }
        let part = f64::from(hit) / f64::from(all);
        println!(
            "faces {face_px} px wide: {hit} of {all} covered ({part:.2}), {areas_in_all} areas"
        );
        assert!(all > 10 && part >= least, "{face_px} px: {hit} of {all}");
    }
}
