//! H.264, fragmented MP4, pictures and the marks in them.
//!
//! OpenCV and GStreamer stay behind this crate: no type of theirs is in its public interface.
//!
//! INVARIANT: pixels and coded video live in memory only. No element, buffer or error of this
//! crate writes them to a file, a log or a debug print.
#![deny(unsafe_code)]

pub mod annotate;
pub mod bgr;
pub mod blur;
pub mod burn_in;
pub mod cascade;
pub mod fmp4;
pub mod frame;
pub mod h264;
pub mod leak;
pub mod picture_stats;
pub mod plates;
pub mod png;
pub mod ridges;
pub mod road_cascades;
mod rounding;
mod scaled_part;
mod text_mask;
pub mod transcode;
pub mod upright_edges;
pub mod watermark;

#[cfg(test)]
mod test_pictures;

/// Sets how many threads OpenCV may use for one picture, for the whole process. The pictures here
/// are small: 1 is the cheapest in total, and the default of OpenCV (every core) the dearest.
///
/// # Errors
/// [`frame::PictureError::OpenCv`] where OpenCV refuses.
pub fn limit_opencv_threads(threads: u8) -> Result<(), frame::PictureError> {
    opencv::core::set_num_threads(i32::from(threads))?;
    Ok(())
}

/// Makes the C library keep at most two memory arenas, for the whole process: to be called before
/// there is a second thread. It keeps one for each thread else, and pictures of a megabyte that are
/// made in one thread and freed in another break each of them up.
///
/// Does nothing where the C library is not glibc.
pub fn limit_memory_arenas() {
    #[cfg(target_env = "gnu")]
    {
        // Measured (`perception.rss_mb`): two take a fifth less than one for each thread, and no
        // more processor time.
        const MOST: std::ffi::c_int = 2;
        #[expect(unsafe_code, reason = "the C library has no other way to be told")]
        // SAFETY: `mallopt` takes two numbers, keeps no pointer, and may be called at any time.
        let accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, MOST) };
        if accepted != 1 {
            tracing::debug!("the C library does not limit its memory arenas");
        }
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::time::MonoTime;

    use crate::frame::{I420Picture, PictureError};

    type Edit = fn(&mut I420Picture, MonoTime) -> Result<(), PictureError>;

    #[test]
    fn what_holds_threads_or_pictures_can_move_between_threads() {
        const fn can_move<T: Send>() {}
        can_move::<crate::h264::Encoder>();
        can_move::<crate::h264::Decoder>();
        can_move::<crate::cascade::Cascades>();
        can_move::<crate::road_cascades::RoadCascades>();
        can_move::<crate::burn_in::Label>();
        can_move::<crate::burn_in::ViewMark>();
        can_move::<crate::fmp4::Reader>();
        can_move::<crate::transcode::Transcoder<Edit>>();
    }
}
