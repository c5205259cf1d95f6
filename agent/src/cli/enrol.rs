//! `temoin-agent enrol`

use std::{io::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use temoin_hw::clock::system_unix_ms;
use temoin_proto::wire::{EnrolRequest, enrolment_service_client::EnrolmentServiceClient};
use tonic::Code;

use super::ConfigArg;
use crate::{
    config::Config,
    identity::{Fleet, FleetKey, Identity, KeyRequest, Ticket},
    net::Connector,
    trusted_time::TrustedTime,
};

/// Make this unit one of a fleet's, with the administrator's one-time ticket.
#[derive(clap::Args)]
pub struct Args {
    /// The ticket's file. Remove it afterwards; it is of no use a second time.
    #[arg(long, value_name = "FILE")]
    ticket: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let config = Config::load(&self.config.config)?;
        Identity::refuse_second(&config.data_dir)?;
        let ticket = Ticket::read(&self.ticket)?;
        if ticket.expires_unix_ms < system_unix_ms() {
            // The unit's clock may be wrong, so the server judges; but the hint helps.
            tracing::warn!("by this unit's clock the ticket has expired");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the network")?;
        runtime.block_on(enrol(&config, &ticket))
    }
}

async fn enrol(config: &Config, ticket: &Ticket) -> Result<()> {
    let request = KeyRequest::generate(&ticket.unit)?;
    let time_path = config.data_dir.join("identity/trusted-time.json");
    let time = Arc::new(TrustedTime::of_ticket(&time_path, ticket.expires_unix_ms));
    let connector = Connector::for_enrolment(&ticket.server, &ticket.ca_pem, Arc::clone(&time))?;
    let mut client = EnrolmentServiceClient::new(connector.connect().await?);
    let answer = client
        .enrol(EnrolRequest {
            code: ticket.code.clone(),
            csr_pem: request.csr_pem.clone(),
            signing_public_key: request.public_key.clone().into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await;
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::PermissionDenied => bail!(
            "the server refuses the ticket: {}. Ask the fleet administrator for a new one",
            status.message()
        ),
        Err(status) => bail!("the server at `{}` says: {}", connector.address(), status.message()),
    };
    ensure!(
        answer.unit_id == ticket.unit.as_str(),
        "the server enrolled `{}` but the ticket is for `{}`: ask the fleet administrator",
        answer.unit_id,
        ticket.unit
    );
    let key = answer.fleet_key.context("the server gave no key to seal clips to")?;
    let fleet = Fleet {
        server: ticket.server.clone(),
        unit: ticket.unit.clone(),
        ca_pem: ticket.ca_pem.clone(),
        sealing_key: FleetKey { key_id: key.key_id, public: key.x25519_public_key.into() },
    };
    Identity::store(&config.data_dir, &request, &answer.certificate_pem, &fleet)?;
    time.keep()?;
    writeln!(
        std::io::stdout(),
        "enrolled as {} at {}; the ticket is used up, remove it",
        fleet.unit,
        fleet.server
    )?;
    Ok(())
}
