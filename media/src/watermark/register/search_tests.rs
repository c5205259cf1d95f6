//! The search's steps by themselves; as a whole it is tested in `tests.rs`.

use super::super::test_warps::{Filming, film, moving_scene};
use super::*;

#[test]
fn one_frame_that_lies_well_is_enough() {
    let original: Vec<Gray> =
        (0..75).map(|n| moving_scene(1, 320, 180, f64::from(n) / 25.0)).collect();
    let how = Filming {
        seed: 3,
        fill: 0.6,
        slant: 0.09,
        shake_px: 3.0,
        mirrored: false,
        begin_s: 0.4,
        length_s: 2.0,
        speed: 1.0,
        fps: 15.0,
        blur_px: 1.0,
        gamma: 1.0,
        gain: 0.8,
        noise: 3.0,
        moire: 3.0,
        sticker: true,
        size: (480, 270),
    };
    let (leak, truth) = film(&original, &how);
    let reference = Reference::new(original).unwrap();
    let limits = Limits::default();
    let mut search = Search {
        templates: Templates::new(&reference),
        reference: &reference,
        leak: &leak,
        limits: &limits,
        finder: Finder::new(FEATURES).unwrap(),
    };
    let line = Line { offset_s: 0.4, speed: 1.0, cost: -1.0 };
    let aside = Homography([1.0, 0.0, 60.0, 0.0, 1.0, -40.0, 0.0, 0.0, 1.0]);
    let sample = |n: usize, good: bool| {
        let map = truth[n].map;
        let map = if good { map } else { aside.after(&map) };
        let at_s = line.at(seconds(&leak, n));
        (n, Fit { map, at_s, alike: if good { 0.6 } else { 0.2 } })
    };
    let uneven = Judged {
        line,
        alike: 0.3,
        samples: vec![sample(3, false), sample(11, true), sample(22, false)],
    };
    let found = search.followed_anew(&uneven).unwrap().unwrap();
    assert_eq!(found.len(), leak.len());
    for (n, fit) in &found {
        let off = fit.map.distance(&truth[*n].map, reference.size);
        assert!(off < 6.0, "frame {n} is {off} px off");
    }
    let even = Judged { alike: 0.5, ..uneven };
    assert!(search.followed_anew(&even).unwrap().is_none(), "nothing to mend");
}
