//! Made-up traces for tests, and to be looked at. Nothing in them is of anybody; pictures are drawn.
#![expect(clippy::cast_possible_truncation, reason = "drawn shades and counts")]

use super::*;

/// A text that breaks pages which forget to escape.
pub(super) const SCRIPT: &str = "<script>alert(1)</script>\"'&amp;</style><!-- {{ x }}";

/// 15 Oct 2025 08:30:00 UTC.
const AT_MS: i64 = 1_760_517_000_000;

fn view(number: u8, viewer: &str, z: f64) -> NamedView {
    NamedView {
        view: format!("0199e6b2-4c1a-7d30-9f00-0000000000{number:02}"),
        viewer: viewer.to_owned(),
        opened_ms: AT_MS - 86_400_000 * i64::from(number),
        purpose: "Event review".to_owned(),
        export: number == 2,
        log_index: 48_211 + u64::from(number),
        event: "0199e01d-22aa-7c11-8b4f-5d2f6f1e0a11".to_owned(),
        z,
        p: 10_020.0 * (-z * z / 2.0).exp(),
    }
}

/// Views that had no part, spread as they are.
fn spread() -> Scores {
    let bins = (-8..8_i32).map(|k| {
        let low = f64::from(k) * 0.5;
        let middle = low + 0.25;
        let share = 0.5 * 0.398_942 * (-middle * middle / 2.0).exp();
        (low, (share * 3340.0).round() as u64)
    });
    Scores { bins: bins.collect(), best: Some(3.71) }
}

/// A road of greys, and the same as a phone at an angle has it.
fn gradient(width: u32, height: u32, tilted: bool) -> Shades {
    let (w, h) = (f64::from(width), f64::from(height));
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let luma = pixels.map(|(x, y)| {
        let (mut u, mut v) = (f64::from(x) / w, f64::from(y) / h);
        if tilted {
            (u, v) = (u * 1.3 - 0.12 - v * 0.05, v * 1.35 - 0.2 + u * 0.06);
            if !(0.0..1.0).contains(&u) || !(0.0..1.0).contains(&v) {
                return 30;
            }
        }
        let road = v > 0.5 && (u - 0.5).abs() < (v - 0.45) * 0.8;
        let line = road && (u - 0.5).abs() < 0.01 && (v * 14.0).fract() < 0.6;
        let shade = match (line, road) {
            (true, _) => 230.0,
            (false, true) => 70.0 + 40.0 * v,
            (false, false) => 200.0 - 130.0 * v,
        };
        (shade + 12.0 * (u * 9.0).sin()) as u8
    });
    Shades { width, height, luma: luma.collect() }
}

fn pictures() -> Vec<LaidPicture> {
    (0..3_u32)
        .map(|k| LaidPicture {
            leak_ms: 1_033 + 2_400 * u64::from(k),
            clip_ms: 4_520 + 2_388 * u64::from(k),
            came: gradient(480, 270, true),
            laid: gradient(480, 270, false),
            quality: 0.83 - 0.04 * f64::from(k),
        })
        .collect()
}

fn compared() -> Vec<Compared> {
    let way = |quality, offset_s, mirrored, best_z| Way {
        quality,
        pictures: 241,
        mirrored,
        offset_s,
        speed: 0.9948,
        signs: 16_512,
        best_z,
    };
    vec![
        Compared {
            event: "0199e01d-22aa-7c11-8b4f-5d2f6f1e0a11".to_owned(),
            camera: "road",
            likeness: Some(0.412),
            views: 3340,
            ways: vec![way(0.83, 3.492, false, 14.62), way(0.41, 3.467, true, 3.02)],
        },
        Compared {
            event: "0199e01d-9c3f-7e02-a1d0-93b1c7e54f20".to_owned(),
            camera: "road",
            likeness: Some(0.071),
            views: 12,
            ways: Vec::new(),
        },
        Compared {
            event: "0199d8aa-0031-7b55-b0c3-1188aa20be07".to_owned(),
            camera: "cabin",
            likeness: None,
            views: 1,
            ways: vec![way(0.22, -0.04, false, 0.71)],
        },
    ]
}

/// One view is named.
pub(super) fn one_view() -> TraceReport {
    TraceReport {
        trace: "0199e6f0-7a00-7111-8000-c0ffee000001".to_owned(),
        at_ms: AT_MS,
        asked_by: "Ines Sample (auditor)".to_owned(),
        decided_by: "Jo Specimen (works council)".to_owned(),
        words:
            "A recording of the harsh braking of 12 October was seen in a chat group of the depot."
                .to_owned(),
        file: LeakedFile {
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            bytes: 12_345_678,
            seconds: 8.4,
            pictures: 252,
        },
        verdict: Verdict::Views(vec![view(1, "A. Viewer (fleet manager)", 14.62)]),
        bound: 1e-9,
        looks: 10_020,
        threshold_z: 7.75,
        searched: 98_412,
        compared: compared(),
        others: spread(),
        pictures: pictures().into(),
        version: "0.1.0".to_owned(),
    }
}

/// Three views are named.
pub(super) fn three_views() -> TraceReport {
    TraceReport {
        verdict: Verdict::Views(vec![
            view(1, "A. Viewer (fleet manager)", 11.48),
            view(2, "an account that was erased", 11.31),
            view(3, "Zo\u{eb} \u{141}ukasz (dispatcher)", 9.06),
        ]),
        ..one_view()
    }
}

/// The copy never went through the portal.
pub(super) fn none_of_its_views() -> TraceReport {
    TraceReport {
        verdict: Verdict::NoneOfItsViews {
            unit: "unit-0042".to_owned(),
            event: "0199e01d-22aa-7c11-8b4f-5d2f6f1e0a11".to_owned(),
            z: 17.2,
            p: 4.9e-61,
        },
        ..one_view()
    }
}

/// Nothing, though the file looks like recordings.
pub(super) fn none_alike() -> TraceReport {
    TraceReport { verdict: Verdict::None, ..one_view() }
}

/// Nothing, and the file looks like none.
pub(super) fn none_at_all() -> TraceReport {
    TraceReport {
        verdict: Verdict::None,
        looks: 0,
        threshold_z: f64::NAN,
        compared: Vec::new(),
        others: Scores::default(),
        pictures: Arc::default(),
        ..one_view()
    }
}

/// Every verdict, with the name of its golden text.
pub(super) fn verdicts() -> [(&'static str, TraceReport); 5] {
    [
        ("one_view", one_view()),
        ("three_views", three_views()),
        ("none_of_its_views", none_of_its_views()),
        ("none_alike", none_alike()),
        ("none_at_all", none_at_all()),
    ]
}

/// Texts of people and of other programs that try to break a page.
pub(super) fn hostile_texts() -> Vec<String> {
    vec![
        String::new(),
        SCRIPT.to_owned(),
        "x".repeat(10_000),
        "W-".repeat(5_000),
        "many words ".repeat(3_000),
        (0..=0x9f).filter_map(char::from_u32).collect(),
        "\u{202e}tfel ot thgir\u{2066}\u{feff} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}"
            .to_owned(),
        "\u{1f600}\u{1f468}\u{200d}\u{1f469} \u{4e2d}\u{6587} e\u{301}".to_owned(),
        "( ) \\ (((( \\101 endstream endobj %%EOF".to_owned(),
    ]
}

/// A trace all whose words are this one.
pub(super) fn with_words(text: &str) -> TraceReport {
    let text = || text.to_owned();
    let mut report = one_view();
    let named = NamedView {
        view: text(),
        viewer: text(),
        purpose: text(),
        event: text(),
        ..view(1, "", 14.0)
    };
    report.verdict = Verdict::Views(vec![named.clone(), named]);
    report.trace = text();
    report.asked_by = text();
    report.decided_by = text();
    report.words = text();
    report.version = text();
    report.file.sha256 = text();
    for compared in &mut report.compared {
        compared.event = text();
    }
    Arc::make_mut(&mut report.pictures).truncate(1);
    report
}

/// A trace all whose figures are this one.
pub(super) fn with_figures(x: f64) -> TraceReport {
    let mut report = three_views();
    if let Verdict::Views(views) = &mut report.verdict {
        for view in views {
            (view.z, view.p, view.opened_ms) = (x, x, i64::MIN);
        }
    }
    report.at_ms = i64::MAX;
    report.file.seconds = x;
    report.file.bytes = u64::MAX;
    report.bound = x;
    report.looks = u64::MAX;
    report.searched = u64::MAX;
    report.threshold_z = x;
    for compared in &mut report.compared {
        compared.likeness = Some(x);
        compared.views = u64::MAX;
        for way in &mut compared.ways {
            (way.quality, way.offset_s, way.speed, way.best_z) = (x, x, x, x);
        }
    }
    report.others.best = Some(x);
    report.others.bins.extend([(x, 7), (x, u64::MAX)]);
    Arc::make_mut(&mut report.pictures).truncate(1);
    for picture in Arc::make_mut(&mut report.pictures) {
        (picture.quality, picture.leak_ms) = (x, u64::MAX);
    }
    report
}
