//! The words of decisions: roles, purposes, kinds of grants. Each stands in policies, database and
//! forms under one name.

use std::str::FromStr;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal / $words:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every one, in the order in which lists show them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in policies, in the database and in forms.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The name for people.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::ALL.iter().copied().find(|v| v.as_str() == s).ok_or_else(|| NameError {
                    what: $what,
                    given: s.to_owned(),
                    known: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word that names no role or purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: one of {known} is needed")]
pub struct NameError {
    what: &'static str,
    given: String,
    known: String,
}

named! {
    /// What a person is in the fleet.
    Role, "role", {
        /// Drives.
        Driver = "driver" / "Driver",
        /// Sorts the events of a depot.
        Dispatcher = "dispatcher" / "Dispatcher",
        /// Answers for certain drivers.
        SafetyManager = "safety_manager" / "Safety manager",
        /// Runs users and units; sees no picture.
        FleetAdmin = "fleet_admin" / "Fleet administrator",
        /// Decides on data; sees the access log.
        PrivacyOfficer = "privacy_officer" / "Privacy officer",
        /// Checks who looked at what.
        Auditor = "auditor" / "Auditor",
        /// Puts units into vehicles.
        Installer = "installer" / "Installer",
        /// Helps from the vendor's side; sees what is wrong with a unit while the fleet lets them.
        VendorSupport = "vendor_support" / "Vendor support",
    }
}

named! {
    /// Why somebody looks at a clip.
    Purpose, "purpose", {
        /// To talk with the driver about it.
        Coaching = "coaching" / "Coaching",
        /// To see whether it needs anything.
        Triage = "triage" / "Triage",
        /// To clear up a collision.
        Collision = "collision" / "Collision",
        /// To contest an event, or to answer one that is contested.
        Contest = "contest" / "Contested event",
        /// The driver looks at an own clip.
        OwnReview = "own_review" / "Own review",
        /// To answer a request that has a number.
        Request = "request" / "Request",
    }
}

named! {
    /// What a grant allows beyond the role.
    GrantKind, "kind of grant", {
        /// Other people in the pictures are shown.
        LiftBlur = "lift_blur" / "Show other people",
        /// A recording leaves as a file.
        Export = "export" / "Export a file",
        /// A recording is kept longer.
        Retention = "retention" / "Keep it longer",
        /// A recording is deleted before its time.
        Deletion = "deletion" / "Delete it early",
        /// What a request covers can be seen.
        Request = "request" / "Request",
        /// The same without a request, for an hour.
        BreakGlass = "break_glass" / "Break-glass",
        /// The vendor sees how a unit does; no picture.
        Diagnostics = "diagnostics" / "Diagnostics",
        /// Files that leaked are compared with recordings and their viewings.
        Trace = "trace" / "Trace a leak",
    }
}
