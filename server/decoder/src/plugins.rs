//! Everything that decoding a file may need, loaded before the file is looked at: afterwards nothing
//! can be opened any more.

use anyhow::Context as _;
use gstreamer as gst;
use gstreamer::prelude::{PluginFeatureExtManual as _, StaticType as _};

/// What the pipeline itself is made of, beside decoders.
const ELEMENTS: [&str; 12] = [
    "fdsrc",
    "decodebin",
    "typefind",
    "multiqueue",
    "queue",
    "capsfilter",
    "identity",
    "tee",
    "videoflip",
    "videoconvert",
    "videoscale",
    "appsink",
];

/// Loads GStreamer, its demuxers, parsers and decoders of video.
pub(crate) fn load() -> anyhow::Result<()> {
    gst::init()?;
    for name in ELEMENTS {
        let factory = gst::ElementFactory::find(name)
            .with_context(|| format!("GStreamer has no element `{name}`: install its plugins"))?;
        factory.load().with_context(|| format!("GStreamer cannot load `{name}`"))?;
        // Made once, so that what an element opens when it is first made is open.
        drop(gst::ElementFactory::make(name).build());
    }
    use gst::ElementFactoryType as Type;
    for kind in [Type::DEMUXER, Type::PARSER, Type::DECODER | Type::MEDIA_VIDEO] {
        for factory in gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL) {
            // One that does not load is one that no file is decoded with.
            drop(factory.load());
        }
    }
    // What tells one kind of file from another is loaded at once with the first.
    for feature in gst::Registry::get().features(gst::TypeFindFactory::static_type()) {
        drop(feature.load());
    }
    Ok(())
}
