//! What the fleet ordered for good: whether the unit records, and its speed limit. Kept over a
//! restart, so that a unit told not to record does not begin again by itself.
//!
//! One file, `DATA/standing-orders.json`, replaced durably before an order counts as carried out.
//! A crash leaves the old orders, and the fleet gives the new one again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temoin_agent_core::config::CoreConfig;

use crate::{
    config::Privacy,
    durable::{self, FileError},
};

/// The orders; what was never ordered is as configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandingOrders {
    /// Record flagged events, or only alert.
    pub record: Option<bool>,
    /// The speed limit was ordered, not configured.
    pub limit_ordered: bool,
    /// The ordered limit, km/h; None: unknown.
    pub limit_kmh: Option<f64>,
}

impl StandingOrders {
    /// Where they lie in a data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join("standing-orders.json")
    }

    /// Reads them; none where there is no file.
    ///
    /// # Errors
    /// Where the file cannot be read or is damaged: then nothing may be recorded, as nobody knows
    /// what was ordered.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Ok(durable::read_json(path)?.unwrap_or_default())
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// [`FileError`]; the old ones stay.
    pub fn store(&self, path: &Path) -> Result<(), FileError> {
        durable::replace_json(path, self)
    }

    /// What is in force. A unit that its own configuration switched off stays off.
    pub fn apply(&self, configured: Privacy, rules: &mut CoreConfig) -> Privacy {
        if self.limit_ordered {
            rules.vehicle.speed_limit_kmh = self.limit_kmh;
        }
        match (configured, self.record) {
            (Privacy::Off, _) => Privacy::Off,
            (_, Some(true)) => Privacy::Recording,
            (_, Some(false)) => Privacy::AiWithoutRecording,
            (as_configured, None) => as_configured,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn orders_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = StandingOrders::path(dir.path());
        assert_eq!(StandingOrders::load(&path).unwrap(), StandingOrders::default());
        let orders =
            StandingOrders { record: Some(false), limit_ordered: true, limit_kmh: Some(80.0) };
        orders.store(&path).unwrap();
        assert_eq!(StandingOrders::load(&path).unwrap(), orders);
        fs::write(&path, "{").unwrap();
        let said = StandingOrders::load(&path).unwrap_err().to_string();
        assert!(said.contains("standing-orders.json"), "{said}");
    }

    #[test]
    fn orders_go_before_the_configuration_but_off_is_off() {
        let mut rules = CoreConfig::default();
        let order = |record| StandingOrders { record, ..StandingOrders::default() };
        for (configured, record, in_force) in [
            (Privacy::Recording, None, Privacy::Recording),
            (Privacy::Recording, Some(false), Privacy::AiWithoutRecording),
            (Privacy::AiWithoutRecording, Some(true), Privacy::Recording),
            (Privacy::Off, Some(true), Privacy::Off),
        ] {
            assert_eq!(order(record).apply(configured, &mut rules), in_force);
        }
        assert_eq!(rules.vehicle.speed_limit_kmh, None);
        let limit = StandingOrders { limit_ordered: true, limit_kmh: Some(30.0), record: None };
        limit.apply(Privacy::Recording, &mut rules);
        assert_eq!(rules.vehicle.speed_limit_kmh, Some(30.0));
    }
}
