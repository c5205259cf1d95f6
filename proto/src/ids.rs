//! Identifiers. Opaque, so that none of them says anything about a person.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID.
    #[error("`{0}` is not an id: a UUID such as 0198c0de-7e57-7000-8000-000000000001 is needed")]
    NotUuid(String),
    /// Not a unit's name.
    #[error("`{0}` is not a unit's name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter")]
    NotUnit(String),
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: time-ordered and random (UUID version 7).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with these 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id in 16 bytes as they came over the wire.
            ///
            /// # Errors
            /// [`IdError::NotUuid`] where there are not exactly 16.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| IdError::NotUuid(hex::encode(bytes)))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                // Only the form that `Display` writes, so that one id has one spelling.
                match Uuid::try_parse(s) {
                    Ok(id) if id.to_string() == s => Ok(Self(id)),
                    _ => Err(IdError::NotUuid(s.to_owned())),
                }
            }
        }
    };
}

uuid_id! {
    /// One event: something a detector says happened.
    EventId
}
uuid_id! {
    /// One clip: the sealed recording around an event.
    ClipId
}
uuid_id! {
    /// One viewing session of one clip by one person for one purpose.
    ViewId
}
uuid_id! {
    /// One account of the portal.
    UserId
}
uuid_id! {
    /// One grant: a permission with purpose, scope and expiry, from the asking on.
    GrantId
}
uuid_id! {
    /// One legal hold of a clip.
    HoldId
}
uuid_id! {
    /// One trace: a file that leaked, compared with the fleet's recordings.
    TraceId
}
uuid_id! {
    /// One order of the fleet to a unit.
    CommandId
}

uuid_id! {
    /// One run of a unit's software, from its start to its end.
    RunId
}

/// The name a fleet gave to a unit, such as `van-12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitId(String);

impl UnitId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let good = (1..=40).contains(&s.len())
            && s.starts_with(|c: char| c.is_ascii_lowercase())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Ok(Self(s.to_owned())) } else { Err(IdError::NotUnit(s.to_owned())) }
    }
}

impl TryFrom<String> for UnitId {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

impl From<UnitId> for String {
    fn from(u: UnitId) -> Self {
        u.0
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let id = ClipId::new();
        assert_eq!(id.to_string().parse::<ClipId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ClipId>().is_err());
        assert!("".parse::<ClipId>().is_err());
        assert_eq!(ClipId::from_slice(id.as_bytes()), Ok(id));
        assert!(ClipId::from_slice(&[1; 15]).is_err());
    }

    #[test]
    fn unit_names() {
        for good in ["van-12", "a"] {
            assert!(good.parse::<UnitId>().is_ok(), "{good}");
        }
        for bad in ["", "12", "Van", "van 12", "../etc", &"v".repeat(41)] {
            assert!(bad.parse::<UnitId>().is_err(), "{bad}");
        }
    }
}
