//! Enrolment: a one-time code becomes a unit's certificate.
//!
//! INVARIANT: a code works once, for one unit, until it expires; only its SHA-256 is kept. Using
//! it up and storing the certificate are one transaction: a crash leaves both or neither, and a
//! unit that never got the answer needs a new code.

use temoin_proto::{
    ids::UnitId,
    wire::{EnrolRequest, EnrolResponse, enrolment_service_server::EnrolmentService},
};
use tonic::{Request, Response, Status};

use crate::{
    app::App,
    authn::{readable_code, sha256},
    brake::Brake,
    db::Db,
    error::{AppError, chain},
    grpc::{internal, peer},
    pki::PkiError,
};

/// How long a code lasts, where nothing else is said: one day.
pub const CODE_VALID_MS: i64 = 24 * 60 * 60 * 1000;

/// A fresh code for a unit: `XXXX-XXXX-XXXX`, 60 bits, which a day of guessing at the rate that
/// the brake leaves cannot find.
///
/// # Errors
/// [`AppError`].
pub async fn new_code(db: &Db, unit: &UnitId, expires_ms: i64) -> Result<String, AppError> {
    let code = readable_code(3, 4)?;
    db.add_enrolment_code(unit, &code_hash(&code), expires_ms).await?;
    Ok(code)
}

/// Codes are read out and typed: case and dashes do not matter.
fn code_hash(code: &str) -> [u8; 32] {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    sha256(plain.as_bytes())
}

/// The service for units that have no certificate yet.
#[derive(Debug)]
pub struct Enrolment {
    app: App,
    brake: std::sync::Mutex<Brake<std::net::IpAddr>>,
    started: std::time::Instant,
}

impl Enrolment {
    /// For this server.
    pub fn new(app: App) -> Self {
        // 20 attempts from one address, then one in 3 s.
        let brake = std::sync::Mutex::new(Brake::new(20, 3_000));
        Self { app, brake, started: std::time::Instant::now() }
    }
}

const NO_CODE: &str = "the code is unknown, used or expired: ask the fleet for a new one";

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let from = peer(&request)?;
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wait_ms =
            self.brake.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(from, now);
        if wait_ms > 0 {
            let wait_s = wait_ms.div_ceil(1000);
            return Err(Status::resource_exhausted(format!(
                "too many attempts, again in {wait_s} s"
            )));
        }
        let EnrolRequest { code, csr_pem, signing_public_key, agent_version } =
            request.into_inner();
        if csr_pem.len() > 8192 || code.len() > 64 || agent_version.len() > 64 {
            return Err(Status::invalid_argument("the request is too long to be one"));
        }
        let code = code_hash(&code);
        let now_ms = self.app.now_ms();
        let db = self.app.db();
        let unit = db
            .unit_of_code(&code, now_ms)
            .await
            .map_err(internal)?
            .ok_or_else(|| Status::permission_denied(NO_CODE))?;
        let fleet_key = self.app.keys().public().await.map_err(|e| {
            tracing::error!("{}", chain(&e));
            Status::unavailable("the fleet's key cannot be had now: try again, or ask the operator")
        })?;
        let certificate = self.app.pki().sign_unit(&unit, &csr_pem, &signing_public_key).map_err(
            |e| match e {
                PkiError::Request(_) => Status::invalid_argument(chain(&e)),
                PkiError::File { .. } | PkiError::Mode { .. } | PkiError::Certificate { .. } => {
                    internal(e)
                }
            },
        )?;
        let enrolled = db
            .enrol_unit(&code, &unit, &certificate.sha256, &signing_public_key, now_ms)
            .await
            .map_err(internal)?;
        if !enrolled {
            return Err(Status::permission_denied(NO_CODE));
        }
        tracing::info!(%unit, %agent_version, "unit enrolled");
        Ok(Response::new(EnrolResponse {
            unit_id: unit.to_string(),
            certificate_pem: certificate.pem,
            fleet_key: Some(fleet_key),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_forgiving_in_form_only() {
        assert_eq!(code_hash("ABCD-EFGH-JKLM"), code_hash(" abcd efgh jklm "));
        assert_ne!(code_hash("ABCD-EFGH-JKLM"), code_hash("ABCD-EFGH-JKLN"));
        let code = readable_code(3, 4).unwrap();
        assert_eq!(code.len(), 14);
        assert_ne!(code, readable_code(3, 4).unwrap());
    }
}
