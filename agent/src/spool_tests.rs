use temoin_proto::{
    events::{EventKind, Severity},
    manifest::{Track, WrappedKey},
    time::WallTime,
};

use super::*;

fn record(severity: Severity) -> EventRecord {
    EventRecord {
        id: EventId::new(),
        kind: EventKind::HarshBraking,
        start: WallTime { unix_ms: 1, uncertainty_ms: 1 },
        end_unix_ms: 2,
        severity,
        confidence: 1.0,
        rule: "test/1".into(),
        numbers: vec![],
        clip: Ok(ClipId::new()),
    }
}

fn sealed(clip: ClipId, event: EventId, len: usize) -> SealedClip {
    let manifest = Manifest {
        clip,
        event,
        unit: "van-1".parse().unwrap(),
        start: WallTime { unix_ms: 1, uncertainty_ms: 1 },
        duration_ms: 1000,
        event_ms: (0, 1),
        tracks: vec![Track {
            name: TrackName::Road,
            media_type: "video/mp4".into(),
            plain_len: len as u64 - 16,
            sealed_len: len as u64,
            sealed_sha256: [0; 32],
            others_blurred: None,
        }],
        wrapped_key: WrappedKey {
            key_id: "k".into(),
            encapsulated: vec![0; 32],
            ciphertext: vec![0; 48],
        },
        agent_version: "0".into(),
        fingerprints: Vec::new(),
    };
    let manifest = wire::SignedManifest {
        manifest: wire::Manifest::from(&manifest).encode_to_vec().into(),
        signature: Bytes::from_static(&[0; 64]),
    };
    SealedClip { clip, event, manifest, tracks: vec![(TrackName::Road, vec![7; len])] }
}

fn open(data: &Path, quota: u64) -> (Spool, Vec<Queued>) {
    Spool::open(data, quota, |path| panic!("strange: {path}")).unwrap()
}

#[test]
fn what_is_put_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (spool, queue) = open(data.path(), 1 << 20);
    assert_eq!(queue, []);
    let with_clip = record(Severity::High);
    let without = record(Severity::Low);
    let (first, second) = (with_clip.clip.clone().unwrap(), without.clip.clone().unwrap());
    spool.put_event(with_clip.clone()).unwrap();
    spool.put_event(without.clone()).unwrap();
    spool.put_clip(&sealed(first, with_clip.id, 1000)).unwrap();
    drop(spool);

    let (spool, queue) = open(data.path(), 1 << 20);
    assert!(matches!(queue[0], Queued::Event { event, .. } if event == with_clip.id), "{queue:?}");
    assert!(matches!(queue[1], Queued::Event { event, .. } if event == without.id), "{queue:?}");
    assert!(
        matches!(queue[2], Queued::Clip { clip, bytes: 1000, rank: Some(_) } if clip == first),
        "{queue:?}"
    );
    assert_eq!(queue[3], Queued::Lost(Lost { clip: second, reason: LostReason::UnitStopped }));
    assert_eq!(spool.event(with_clip.id), Some(with_clip.clone()));
    assert_eq!(spool.tracks(first).unwrap(), [TrackFile { name: TrackName::Road, len: 1000 }]);
    assert_eq!(spool.read_track(first, TrackName::Road, 990, 10).unwrap(), vec![7; 10]);
    assert!(spool.read_track(first, TrackName::Road, 990, 11).is_err());

    spool.settle_clip(first).unwrap();
    spool.discard_clip(first).unwrap();
    drop(spool);
    let (spool, queue) = open(data.path(), 1 << 20);
    assert!(queue.iter().any(
        |q| matches!(q, Queued::Event { event, clip_done: true, .. } if *event == with_clip.id)
    ));
    assert!(!queue.iter().any(|q| matches!(q, Queued::Clip { .. })), "{queue:?}");
    spool.discard_event(with_clip.id).unwrap();
    spool.discard_event(without.id).unwrap();
    drop(spool);
    assert_eq!(open(data.path(), 1 << 20).1, []);
}

#[test]
fn two_agents_do_not_share_a_folder() {
    let data = tempfile::tempdir().unwrap();
    let (_spool, _) = open(data.path(), 1 << 20);
    let second = Spool::open(data.path(), 1, |_| {}).err().unwrap();
    assert!(matches!(second, SpoolError::InUse(_)), "{second}");
}

#[test]
fn what_a_crash_left_half_done_is_removed_and_strangers_are_not() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path(), 1));
    let spool = data.path().join("spool");
    fs::create_dir(spool.join("tmp/half")).unwrap();
    fs::write(spool.join("tmp/half/road"), b"x").unwrap();
    fs::create_dir(spool.join("trash/old")).unwrap();
    fs::write(spool.join("events/0198.tmp"), b"x").unwrap();
    fs::write(spool.join("events").join(EventId::new().to_string()), b"damaged").unwrap();
    let mut strange = Vec::new();
    let (_spool, queue) = Spool::open(data.path(), 1, |p| strange.push(p.to_owned())).unwrap();
    assert_eq!(queue, []);
    assert_eq!(strange.len(), 1, "{strange:?}");
    assert!(!spool.join("tmp/half").exists() && !spool.join("trash/old").exists());
    assert!(!spool.join("events/0198.tmp").exists());
}

#[test]
fn a_full_spool_gives_up_the_least_severe_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let (spool, _) = open(data.path(), 2500);
    let mut clips = Vec::new();
    for severity in [Severity::Low, Severity::High] {
        let record = record(severity);
        let clip = record.clip.clone().unwrap();
        clips.push((clip, record.clone()));
        spool.put_event(record.clone()).unwrap();
        spool.put_clip(&sealed(clip, record.id, 1000)).unwrap();
    }
    let medium = record(Severity::Medium);
    let clip = medium.clip.clone().unwrap();
    spool.put_event(medium.clone()).unwrap();
    let queue = spool.put_clip(&sealed(clip, medium.id, 1000)).unwrap();
    assert_eq!(queue[0], Queued::Lost(Lost { clip: clips[0].0, reason: LostReason::DiskFull }));
    assert_eq!(spool.usage(), (2, 2000));

    let low = record(Severity::Low);
    let clip = low.clip.clone().unwrap();
    spool.put_event(low.clone()).unwrap();
    let refused = spool.put_clip(&sealed(clip, low.id, 1000)).unwrap_err();
    assert!(matches!(refused, SpoolError::Full(_)), "{refused}");
    spool.record_lost(Lost { clip, reason: refused.lost_reason() }).unwrap();
    drop(spool);
    // The reason survives a restart.
    let (_spool, queue) = open(data.path(), 2500);
    assert!(
        queue.contains(&Queued::Lost(Lost { clip, reason: LostReason::DiskFull })),
        "{queue:?}"
    );
}

/// Names in a folder of the spool.
fn names(data: &Path, folder: &str) -> Vec<String> {
    entries(&data.join("spool").join(folder)).unwrap().into_iter().map(|e| e.name).collect()
}

#[test]
fn what_there_is_so_far_is_the_clip_where_the_rest_never_comes() {
    let data = tempfile::tempdir().unwrap();
    let (spool, _) = open(data.path(), 1 << 20);
    let event = record(Severity::High);
    let clip = event.clip.clone().unwrap();
    spool.put_event(event.clone()).unwrap();
    assert_eq!(spool.put_so_far(&sealed(clip, event.id, 1000)).unwrap(), []);
    // A second crash: there is more of it now.
    assert_eq!(spool.put_so_far(&sealed(clip, event.id, 2000)).unwrap(), []);
    assert_eq!(spool.usage(), (0, 2000));
    assert_eq!(names(data.path(), "tmp"), [""; 0]);
    drop(spool);

    let (spool, queue) = open(data.path(), 1 << 20);
    let clips: Vec<_> = queue.iter().filter(|q| !matches!(q, Queued::Event { .. })).collect();
    let [Queued::Clip { clip: queued, bytes: 2000, rank: Some(_) }] = clips.as_slice() else {
        panic!("{queue:?}")
    };
    assert_eq!(*queued, clip);
    assert_eq!(names(data.path(), "so-far"), [""; 0]);
    assert_eq!(spool.tracks(clip).unwrap(), [TrackFile { name: TrackName::Road, len: 2000 }]);
    assert_eq!(spool.read_track(clip, TrackName::Road, 1990, 10).unwrap(), [7; 10].as_slice());
}

#[test]
fn what_there_is_so_far_goes_when_the_clip_comes() {
    let data = tempfile::tempdir().unwrap();
    let (spool, _) = open(data.path(), 1 << 20);
    let event = record(Severity::High);
    let clip = event.clip.clone().unwrap();
    spool.put_event(event.clone()).unwrap();
    spool.put_so_far(&sealed(clip, event.id, 1000)).unwrap();
    let queue = spool.put_clip(&sealed(clip, event.id, 3000)).unwrap();
    assert!(matches!(queue.as_slice(), [Queued::Clip { bytes: 3000, .. }]), "{queue:?}");
    assert_eq!(spool.usage(), (1, 3000));
    for folder in ["tmp", "so-far", "trash"] {
        assert_eq!(names(data.path(), folder), [""; 0], "{folder}");
    }
    assert_eq!(spool.promote(clip).unwrap(), None);
}

#[test]
fn a_clip_that_finds_no_room_leaves_what_there_is_so_far() {
    let data = tempfile::tempdir().unwrap();
    let (spool, _) = open(data.path(), 2500);
    let event = record(Severity::High);
    let clip = event.clip.clone().unwrap();
    spool.put_event(event.clone()).unwrap();
    spool.put_so_far(&sealed(clip, event.id, 1000)).unwrap();
    // It takes room: of two that are as severe the newer would be kept otherwise.
    let other = record(Severity::High);
    spool.put_event(other.clone()).unwrap();
    let too_much = sealed(other.clip.unwrap(), other.id, 2000);
    assert!(matches!(spool.put_clip(&too_much), Err(SpoolError::Full(_))));
    assert!(matches!(spool.put_clip(&sealed(clip, event.id, 3000)), Err(SpoolError::Full(_))));
    let promoted = spool.promote(clip).unwrap();
    assert!(matches!(promoted, Some(Queued::Clip { bytes: 1000, .. })), "{promoted:?}");
    assert_eq!(spool.usage(), (1, 1000));
    assert_eq!(names(data.path(), "clips"), [clip.to_string()]);
}
