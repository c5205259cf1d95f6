//! A whole fleet in a temporary folder, for tests: accounts, a unit that is enrolled over real
//! TLS, and clips made and sealed as a unit would.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use temoin_media::{
    fmp4::Writer,
    frame::I420Picture,
    h264::{Encoder, EncoderConfig},
};
use temoin_proto::{
    convert::EventRecord,
    events::{EventKind, Number, Severity},
    ids::{ClipId, EventId, UnitId, UserId},
    manifest::{Manifest, Track},
    sealed::{ClipKey, TrackCipher, TrackName},
    time::{MonoTime, WallTime},
    wire::{
        self, AccelerationPoint, ClipSignals, EnrolRequest, FacePoint, PositionPoint,
        SignedManifest, SpeedPoint, enrolment_service_client::EnrolmentServiceClient,
        fleet_service_client::FleetServiceClient,
    },
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    app::{App, Clock, StartError},
    authn::{Client, Session},
    authz::Role,
    cli::init,
    config::Config,
    db::users::User,
    report::{Happening, Report},
    sessions::Stage,
    test_keys::TestKeys,
};

/// What time it is at first in every test: 2026-11-20T12:00:00Z.
pub(crate) const START_MS: i64 = 1_795_176_000_000;
/// The password of every account here.
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct TestFleet {
    pub(crate) app: App,
    pub(crate) config: Config,
    pub(crate) happened: Arc<std::sync::Mutex<Vec<Happening>>>,
    pub(crate) keys: TestKeys,
    clock: Arc<AtomicI64>,
    stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

impl TestFleet {
    /// A fleet with the depots north and south.
    pub(crate) async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = Some(dir.path().join("keys/socket"));
        let config = init::make(dir.path().join("data"), any, any, &[], socket).await.unwrap();
        let clock = Arc::new(AtomicI64::new(START_MS));
        let keys = TestKeys::new(&dir.path().join("keys"), &config.log(), &clock);
        let happened = Arc::default();
        let app = open(&config, &clock, &happened).await;
        for depot in ["north", "south"] {
            app.db().add_depot(depot, depot).await.unwrap();
        }
        Self { app, config, happened, keys, clock, stop: watch::Sender::new(false), _dir: dir }
    }

    /// Ends the server and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, and something is done to the folder in between.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Config)) -> Self {
        let Self { app, config, happened, keys, clock, stop, _dir } = self;
        stop.send_replace(true);
        app.close().await;
        drop(app);
        change(&config);
        let app = open(&config, &clock, &happened).await;
        Self { app, config, happened, keys, clock, stop: watch::Sender::new(false), _dir }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) async fn user(&self, login: &str, role: Role, depot: &str) -> User {
        // One hash for all: it takes long on purpose.
        static HASH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let hash = HASH.get_or_init(|| crate::authn::hash_password(PASSWORD).unwrap());
        let user = User {
            id: UserId::new(),
            login: login.into(),
            name: format!("Name of {login}"),
            short_name: login.into(),
            role,
            depot: Some(depot.into()),
            manager: None,
            disabled: false,
        };
        self.app.db().add_user(&user, hash, self.app.now_ms()).await.unwrap();
        user
    }

    /// A signed-in session of this account whose requests are signed. What signing in logs is left
    /// out: most tests look at other entries.
    pub(crate) async fn session(&self, user: &User) -> Session {
        let client = client(1);
        let token = self.app.begin(user, Stage::Whole, &client, None).await.unwrap();
        let presented = self.app.present(&token, &client.agent, true).await.unwrap().unwrap();
        Session { proven: true, ..presented.session }
    }

    /// Serves units, and enrols this one with a fresh code.
    pub(crate) async fn unit(&self, name: &str, depot: &str) -> TestUnit {
        let id: UnitId = name.parse().unwrap();
        self.app.db().add_unit(&id, depot, None).await.unwrap();
        let server = self.serve().await;
        let expires = self.app.now_ms() + 1000;
        let code = crate::enrol::new_code(self.app.db(), &id, expires).await.unwrap();
        TestUnit::enrol(&server, id, &code).await.unwrap()
    }

    /// Serves units until the test ends or the fleet is started again.
    pub(crate) async fn serve(&self) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, hosts) = (self.app.clone(), self.config.https.hosts.clone());
        let mut stopped = self.stop.subscribe();
        let ca_pem = app.pki().ca_pem().to_owned();
        tokio::spawn(async move {
            let ended = async { drop(stopped.wait_for(|stop| *stop).await) };
            crate::grpc::serve(app, listener, &hosts, ended).await.unwrap();
        });
        TestServer { address, ca_pem }
    }
}

/// A browser at this address, which has no device cookie.
pub(crate) fn client(last: u8) -> Client {
    Client {
        address: [192, 0, 2, last].into(),
        agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        devices: None,
    }
}

async fn open(
    config: &Config,
    clock: &Arc<AtomicI64>,
    happened: &Arc<std::sync::Mutex<Vec<Happening>>>,
) -> App {
    let clock = Arc::clone(clock);
    let happened = Arc::clone(happened);
    let report = Report::new(move |h| happened.lock().unwrap().push(h.clone()));
    let clock: Clock = Arc::new(move || clock.load(Ordering::Relaxed));
    // The last connection of the server before may still be closing.
    let opened = async {
        loop {
            match App::open(config.clone(), Arc::clone(&clock), report.clone()).await {
                Err(StartError::Locked(_)) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.unwrap()
}

#[derive(Clone)]
pub(crate) struct TestServer {
    address: SocketAddr,
    ca_pem: String,
}

impl TestServer {
    pub(crate) async fn channel(&self, identity: Option<Identity>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca_pem));
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        Endpoint::from_shared(format!("https://{}", self.address))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

impl TestServer {
    /// Calls a method, with an empty message, as who has no certificate.
    pub(crate) async fn call_without_certificate(&self, path: &str) -> Result<(), tonic::Status> {
        let mut client = tonic::client::Grpc::new(self.channel(None).await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        client.unary(Request::new(()), path.parse().unwrap(), codec).await.map(drop)
    }
}

pub(crate) struct TestUnit {
    pub(crate) id: UnitId,
    pub(crate) client: FleetServiceClient<Channel>,
    pub(crate) key: Ed25519KeyPair,
    pub(crate) fleet_key: wire::FleetKey,
    identity: Identity,
}

impl TestUnit {
    pub(crate) async fn enrol(
        server: &TestServer,
        id: UnitId,
        code: &str,
    ) -> Result<Self, tonic::Status> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let pair = rcgen::KeyPair::try_from(pkcs8.as_ref()).unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
        let answer = EnrolmentServiceClient::new(server.channel(None).await)
            .enrol(EnrolRequest {
                code: code.to_owned(),
                csr_pem: csr.pem().unwrap(),
                signing_public_key: bytes::Bytes::copy_from_slice(key.public_key().as_ref()),
                agent_version: "test".into(),
            })
            .await?
            .into_inner();
        assert_eq!(answer.unit_id, id.as_str());
        let identity = Identity::from_pem(&answer.certificate_pem, pair.serialize_pem());
        let client = FleetServiceClient::new(server.channel(Some(identity.clone())).await);
        Ok(Self { id, client, key, fleet_key: answer.fleet_key.unwrap(), identity })
    }

    /// Connects again, to a server that was started again.
    pub(crate) async fn reconnect(&mut self, server: &TestServer) {
        let channel = server.channel(Some(self.identity.clone())).await;
        self.client = FleetServiceClient::new(channel);
    }

    pub(crate) async fn report(&mut self, event: &EventRecord) -> Result<(), tonic::Status> {
        let event = Some(wire::Event::from(event));
        self.client.report_event(wire::ReportEventRequest { event }).await.map(drop)
    }

    pub(crate) async fn begin(
        &mut self,
        clip: &TestClip,
    ) -> Result<wire::BeginClipResponse, tonic::Status> {
        let manifest = Some(clip.signed.clone());
        Ok(self.client.begin_clip(wire::BeginClipRequest { manifest }).await?.into_inner())
    }

    /// Sends bytes of a track from this offset in pieces of this size.
    pub(crate) async fn send(
        &mut self,
        clip: &TestClip,
        track: TrackName,
        offset: usize,
        bytes: &[u8],
    ) -> Result<u64, tonic::Status> {
        let mut pieces: Vec<_> = bytes
            .chunks(100_000)
            .map(|data| wire::UploadTrackRequest {
                data: bytes::Bytes::copy_from_slice(data),
                ..Default::default()
            })
            .collect();
        if pieces.is_empty() {
            pieces.push(wire::UploadTrackRequest::default());
        }
        pieces[0].clip_id = bytes::Bytes::copy_from_slice(clip.manifest.clip.as_bytes());
        pieces[0].track = track.as_str().into();
        pieces[0].offset = offset as u64;
        let answer = self.client.upload_track(tokio_stream::iter(pieces)).await?;
        Ok(answer.into_inner().durable_len)
    }

    pub(crate) async fn finish(&mut self, clip: &TestClip) -> Result<(), tonic::Status> {
        let clip_id = bytes::Bytes::copy_from_slice(clip.manifest.clip.as_bytes());
        self.client.finish_clip(wire::FinishClipRequest { clip_id }).await.map(drop)
    }

    /// Event and clip, all the way.
    pub(crate) async fn deliver(&mut self, event: &EventRecord, clip: &TestClip) {
        self.report(event).await.unwrap();
        self.begin(clip).await.unwrap();
        for (track, sealed) in &clip.sealed {
            self.send(clip, *track, 0, sealed).await.unwrap();
        }
        self.finish(clip).await.unwrap();
    }

    /// A clip of these tracks, sealed and signed.
    pub(crate) fn clip(&self, event: &EventRecord, tracks: &[(TrackName, Vec<u8>)]) -> TestClip {
        self.clip_with(event, tracks, &[])
    }

    /// The same with fingerprints.
    pub(crate) fn clip_with(
        &self,
        event: &EventRecord,
        tracks: &[(TrackName, Vec<u8>)],
        fingerprints: &[bytes::Bytes],
    ) -> TestClip {
        let clip = event.clip.clone().unwrap();
        let key = ClipKey::generate().unwrap();
        let wrapped_key =
            key.wrap(clip, &self.fleet_key.key_id, &self.fleet_key.x25519_public_key).unwrap();
        let sealed: Vec<_> = tracks
            .iter()
            .map(|(name, plain)| {
                (*name, TrackCipher::new(&key, clip, *name).unwrap().seal(plain).unwrap())
            })
            .collect();
        let manifest = Manifest {
            clip,
            event: event.id,
            unit: self.id.clone(),
            start: WallTime { unix_ms: event.start.unix_ms - 500, uncertainty_ms: 5 },
            duration_ms: CLIP_MS,
            event_ms: (500, 1000),
            tracks: tracks
                .iter()
                .zip(&sealed)
                .map(|((name, plain), (_, sealed))| Track {
                    name: *name,
                    media_type: "video/mp4".into(),
                    plain_len: plain.len() as u64,
                    sealed_len: sealed.len() as u64,
                    sealed_sha256: crate::authn::sha256(sealed),
                    others_blurred: Some(!name.is_unblurred()),
                })
                .collect(),
            wrapped_key,
            agent_version: "test".into(),
            fingerprints: fingerprints.to_vec(),
        };
        let signed = manifest.sign(&self.key);
        TestClip { manifest, signed, sealed }
    }
}

pub(crate) struct TestClip {
    pub(crate) manifest: Manifest,
    pub(crate) signed: SignedManifest,
    pub(crate) sealed: Vec<(TrackName, Vec<u8>)>,
}

/// Length of every clip here.
pub(crate) const CLIP_MS: u64 = 2000;
/// Size of its pictures.
pub(crate) const SIZE: (u32, u32) = (320, 240);

/// An event with a clip that began at this time.
pub(crate) fn event_at(start_ms: i64) -> EventRecord {
    EventRecord {
        id: EventId::new(),
        kind: EventKind::HarshBraking,
        start: WallTime { unix_ms: start_ms, uncertainty_ms: 5 },
        end_unix_ms: start_ms + 500,
        severity: Severity::Medium,
        confidence: 0.9,
        rule: "harsh_braking/1".into(),
        numbers: vec![Number::new("peak", 0.48, "g")],
        clip: Ok(ClipId::new()),
    }
}

/// Two seconds of video at 10 pictures a second, all of this luma, as an MP4.
pub(crate) fn video(luma: u8) -> Vec<u8> {
    let (width, height) = SIZE;
    let mut encoder = Encoder::new(EncoderConfig::new(width, height, 10)).unwrap();
    for n in 0..20 {
        let mut picture = I420Picture::black(width, height).unwrap();
        picture.planes_mut().y.fill(luma);
        encoder.push(picture, MonoTime::from_ns(n * 100_000_000)).unwrap();
    }
    let mut units = Vec::new();
    while let Some(unit) = encoder.next_within(Duration::from_secs(5)).unwrap() {
        units.push(unit);
        if units.len() == 20 {
            break;
        }
    }
    let stream = encoder.stream().unwrap().as_ref().clone();
    let mut writer = Writer::new(stream, MonoTime::ZERO);
    let end = MonoTime::from_ns(CLIP_MS * 1_000_000);
    let mut file = writer.init(Some(Duration::from_millis(CLIP_MS))).unwrap().to_vec();
    let second = units.split_off(10);
    let middle = second[0].at;
    file.extend_from_slice(&writer.fragment(&units, middle).unwrap());
    file.extend_from_slice(&writer.fragment(&second, end).unwrap());
    file
}

/// How bright every picture of [`scene`] is.
pub(crate) const LUMA: u8 = 120;

pub(crate) struct Scene {
    pub(crate) fleet: TestFleet,
    pub(crate) van: TestUnit,
    pub(crate) driver: User,
    pub(crate) dispatcher: User,
    pub(crate) manager: User,
    pub(crate) auditor: User,
    pub(crate) stranger: User,
    pub(crate) admin: User,
    pub(crate) event: EventRecord,
}

/// A driver on shift, and a clip of theirs with both cameras and signals.
pub(crate) async fn scene() -> Scene {
    let fleet = TestFleet::new().await;
    let mut van = fleet.unit("van-1", "north").await;
    let driver = fleet.user("ann", Role::Driver, "north").await;
    fleet.app.db().set_shift(&van.id, driver.id, START_MS - 1000).await.unwrap();
    let event = event_at(START_MS);
    let signals = ClipSignals {
        speed: vec![SpeedPoint { offset_ms: 0, mps: 20.0 }],
        acceleration: vec![AccelerationPoint {
            offset_ms: 5,
            longitudinal_g: -0.4,
            lateral_g: 0.1,
        }],
        position: vec![PositionPoint { offset_ms: 0, lat_deg: 48.0, lon_deg: 2.0 }],
        driver_face: (0..10)
            .map(|i| FacePoint { offset_ms: i * 100, x: 0.4, y: 0.3, w: 0.2, h: 0.3 })
            .collect(),
        unit_mark: None,
    };
    let tracks = [
        (TrackName::Cabin, video(LUMA)),
        (TrackName::Road, video(LUMA)),
        (TrackName::Signals, signals.encode_to_vec()),
        (TrackName::CabinUnblurred, video(LUMA)),
        (TrackName::RoadUnblurred, video(LUMA)),
    ];
    let clip = van.clip(&event, &tracks);
    van.deliver(&event, &clip).await;
    Scene {
        driver,
        dispatcher: fleet.user("dan", Role::Dispatcher, "north").await,
        manager: fleet.user("sam", Role::SafetyManager, "north").await,
        auditor: fleet.user("aud", Role::Auditor, "north").await,
        stranger: fleet.user("eve", Role::Dispatcher, "south").await,
        admin: fleet.user("ada", Role::FleetAdmin, "north").await,
        event,
        van,
        fleet,
    }
}
