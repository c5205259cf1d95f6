//! The mark is where the signs say, is small, moves smoothly, and fits pictures of any size.

use super::*;

fn key() -> MarkKey {
    MarkKey::from_bytes([9; 32])
}

/// A picture with a flat part, slopes, texture and noise, the same for the same number.
fn picture(width: u32, height: u32, seed: u32) -> I420Picture {
    let mut picture = I420Picture::black(width, height).unwrap();
    let mut state = seed | 1;
    let side = usize::try_from(width).unwrap();
    for (n, y) in picture.planes_mut().y.iter_mut().enumerate() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let (x, row) = (n % side, n / side);
        let noise = u8::try_from(state >> 16 & 7).unwrap();
        *y = match (4 * x / side, row / 16 % 2) {
            (0, _) => 40,
            (1, _) => u8::try_from(60 + x * 120 / side).unwrap(),
            (2, _) => 110 + noise,
            (_, 0) => 90 + 8 * noise,
            _ => 150,
        };
    }
    picture
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn marked(picture: &I420Picture, track: TrackName, ms: u64) -> I420Picture {
    let mut out = picture.clone();
    Embedder::new(&key(), track, out.width(), out.height()).mark(&mut out, at(ms));
    out
}

fn mse(a: &I420Picture, b: &I420Picture) -> f64 {
    let pairs = a.view().luma().iter().zip(b.view().luma());
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in pairs {
        sum += f64::from(a.abs_diff(*b)).powi(2);
        n += 1.0;
    }
    sum / n
}

/// The mean change of each cell.
fn changes(before: &I420Picture, after: &I420Picture) -> Vec<f64> {
    let grid = Grid::of(before.width(), before.height());
    let (width, height) = (before.width() as usize, before.height() as usize);
    let mut sums = vec![(0.0, 0.0); grid.cells()];
    for y in 0..height {
        for x in 0..width {
            let cell = y * grid.rows() / height * grid.cols() + x * grid.cols() / width;
            let n = y * width + x;
            let change = f64::from(after.view().luma()[n]) - f64::from(before.view().luma()[n]);
            sums[cell].0 += change;
            sums[cell].1 += 1.0;
        }
    }
    sums.into_iter().map(|(sum, n)| sum / n).collect()
}

/// In how many cells the change goes where the sign says.
fn agreement(signs: &[f32], changes: &[f64]) -> f64 {
    let agree = signs.iter().zip(changes).filter(|(s, c)| f64::from(**s) * **c > 0.0).count();
    agree as f64 / signs.len() as f64
}

#[test]
fn each_cell_changes_as_its_sign_says_at_every_resolution() {
    for (width, height) in [(1280, 720), (640, 360), (854, 480), (322, 182), (480, 640)] {
        let grid = Grid::of(width, height);
        let before = picture(width, height, 1);
        for slot in [0, 1, 7] {
            let signs = grid.signs(&key().signs(TrackName::Road), slot);
            let after = marked(&before, TrackName::Road, u64::from(slot) * 500 + 250);
            let share = agreement(&signs, &changes(&before, &after));
            // Below 200 rows a cell is smaller than a block: some lie between the nodes, where less than a
            // quarter of a grey level is left, which is rounded away.
            let least = if height < 200 { 0.85 } else { 0.97 };
            assert!(share > least, "{width}x{height} slot {slot}: {share}");
            let other = grid.signs(&key().signs(TrackName::Cabin), slot);
            let share = agreement(&other, &changes(&before, &after));
            assert!((0.35..0.65).contains(&share), "another track's signs: {share}");
        }
    }
}

#[test]
fn the_mark_is_small_and_smaller_where_everything_shows() {
    let busy = {
        let mut busy = picture(1280, 720, 3);
        for (n, y) in busy.planes_mut().y.iter_mut().enumerate() {
            *y = if n % 2 == 0 { 60 } else { 180 };
        }
        busy
    };
    let flat = |luma: u8| {
        let mut flat = I420Picture::black(1280, 720).unwrap();
        flat.planes_mut().y.fill(luma);
        flat
    };
    for (name, picture, at_most, at_least) in [
        ("busy", busy, 3.0, 2.0),
        ("mixed", picture(1280, 720, 5), 3.0, 0.3),
        ("dark wall", flat(30), 0.6, 0.1),
        ("white wall", flat(200), 1.6, 0.5),
    ] {
        let mse = mse(&picture, &marked(&picture, TrackName::Cabin, 250));
        // 3.0 is 43.4 dB.
        assert!((at_least..=at_most).contains(&mse), "{name}: {mse}");
        let after = marked(&picture, TrackName::Cabin, 250);
        assert_eq!(after.data()[1280 * 720..], picture.data()[1280 * 720..], "{name}: colour");
    }
}

#[test]
fn what_is_less_than_a_grey_level_is_not_lost() {
    let mut wall = I420Picture::black(1280, 720).unwrap();
    wall.planes_mut().y.fill(24);
    let after = marked(&wall, TrackName::Road, 250);
    let grid = Grid::of(1280, 720);
    let signs = grid.signs(&key().signs(TrackName::Road), 0);
    let changes = changes(&wall, &after);
    assert!(changes.iter().all(|change| change.abs() < 1.0));
    assert!(agreement(&signs, &changes) > 0.99);
}

#[test]
fn nothing_steps_from_picture_to_picture() {
    // A grey wall is the worst case: all that is seen on it is the mark.
    let mut wall = I420Picture::black(640, 360).unwrap();
    wall.planes_mut().y.fill(120);
    let mut embedder = Embedder::new(&key(), TrackName::Road, 640, 360);
    let mut last: Option<I420Picture> = None;
    for n in 0..90 {
        let mut now = wall.clone();
        embedder.mark(&mut now, at(n * 1000 / 30));
        if let Some(last) = &last {
            let step = changes(last, &now).into_iter().fold(0.0, |most: f64, c| most.max(c.abs()));
            // From dark to bright in six pictures, the quickest of them a quarter of the way.
            assert!(step < 0.8, "picture {n}: a cell steps by {step}");
        }
        last = Some(now);
    }
}

#[test]
fn any_size_and_any_time_will_do() {
    for (width, height) in [(2, 2), (2, 4096), (4096, 2), (6, 10), (16, 16), (1278, 718)] {
        let before = picture(width, height, 7);
        let mut embedder = Embedder::new(&key(), TrackName::Road, width, height);
        for time in [at(0), at(10), at(5), at(499), at(600_000), Duration::MAX, at(1)] {
            let mut after = before.clone();
            embedder.mark(&mut after, time);
            assert!(mse(&before, &after) < 9.0, "{width}x{height} at {time:?}");
        }
    }
}

#[test]
fn white_and_black_stay_within_a_byte() {
    for luma in [0, 255] {
        let mut wall = I420Picture::black(640, 360).unwrap();
        wall.planes_mut().y.fill(luma);
        let after = marked(&wall, TrackName::Road, 250);
        assert!(mse(&wall, &after) < 9.0, "{luma} wrapped around");
    }
}
