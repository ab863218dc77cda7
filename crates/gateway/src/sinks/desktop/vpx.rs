//! VP9 by libvpx: the one place where its functions are called.
//!
//! An [`Encoder`] owns a context of the library from its making to its drop, and never leaves the thread that made it (it is not
//! `Send`). Pictures are handed over as slices whose lengths are checked against what the library reads.
#![expect(unsafe_code, reason = "libvpx is a C library; each call says why it is sound")]

use std::{
    ffi::{CStr, c_int, c_uint, c_ulong},
    mem::MaybeUninit,
    ptr,
};

use vpx_sys::{
    VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF, VPX_ENCODER_ABI_VERSION, VPX_FRAME_IS_KEY, vp8e_enc_control_id,
    vp9e_tune_content, vpx_codec_control_, vpx_codec_ctx_t, vpx_codec_cx_pkt_kind, vpx_codec_destroy,
    vpx_codec_enc_config_default, vpx_codec_enc_init_ver, vpx_codec_encode, vpx_codec_err_t,
    vpx_codec_err_to_string, vpx_codec_get_cx_data, vpx_codec_vp9_cx, vpx_image_t, vpx_img_fmt_t,
    vpx_img_set_rect, vpx_img_wrap, vpx_kf_mode, vpx_rational, vpx_rc_mode,
};

use super::yuv::Yuv;

/// The fastest setting that still looks right on text: see the figures where the recorder is described.
const SPEED: c_int = 8;
/// Cyclic refresh: bits go where a picture moves.
const AQ_CYCLIC: c_int = 3;
/// `vpx_color_space_t`: BT.709, in which pictures are handed over.
const BT_709: c_int = 2;
/// Quantizers, 0 (best) to 63: text stays legible however much moves.
const QUANTIZERS: (c_uint, c_uint) = (2, 45);
/// Kilobits a second for a million pixels, at most.
const KBITS_PER_MEGAPIXEL: u64 = 1800;

/// The library refused.
#[derive(Debug, thiserror::Error)]
#[error("libvpx: {what}: {why}")]
pub(super) struct VpxError {
    what: &'static str,
    why: String,
}

fn check(what: &'static str, error: vpx_codec_err_t) -> Result<(), VpxError> {
    if error == vpx_codec_err_t::VPX_CODEC_OK {
        return Ok(());
    }
    // SAFETY: the function takes any code and answers with a string constant.
    let why = unsafe { CStr::from_ptr(vpx_codec_err_to_string(error)) };
    Err(VpxError { what, why: why.to_string_lossy().into_owned() })
}

/// Encodes pictures of one size.
pub(super) struct Encoder {
    /// Boxed: the library keeps pointers to it. It is what `vpx_codec_enc_init_ver` has made, until the drop.
    context: Box<MaybeUninit<vpx_codec_ctx_t>>,
    width: u16,
    height: u16,
    last_ms: Option<i64>,
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: an Encoder exists only with a context that was initialised, and this is the only place that destroys it.
        let destroyed = unsafe { vpx_codec_destroy(self.context.as_mut_ptr()) };
        if let Err(error) = check("destroy", destroyed) {
            tracing::warn!(%error, "an encoder could not be given back");
        }
    }
}

impl Encoder {
    pub(super) fn new(width: u16, height: u16) -> Result<Self, VpxError> {
        // SAFETY: takes nothing, and answers with a constant of the library.
        let interface = unsafe { vpx_codec_vp9_cx() };
        let mut config = MaybeUninit::uninit();
        // SAFETY: `config` has room for what is written there.
        let found = unsafe { vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0) };
        check("default configuration", found)?;
        // SAFETY: it was filled, or the check above has returned.
        let mut config = unsafe { config.assume_init() };
        config.g_w = c_uint::from(width);
        config.g_h = c_uint::from(height);
        config.g_threads = 1;
        config.g_timebase = vpx_rational { num: 1, den: 1000 };
        config.g_lag_in_frames = 0;
        config.rc_end_usage = vpx_rc_mode::VPX_CBR;
        let pixels = u64::from(width) * u64::from(height);
        config.rc_target_bitrate = (pixels * KBITS_PER_MEGAPIXEL / 1_000_000).max(200) as c_uint;
        (config.rc_min_quantizer, config.rc_max_quantizer) = QUANTIZERS;
        config.rc_undershoot_pct = 50;
        config.rc_overshoot_pct = 50;
        config.rc_dropframe_thresh = 0;
        config.rc_resize_allowed = 0;
        // Key frames come when they are asked for.
        config.kf_mode = vpx_kf_mode::VPX_KF_AUTO;
        config.kf_min_dist = 0;
        config.kf_max_dist = 1_000_000;
        let mut context = Box::new(MaybeUninit::zeroed());
        // SAFETY: `context` has room for a context, which the library fills; `config` outlives the call; the version is the
        // one that these bindings were made for.
        let made = unsafe {
            vpx_codec_enc_init_ver(
                context.as_mut_ptr(),
                interface,
                &config,
                0,
                VPX_ENCODER_ABI_VERSION as c_int,
            )
        };
        check("initialise", made)?;
        let mut encoder = Self { context, width, height, last_ms: None };
        encoder.control("speed", vp8e_enc_control_id::VP8E_SET_CPUUSED, SPEED)?;
        let screen = vp9e_tune_content::VP9E_CONTENT_SCREEN as c_int;
        encoder.control("screen mode", vp8e_enc_control_id::VP9E_SET_TUNE_CONTENT, screen)?;
        encoder.control("adaptive quantizers", vp8e_enc_control_id::VP9E_SET_AQ_MODE, AQ_CYCLIC)?;
        encoder.control("colour space", vp8e_enc_control_id::VP9E_SET_COLOR_SPACE, BT_709)?;
        Ok(encoder)
    }

    fn control(&mut self, what: &'static str, id: vp8e_enc_control_id, value: c_int) -> Result<(), VpxError> {
        // SAFETY: the context is initialised, and each of the controls used here takes one int.
        check(what, unsafe { vpx_codec_control_(self.context.as_mut_ptr(), id as c_int, value) })
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// Encodes a picture that is shown at `time_ms` (or a little later, as times grow) and hands on what comes of it: a frame's bytes,
    /// and whether it is a key frame.
    pub(super) fn encode(
        &mut self,
        picture: &mut Yuv,
        time_ms: i64,
        key: bool,
        frame: &mut impl FnMut(&[u8], bool),
    ) -> Result<(), VpxError> {
        let (width, height) = (self.width, self.height);
        if picture.size() != (width, height) {
            return Err(VpxError { what: "encode", why: "a picture of another size".to_owned() });
        }
        let time_ms = self.last_ms.map_or(time_ms, |last| time_ms.max(last + 1));
        self.last_ms = Some(time_ms);
        let mut image = MaybeUninit::<vpx_image_t>::zeroed();
        let (stride, lines) = picture.planes();
        // SAFETY: `image` has room for the description that is written there. I420 of this (even) size without alignment is three
        // planes one after the other, which is how `Yuv` lays them out: its bytes are as many.
        let wrapped = unsafe {
            vpx_img_wrap(
                image.as_mut_ptr(),
                vpx_img_fmt_t::VPX_IMG_FMT_I420,
                stride,
                lines,
                1,
                picture.bytes_mut().as_mut_ptr(),
            )
        };
        let (shown_width, shown_height) = (c_uint::from(width), c_uint::from(height));
        // SAFETY: `image` was filled by the call above where it did not answer null; the part lies within it.
        if wrapped.is_null()
            || unsafe { vpx_img_set_rect(image.as_mut_ptr(), 0, 0, shown_width, shown_height) } != 0
        {
            return Err(VpxError { what: "picture", why: "it was not taken".to_owned() });
        }
        let flags = if key { i64::from(VPX_EFLAG_FORCE_KF) } else { 0 };
        // SAFETY: the context is initialised; `image` was filled by the call above and describes memory that `picture` lends until
        // the end of this function; without lag the library keeps no picture.
        let encoded = unsafe {
            vpx_codec_encode(
                self.context.as_mut_ptr(),
                image.as_ptr(),
                time_ms,
                100,
                flags,
                c_ulong::from(VPX_DL_REALTIME),
            )
        };
        check("encode", encoded)?;
        let mut at = ptr::null();
        loop {
            // SAFETY: the context is initialised, and `at` is null or what the call before has left there.
            let packet = unsafe { vpx_codec_get_cx_data(self.context.as_mut_ptr(), &mut at) };
            // SAFETY: null, or a packet that lives until the next call with this context.
            let Some(packet) = (unsafe { packet.as_ref() }) else { return Ok(()) };
            if packet.kind != vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: of this kind of packet, `frame` is the part of the union that is set.
            let data = unsafe { packet.data.frame };
            if data.buf.is_null() || data.sz == 0 {
                continue;
            }
            // SAFETY: the packet says that `sz` bytes lie there, and they do until the next call with this context.
            let bytes = unsafe { std::slice::from_raw_parts(data.buf.cast::<u8>(), data.sz as usize) };
            frame(bytes, data.flags & VPX_FRAME_IS_KEY != 0);
        }
    }
}
