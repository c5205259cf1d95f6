//! What is known without pictures expires too: events and what belongs to them, distances, shifts,
//! grants, and accounts that are off.
//!
//! The access log stays: it holds opaque ids only, and erasing an account cuts the last link from
//! its entries to a person.
//!
//! INVARIANT: an event goes after its recording, a shift after its events, a driver's account after
//! their shifts. Each event and each account leaves an entry in the access log, written before it
//! goes. After a crash in between the next round writes it again, and ends.

use crate::{app::App, db::acts::Act, error::AppError, log::action};

/// How many events are forgotten at once.
const BATCH: u32 = 500;

/// What a round forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events.
    pub events: usize,
    /// Accounts that were erased.
    pub accounts: usize,
}

impl App {
    /// Forgets what is older than `retention.records_days`.
    ///
    /// # Errors
    /// [`AppError`]: what is left is tried again in the next round.
    pub async fn forget_due(&self) -> Result<Forgotten, AppError> {
        let now_ms = self.now_ms();
        let before_ms = self.config().retention.records_before_ms(now_ms);
        let mut forgotten = Forgotten::default();
        loop {
            let events = self.db().old_events(before_ms, BATCH).await?;
            for event in &events {
                let act = Act::new(action("event_forgotten")?, None, now_ms);
                let act = Act { driver: event.driver, event: Some(event.id), ..act };
                self.log().record(self.db(), &act).await?;
            }
            self.db().forget_events(&events, before_ms).await?;
            forgotten.events += events.len();
            if events.len() < BATCH as usize {
                break;
            }
        }
        self.db().forget_before(before_ms).await?;
        for account in self.db().old_accounts(before_ms).await? {
            let act = Act::new(action("account_erased")?, None, now_ms);
            self.log().record(self.db(), &Act { driver: Some(account), ..act }).await?;
            self.db().erase_account(account, now_ms).await?;
            forgotten.accounts += 1;
        }
        if forgotten != Forgotten::default() {
            self.db().fold().await?;
        }
        Ok(forgotten)
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
