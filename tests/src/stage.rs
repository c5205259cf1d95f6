//! A fleet on one machine whose unit reaches its server through a tap: where the tests play.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    fleet::Fleet,
    process::{Process, Programs},
    wire_tap::WireTap,
};

/// How long a drive and its upload may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(240);
/// Retries soon, so that a test with a cut line need not wait.
const QUICK_RETRY: &str = "[rules.upload]\nbackoff_cap_s = 1.0\n";

/// See the module.
pub struct Stage {
    /// The fleet.
    pub fleet: Fleet,
    /// Its server, running.
    pub server: Process,
    /// The line between unit and server.
    pub tap: WireTap,
    /// Where everything lies.
    pub folder: tempfile::TempDir,
}

impl Stage {
    /// Makes a fleet, starts its server and enrols its unit with this configuration.
    ///
    /// # Errors
    /// Where a step fails.
    pub async fn new(configuration: &str) -> Result<Self> {
        Self::new_in(tempfile::tempdir()?, configuration).await
    }

    /// The same in a folder that is there.
    ///
    /// # Errors
    /// Where a step fails.
    pub async fn new_in(folder: tempfile::TempDir, configuration: &str) -> Result<Self> {
        let mut fleet =
            Fleet::create(Programs::find()?, folder.path(), "127.0.0.1:0", "127.0.0.1:0")?;
        let server = fleet.start_server(None)?;
        let tap = WireTap::start(fleet.addresses.context("no address")?.grpc).await?;
        let configuration = format!("{configuration}\n{QUICK_RETRY}");
        // The command blocks, and the tap needs this thread.
        tokio::task::block_in_place(|| fleet.enrol_at(&configuration, tap.address))?;
        Ok(Self { fleet, server, tap, folder })
    }

    /// Starts the unit with a temporary folder of its own, `unit-tmp`, which must stay empty.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn drive(&self, arguments: &[&str]) -> Result<Process> {
        let temporary = self.folder.path().join("unit-tmp");
        fs::create_dir_all(&temporary)?;
        let mut command = self.fleet.agent(arguments);
        command.env("TMPDIR", &temporary);
        Process::start("temoin-agent", command, None)
    }

    /// Waits for a program's good end, without holding up the tap.
    ///
    /// # Errors
    /// Where it does not end or ends badly.
    pub fn finish(process: &mut Process) -> Result<()> {
        let status = tokio::task::block_in_place(|| process.wait(LIMIT))?;
        ensure!(status.success(), "{status}\n{}", process.errors());
        Ok(())
    }

    /// Kills the server as a crash would, and starts it again.
    ///
    /// # Errors
    /// Where it does not come up again.
    pub fn crash_server(&mut self) -> Result<()> {
        let again = tokio::task::block_in_place(|| {
            self.server.kill_now()?;
            self.fleet.start_server(None)
        })?;
        self.server = again;
        self.tap.redirect(self.fleet.addresses.context("no address")?.grpc);
        Ok(())
    }
}
