//! Attacks as a whole.

use super::{film::film, light::even, *};
use crate::attacks::test_clips::street;

/// A phone with few pixels, so that a test is quick.
fn small(severity: Severity, clip: &Clip, seed: u64) -> Filming {
    let mut how = Filming::draw(severity, clip.size().unwrap(), seed);
    how.phone = (160, 90);
    how.monitor = (320, 180);
    how
}

fn filmed(clip: &Clip, how: &Filming, seed: u64) -> Vec<Vec<u8>> {
    let mut pictures = Vec::new();
    let mut keep = |picture: &temoin_media::frame::I420Picture| {
        pictures.push(picture.data().to_vec());
        Ok(())
    };
    film(clip, how, seed, &mut keep).unwrap();
    pictures
}

#[test]
fn filming_follows_its_seed() {
    let clip = street(96, 54, 4, 25.0);
    let of = |seed| filmed(&clip, &small(Severity::Medium, &clip, seed), seed);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1)[0], of(2)[0]);
    assert_ne!(
        Filming::draw(Severity::Hard, (96, 54), 1),
        Filming::draw(Severity::Hard, (96, 54), 2)
    );
}

#[test]
fn severities_are_ordered() {
    for seed in 0..50 {
        let all: Vec<Filming> =
            Severity::ALL[1..].iter().map(|s| Filming::draw(*s, (960, 540), seed)).collect();
        for pair in all.windows(2) {
            let [easy, hard] = pair else { panic!() };
            assert!(easy.pose.tilt_deg() <= hard.pose.tilt_deg() + 0.01, "{seed}");
            assert!(easy.pose.fill > hard.pose.fill && easy.noise < hard.noise);
            assert!(easy.shake_px <= hard.shake_px && easy.glare <= hard.glare);
        }
        let tilt = all.iter().map(|how| how.pose.tilt_deg());
        assert!(tilt.zip([7.0, 14.0, 22.0, 34.0]).all(|(tilt, most)| tilt <= most + 0.01));
    }
}

/// Luma of the filmed picture where a straightened one would have it, against the original: r.m.s. after
/// the best gain and offset, as a peak signal to noise ratio.
fn straightened_psnr(clip: &Clip, how: &Filming, seed: u64) -> f64 {
    let still =
        Filming { shake_px: 0.0, pose: Pose { distortion: 0.0, ..how.pose }, ..how.clone() };
    let film = filmed(clip, &still, seed);
    let map = still.pose.homography(96.0 / 54.0, still.phone);
    let pixel = |at: f64| light::floor(light::narrow(at));
    let (mut pairs, luma) = (Vec::new(), clip.pictures[0].1.view().luma());
    for (n, own) in luma.iter().enumerate() {
        let (u, v) = ((n % 96) as f64 + 0.5, (n / 96) as f64 + 0.5);
        let (x, y) = camera::through(&map, u / 96.0, v / 54.0);
        if (0.5..159.0).contains(&x) && (0.5..89.0).contains(&y) {
            pairs.push((f64::from(film[0][pixel(y) * 160 + pixel(x)]), f64::from(*own)));
        }
    }
    let r = crate::stats::correlation(&pairs).unwrap();
    let n = pairs.len() as f64;
    let mean = pairs.iter().map(|p| p.1).sum::<f64>() / n;
    let spread = pairs.iter().map(|p| (p.1 - mean).powi(2)).sum::<f64>() / n;
    10.0 * (255.0 * 255.0 / (spread * (1.0 - r * r))).log10()
}

#[test]
fn what_is_left_falls_with_severity() {
    let clip = street(96, 54, 2, 10.0);
    let mean = |severity| {
        let of = |seed| straightened_psnr(&clip, &small(severity, &clip, seed), seed);
        (0..4).map(of).sum::<f64>() / 4.0
    };
    let all: Vec<f64> = Severity::ALL[1..].iter().map(|s| mean(*s)).collect();
    assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
    let mut best = Filming::best((96, 54));
    (best.phone, best.monitor) = ((160, 90), (320, 180));
    let best = straightened_psnr(&clip, &best, 1);
    assert!(best > all[0] && best > 25.0, "{best} {all:?}");
}

#[test]
fn every_attack_gives_a_clip_with_rising_times_and_even_sides() {
    let clip = street(64, 36, 6, 12.0);
    for attack in Attack::all() {
        assert_eq!(Attack::named(attack.name()), Some(attack));
        // Filming is tried above, with few pixels, and uploading below.
        if !attack.films() {
            let made = attack.altered(&clip, 3).unwrap();
            made.check().unwrap();
            let same = matches!(attack, Attack::Camcord(_) | Attack::Item(_));
            assert_eq!(made == clip, same, "{}", attack.name());
        }
    }
    let leak = Attack::Item(Item::Mirror).apply(&clip, 3).unwrap();
    leak.check().unwrap();
    assert_eq!(leak.size().unwrap(), (64, 36));
    assert_eq!(even(35.2), 36);
}

#[test]
fn a_visible_mark_is_cut_away_where_its_place_is() {
    let size = (960, 540);
    let middle = Part { x: 0.4, y: 0.45, w: 0.2, h: 0.1 };
    let wide = Part { x: 0.1, y: 0.45, w: 0.5, h: 0.1 };
    for seed in 0..20 {
        assert!(Attack::Camcord(Severity::SiteOnly).shows(wide, size, seed));
        for severity in Severity::ALL {
            assert!(Attack::Camcord(severity).shows(middle, size, seed), "{severity:?} {seed}");
        }
        assert!(!Attack::PortraitCrop.shows(wide, size, seed));
    }
    let corner = Part { x: 0.0, y: 0.0, w: 0.2, h: 0.1 };
    let cut = |seed| !Attack::Item(Item::Crop).shows(corner, size, seed);
    assert!((0..20).all(cut));
}
