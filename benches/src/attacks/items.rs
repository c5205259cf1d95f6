//! Each item of the attacks by itself, for a table that says which of them hurts.
//!
//! INVARIANT: an item of filming is [`Filming::best`] with one thing as hard filming has it
//! ([`Severity::Hard`]), so [`Item::Filmed`] is what to compare with; an item of the site is the file itself
//! with one edit, to be compared with [`Severity::SiteOnly`].

use super::{
    Severity,
    camera::Pose,
    clip::Coding,
    film::Filming,
    random::Random,
    site::{Edit, Part},
};

/// One thing that happens to a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Filmed as well as can be.
    Filmed,
    /// From the side, askew.
    Perspective,
    /// The lens bends straight lines.
    Distortion,
    /// Far away: the picture fills a part of the phone's.
    SmallInFrame,
    /// The hand.
    Shake,
    /// The hand, and rows that are read one after the other.
    RollingShutter,
    /// Out of focus.
    Defocus,
    /// The monitor's stripes.
    Moire,
    /// The backlight goes on and off while rows are read.
    Flicker,
    /// Reflections, and black that is not black.
    Glare,
    /// Exposure hunts, is off, and colours are wrong.
    Exposure,
    /// The sensor's noise.
    Noise,
    /// 24 pictures a second with an exposure over several refreshes.
    FrameRate,
    /// The phone's coder at 1 Mbit/s.
    PhoneCoding,
    /// Edges cut away.
    Crop,
    /// Mirrored.
    Mirror,
    /// 5 % quicker or slower.
    Speed,
    /// Words over it.
    Caption,
    /// Two stickers on it.
    Stickers,
    /// The visible mark wiped away.
    WipedMark,
    /// 600 kbit/s.
    LowRate,
}

impl Item {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Filmed,
        Self::Perspective,
        Self::Distortion,
        Self::SmallInFrame,
        Self::Shake,
        Self::RollingShutter,
        Self::Defocus,
        Self::Moire,
        Self::Flicker,
        Self::Glare,
        Self::Exposure,
        Self::Noise,
        Self::FrameRate,
        Self::PhoneCoding,
        Self::Crop,
        Self::Mirror,
        Self::Speed,
        Self::Caption,
        Self::Stickers,
        Self::WipedMark,
        Self::LowRate,
    ];

    /// Its name, for tables and the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filmed => "item-filmed",
            Self::Perspective => "item-perspective",
            Self::Distortion => "item-distortion",
            Self::SmallInFrame => "item-small-in-frame",
            Self::Shake => "item-shake",
            Self::RollingShutter => "item-rolling-shutter",
            Self::Defocus => "item-defocus",
            Self::Moire => "item-moire",
            Self::Flicker => "item-flicker",
            Self::Glare => "item-glare",
            Self::Exposure => "item-exposure",
            Self::Noise => "item-noise",
            Self::FrameRate => "item-frame-rate",
            Self::PhoneCoding => "item-phone-coding",
            Self::Crop => "item-crop",
            Self::Mirror => "item-mirror",
            Self::Speed => "item-speed",
            Self::Caption => "item-caption",
            Self::Stickers => "item-stickers",
            Self::WipedMark => "item-wiped-mark",
            Self::LowRate => "item-low-rate",
        }
    }

    /// How a clip of this size is filmed; nothing for an item of the site.
    pub(super) fn filming(self, size: (u32, u32), seed: u64) -> Option<Filming> {
        let best = Filming::best(size);
        let hard = Filming::draw(Severity::Hard, size, seed);
        Some(match self {
            Self::Filmed | Self::PhoneCoding => best,
            Self::Perspective => {
                let pose = Pose { fill: 0.9, off: [0.0, 0.0], distortion: 0.0, ..hard.pose };
                Filming { pose, ..best }
            }
            Self::Distortion => {
                let pose = Pose { distortion: hard.pose.distortion, ..best.pose };
                Filming { pose, ..best }
            }
            Self::SmallInFrame => {
                let pose = Pose { fill: hard.pose.fill, off: hard.pose.off, ..best.pose };
                Filming { pose, ..best }
            }
            Self::Shake => Filming { shake_px: hard.shake_px, ..best },
            Self::RollingShutter => {
                Filming { shake_px: hard.shake_px, readout_s: hard.readout_s, ..best }
            }
            Self::Defocus => Filming { blur_px: hard.blur_px, ..best },
            // At its worst where the monitor's pixels are as large as the phone's, with a sharp lens.
            Self::Moire => {
                let fill = Random::of(seed, "moire").within([0.85, 1.0]);
                let pose = Pose { fill, roll_deg: 2.0, ..best.pose };
                Filming { stripes: 1.0, blur_px: 0.22, pose, ..best }
            }
            Self::Flicker => Filming {
                flicker: hard.flicker,
                readout_s: hard.readout_s,
                // Short enough that the bands are seen.
                exposure_s: 1.0 / 250.0,
                ..best
            },
            Self::Glare => Filming { glare: hard.glare, veil: hard.veil, ..best },
            Self::Exposure => Filming {
                hunting: hard.hunting,
                exposed: hard.exposed,
                balance: hard.balance,
                contrast: hard.contrast,
                ..best
            },
            Self::Noise => Filming { noise: hard.noise, ..best },
            Self::FrameRate => Filming { fps: 24.0, exposure_s: 1.0 / 33.0, ..best },
            Self::Crop
            | Self::Mirror
            | Self::Speed
            | Self::Caption
            | Self::Stickers
            | Self::WipedMark
            | Self::LowRate => return None,
        })
    }

    /// The phone's coder.
    pub(super) const fn phone(self) -> Coding {
        let kbit = if matches!(self, Self::PhoneCoding) { 1000 } else { 3000 };
        Coding::phone(kbit)
    }

    /// What is done before the upload.
    pub(super) fn edit(self, seed: u64) -> Edit {
        let none = Edit::draw(Severity::SiteOnly, seed);
        let hard = Edit::draw(Severity::Hard, seed);
        let sign = if seed.is_multiple_of(2) { 1.0 } else { -1.0 };
        match self {
            // The part that hard filming cuts of a phone's picture would be cut of the recording itself.
            Self::Crop => Edit { kept: hard.kept, ..none },
            Self::Mirror => Edit { mirror: true, ..none },
            Self::Speed => Edit { speed: 1.0 + 0.05 * sign, ..none },
            Self::Caption => {
                Edit { caption: Some((0.84, Random::of(seed, "caption").bits())), ..none }
            }
            Self::Stickers => {
                Edit { stickers: Edit::draw(Severity::Extreme, seed).stickers, ..none }
            }
            Self::WipedMark => Edit { wiped: hard.wiped, ..none },
            Self::LowRate => Edit { kept: Part::WHOLE, coding: Coding::site(600), ..none },
            Self::Filmed
            | Self::Perspective
            | Self::Distortion
            | Self::SmallInFrame
            | Self::Shake
            | Self::RollingShutter
            | Self::Defocus
            | Self::Moire
            | Self::Flicker
            | Self::Glare
            | Self::Exposure
            | Self::Noise
            | Self::FrameRate
            | Self::PhoneCoding => none,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_differs_from_its_base_in_something() {
        let size = (960, 540);
        let base = Filming::best(size);
        for item in Item::ALL {
            let edited = item.edit(3) != Edit::draw(Severity::SiteOnly, 3);
            let how = item.filming(size, 3);
            let filmed = how.as_ref().is_some_and(|how| *how != base);
            let coded = item.phone() != Coding::phone(3000);
            let changes = usize::from(edited) + usize::from(filmed) + usize::from(coded);
            assert_eq!(changes, usize::from(item != Item::Filmed), "{}", item.name());
            assert_eq!(how.is_none(), edited, "{}", item.name());
        }
    }
}
