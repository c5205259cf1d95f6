//! A client of the portal: what a browser does, over real TLS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::{Response, StatusCode, redirect};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;

/// One browser session.
pub struct Client {
    http: reqwest::Client,
    origin: String,
    csrf: Option<String>,
    /// What a browser's script makes: the session is bound to it.
    key: EcdsaKeyPair,
    /// The session's cookie as it was at the sign-in, as a thief would have it.
    cookie: Option<String>,
    /// What the server gave to sign over, and when: as long as the page's script keeps it.
    nonce: Mutex<Option<(Instant, String)>>,
}

/// As in `server/assets/binding.js`.
const NONCE_FOR: Duration = Duration::from_secs(60);

/// The answer to opening a view.
#[derive(Debug, Clone, Deserialize)]
pub struct View {
    /// Its id.
    pub view_id: String,
    /// What may be seen.
    pub tracks: Vec<ViewTrack>,
    /// Length of the clip.
    pub duration_ms: u64,
    /// Where the event lies in it.
    pub event_ms: (u64, u64),
}

/// One track of a view.
#[derive(Debug, Clone, Deserialize)]
pub struct ViewTrack {
    /// `road` or `cabin`.
    pub name: String,
    /// Media type with codec.
    pub codec: String,
}

/// A whole streamed track, with when it began.
pub struct Streamed {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Milliseconds from the request to the first byte.
    pub first_byte_ms: f64,
    /// Milliseconds from the request to the end of the first fragment: the first frame.
    pub first_frame_ms: f64,
}

impl Client {
    /// A session that trusts the fleet's CA and nothing else.
    ///
    /// # Errors
    /// Where the CA is no certificate.
    pub fn new(portal: SocketAddr, ca_pem: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            roots.add(certificate?)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .cookie_store(true)
            .user_agent("temoin-tests")
            .redirect(redirect::Policy::none())
            .build()?;
        let rng = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)
            .and_then(|der| {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &rng)
                    .map_err(|_| ring::error::Unspecified)
            })
            .map_err(|_| anyhow::anyhow!("no key can be made"))?;
        let origin = format!("https://localhost:{}", portal.port());
        Ok(Self { http, origin, csrf: None, key, cookie: None, nonce: Mutex::default() })
    }

    /// The session's cookie, as a thief would take it.
    ///
    /// # Errors
    /// Where nobody is signed in.
    pub fn stolen_cookie(&self) -> Result<&str> {
        self.cookie.as_deref().context("nobody is signed in")
    }

    /// Gets something with headers of one's own.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let mut request = self.http.get(format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// The proof that this client signed in, for one request; empty where nobody is signed in.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn proof(&self, method: &str, path: &str) -> Result<String> {
        let kept = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let nonce = match kept {
            Some((at, nonce)) if at.elapsed() < NONCE_FOR => nonce,
            Some(_) | None => {
                let answer = self.get("/session/nonce").await?;
                if answer.status() != StatusCode::OK {
                    return Ok(String::new());
                }
                let nonce = answer.text().await?;
                *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), nonce.clone()));
                nonce
            }
        };
        let rng = SystemRandom::new();
        let mut number = [0; 16];
        rng.fill(&mut number).map_err(|_| anyhow::anyhow!("no random bytes"))?;
        let number = hex::encode(number);
        let text = format!("temoin proof v1\n{method}\n{path}\n{nonce}\n{number}");
        let signature = self
            .key
            .sign(&rng, text.as_bytes())
            .map_err(|_| anyhow::anyhow!("the key cannot sign"))?;
        Ok(format!("{nonce}.{number}.{}", hex::encode(signature.as_ref())))
    }

    /// Gets a file of a view, as the page's script does.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn file(&self, path: &str) -> Result<Response> {
        let proof = self.proof("GET", path).await?;
        let request = self.http.get(format!("{}{path}", self.origin));
        Ok(request.header("x-temoin-proof", proof).send().await?)
    }

    /// Gets a page or a stream.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.http.get(format!("{}{path}", self.origin)).send().await?)
    }

    /// Gets a page as text, whatever its status.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn page(&self, path: &str) -> Result<(StatusCode, String)> {
        let response = self.get(path).await?;
        Ok((response.status(), response.text().await?))
    }

    /// Posts a form with the session's CSRF token.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Response> {
        self.post_with(path, form, "").await
    }

    async fn post_with(&self, path: &str, form: &[(&str, &str)], proof: &str) -> Result<Response> {
        let token = self.csrf.clone().unwrap_or_default();
        let mut form = form.to_vec();
        form.push(("csrf", &token));
        Ok(self
            .http
            .post(format!("{}{path}", self.origin))
            .header("origin", &self.origin)
            .header("x-csrf-token", &token)
            .header("x-temoin-proof", proof)
            .form(&form)
            .send()
            .await?)
    }

    /// Signs in.
    ///
    /// # Errors
    /// Where the portal refuses.
    pub async fn sign_in(&mut self, login: &str, password: &str) -> Result<()> {
        *self.nonce.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let (_, page) = self.page("/sign-in").await?;
        self.csrf = csrf_of(&page);
        let key = hex::encode(self.key.public_key().as_ref());
        let form = [("login", login), ("password", password), ("key", &key)];
        let response = self.post("/sign-in", &form).await?;
        ensure!(response.status().is_redirection(), "signing in as {login}: {}", response.status());
        self.cookie = response
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find(|value| value.starts_with("__Host-temoin-session="))
            .and_then(|value| value.split(';').next())
            .map(str::to_owned);
        let mut path = "/".to_owned();
        // The home page is one or two redirects away.
        for _ in 0..3 {
            let response = self.get(&path).await?;
            if response.status().is_redirection() {
                let to = response.headers().get("location").context("a redirect without target")?;
                path = to.to_str()?.to_owned();
                continue;
            }
            self.csrf = csrf_of(&response.text().await?);
            break;
        }
        ensure!(self.csrf.is_some(), "no CSRF token on the home page of {login}");
        Ok(())
    }

    /// Ids of the events that this person's list shows.
    ///
    /// # Errors
    /// Where the page is refused.
    pub async fn events(&self, path: &str) -> Result<Vec<String>> {
        let (status, page) = self.page(path).await?;
        ensure!(status == StatusCode::OK, "{path}: {status}");
        let mut ids: Vec<String> = page
            .split("/events/")
            .skip(1)
            .filter_map(|rest| rest.get(..36))
            .filter(|id| uuid::Uuid::parse_str(id).is_ok())
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Ids of all events, on every page of this person's list.
    ///
    /// # Errors
    /// Where a page is refused.
    pub async fn all_events(&self, path: &str) -> Result<Vec<String>> {
        let mut path = path.to_owned();
        let mut ids = Vec::new();
        loop {
            ids.extend(self.events(&path).await?);
            let (_, page) = self.page(&path).await?;
            let Some((before, _)) = page.split_once("data-testid=\"older\"") else { break };
            let href = before.rsplit_once("href=\"").and_then(|(_, rest)| rest.split_once('"'));
            path = href
                .context("an `older` link without address")?
                .0
                .replace("&amp;", "&")
                .replace("&#38;", "&");
        }
        ids.sort();
        Ok(ids)
    }

    /// Asks for a view of an event's clip.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn open_view(&self, event: &str, purpose: &str) -> Result<Response> {
        let path = format!("/events/{event}/views");
        let proof = self.proof("POST", &path).await?;
        self.post_with(&path, &[("purpose", purpose)], &proof).await
    }

    /// Opens a view that must be granted.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn view(&self, event: &str, purpose: &str) -> Result<View> {
        let response = self.open_view(event, purpose).await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status == StatusCode::CREATED, "view of {event} for {purpose}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Streams a track to its end.
    ///
    /// # Errors
    /// Where it is refused or breaks off.
    pub async fn stream(&self, view: &View, track: &str) -> Result<Streamed> {
        let began = Instant::now();
        let ms = |at: Instant| at.duration_since(began).as_secs_f64() * 1000.0;
        let mut response = self.file(&format!("/views/{}/{track}.mp4", view.view_id)).await?;
        ensure!(response.status() == StatusCode::OK, "{track}: {}", response.status());
        let mut bytes = Vec::new();
        let (mut first_byte_ms, mut first_frame_ms) = (None, None);
        while let Some(chunk) = response.chunk().await? {
            first_byte_ms.get_or_insert_with(|| ms(Instant::now()));
            bytes.extend_from_slice(&chunk);
            // The first `mdat` box holds the first frame.
            if first_frame_ms.is_none() && bytes.windows(4).any(|w| w == b"mdat") {
                first_frame_ms = Some(ms(Instant::now()));
            }
        }
        Ok(Streamed {
            bytes,
            first_byte_ms: first_byte_ms.context("the stream was empty")?,
            first_frame_ms: first_frame_ms.context("the stream held no frame")?,
        })
    }
}

fn csrf_of(page: &str) -> Option<String> {
    let mut rest = page;
    while let Some((_, tail)) = rest.split_once("csrf") {
        for marker in ["content=\"", "value=\""] {
            let near = tail.get(..160.min(tail.len())).unwrap_or(tail);
            if let Some((_, value)) = near.split_once(marker)
                && let Some((token, _)) = value.split_once('"')
                && token.len() >= 16
            {
                return Some(token.to_owned());
            }
        }
        rest = tail;
    }
    None
}
