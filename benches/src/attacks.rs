//! The attacks that the forensic mark is scored with: what can happen to a clip between a viewer's screen
//! and the site where somebody finds it.
//!
//! | module | what |
//! |---|---|
//! | [`clip`] | clips in memory, and their way through ffmpeg |
//! | [`film`] | a phone that films a monitor |
//! | [`items`] | each thing that happens by itself |
//! | [`site`] | crop, mirror, speed, caption, stickers, and the site's own coding |
//! | [`filters`](self) | tape, denoiser, sharpener, pictures made up between others |
//! | [`screen_tools`] | screen recorder, picture in picture, portrait; collusion |
//! | [`random`] | seeded numbers |
//!
//! INVARIANT: the same clip, attack and seed give the same leak (with one version of ffmpeg), and no
//! parameter follows from what the mark or its detector can do.

mod camera;
pub mod clip;
pub mod film;
mod filters;
mod grey;
pub mod items;
mod light;
pub mod random;
mod screen;
pub mod screen_tools;
pub mod site;
#[cfg(test)]
pub(crate) mod test_clips;
#[cfg(test)]
mod tests;

use anyhow::Result;
pub use camera::Pose;
pub use clip::{Clip, cut};
pub use items::Item;
pub use screen::Flicker;
pub use screen_tools::{Collusion, collude};

use self::{
    clip::{Coder, Coding},
    film::Filming,
    random::Random,
    site::{Edit, Part},
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
    /// One thing by itself.
    Item(Item),
    /// Recorded off the screen.
    ScreenRecorder,
    /// Copied to a video tape and back.
    Vhs,
    /// Denoised in time and space.
    Denoise,
    /// Sharpened as networks for upscaling do.
    Sharpen,
    /// At 60 pictures a second, most of them made up.
    Interpolate,
    /// Small in another video.
    PictureInPicture,
    /// A third of the width, all of the height.
    PortraitCrop,
}

/// The phone's own coding, kbit/s: 1 to 3 Mbit/s (the prototype of the mark), less for the harder ones.
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
        let mut all = Severity::ALL.map(Self::Camcord).to_vec();
        all.extend([
            Self::ScreenRecorder,
            Self::Vhs,
            Self::Denoise,
            Self::Sharpen,
            Self::Interpolate,
            Self::PictureInPicture,
            Self::PortraitCrop,
        ]);
        all.extend(Item::ALL.map(Self::Item));
        all
    }

    /// Its name, for tables and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Camcord(severity) => severity.name(),
            Self::Item(item) => item.name(),
            Self::ScreenRecorder => "screen-recorder",
            Self::Vhs => "vhs",
            Self::Denoise => "denoise",
            Self::Sharpen => "sharpen",
            Self::Interpolate => "interpolate",
            Self::PictureInPicture => "picture-in-picture",
            Self::PortraitCrop => "portrait-crop",
        }
    }

    /// The attack of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|attack| attack.name() == name)
    }

    /// Whether it films a monitor: by far the slowest.
    pub fn films(self) -> bool {
        self.filming((1280, 720), 0).is_some()
    }

    /// How a clip of this size is filmed, where it is.
    pub fn filming(self, size: (u32, u32), seed: u64) -> Option<Filming> {
        match self {
            Self::Camcord(Severity::SiteOnly) => None,
            Self::Camcord(severity) => Some(Filming::draw(severity, size, seed)),
            Self::Item(item) => item.filming(size, seed),
            Self::ScreenRecorder
            | Self::Vhs
            | Self::Denoise
            | Self::Sharpen
            | Self::Interpolate
            | Self::PictureInPicture
            | Self::PortraitCrop => None,
        }
    }

    /// What is done to it before the upload.
    pub fn edit(self, seed: u64) -> Edit {
        match self {
            Self::Camcord(severity) => Edit::draw(severity, seed),
            Self::Item(item) => item.edit(seed),
            Self::ScreenRecorder
            | Self::Vhs
            | Self::Denoise
            | Self::Sharpen
            | Self::Interpolate
            | Self::PictureInPicture
            | Self::PortraitCrop => Edit::draw(Severity::SiteOnly, seed),
        }
    }

    /// What comes out of the site's player.
    ///
    /// # Errors
    /// Where the clip is empty or there is no ffmpeg.
    pub fn apply(self, clip: &Clip, seed: u64) -> Result<Clip> {
        let edit = self.edit(seed);
        if let Some(how) = self.filming(clip.size()?, seed) {
            return leak(clip, &how, &self.phone(seed), &edit, seed);
        }
        edit.upload_clip(&self.altered(clip, seed)?)
    }

    /// What is uploaded, where nothing is filmed.
    fn altered(self, clip: &Clip, seed: u64) -> Result<Clip> {
        match self {
            Self::Camcord(_) | Self::Item(_) => Ok(clip.clone()),
            Self::ScreenRecorder => screen_tools::recorded(clip, seed),
            Self::Vhs => filters::tape(clip, seed),
            Self::Denoise => filters::denoised(clip),
            Self::Sharpen => filters::sharpened(clip),
            Self::Interpolate => filters::interpolated(clip),
            Self::PictureInPicture => screen_tools::in_another(clip, seed),
            Self::PortraitCrop => screen_tools::portrait(clip, seed),
        }
    }

    /// Whether all of a part of the clip's picture is still in the leak's, as a still hand would film it: a
    /// visible mark that stands there was not cut away. Stickers and wiping do not count.
    pub fn shows(self, part: Part, size: (u32, u32), seed: u64) -> bool {
        let kept = match self {
            Self::PortraitCrop => screen_tools::portrait_part(seed),
            Self::Camcord(_)
            | Self::Item(_)
            | Self::ScreenRecorder
            | Self::Vhs
            | Self::Denoise
            | Self::Sharpen
            | Self::Interpolate
            | Self::PictureInPicture => self.edit(seed).kept,
        };
        let how = self.filming(size, seed);
        let ends = [(part.x, part.y), (part.x + part.w, part.y + part.h)];
        let [(left, top), (right, bottom)] = ends;
        [(left, top), (right, top), (left, bottom), (right, bottom)].iter().all(|(u, v)| {
            let (x, y) = how.as_ref().map_or((*u, *v), |how| how.place(*u, *v));
            let inside = |at: f32, from: f32, length: f32| (from..=from + length).contains(&at);
            inside(x, kept.x, kept.w) && inside(y, kept.y, kept.h)
        })
    }

    /// The phone's coder, where it films.
    fn phone(self, seed: u64) -> Coding {
        match self {
            Self::Camcord(severity) => Coding::phone(phone_kbit(severity, seed)),
            Self::Item(item) => item.phone(),
            Self::ScreenRecorder
            | Self::Vhs
            | Self::Denoise
            | Self::Sharpen
            | Self::Interpolate
            | Self::PictureInPicture
            | Self::PortraitCrop => Coding::phone(3000),
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
