//! The attacks that the forensic mark is scored with: what can happen to a clip between a viewer's screen
//! and the site where somebody finds it.
//!
//! | module | what |
//! |---|---|
//! | [`clip`] | clips in memory, and their way through ffmpeg |
//! | [`film`] | a phone that films a monitor |
//! | [`site`] | crop, mirror, speed, caption, stickers, and the site's own coding |
//! | [`random`] | seeded numbers |
//!
//! INVARIANT: the same clip, attack and seed give the same leak (with one version of ffmpeg), and no
//! parameter follows from what the mark or its detector can do.

mod camera;
pub mod clip;
pub mod film;
mod light;
pub mod random;
mod screen;
pub mod site;
#[cfg(test)]
mod test_clips;
#[cfg(test)]
mod tests;

use anyhow::Result;
pub use camera::Pose;
pub use clip::{Clip, cut};
pub use screen::Flicker;

use self::{
    clip::{Coder, Coding},
    film::Filming,
    random::Random,
    site::Edit,
};

/// How hard filming from a monitor makes it. 'Everyday' is mild and medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Not filmed: the file itself, coded again by a site.
    SiteOnly,
    /// With care: nearly straight, filling the picture, a steady hand, 1080p.
    Mild,
    /// As it comes.
    Medium,
    /// From the side, in bad light, in a hurry.
    Hard,
    /// From afar and aslant, with half of the picture filled.
    Extreme,
}

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Filmed from a monitor, edited and uploaded.
    Camcord(Severity),
}

/// The phone's own coding, kbit/s: 1 to 3 Mbit/s (WATERMARK.md), less for the harder ones.
fn phone_kbit(severity: Severity, seed: u64) -> u32 {
    let range = match severity {
        Severity::SiteOnly | Severity::Mild => [2500.0, 3000.0],
        Severity::Medium => [2000.0, 3000.0],
        Severity::Hard => [1500.0, 2000.0],
        Severity::Extreme => [1000.0, 1500.0],
    };
    light::whole(f64::from(Random::of(seed, "phone").within(range)))
}

/// Films, codes as the phone does, edits and uploads.
fn leak(clip: &Clip, how: &Filming, phone: &Coding, edit: &Edit, seed: u64) -> Result<Clip> {
    let mut coder = Coder::start(how.phone, how.fps, phone)?;
    film::film(clip, how, seed, &mut |picture| coder.push(picture))?;
    let file = coder.finish()?;
    edit.upload_file(file.path(), how.fps)
}

impl Attack {
    /// All of them.
    pub fn all() -> Vec<Self> {
        Severity::ALL.map(Self::Camcord).to_vec()
    }

    /// Its name, for tables and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Camcord(severity) => severity.name(),
        }
    }

    /// The attack of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|attack| attack.name() == name)
    }

    /// Whether it films a monitor: by far the slowest.
    pub const fn films(self) -> bool {
        match self {
            Self::Camcord(severity) => !matches!(severity, Severity::SiteOnly),
        }
    }

    /// What comes out of the site's player.
    ///
    /// # Errors
    /// Where the clip is empty or there is no ffmpeg.
    pub fn apply(self, clip: &Clip, seed: u64) -> Result<Clip> {
        match self {
            Self::Camcord(severity) => {
                let edit = Edit::draw(severity, seed);
                if severity == Severity::SiteOnly {
                    return edit.upload_clip(clip);
                }
                let how = Filming::draw(severity, clip.size()?, seed);
                leak(clip, &how, &Coding::phone(phone_kbit(severity, seed)), &edit, seed)
            }
        }
    }
}

impl Severity {
    /// From the easiest to the hardest.
    pub const ALL: [Self; 5] =
        [Self::SiteOnly, Self::Mild, Self::Medium, Self::Hard, Self::Extreme];

    /// Its name, for tables and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SiteOnly => "site-only",
            Self::Mild => "mild",
            Self::Medium => "medium",
            Self::Hard => "hard",
            Self::Extreme => "extreme",
        }
    }
}
