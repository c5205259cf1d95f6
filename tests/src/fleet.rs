//! A demo fleet: one depot, one van, one person per role.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::Client,
    process::{OnLine, Process, Programs, command, run},
};

/// How long a program may take to say that it is up, on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// An account of the demo fleet.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// What one signs in with.
    pub login: &'static str,
    /// Full name.
    pub name: &'static str,
    /// The name in the visible mark.
    pub short: &'static str,
    /// Role.
    pub role: &'static str,
    /// Depot, where the role has one.
    pub depot: Option<&'static str>,
}

/// One account for each role that the demo shows. Two of a role show what is *not* one's own.
pub const ACCOUNTS: [Account; 8] = [
    Account {
        login: "dana",
        name: "Dana Moreau",
        short: "D. Moreau",
        role: "driver",
        depot: Some("north"),
    },
    Account {
        login: "emil",
        name: "Emil Haas",
        short: "E. Haas",
        role: "driver",
        depot: Some("north"),
    },
    Account {
        login: "kai",
        name: "Kai Lindner",
        short: "K. Lindner",
        role: "dispatcher",
        depot: Some("north"),
    },
    Account {
        login: "mia",
        name: "Mia Okafor",
        short: "M. Okafor",
        role: "dispatcher",
        depot: Some("south"),
    },
    Account {
        login: "sam",
        name: "Sam Ortiz",
        short: "S. Ortiz",
        role: "safety_manager",
        depot: Some("north"),
    },
    Account {
        login: "fay",
        name: "Fay Nilsson",
        short: "F. Nilsson",
        role: "fleet_admin",
        depot: None,
    },
    Account {
        login: "pia",
        name: "Pia Laurent",
        short: "P. Laurent",
        role: "privacy_officer",
        depot: None,
    },
    Account { login: "ada", name: "Ada Brandt", short: "A. Brandt", role: "auditor", depot: None },
];

/// The van of the demo fleet.
pub const UNIT: &str = "van-12";
/// Who drives it.
pub const DRIVER: &str = "dana";

/// A fleet's data on disk, with its server and unit not necessarily running.
pub struct Fleet {
    /// The programs.
    pub programs: Programs,
    /// The folder that everything lies in.
    pub root: PathBuf,
    /// The password of every account.
    pub password: String,
    /// Its key service, running.
    pub keys: Option<Process>,
    /// Where the server listens, once it ran.
    pub addresses: Option<Addresses>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The portal.
    pub https: SocketAddr,
    /// The units' gRPC.
    pub grpc: SocketAddr,
}

impl Fleet {
    /// Makes the server's data folder and a key service that runs, the depots, the accounts and the
    /// unit's entry.
    ///
    /// # Errors
    /// Where a command of the server fails.
    pub fn create(programs: Programs, root: &Path, https: &str, grpc: &str) -> Result<Self> {
        let mut fleet = Self {
            programs,
            root: root.to_owned(),
            password: uuid::Uuid::new_v4().simple().to_string(),
            keys: None,
            addresses: None,
        };
        let folder = fleet.server_folder();
        let folder_text = folder.to_str().context("the folder's path is not UTF-8")?;
        run(
            command(
                &fleet.programs.server,
                &[
                    "init",
                    folder_text,
                    "--https",
                    https,
                    "--grpc",
                    grpc,
                    "--keys",
                    "../keys/socket",
                ],
            ),
            None,
        )?;
        fleet.make_keys()?;
        fleet.start_keys()?;
        // A demo's accounts are signed in to by whoever looks at it, without a phone.
        let config = folder.join("config.toml");
        let text = std::fs::read_to_string(&config)?;
        let relaxed = text.replace("second_factor = \"required\"", "second_factor = \"optional\"");
        ensure!(relaxed != text, "the configuration does not ask for a second factor");
        std::fs::write(&config, relaxed)?;
        for depot in ["north", "south"] {
            fleet.admin(&["depot", "add", depot], None)?;
        }
        for a in &ACCOUNTS {
            let mut arguments = vec![
                "user",
                "add",
                a.login,
                "--name",
                a.name,
                "--short-name",
                a.short,
                "--role",
                a.role,
                "--password-stdin",
            ];
            if let Some(depot) = a.depot {
                arguments.extend(["--depot", depot]);
            }
            fleet.admin(&arguments, Some(&fleet.password))?;
        }
        fleet.admin(&["unit", "add", UNIT, "--depot", "north"], None)?;
        // A replay at full speed dates its events a drive's length back.
        let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
        let from = yesterday.to_string();
        fleet
            .admin(&["shift", "set", "--unit", UNIT, "--driver", DRIVER, "--from", &from], None)?;
        Ok(fleet)
    }

    /// The server's data folder.
    pub fn server_folder(&self) -> PathBuf {
        self.root.join("server")
    }

    /// The unit's data folder.
    pub fn unit_folder(&self) -> PathBuf {
        self.root.join("unit")
    }

    /// The key service's folder.
    pub fn keys_folder(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The key service's configuration.
    pub fn keys_config(&self) -> PathBuf {
        self.keys_folder().join("keys.toml")
    }

    fn make_keys(&self) -> Result<()> {
        let folder = self.keys_folder();
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let passphrase = folder.join("passphrase");
        fs::write(&passphrase, uuid::Uuid::new_v4().to_string())?;
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
        let log_key = fs::read_to_string(self.server_folder().join("access-log/public-key"))?;
        fs::write(
            self.keys_config(),
            format!(
                "folder = \"data\"\nsocket = \"socket\"\nallowed_uids = [{}]\n\
                 log_public_key = {:?}\n\
                 [guard]\nkind = \"passphrase\"\npassphrase = {{ file = \"passphrase\" }}\n",
                rustix::process::getuid().as_raw(),
                log_key.trim()
            ),
        )?;
        self.keys_command(&["init"]).map(drop)
    }

    /// Runs a subcommand of the key service.
    ///
    /// # Errors
    /// Where it fails.
    pub fn keys_command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = command(&self.programs.keys, arguments);
        command.arg("--config").arg(self.keys_config());
        run(command, None)
    }

    /// Starts the key service and waits until it listens.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn start_keys(&mut self) -> Result<()> {
        let mut command = command(&self.programs.keys, &["serve", "--config"]);
        command.arg(self.keys_config());
        let process = Process::start("temoin-keys", command, None)?;
        process.wait_for("the key service", START_LIMIT, |l| l.starts_with("listening "))?;
        self.keys = Some(process);
        Ok(())
    }

    /// Runs a subcommand of the server.
    ///
    /// # Errors
    /// Where it fails.
    pub fn admin(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = command(&self.programs.server, arguments);
        command.arg("--config").arg(self.server_folder().join("config.toml"));
        run(command, input)
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// Where it does not come up.
    pub fn start_server(&mut self, on_line: Option<OnLine>) -> Result<Process> {
        let mut command = command(&self.programs.server, &["serve", "--config"]);
        command.arg(self.server_folder().join("config.toml"));
        let process = Process::start("temoin-server", command, on_line)?;
        let line = process
            .wait_for("the server to listen", START_LIMIT, |l| l.starts_with("listening "))?;
        let address = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key))
                .and_then(|a| a.parse().ok())
                .with_context(|| format!("no {key} in `{line}`"))
        };
        self.addresses = Some(Addresses { https: address("https=")?, grpc: address("grpc=")? });
        Ok(process)
    }

    /// Enrols the unit with a one-time code at the running server, and writes its configuration.
    ///
    /// # Errors
    /// Where a step fails.
    pub fn enrol(&self, configuration: &str) -> Result<()> {
        self.enrol_at(configuration, self.addresses.context("the server never ran")?.grpc)
    }

    /// The same, with another address in the ticket than the server's own.
    ///
    /// # Errors
    /// Where a step fails.
    pub fn enrol_at(&self, configuration: &str, grpc: SocketAddr) -> Result<()> {
        let ticket = self.root.join("ticket.toml");
        let ticket_text = ticket.to_str().context("the folder's path is not UTF-8")?;
        let server = format!("https://{grpc}");
        self.admin(&["unit", "enrol-code", UNIT, "--out", ticket_text, "--server", &server], None)?;
        std::fs::create_dir_all(self.unit_folder())?;
        let data = self.unit_folder().join("data");
        std::fs::write(
            self.agent_config(),
            format!("data_dir = {:?}\n{configuration}", data.display().to_string()),
        )?;
        run(self.agent(&["enrol", "--ticket", ticket_text]), None)?;
        Ok(())
    }

    /// The unit's configuration file.
    pub fn agent_config(&self) -> PathBuf {
        self.unit_folder().join("agent.toml")
    }

    /// A command of the unit's program with its configuration.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.programs.agent, arguments);
        command.arg("--config").arg(self.agent_config());
        command
    }

    /// A browser-like client of the portal, not signed in.
    ///
    /// # Errors
    /// Where the CA cannot be read.
    pub fn client(&self) -> Result<Client> {
        let ca = std::fs::read(self.server_folder().join("pki/ca.crt"))?;
        Client::new(self.addresses.context("the server never ran")?.https, &ca)
    }

    /// A client, signed in.
    ///
    /// # Errors
    /// Where signing in fails.
    pub async fn signed_in(&self, login: &str) -> Result<Client> {
        let mut client = self.client()?;
        client.sign_in(login, &self.password).await?;
        Ok(client)
    }
}
