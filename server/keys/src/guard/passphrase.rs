//! A passphrase, made a key by Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{CONTEXT, Guard, GuardError, SealingKey, WrappedSealingKey, sealing_key};
use crate::sealing;

/// Shortest passphrase, characters. NIST SP 800-63B asks for 15 where it is the only factor.
pub(super) const MIN_LEN: usize = 15;
/// What is still computed for a file that somebody may have changed: 1 GiB.
const MAX_COST: Cost = Cost { memory_kib: 1 << 20, passes: 16, lanes: 16 };

/// What one guess costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    /// RFC 9106, second recommended option: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl Cost {
    fn key(self, passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, GuardError> {
        let within = self.memory_kib <= MAX_COST.memory_kib
            && self.passes <= MAX_COST.passes
            && self.lanes <= MAX_COST.lanes;
        if !within || salt.len() > 64 {
            return Err(GuardError::Damaged);
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| GuardError::Damaged)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
            .map_err(|_| GuardError::System)?;
        Ok(key)
    }
}

/// Guards by a passphrase.
pub struct PassphraseGuard {
    passphrase: Zeroizing<String>,
    cost: Cost,
}

impl std::fmt::Debug for PassphraseGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassphraseGuard").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl PassphraseGuard {
    /// With this passphrase. The cost is that of new wrappings; what is there says its own.
    ///
    /// # Errors
    /// [`GuardError::Short`].
    pub fn new(passphrase: Zeroizing<String>, cost: Cost) -> Result<Self, GuardError> {
        match passphrase.chars().count() {
            len if len < MIN_LEN => Err(GuardError::Short(len)),
            _ => Ok(Self { passphrase, cost }),
        }
    }
}

impl Guard for PassphraseGuard {
    fn wrap(&self, key: &SealingKey) -> Result<WrappedSealingKey, GuardError> {
        let mut salt = vec![0; 16];
        sealing::fill(&mut salt).map_err(|_| GuardError::System)?;
        let under = self.cost.key(&self.passphrase, &salt)?;
        let sealed = sealing::seal(&under, CONTEXT.as_bytes(), key.as_ref())
            .map_err(|_| GuardError::System)?;
        let Cost { memory_kib, passes, lanes } = self.cost;
        Ok(WrappedSealingKey::Passphrase { memory_kib, passes, lanes, salt, sealed })
    }

    fn unwrap(&self, wrapped: &WrappedSealingKey) -> Result<SealingKey, GuardError> {
        let WrappedSealingKey::Passphrase { memory_kib, passes, lanes, salt, sealed } = wrapped
        else {
            return Err(GuardError::OtherKind { file: wrapped.kind(), config: "a passphrase" });
        };
        let cost = Cost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
        let under = cost.key(&self.passphrase, salt)?;
        let key = sealing::open(&under, CONTEXT.as_bytes(), sealed)
            .map_err(|_| GuardError::WrongPassphrase)?;
        sealing_key(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn guard(passphrase: &str) -> PassphraseGuard {
        PassphraseGuard::new(passphrase.to_owned().into(), CHEAP).unwrap()
    }

    #[test]
    fn only_the_passphrase_opens() {
        let good = guard("correct horse battery");
        let key = sealing::new_key().unwrap();
        let wrapped = good.wrap(&key).unwrap();
        assert_eq!(good.unwrap(&wrapped).unwrap(), key);
        let wrong = guard("correct horse batterz");
        assert!(matches!(wrong.unwrap(&wrapped), Err(GuardError::WrongPassphrase)));
        assert!(matches!(
            PassphraseGuard::new("fourteen chars".to_owned().into(), CHEAP),
            Err(GuardError::Short(14))
        ));
        assert!(!format!("{good:?}").contains("horse"));
    }

    #[test]
    fn a_changed_cost_neither_opens_nor_hangs() {
        let good = guard("correct horse battery");
        let wrapped = good.wrap(&sealing::new_key().unwrap()).unwrap();
        let WrappedSealingKey::Passphrase { salt, sealed, .. } = wrapped else { panic!() };
        for (memory_kib, passes, lanes) in
            [(0, 1, 1), (64, 0, 1), (64, 1, 0), (u32::MAX, 1, 1), (64, u32::MAX, 1), (65, 1, 1)]
        {
            let (salt, sealed) = (salt.clone(), sealed.clone());
            let changed = WrappedSealingKey::Passphrase { memory_kib, passes, lanes, salt, sealed };
            assert!(good.unwrap(&changed).is_err(), "{changed:?}");
        }
    }

    /// The default is what a fleet gets: it works, and is not a moment's work.
    #[test]
    fn the_default_cost_works() {
        let guard =
            PassphraseGuard::new("correct horse battery".to_owned().into(), Cost::default())
                .unwrap();
        let key = sealing::new_key().unwrap();
        assert_eq!(guard.unwrap(&guard.wrap(&key).unwrap()).unwrap(), key);
    }
}
