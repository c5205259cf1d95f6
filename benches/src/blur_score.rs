//! Whether what is private of others lies under blur, in every picture that would be encoded.
//!
//! What was seen at the unit's rates goes through the unit's own `CameraBlur`, with the times of all
//! pictures of the clip, as long as they wait there. Looking takes no time here; on a unit it takes less
//! than pictures wait.
//!
//! For faces nobody else sits in the clips, so their one man is made somebody else: the driver's seat is
//! moved to where he never is.

use anyhow::{Context, Result};
use temoin_agent::{
    perception::DriverSeat,
    privacy_blur::{BlurConfig, CameraBlur},
};
use temoin_agent_core::blur_tracks::{Cover, Rest};
use temoin_hw::video_file::PictureSize;
use temoin_media::frame::I420Picture;
use temoin_proto::{perception::PictureBox, samples::CameraId, time::MonoTime};

use crate::{
    covered::{COVERED, Misses, Private, covered},
    figures::Figure,
    labels::{self, FaceLabel, Labels, VehicleLabel, letterboxed},
    packs::Pack,
    perception::Scores,
    watch::{self, Clip, Outcome, seconds},
};

/// Width of the seat on which nobody sits, parts of the picture.
const EMPTY_SEAT: f32 = 0.15;
/// A driver's face of which so much is blurred is lost as evidence.
const DRIVER_LOST: f64 = 0.5;

/// The size of the pictures that are looked at.
pub(crate) fn looked_at() -> (u32, u32) {
    let size = PictureSize::default();
    (size.width, size.height)
}

/// What the unit would blur in each picture of a clip.
///
/// # Errors
/// Where no picture can be made to stand for those of the clip.
pub fn covers(
    camera: CameraId,
    seat: DriverSeat,
    seen: &Outcome,
) -> Result<Vec<(MonoTime, Option<Cover>)>> {
    let mut blur = CameraBlur::new(&BlurConfig::default(), camera, seat);
    let mut sights = seen.sights.iter().peekable();
    let mut covers = Vec::new();
    for at in &seen.pictures_at {
        // Only its time counts.
        blur.push(I420Picture::black(16, 16)?.into_frame(camera, *at));
        while let Some(sight) = sights.next_if(|s| s.at() <= *at) {
            blur.look(sight);
        }
        covers.extend(std::iter::from_fn(|| blur.next(*at)).map(|(f, cover)| (f.at, cover)));
    }
    covers.extend(std::iter::from_fn(|| blur.take()).map(|(f, cover)| (f.at, cover)));
    Ok(covers)
}

/// The blurred parts of a picture.
fn blurred(cover: Option<&Cover>) -> Vec<PictureBox> {
    let Some(cover) = cover else { return Vec::new() };
    let mut areas: Vec<PictureBox> = cover.areas.iter().map(|a| a.area).collect();
    if let Rest::Blurred { keep } = &cover.rest {
        let at = |x: f32, y: f32, w: f32, h: f32| PictureBox { x, y, w, h };
        match keep {
            None => areas.push(at(0.0, 0.0, 1.0, 1.0)),
            Some(k) => areas.extend([
                at(0.0, 0.0, k.x, 1.0),
                at(k.x + k.w, 0.0, 1.0 - k.x - k.w, 1.0),
                at(0.0, 0.0, 1.0, k.y),
                at(0.0, k.y + k.h, 1.0, 1.0 - k.y - k.h),
            ]),
        }
        areas.retain(|a| a.w > 0.0 && a.h > 0.0);
    }
    areas
}

/// Counts over clips.
#[derive(Default)]
struct Tally {
    misses: Misses,
    /// Pictures, and those all of which was blurred.
    pictures: usize,
    whole: usize,
    /// Blurred parts of pictures, summed.
    share: f64,
    /// Where flashes began, for people.
    flashes: Vec<String>,
}

impl Tally {
    fn add(
        &mut self,
        name: &str,
        covers: &[(MonoTime, Option<Cover>)],
        private: &dyn Fn(f64) -> Vec<Private>,
    ) {
        for (at, cover) in covers {
            let at_s = seconds(*at);
            let runs = self.misses.runs;
            let private = private(at_s);
            let under = blurred(cover.as_ref());
            self.misses.picture(&private, &under);
            self.share += covered(&PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }, &under);
            if self.misses.runs > runs {
                let of: Vec<&str> = private.iter().map(|p| p.name.as_str()).collect();
                self.flashes.push(format!("{name} {at_s:.2} s (labelled: {})", of.join(", ")));
            }
            self.pictures += 1;
            let all = |c: &Cover| matches!(c.rest, Rest::Blurred { .. });
            self.whole += usize::from(cover.as_ref().is_some_and(all));
        }
    }
}

fn plates(labels: &Labels<VehicleLabel>, at_s: f64) -> Vec<Private> {
    let plate = |v: VehicleLabel| {
        let area = letterboxed(&v.plate?, labels.size, looked_at());
        Some(Private { name: v.vehicle, area })
    };
    VehicleLabel::at(&labels.rows, at_s).into_iter().filter_map(plate).collect()
}

fn face(labels: &Labels<FaceLabel>, at_s: f64) -> Option<PictureBox> {
    let label = FaceLabel::at(&labels.rows, at_s)?;
    Some(letterboxed(&label.face, labels.size, looked_at()))
}

/// A seat at the left or right edge of the picture that holds no labelled face.
fn empty_seat(labels: &Labels<FaceLabel>) -> Option<DriverSeat> {
    let seat = |x| DriverSeat { x, y: 0.0, w: EMPTY_SEAT, h: 1.0 };
    let faces = || labels.rows.iter().map(|l| letterboxed(&l.face, labels.size, looked_at()));
    [seat(0.0), seat(1.0 - EMPTY_SEAT)].into_iter().find(|s| !faces().any(|f| s.holds(&f)))
}

impl Scores<'_> {
    /// Blur over all labelled clips.
    pub(crate) fn blur(&mut self, pack: Pack, watched: &[(&Clip, Outcome)]) -> Result<()> {
        let (mut faces, mut numbers) = (Tally::default(), Tally::default());
        let (mut driver, mut driver_lost) = (0_usize, 0_usize);
        for (clip, outcome) in watched {
            match clip.camera {
                CameraId::Cabin => {
                    let Some(labels) = self.face_labels(clip)? else { continue };
                    for (at, cover) in covers(clip.camera, DriverSeat::default(), outcome)? {
                        let Some(area) = face(&labels, seconds(at)) else { continue };
                        driver += 1;
                        let under = covered(&area, &blurred(cover.as_ref()));
                        driver_lost += usize::from(under >= DRIVER_LOST);
                    }
                    let Some(seat) = empty_seat(&labels) else {
                        self.note(format!("{}: no edge without a face to seat nobody", clip.name));
                        continue;
                    };
                    let (outcome, _) = watch::watch(clip, &mut pack.cabin(seat)?)?;
                    let private = |at_s| {
                        let area = face(&labels, at_s)?;
                        Some(Private { name: format!("{}'s face", clip.name), area })
                    };
                    let covers = covers(clip.camera, seat, &outcome)?;
                    faces.add(&clip.name, &covers, &|at_s| private(at_s).into_iter().collect());
                }
                CameraId::Road => {
                    let Some(text) = labels::read(self.checkout, &clip.name)? else { continue };
                    let labels = labels::vehicles(&text).with_context(|| clip.name.clone())?;
                    let covers = covers(clip.camera, DriverSeat::default(), outcome)?;
                    numbers.add(&clip.name, &covers, &|at_s| plates(&labels, at_s));
                }
            }
        }
        let end = pack.end();
        let both = faces.misses.runs + numbers.misses.runs;
        let pictures = faces.misses.pictures + numbers.misses.pictures;
        if pictures == 0 {
            self.note(format!("perception.blur.misses_per_min{end}: nobody is labelled"));
        } else {
            let minutes = pictures as f64 / f64::from(PictureSize::default().fps) / 60.0;
            let name = format!("perception.blur.misses_per_min{end}");
            let set = format!(
                "{both} flashes in {pictures} pictures with a labelled face or plate, {:.0} s",
                minutes * 60.0
            );
            self.push(Figure::new(name, both as f64 / minutes, "1/min", both, set).goal("0"));
        }
        for (what, tally) in [("faces", &faces), ("plates", &numbers)] {
            let misses = &tally.misses;
            if misses.labelled == 0 {
                self.note(format!("perception.blur.{what}.*{end}: nothing is labelled"));
                continue;
            }
            let of = |name: &str, n: usize, of: usize, set: &str| {
                let name = format!("perception.blur.{what}.{name}{end}");
                Figure::new(name, n as f64 / of as f64, "1", of, set)
            };
            let less = format!("less than {:.0} % under blur", COVERED * 100.0);
            self.push(of("missed_ratio", misses.missed, misses.labelled, &less).goal("0"));
            let name = format!("perception.blur.{what}.blurred_share{end}");
            let share = tally.share / tally.pictures.max(1) as f64;
            let set = "mean part of a picture that is blurred";
            self.push(Figure::new(name, share, "1", tally.pictures, set));
            let set = "pictures blurred as a whole: nothing looked for others";
            self.push(of("whole_picture_ratio", tally.whole, tally.pictures, set).goal("0"));
            if !tally.flashes.is_empty() {
                let flashes = tally.flashes.join("; ");
                self.note(format!("{what} left clear, {}: {flashes}", pack.suffix()));
            }
        }
        if driver > 0 {
            let name = format!("perception.blur.driver_lost_ratio{end}");
            let value = driver_lost as f64 / driver as f64;
            let set = "the driver's own face, half of it or more under blur";
            self.push(Figure::new(name, value, "1", driver, set).goal("0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use temoin_hw::replay;
    use temoin_proto::perception::{NotSeen, PrivateArea, PrivateKind, Sight};

    use super::*;

    const ROAD: &str = "\
# road.mp4: 960x540
t_s,vehicle,x0,y0,x1,y1,own_lane,plate,plate_x0,plate_y0,plate_x1,plate_y1
0.0,a,0.1,0.5,0.2,0.6,yes,seen,0.12,0.55,0.14,0.56
0.4,a,0.1,0.5,0.2,0.6,yes,seen,0.12,0.55,0.14,0.56
0.8,a,0.1,0.5,0.2,0.6,yes,seen,0.12,0.55,0.14,0.56
";

    fn at(tenths: u64) -> MonoTime {
        replay::ZERO + Duration::from_millis(100 * tenths)
    }

    /// 10 pictures a second of which each second one was looked at.
    fn outcome(others: &[Result<Vec<PrivateArea>, NotSeen>]) -> Outcome {
        let sight = |(n, others): (u64, &Result<Vec<PrivateArea>, NotSeen>)| Sight {
            others: others.clone(),
            ..Sight::unseen(CameraId::Road, at(2 * n), NotSeen::NoModel)
        };
        Outcome {
            sights: (0..).zip(others).map(sight).collect(),
            pictures_at: (0..9).map(at).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn a_plate_is_missed_where_others_were_looked_for_and_it_was_not_found() {
        let labels = labels::vehicles(ROAD).unwrap();
        let area = PictureBox { x: 0.1, y: 0.5, w: 0.1, h: 0.1 };
        let found = || Ok(vec![PrivateArea { kind: PrivateKind::Plate, area }]);
        let none = || Ok(vec![]);
        let blind = || Err(NotSeen::NoModel);
        for (others, want) in [
            (vec![found(), found(), found(), found(), found()], (0, 0, 0)),
            // Held and carried over what was missed between.
            (vec![found(), none(), none(), found(), found()], (0, 0, 0)),
            (vec![none(), none(), none(), none(), none()], (1, 9, 0)),
            // Nobody looked: all of the picture is blurred.
            (vec![blind(), blind(), blind(), blind(), blind()], (0, 0, 9)),
        ] {
            let seen = outcome(&others);
            let covers = covers(CameraId::Road, DriverSeat::default(), &seen).unwrap();
            assert_eq!(covers.len(), 9, "each picture leaves once");
            let mut tally = Tally::default();
            tally.add("road", &covers, &|at_s| plates(&labels, at_s));
            assert_eq!((tally.misses.runs, tally.misses.missed, tally.whole), want, "{others:?}");
            assert_eq!((tally.misses.pictures, tally.flashes.len()), (9, want.0));
        }
    }

    #[test]
    fn around_what_is_kept_all_is_blurred() {
        let kept = PictureBox { x: 0.2, y: 0.1, w: 0.3, h: 0.4 };
        let cover = |keep| Cover { areas: vec![], rest: Rest::Blurred { keep } };
        let beside = PictureBox { x: 0.6, y: 0.6, w: 0.1, h: 0.1 };
        let around = blurred(Some(&cover(Some(kept))));
        assert!(covered(&beside, &around) > 0.999 && covered(&kept, &around) < 0.001);
        assert!(covered(&kept, &blurred(Some(&cover(None)))) > 0.999);
        assert!(blurred(None).is_empty());
    }
}
