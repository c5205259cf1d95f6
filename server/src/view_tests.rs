//! Views from end to end: a clip that a unit sealed and sent, watched by those who may.

use std::time::Duration;

use futures::StreamExt as _;
use prost::Message as _;
use temoin_media::{
    fmp4::Reader,
    h264::Decoder,
    watermark::{Grid, grid::blend_at},
};
use temoin_proto::wire::FacePoint;

use super::*;
use crate::{
    show::EventFilter,
    test_fleet::{CLIP_MS, LUMA, SIZE, START_MS, Scene, event_at, scene, video},
};

async fn read_all(mut stream: TrackStream) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// The pictures of an MP4 as luma planes with their times.
fn pictures(mp4: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::default();
    reader.push(mp4);
    let mut units = Vec::new();
    while let Some(unit) = reader.next_unit().unwrap() {
        units.push(unit);
    }
    reader.finish().unwrap();
    let mut decoder = Decoder::new(reader.stream().unwrap(), 1).unwrap();
    for unit in units {
        decoder.push(unit).unwrap();
    }
    decoder.end().unwrap();
    let mut pictures = Vec::new();
    while let Some(decoded) = decoder.next_last().unwrap() {
        let luma = decoded.picture.view().luma().to_vec();
        pictures.push((decoded.at.as_ns() / 1_000_000, luma));
    }
    pictures
}

/// How many pixels are far from the plain grey that was recorded.
fn marked(luma: &[u8]) -> usize {
    luma.iter().filter(|p| p.abs_diff(LUMA) > 40).count()
}

#[tokio::test]
async fn who_may_watch_gets_marked_pictures_and_an_entry_in_the_log() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let before = app.log().len();
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    assert_eq!(app.log().len(), before + 1);
    assert_eq!((opened.duration_ms, opened.event_ms), (CLIP_MS, [500, 1000]));
    let names: Vec<_> = opened.tracks.iter().map(|t| (t.name, t.blurred)).collect();
    assert_eq!(names, [("road", false), ("cabin", false)]);
    assert!(opened.tracks[0].codec.starts_with("video/mp4; codecs=\"avc1."));

    for track in [TrackName::Road, TrackName::Cabin] {
        let stream = app.stream_track(&session, opened.view_id, track).await.unwrap().stream;
        let mp4 = read_all(stream).await.unwrap();
        let pictures = pictures(&mp4);
        assert_eq!(pictures.len(), 20);
        assert_eq!(pictures[0].0, 0, "time begins with the clip");
        let codec = {
            let mut reader = Reader::default();
            reader.push(&mp4);
            reader.next_unit().unwrap();
            reader.stream().unwrap().codec_string()
        };
        assert!(opened.tracks[0].codec.contains(&codec), "the codec was told before");
        for (at, luma) in &pictures {
            assert_eq!(luma.len(), (SIZE.0 * SIZE.1) as usize);
            assert!(marked(luma) > 100, "no mark at {at} ms");
        }
    }
    let signals = app.view_signals(&session, opened.view_id).await.unwrap();
    assert_eq!(signals.speed, [(0, 20.0)]);
    assert_eq!(signals.acceleration, [(5, -0.4, 0.1)]);
    assert_eq!(signals.position, Some(vec![(0, 48.0, 2.0)]));
    // A signals track is no picture.
    let refused = app.stream_track(&session, opened.view_id, TrackName::Signals).await;
    assert_eq!(refused.err().map(|e| e.status()), Some(404));

    let proof = app.log().recall(opened.log_index).await.unwrap();
    assert_eq!(proof.leaf().view, Some(opened.view_id));
    assert_eq!(proof.leaf().actor, app.db().log_tag(s.manager.id).await.unwrap());
    assert_eq!(proof.leaf().driver, app.db().log_tag(s.driver.id).await.unwrap());

    // The driver sees it, and the auditor; the dispatcher does not. How much was sent is noted when
    // the last stream has ended.
    let noted = async {
        loop {
            let mine = app.my_events(&s.driver, &EventFilter::default()).await.unwrap();
            let seen = mine.rows[0].seen[0].clone();
            if seen.watched.iter().all(|w| w.sent_ms > 0) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(30), noted).await.unwrap();
    assert_eq!(
        (seen.who.as_deref(), seen.purpose, seen.by_you),
        (Some("Name of sam"), Some(Purpose::Coaching), false)
    );
    let watched: Vec<_> = seen.watched.iter().map(|w| (w.track, w.sent_ms)).collect();
    assert_eq!(watched, [(TrackName::Cabin, CLIP_MS), (TrackName::Road, CLIP_MS)]);
    let page = app.access_log(&s.auditor, None).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.log_size, Some(before + 1));
    assert!(app.access_log(&s.dispatcher, None).await.unwrap().rows.is_empty());
    let admins = app.access_log(&s.admin, None).await.unwrap();
    assert_eq!((admins.rows[0].driver.as_deref(), admins.checkpoint), (None, None));
    let page = app.event_page(&s.dispatcher, s.event.id).await.unwrap();
    assert!(page.seen.is_empty() && page.face_blurred && !page.own);
    let told = s.fleet.happened.lock().unwrap().clone();
    let view = Happening::View(opened.view_id, s.event.clip.clone().unwrap(), Purpose::Coaching);
    assert!(told.contains(&view));
}

#[tokio::test]
async fn an_unblurred_track_is_stored_and_shown_to_nobody() {
    let s = scene().await;
    let app = &s.fleet.app;
    let clip = s.event.clip.clone().unwrap();
    let mut opened_any = 0;
    for user in [&s.driver, &s.dispatcher, &s.manager, &s.auditor, &s.stranger, &s.admin] {
        let session = s.fleet.session(user).await;
        for purpose in Purpose::ALL {
            let Ok(opened) =
                app.open_view(&session, s.event.id, purpose.as_str(), Opening::Watch).await
            else {
                continue;
            };
            opened_any += 1;
            assert!(opened.tracks.iter().all(|t| ["road", "cabin"].contains(&t.name)));
            for track in TrackName::ALL.into_iter().filter(|track| track.is_unblurred()) {
                let key = crate::objects::ObjectKey { clip, track };
                assert!(app.objects().len(key).await.unwrap().is_some(), "{track:?} is stored");
                let refused = app.stream_track(&session, opened.view_id, track).await;
                assert_eq!(refused.err().map(|e| e.status()), Some(404), "{track:?}");
            }
            let view = app.db().view(opened.view_id).await.unwrap().unwrap();
            assert_eq!(view.id, opened.view_id);
        }
    }
    assert!(opened_any > 3, "{opened_any}");
    let mine = app.my_events(&s.driver, &EventFilter::default()).await.unwrap();
    assert!(mine.rows[0].seen.iter().all(|seen| seen.watched.is_empty()));
}

#[tokio::test]
async fn refusals_say_as_much_as_the_person_may_know() {
    let s = scene().await;
    let app = &s.fleet.app;
    let before = app.log().len();
    for (user, event, purpose, status) in [
        (&s.stranger, s.event.id, "triage", 404),
        (&s.admin, s.event.id, "triage", 404),
        (&s.auditor, s.event.id, "collision", 404),
        (&s.dispatcher, EventId::new(), "triage", 404),
        (&s.dispatcher, s.event.id, "coaching", 403),
        (&s.dispatcher, s.event.id, "own_review", 403),
        (&s.dispatcher, s.event.id, "fun", 403),
        (&s.dispatcher, s.event.id, "", 403),
        (&s.driver, s.event.id, "coaching", 403),
        (&s.manager, s.event.id, "triage", 403),
    ] {
        let session = s.fleet.session(user).await;
        let refused = app.open_view(&session, event, purpose, Opening::Watch).await.unwrap_err();
        assert_eq!(refused.status(), status, "{} {purpose}: {refused}", user.login);
    }
    // Unknown and secret read the same.
    let session = s.fleet.session(&s.stranger).await;
    let secret = app.open_view(&session, s.event.id, "triage", Opening::Watch).await.unwrap_err();
    let unknown =
        app.open_view(&session, EventId::new(), "triage", Opening::Watch).await.unwrap_err();
    assert_eq!(secret.client_text(), unknown.client_text());
    assert!(app.event_page(&s.stranger, s.event.id).await.is_err());
    assert!(app.events(&s.stranger, &EventFilter::default()).await.unwrap().rows.is_empty());
    // Each refusal is an entry, also of what does not exist; a purpose that is none is no attempt.
    assert_eq!(app.log().len(), before + 10);
    let entries = app.access_log(&s.auditor, None).await.unwrap().rows;
    assert!(entries.iter().all(|act| act.action == Action::VIEW_REFUSED), "{entries:?}");
    let mine = app.access_log(&s.driver, None).await.unwrap().rows;
    let others = mine.iter().filter(|act| !act.by_you).count();
    assert_eq!(others, 7, "the driver sees who tried: {mine:?}");

    s.fleet.pass(Duration::from_secs(72 * 3600));
    let session = s.fleet.session(&s.dispatcher).await;
    let late = app.open_view(&session, s.event.id, "triage", Opening::Watch).await.unwrap_err();
    assert_eq!(late.status(), 404, "72 h later it is no dispatcher's business");
}

#[tokio::test]
async fn without_a_durable_entry_there_is_no_byte() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let good = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    // The log can no longer replace its signed head.
    let folder = s.fleet.config.log();
    std::fs::rename(&folder, folder.with_extension("gone")).unwrap();
    let size = app.log().len();
    let refused =
        app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap_err();
    assert!(matches!(refused, AppError::Log(_)), "{refused}");
    assert_eq!(refused.status(), 503);
    assert_eq!(app.log().len(), size, "nothing was acknowledged");
    let rows = app.db().acts(&Default::default(), 10).await.unwrap();
    assert_eq!(rows.len(), 1, "and no view exists");
    assert!(!app.healthy().await);
    // Nor does an older view give anything once its entry cannot be read.
    let stream = app.stream_track(&session, good.view_id, TrackName::Road).await;
    if let Ok(stream) = stream {
        // The log holds its entries file open: then the entry is still there to be read.
        assert!(app.log().recall(good.log_index).await.is_ok());
        drop(stream);
    }
}

#[tokio::test]
async fn an_entry_without_a_row_is_made_good_at_the_next_start_and_shows_nothing() {
    let s = scene().await;
    let clip = s.event.clip.clone().unwrap();
    let view = ViewId::new();
    let app = &s.fleet.app;
    let act = Act {
        driver: Some(s.driver.id),
        event: Some(s.event.id),
        clip: Some(clip),
        view: Some(view),
        purpose: Some(Purpose::Coaching),
        ..Act::new(Action::VIEW, Some(s.manager.id), START_MS)
    };
    app.log().append_only(app.db(), &act).await.unwrap();
    assert!(app.db().view(view).await.unwrap().is_none(), "the crash was here");
    let Scene { fleet, manager, driver, .. } = s;
    let fleet = fleet.restart().await;
    let stored = fleet.app.db().view(view).await.unwrap().unwrap();
    assert_eq!((stored.user, stored.session), (manager.id, None));
    let mine = fleet.app.my_events(&driver, &EventFilter::default()).await.unwrap();
    assert_eq!(mine.rows[0].seen.len(), 1, "the driver sees it");
    let session = fleet.session(&manager).await;
    let refused = fleet.app.stream_track(&session, view, TrackName::Road).await;
    assert_eq!(refused.err().map(|e| e.status()), Some(404));
}

#[tokio::test]
async fn a_view_belongs_to_its_session_and_ends() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    for other in [&s.manager, &s.driver, &s.auditor] {
        let other = s.fleet.session(other).await;
        let refused = app.stream_track(&other, opened.view_id, TrackName::Road).await;
        assert_eq!(refused.err().map(|e| e.status()), Some(404));
        assert!(app.view_signals(&other, opened.view_id).await.is_err());
    }
    s.fleet.pass(Duration::from_millis(VIEW_MS as u64 - 1));
    assert!(app.view_signals(&session, opened.view_id).await.is_ok());
    s.fleet.pass(Duration::from_millis(1));
    assert!(app.view_signals(&session, opened.view_id).await.is_err(), "15 min are over");
}

#[tokio::test]
async fn a_dispatcher_never_sees_the_drivers_face() {
    let s = scene().await;
    let app = &s.fleet.app;
    // A picture with something to recognise: bright and dark stripes where the face is, and beside.
    let mut van = s.van;
    let event = event_at(START_MS + 1);
    let clip = {
        let tracks = [(TrackName::Cabin, striped()), signals_track(&[(0, 0.4), (400, 0.4)])];
        van.clip(&event, &tracks)
    };
    van.deliver(&event, &clip).await;
    let contrast = |luma: &[u8], x: std::ops::Range<usize>| {
        let (w, _) = SIZE;
        let row = &luma[100 * w as usize..101 * w as usize];
        let part = &row[x];
        part.iter().max().unwrap() - part.iter().min().unwrap()
    };
    let inside = 140..180;
    let beside = 4..60;

    let session = s.fleet.session(&s.driver).await;
    let opened = app.open_view(&session, event.id, "own_review", Opening::Watch).await.unwrap();
    let stream = app.stream_track(&session, opened.view_id, TrackName::Cabin).await.unwrap().stream;
    let own = pictures(&read_all(stream).await.unwrap());
    assert!(contrast(&own[1].1, inside.clone()) > 80, "the driver sees the own face");

    let session = s.fleet.session(&s.dispatcher).await;
    let opened = app.open_view(&session, event.id, "triage", Opening::Watch).await.unwrap();
    assert!(opened.tracks[0].blurred);
    let stream = app.stream_track(&session, opened.view_id, TrackName::Cabin).await.unwrap().stream;
    let blurred = pictures(&read_all(stream).await.unwrap());
    assert_eq!(blurred.len(), 20);
    for (at, luma) in &blurred {
        assert!(contrast(luma, inside.clone()) < 40, "face at {at} ms");
        let around = contrast(luma, beside.clone());
        if *at <= 900 {
            assert!(around > 80, "only the face is blurred at {at} ms: {around}");
        } else {
            assert!(around < 40, "no box for more than 0.5 s blurs all at {at} ms: {around}");
        }
    }
}

/// How well the mean brightness of each cell follows the signs of a mark, in standard deviations of
/// what signs that have nothing to do with it would reach.
fn likeness(mp4: &[u8], key: &MarkKey, track: TrackName) -> f64 {
    let (grid, signs) = (Grid::of(SIZE.0, SIZE.1), key.signs(track));
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let (mut sum, mut squares) = (0.0, 0.0);
    for (at_ms, luma) in pictures(mp4) {
        let at = blend_at(Duration::from_millis(at_ms));
        let signs = grid.signs(&signs, at.from);
        let mut cells = vec![0.0; grid.cells()];
        for (n, pixel) in luma.iter().enumerate() {
            let (x, y) = (n % width, n / width);
            let cell = y * grid.rows() / height * grid.cols() + x * grid.cols() / width;
            // What is far from grey is the visible mark.
            cells[cell] += (f64::from(*pixel) - f64::from(LUMA)).clamp(-4.0, 4.0);
        }
        for (sign, cell) in signs.iter().zip(cells) {
            sum += f64::from(*sign) * cell;
            squares += cell * cell;
        }
    }
    sum / squares.sqrt()
}

#[tokio::test]
async fn each_view_carries_the_mark_of_its_own_id() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.driver).await;
    let mut views = Vec::new();
    for how in [Opening::Watch, Opening::Export] {
        let opened = app.open_view(&session, s.event.id, "own_review", how).await.unwrap();
        for track in [TrackName::Road, TrackName::Cabin] {
            let stream = app.stream_track(&session, opened.view_id, track).await.unwrap().stream;
            views.push((opened.view_id, track, read_all(stream).await.unwrap()));
        }
    }
    let clip = *s.event.clip.as_ref().unwrap();
    let act = Act { clip: Some(clip), ..Act::new(Action::TRACE, None, app.now_ms()) };
    let entry = app.log().record(app.db(), &act).await.unwrap();
    let ids: Vec<_> = views.iter().map(|(id, ..)| *id).collect();
    let keys = app.keys().marks(clip, &ids, &entry).await.unwrap();
    for (view, track, mp4) in &views {
        for (id, key) in ids.iter().zip(&keys) {
            let likeness = likeness(mp4, key, *track);
            if id == view {
                assert!(likeness > 20.0, "{track:?}: its own mark is not in it: {likeness}");
            } else {
                // Five pictures of a slot have the same signs: a deviation is the root of 5, not 1.
                assert!(likeness.abs() < 12.0, "{track:?}: another view's mark: {likeness}");
            }
        }
    }
    // The entry of a view tells no marks but its own.
    let view = app.log().recall(entry.get() - 1).await.unwrap();
    assert!(app.keys().marks(clip, &ids, &view).await.is_err());
}

/// Stripes of 8 pixels over the whole picture.
fn striped() -> Vec<u8> {
    let plain = video(LUMA);
    let mut reader = Reader::default();
    reader.push(&plain);
    let mut units = Vec::new();
    while let Some(unit) = reader.next_unit().unwrap() {
        units.push(unit);
    }
    let stream = reader.stream().unwrap().clone();
    let config = temoin_media::h264::EncoderConfig::new(SIZE.0, SIZE.1, 10);
    let mut transcoder = temoin_media::transcode::Transcoder::new(
        &stream,
        config,
        |picture: &mut temoin_media::frame::I420Picture, _| {
            let width = SIZE.0 as usize;
            for (i, p) in picture.planes_mut().y.iter_mut().enumerate() {
                *p = if (i % width / 8).is_multiple_of(2) { 40 } else { 200 };
            }
            Ok(())
        },
    )
    .unwrap();
    let mut out = Vec::new();
    for unit in units {
        out.extend(transcoder.push(unit).unwrap());
    }
    let stream = transcoder.stream().unwrap().as_ref().clone();
    transcoder
        .finish(|unit| {
            out.push(unit);
            true
        })
        .unwrap();
    let mut writer = temoin_media::fmp4::Writer::new(stream, temoin_proto::time::MonoTime::ZERO);
    let length = Duration::from_millis(CLIP_MS);
    let mut file = writer.init(Some(length)).unwrap().to_vec();
    let second = out.split_off(10);
    let end = temoin_proto::time::MonoTime::ZERO + length;
    file.extend_from_slice(&writer.fragment(&out, second[0].at).unwrap());
    file.extend_from_slice(&writer.fragment(&second, end).unwrap());
    file
}

fn signals_track(faces: &[(i32, f32)]) -> (TrackName, Vec<u8>) {
    let driver_face = faces
        .iter()
        .map(|(offset_ms, x)| FacePoint { offset_ms: *offset_ms, x: *x, y: 0.3, w: 0.2, h: 0.3 })
        .collect();
    (TrackName::Signals, ClipSignals { driver_face, ..ClipSignals::default() }.encode_to_vec())
}

#[tokio::test]
async fn a_running_stream_is_cut_when_the_decision_changes() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    let began_with = Permit { road: true, cabin: true, position: true, ..Permit::default() };
    let watching = Watching {
        app: app.clone(),
        session: session.clone(),
        view: opened.view_id,
        track: TrackName::Road,
        how: Opening::Watch,
        began_with,
    };
    assert!(watching.go_on(0).await.unwrap());
    app.db().set_user_disabled("sam", true, START_MS).await.unwrap();
    assert!(!watching.go_on(0).await.unwrap(), "switched off");
    assert!(app.stream_track(&session, opened.view_id, TrackName::Road).await.is_err());
}

/// A recording that is half sent when the log's witness turns against it.
#[tokio::test]
async fn a_running_stream_is_cut_when_the_log_is_not_witnessed_any_more() {
    let (s, fakes) = crate::witnesses::tests::witnessed(1, 1).await;
    crate::witnesses::tests::round(&s).await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    let watching = Watching {
        app: app.clone(),
        session,
        view: opened.view_id,
        track: TrackName::Road,
        how: Opening::Watch,
        began_with: Permit { road: true, cabin: true, position: true, ..Permit::default() },
    };
    assert!(watching.go_on(0).await.unwrap());
    fakes[0].contradict();
    crate::witnesses::tests::round(&s).await;
    assert!(matches!(watching.go_on(0).await, Err(AppError::Unwitnessed(_))));
}

#[tokio::test]
async fn a_damaged_recording_ends_in_an_error_not_in_an_end() {
    let s = scene().await;
    let app = &s.fleet.app;
    let key =
        crate::objects::ObjectKey { clip: s.event.clip.clone().unwrap(), track: TrackName::Road };
    let session = s.fleet.session(&s.manager).await;
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    let len = app.objects().len(key).await.unwrap().unwrap();
    let mut bytes = app.objects().get_range(key, 0..len).await.unwrap().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let file = s.fleet.config.path("spoilt");
    std::fs::write(&file, &bytes).unwrap();
    app.objects().put_file(key, &file).await.unwrap();
    let stream = app.stream_track(&session, opened.view_id, TrackName::Road).await.unwrap().stream;
    assert!(read_all(stream).await.is_err());
    let again = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap_err();
    assert_eq!(again.status(), 500);
    assert!(!again.client_text().contains("chunk"), "{}", again.client_text());
}

#[tokio::test]
async fn a_viewer_who_goes_away_frees_the_place() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.manager).await;
    let opened = app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    let stream = app.stream_track(&session, opened.view_id, TrackName::Road).await.unwrap().stream;
    assert_eq!(app.streams().count(), 1);
    drop(stream);
    let freed = async {
        while app.streams().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.unwrap();
}

#[tokio::test]
async fn without_the_key_service_nothing_is_shown_and_the_rest_goes_on() {
    let mut s = scene().await;
    let session = s.fleet.session(&s.manager).await;
    assert!(s.fleet.app.healthy().await);
    s.fleet.keys.stop();
    let app = &s.fleet.app;
    let refused =
        app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap_err();
    assert_eq!(refused.status(), 503, "{refused}");
    assert!(refused.client_text().contains("key service is away"));
    assert!(!app.healthy().await);
    let next = event_at(START_MS + 500);
    let clip = s.van.clip(&next, &[(TrackName::Road, video(LUMA))]);
    s.van.deliver(&next, &clip).await;
    s.fleet.keys.start();
    s.fleet.app.open_view(&session, s.event.id, "coaching", Opening::Watch).await.unwrap();
    assert!(s.fleet.app.healthy().await);
}

#[tokio::test]
async fn what_the_browser_that_signed_in_did_not_sign_gets_no_byte() {
    let s = scene().await;
    let app = &s.fleet.app;
    let session = s.fleet.session(&s.driver).await;
    let open = async |session: &Session, how| {
        app.open_view(session, s.event.id, "own_review", how).await.map_err(|e| e.status())
    };
    let opened = open(&session, Opening::Watch).await.unwrap();
    let stolen = Session { proven: false, ..session.clone() };
    let before = app.log().len();
    assert_eq!(open(&stolen, Opening::Watch).await, Err(403));
    assert_eq!(app.log().len(), before + 1, "the try is logged");
    let stream = app.stream_track(&stolen, opened.view_id, TrackName::Road).await;
    assert_eq!(stream.err().map(|e| e.status()), Some(403));
    let signals = app.view_signals(&stolen, opened.view_id).await;
    assert_eq!(signals.err().map(|e| e.status()), Some(403));
    assert!(app.stream_track(&session, opened.view_id, TrackName::Road).await.is_ok());
    // Taking it away takes password or code of the last minutes, too.
    assert!(open(&session, Opening::Export).await.is_ok());
    s.fleet.pass(Duration::from_secs(300));
    assert_eq!(open(&session, Opening::Export).await, Err(403));
    assert!(open(&session, Opening::Watch).await.is_ok());
}
