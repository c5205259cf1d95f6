//! The labels of recordings in `tests/data/labels`, made by hand; the README there says how, and how
//! sure they are.
//!
//! INVARIANT: between two rows that disagree, and far from any row, there is no label: what nobody
//! looked at counts for nobody.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use temoin_proto::{events::EventKind, perception::PictureBox};

/// Rows further apart than this have nothing between them, seconds: the coarsest labels are 0.4 s
/// apart.
const GAP_S: f64 = 0.45;

/// Whether an eye is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EyeState {
    /// It is.
    Open,
    /// It is not.
    Closed,
    /// One cannot say.
    Unclear,
}

/// Where a head points or eyes look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the labels")]
pub enum Zone {
    Road,
    Mirror,
    Down,
    Aside,
    Roof,
    Unclear,
}

/// One row about a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceLabel {
    /// Seconds from the first picture.
    pub at_s: f64,
    /// The face without the ears.
    pub face: PictureBox,
    /// Turn against the camera, degrees, positive to the person's left.
    pub yaw_deg: f64,
    /// Nod against the camera, degrees, positive up.
    pub pitch_deg: f64,
    /// How sure both are, degrees.
    pub plus_minus_deg: f64,
    /// The eyes.
    pub eyes: EyeState,
    /// Where the head points.
    pub head_zone: Zone,
    /// Where the eyes look.
    pub gaze_zone: Zone,
    /// A phone is in the hand or at the ear.
    pub phone: bool,
    /// Hands are over the face.
    pub hands_over_face: bool,
}

/// One vehicle in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleLabel {
    /// Seconds from the first picture.
    pub at_s: f64,
    /// Its name: the same as long as it is the same vehicle.
    pub vehicle: String,
    /// Where it is.
    pub area: PictureBox,
    /// Whether it is ahead in the own lane.
    pub own_lane: bool,
    /// Its number plate, where one can be told.
    pub plate: Option<PictureBox>,
}

/// The own lane in one picture, fractions of its width and height.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct LaneLabel {
    /// Seconds from the first picture.
    #[serde(rename = "t_s")]
    pub at_s: f64,
    /// The left line at the bottom.
    pub left_bottom_x: f64,
    /// The left line at 60 % of the height.
    pub left_60_x: f64,
    /// The right line at the bottom.
    pub right_bottom_x: f64,
    /// The right line at 60 % of the height.
    pub right_60_x: f64,
    /// Where the lines would meet.
    pub horizon_y: f64,
}

/// Something that the unit should flag in a recording.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EventLabel {
    /// The recording's name without its ending.
    pub recording: String,
    /// What.
    pub kind: EventKind,
    /// When it begins, seconds from the first picture.
    pub at_s: f64,
    /// How sure that is, seconds.
    pub plus_minus_s: f64,
}

impl EventLabel {
    /// Whether a flagged event is this one.
    pub fn is(&self, recording: &str, kind: EventKind, at_s: f64) -> bool {
        self.recording == recording
            && self.kind == kind
            && (self.at_s - at_s).abs() <= self.plus_minus_s
    }
}

/// A recording's labels, in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels<T> {
    /// Width and height of the labelled pictures, pixels.
    pub size: (u32, u32),
    /// The rows.
    pub rows: Vec<T>,
}

#[derive(Deserialize)]
struct FaceRow {
    t_s: f64,
    face_x0: f32,
    face_y0: f32,
    face_x1: f32,
    face_y1: f32,
    yaw_deg: f64,
    pitch_deg: f64,
    plus_minus_deg: f64,
    eyes: EyeState,
    head_zone: Zone,
    gaze_zone: Zone,
    phone: YesNo,
    hands_over_face: YesNo,
}

#[derive(Deserialize)]
struct VehicleRow {
    t_s: f64,
    vehicle: String,
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
    own_lane: YesNo,
    plate_x0: Option<f32>,
    plate_y0: Option<f32>,
    plate_x1: Option<f32>,
    plate_y1: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum YesNo {
    Yes,
    No,
}

fn corners(x0: f32, y0: f32, x1: f32, y1: f32) -> Result<PictureBox> {
    let inside = |v: f32| (0.0..=1.0).contains(&v);
    ensure!([x0, y0, x1, y1].into_iter().all(inside), "a corner is outside of the picture");
    ensure!(x0 < x1 && y0 < y1, "a box has no area");
    Ok(PictureBox { x: x0, y: y0, w: x1 - x0, h: y1 - y0 })
}

impl TryFrom<FaceRow> for FaceLabel {
    type Error = anyhow::Error;

    fn try_from(row: FaceRow) -> Result<Self> {
        Ok(Self {
            at_s: row.t_s,
            face: corners(row.face_x0, row.face_y0, row.face_x1, row.face_y1)?,
            yaw_deg: row.yaw_deg,
            pitch_deg: row.pitch_deg,
            plus_minus_deg: row.plus_minus_deg,
            eyes: row.eyes,
            head_zone: row.head_zone,
            gaze_zone: row.gaze_zone,
            phone: row.phone == YesNo::Yes,
            hands_over_face: row.hands_over_face == YesNo::Yes,
        })
    }
}

impl TryFrom<VehicleRow> for VehicleLabel {
    type Error = anyhow::Error;

    fn try_from(row: VehicleRow) -> Result<Self> {
        let plate = match (row.plate_x0, row.plate_y0, row.plate_x1, row.plate_y1) {
            (Some(x0), Some(y0), Some(x1), Some(y1)) => Some(corners(x0, y0, x1, y1)?),
            (None, None, None, None) => None,
            _ => bail!("a plate has some of its corners only"),
        };
        Ok(Self {
            at_s: row.t_s,
            vehicle: row.vehicle,
            area: corners(row.x0, row.y0, row.x1, row.y1)?,
            own_lane: row.own_lane == YesNo::Yes,
            plate,
        })
    }
}

/// Width and height in a first line like `# head_turns.mp4: 540x960, upright`.
fn size_of(text: &str) -> Option<(u32, u32)> {
    let first = text.lines().next()?.strip_prefix('#')?;
    first.split([' ', ',', ':', '.', ';']).find_map(|word| {
        let (width, height) = word.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    })
}

fn rows<R, T>(text: &str) -> Result<Labels<T>>
where
    R: for<'a> Deserialize<'a>,
    T: TryFrom<R, Error: Into<anyhow::Error>>,
{
    let size = size_of(text).context("the first line does not name the pictures' size")?;
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for row in reader.deserialize::<R>() {
        let n = rows.len() + 1;
        let row = row.with_context(|| format!("row {n}"))?;
        rows.push(T::try_from(row).map_err(Into::into).with_context(|| format!("row {n}"))?);
    }
    Ok(Labels { size, rows })
}

/// Parses labels of faces.
///
/// # Errors
/// Where the text is not such labels; it says which row.
pub fn faces(text: &str) -> Result<Labels<FaceLabel>> {
    let labels = rows::<FaceRow, FaceLabel>(text)?;
    ensure!(labels.rows.is_sorted_by(|a, b| a.at_s < b.at_s), "the rows are out of order");
    Ok(labels)
}

/// Parses labels of vehicles.
///
/// # Errors
/// Where the text is not such labels; it says which row.
pub fn vehicles(text: &str) -> Result<Labels<VehicleLabel>> {
    let labels = rows::<VehicleRow, VehicleLabel>(text)?;
    ensure!(labels.rows.is_sorted_by(|a, b| a.at_s <= b.at_s), "the rows are out of order");
    Ok(labels)
}

/// Parses labels of the own lane.
///
/// # Errors
/// Where the text is not such labels; it says which row.
pub fn lanes(text: &str) -> Result<Labels<LaneLabel>> {
    let labels = rows::<LaneLabel, LaneLabel>(text)?;
    ensure!(labels.rows.is_sorted_by(|a, b| a.at_s < b.at_s), "the rows are out of order");
    Ok(labels)
}

/// Parses labels of events.
///
/// # Errors
/// Where the text is not such labels; it says which row.
pub fn events(text: &str) -> Result<Vec<EventLabel>> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    reader
        .deserialize()
        .enumerate()
        .map(|(n, row)| row.with_context(|| format!("row {}", n + 1)))
        .collect()
}

/// The text of `NAME.csv` in the checkout's labels; `None` where nobody labelled that recording.
///
/// # Errors
/// Where it cannot be read.
pub fn read(checkout: &Path, name: &str) -> Result<Option<String>> {
    let path = checkout.join("tests/data/labels").join(format!("{name}.csv"));
    if !path.is_file() {
        return Ok(None);
    }
    fs::read_to_string(&path).map(Some).with_context(|| path.display().to_string())
}

fn between(a: f64, b: f64, weight: f64) -> f64 {
    a + (b - a) * weight
}

fn box_between(a: &PictureBox, b: &PictureBox, weight: f64) -> PictureBox {
    #[expect(clippy::cast_possible_truncation, reason = "a weight of 0 to 1")]
    let mix = |a: f32, b: f32| a + (b - a) * weight as f32;
    PictureBox { x: mix(a.x, b.x), y: mix(a.y, b.y), w: mix(a.w, b.w), h: mix(a.h, b.h) }
}

impl FaceLabel {
    /// What these labels say at a moment between two rows.
    pub fn at(rows: &[Self], at_s: f64) -> Option<Self> {
        let after = rows.partition_point(|r| r.at_s < at_s);
        let b = rows.get(after)?;
        if (b.at_s - at_s).abs() < 1e-6 {
            return Some(*b);
        }
        let a = rows.get(after.checked_sub(1)?)?;
        let gap_s = b.at_s - a.at_s;
        if gap_s > GAP_S {
            return None;
        }
        let weight = (at_s - a.at_s) / gap_s;
        let zone = |a: Zone, b: Zone| if a == b { a } else { Zone::Unclear };
        Some(Self {
            at_s,
            face: box_between(&a.face, &b.face, weight),
            yaw_deg: between(a.yaw_deg, b.yaw_deg, weight),
            pitch_deg: between(a.pitch_deg, b.pitch_deg, weight),
            plus_minus_deg: a.plus_minus_deg.max(b.plus_minus_deg),
            eyes: if a.eyes == b.eyes { a.eyes } else { EyeState::Unclear },
            head_zone: zone(a.head_zone, b.head_zone),
            gaze_zone: zone(a.gaze_zone, b.gaze_zone),
            phone: a.phone || b.phone,
            hands_over_face: a.hands_over_face || b.hands_over_face,
        })
    }
}

impl VehicleLabel {
    /// The vehicles at a moment: those that have a row before and one after it.
    pub fn at(rows: &[Self], at_s: f64) -> Vec<Self> {
        let (before, after) = rows.split_at(rows.partition_point(|r| r.at_s <= at_s + 1e-6));
        let mut seen: Vec<Self> = Vec::new();
        for a in before.iter().rev().take_while(|a| at_s - a.at_s <= GAP_S) {
            if seen.iter().any(|s| s.vehicle == a.vehicle) {
                continue;
            }
            if (at_s - a.at_s).abs() < 1e-6 {
                seen.push(a.clone());
                continue;
            }
            let next = after.iter().find(|b| b.vehicle == a.vehicle);
            let Some(b) = next.filter(|b| b.at_s - a.at_s <= GAP_S) else { continue };
            let weight = (at_s - a.at_s) / (b.at_s - a.at_s);
            let plate = a.plate.as_ref().zip(b.plate.as_ref());
            seen.push(Self {
                at_s,
                vehicle: a.vehicle.clone(),
                area: box_between(&a.area, &b.area, weight),
                own_lane: a.own_lane && b.own_lane,
                plate: plate.map(|(a, b)| box_between(a, b, weight)),
            });
        }
        seen
    }
}

/// Where a box of a recording lies in a picture of another shape, which shows the recording whole
/// between black bars.
pub fn letterboxed(area: &PictureBox, from: (u32, u32), to: (u32, u32)) -> PictureBox {
    let side = |n: u32| f64::from(n.max(1));
    let (fw, fh, tw, th) = (side(from.0), side(from.1), side(to.0), side(to.1));
    let scale = (tw / fw).min(th / fh);
    let (w, h) = (fw * scale / tw, fh * scale / th);
    #[expect(clippy::cast_possible_truncation, reason = "fractions of 0 to 1")]
    let part = |from: f32, size: f64, offset: f64| (f64::from(from) * size + offset) as f32;
    PictureBox {
        x: part(area.x, w, (1.0 - w) / 2.0),
        y: part(area.y, h, (1.0 - h) / 2.0),
        w: part(area.w, w, 0.0),
        h: part(area.h, h, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACES: &str = "\
# clip.mp4: 540x960, upright
t_s,face_x0,face_y0,face_x1,face_y1,yaw_class,yaw_deg,pitch_deg,plus_minus_deg,eyes,head_zone,gaze_zone,phone,hands_over_face,note
0.0,0.2,0.2,0.6,0.6,ahead,0,4,8,open,road,road,no,no,
0.2,0.4,0.2,0.8,0.6,left,20,0,10,open,mirror,road,no,yes,note
1.0,0.4,0.2,0.8,0.6,left,20,0,10,closed,mirror,mirror,no,no,
";

    #[test]
    fn between_rows_that_agree_there_is_a_label() {
        let labels = faces(FACES).unwrap();
        assert_eq!((labels.size, labels.rows.len()), ((540, 960), 3));
        let mid = FaceLabel::at(&labels.rows, 0.05).unwrap();
        assert!((mid.yaw_deg - 5.0).abs() < 1e-9 && (mid.pitch_deg - 3.0).abs() < 1e-9, "{mid:?}");
        assert!((mid.face.x - 0.25).abs() < 1e-6 && (mid.face.w - 0.4).abs() < 1e-6, "{mid:?}");
        assert_eq!((mid.eyes, mid.head_zone), (EyeState::Open, Zone::Unclear));
        assert_eq!((mid.gaze_zone, mid.plus_minus_deg), (Zone::Road, 10.0));
        assert!(mid.hands_over_face && !mid.phone);
        assert_eq!(FaceLabel::at(&labels.rows, 0.2), Some(labels.rows[1]));
        for (at_s, why) in [(0.5, "a gap"), (1.1, "after the end"), (-0.1, "before the beginning")]
        {
            assert_eq!(FaceLabel::at(&labels.rows, at_s), None, "{why}");
        }
    }

    #[test]
    fn a_mistake_in_labels_is_told_with_its_row() {
        let mistake = |from: &str, to: &str| {
            assert!(FACES.contains(from), "{from}");
            format!("{:#}", faces(&FACES.replacen(from, to, 1)).unwrap_err())
        };
        for (from, to, want) in [
            ("540x960", "tall", "size"),
            ("0.0,0.2,", "0.0,0.7,", "no area"),
            ("0.2,0.4,0.2,0.8", "0.2,0.4,0.2,1.8", "row 2: a corner is outside"),
            ("open,road", "shut,road", "row 1"),
            ("1.0,0.4", "0.1,0.4", "out of order"),
            ("no,no,\n", "perhaps,no,\n", "row 1"),
        ] {
            let text = mistake(from, to);
            assert!(text.contains(want), "{to}: {text}");
        }
    }

    #[test]
    fn vehicles_are_followed_by_name() {
        let text = "\
# road.mp4: 960x540
t_s,vehicle,x0,y0,x1,y1,own_lane,plate,plate_x0,plate_y0,plate_x1,plate_y1
0.0,a,0.1,0.5,0.2,0.6,yes,seen,0.12,0.55,0.14,0.56
0.0,b,0.3,0.5,0.4,0.6,no,no,,,,
0.4,a,0.2,0.5,0.3,0.6,yes,seen,0.22,0.55,0.24,0.56
0.8,b,0.3,0.5,0.4,0.6,no,no,,,,
";
        let rows = vehicles(text).unwrap().rows;
        let names = |at_s| {
            let seen = VehicleLabel::at(&rows, at_s);
            seen.iter().map(|v| v.vehicle.clone()).collect::<Vec<_>>().concat()
        };
        assert_eq!(["a", "a", "b", "", "ba"], [0.4, 0.1, 0.8, 0.6, 0.0].map(names)[..]);
        let a = VehicleLabel::at(&rows, 0.1).remove(0);
        assert!((a.area.x - 0.125).abs() < 1e-6 && a.own_lane);
        assert!((a.plate.unwrap().x - 0.145).abs() < 1e-6);
        let half = text.replacen("0.22,0.55,0.24,0.56", "0.22,,,", 1);
        assert!(vehicles(&half).is_err());
    }

    #[test]
    fn a_box_goes_with_its_picture_between_bars() {
        let all = PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 };
        let portrait = letterboxed(&all, (540, 960), (1280, 720));
        assert!((portrait.w - 405.0 / 1280.0).abs() < 1e-5 && (portrait.h - 1.0).abs() < 1e-5);
        assert!((portrait.x + portrait.w / 2.0 - 0.5).abs() < 1e-5, "{portrait:?}");
        let wide = letterboxed(&all, (1280, 360), (1280, 720));
        assert!((wide.y - 0.25).abs() < 1e-5 && (wide.h - 0.5).abs() < 1e-5, "{wide:?}");
        assert_eq!(letterboxed(&all, (960, 540), (1280, 720)), all);
    }

    #[test]
    fn the_projects_own_labels_hold() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |name| read(root, name).unwrap().unwrap();
        let turns = faces(&read("head_turns")).unwrap();
        assert_eq!((turns.size, turns.rows.len()), ((540, 960), 105));
        assert!(turns.rows.windows(2).all(|w| w[1].at_s - w[0].at_s < 0.25), "4 Hz at the least");
        assert!(turns.rows.iter().any(|r| r.yaw_deg > 40.0));
        assert!(turns.rows.iter().any(|r| r.yaw_deg < -40.0));
        assert_eq!(faces(&read("head_pose_male")).unwrap().size, (480, 270));
        let road = vehicles(&read("highway_white")).unwrap();
        assert_eq!((road.size, road.rows.len()), ((960, 540), 140));
        // A plate lies in its vehicle.
        for row in road.rows.iter().filter(|r| r.plate.is_some()) {
            let (plate, area) = (row.plate.unwrap(), row.area);
            let within = plate.x >= area.x - 1e-4
                && plate.y >= area.y
                && plate.x + plate.w <= area.x + area.w
                && plate.y + plate.h <= area.y + area.h;
            assert!(within, "{row:?}");
        }
        assert_eq!(lanes(&read("highway_white_lanes")).unwrap().rows.len(), 23);
        let events = events(&read("events")).unwrap();
        assert!(events.iter().any(|e| e.is("head_turns", EventKind::LongDistraction, 7.2)));
        assert!(!events.iter().any(|e| e.is("head_turns", EventKind::LongDistraction, 8.2)));
        assert!(!events.iter().any(|e| e.is("head_turns", EventKind::Microsleep, 6.8)));
        assert_eq!(super::read(root, "nobody_labelled_this").unwrap(), None);
    }
}
