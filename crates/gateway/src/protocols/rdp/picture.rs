//! Decodes what a target shows for whoever records it: bitmaps, plain, run-length coded and planar; RemoteFX; and the
//! shape of the pointer. As fast-path updates (MS-RDPBCGR 2.2.9.1.2) and as their older form (2.2.9.1.1.3).
//!
//! [`super::capabilities`] sees to it that nothing else is agreed on; a target that sends it all the same is not understood
//! any more, and neither is one that sends what cannot be read. It draws nothing itself: it says what to draw. It holds one
//! update that comes in pieces, of at most [`LONGEST_UPDATE`] bytes, one bitmap of about the desktop's size and a few
//! pointers. Sizes are looked at here, before IronRDP's decoders see them; whether those withstand everything else is
//! theirs, so that whoever calls is ready for a panic.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use ironrdp_core::{ReadCursor, decode_cursor};
use ironrdp_graphics::{
    color_conversion::{rdp_15bit_to_rgb, rdp_16bit_to_rgb},
    pointer::{DecodedPointer, PointerBitmapTarget},
    rdp6::BitmapStreamDecoder,
    rfx::{Frame, MessageDecoder, TILE_SIZE, TileDecoder},
    rle::{self, RlePixelFormat},
};
use ironrdp_pdu::{
    bitmap::{BitmapData, BitmapUpdateData, Compression},
    fast_path::{FastPathUpdate, UpdateCode},
    geometry::InclusiveRectangle,
    pointer::PointerUpdateData,
    slow_path,
    surface_commands::{SurfaceBitsPdu, SurfaceCommand},
};

use super::{
    capabilities::{self, LONGEST_UPDATE, POINTERS, REMOTE_FX_NUMBER},
    chunk::u16_at,
    parts::parts,
};

/// Something that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A whole fast-path message.
    Fast(Bytes),
    /// What an MCS message brought for everybody: share control messages, or a licence.
    Slow(Bytes),
}

/// What was sent that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Where, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
}

/// What the pointer looks like.
#[derive(Debug, Clone, Copy)]
pub enum Pointer<'a> {
    /// As pointers do.
    Usual,
    Hidden,
    /// Four bytes a pixel, red first, with alpha.
    Shape {
        width: u16,
        height: u16,
        hot_x: u16,
        hot_y: u16,
        pixels: &'a [u8],
    },
}

/// What takes a picture.
pub trait Canvas {
    /// The whole desktop has this size from now on.
    fn resize(&mut self, width: u16, height: u16);
    /// Four bytes a pixel, red first, in rows of so many bytes. It may reach beyond the desktop.
    fn paint(&mut self, place: Place, pixels: &[u8], stride: usize);
    /// Where the pointer was put.
    fn point(&mut self, x: u16, y: u16);
    fn pointer(&mut self, pointer: Pointer<'_>);
}

/// Kinds of share control messages, and of data (MS-RDPBCGR 2.2.8.1.1.1).
const DEMAND_ACTIVE: u16 = 1;
const DATA_UPDATE: u8 = 2;
const DATA_POINTER: u8 = 27;
/// Of data: both headers, and where it says whether it is compressed.
const DATA_HEADER: usize = 18;
const DATA_COMPRESSION: usize = 15;
const COMPRESSED: u8 = 0x20;
/// Of a desktop.
const MOST_PIXELS: usize = 16 * 1024 * 1024;
/// Bitmaps are a little larger than their place, at its end.
const MARGIN: usize = 63;
/// The longest side of a pointer.
const POINTER: u16 = 384;
/// Looks at a tile of RemoteFX for a place that it is to be seen in.
const LOOKS: usize = 16 * 1024 * 1024;

const SHORT: Broken = Broken("an update that is cut off");
const ODD: Broken = Broken("an update that cannot be read");

/// How pixels lie in a bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixel {
    Palette,
    Bits15,
    Bits16,
    Bgr,
    Bgrx,
    Rgb,
}

impl Pixel {
    fn of(bits: u16) -> Option<Self> {
        Some(match bits {
            8 => Self::Palette,
            15 => Self::Bits15,
            16 => Self::Bits16,
            24 => Self::Bgr,
            32 => Self::Bgrx,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Palette => 1,
            Self::Bits15 | Self::Bits16 => 2,
            Self::Bgr | Self::Rgb => 3,
            Self::Bgrx => 4,
        }
    }
}

/// A bitmap: rows from the lowest to the highest.
#[derive(Debug, Clone, Copy)]
struct Sheet<'a> {
    bytes: &'a [u8],
    width: usize,
    height: usize,
    pixel: Pixel,
}

/// An update that comes in pieces.
#[derive(Debug)]
struct Gathered {
    code: u8,
    bytes: Vec<u8>,
}

/// Reads what is shown, message by message.
pub struct Picture<C> {
    canvas: C,
    size: Option<(u16, u16)>,
    gathered: Option<Gathered>,
    palette: Option<Box<[[u8; 3]; 256]>>,
    planar: BitmapStreamDecoder,
    remote_fx: MessageDecoder,
    tiles: TileDecoder,
    /// By their numbers.
    pointers: Vec<Option<DecodedPointer>>,
    unpacked: Vec<u8>,
    pixels: Vec<u8>,
}

impl<C: Canvas> Picture<C> {
    pub fn new(canvas: C) -> Self {
        Self {
            canvas,
            size: None,
            gathered: None,
            palette: None,
            planar: BitmapStreamDecoder::default(),
            remote_fx: MessageDecoder::new(),
            tiles: TileDecoder::new(),
            pointers: Vec::new(),
            unpacked: Vec::new(),
            pixels: Vec::new(),
        }
    }

    pub fn canvas(&mut self) -> &mut C {
        &mut self.canvas
    }

    /// Draws what a message shows. After an error nothing is known of the picture any more.
    pub fn see(&mut self, seen: &Seen) -> Result<(), Broken> {
        match seen {
            Seen::Fast(message) => self.fast(message),
            Seen::Slow(message) => self.slow(message),
        }
    }

    fn fast(&mut self, message: &[u8]) -> Result<(), Broken> {
        let (&header, rest) = message.split_first().ok_or(SHORT)?;
        if header >> 6 != 0 {
            return Err(Broken("an update in RDP's own encryption"));
        }
        let long = rest.first().is_some_and(|length| length & 0x80 != 0);
        let mut rest = rest.get(if long { 2 } else { 1 }..).ok_or(SHORT)?;
        while let Some((&header, behind)) = rest.split_first() {
            rest = behind;
            if header & 0x80 != 0 {
                let (&compression, behind) = rest.split_first().ok_or(SHORT)?;
                plain(compression)?;
                rest = behind;
            }
            let length = usize::from(u16_at(rest, 0).ok_or(SHORT)?);
            let (data, behind) = rest[2..].split_at_checked(length).ok_or(SHORT)?;
            rest = behind;
            self.piece(header & 0xf, header >> 4 & 3, data)?;
        }
        Ok(())
    }

    /// A piece of an update: all of it, its last, its first, or one between them.
    fn piece(&mut self, code: u8, which: u8, data: &[u8]) -> Result<(), Broken> {
        if which == 0 || which == 2 {
            self.gathered = None;
        }
        match which {
            0 => return self.update(code, data),
            2 => self.gathered = Some(Gathered { code, bytes: data.to_vec() }),
            _ => {
                let gathered = self.gathered.as_mut().filter(|gathered| gathered.code == code);
                let gathered = gathered.ok_or(Broken("a piece of an update that did not begin"))?;
                if gathered.bytes.len() + data.len() > LONGEST_UPDATE {
                    return Err(Broken("an update that is too long to be recorded"));
                }
                gathered.bytes.extend_from_slice(data);
            }
        }
        match self.gathered.take_if(|_| which == 1) {
            Some(Gathered { code, bytes }) => self.update(code, &bytes),
            None => Ok(()),
        }
    }

    fn update(&mut self, code: u8, data: &[u8]) -> Result<(), Broken> {
        let known = [
            UpdateCode::HiddenPointer,
            UpdateCode::DefaultPointer,
            UpdateCode::PositionPointer,
            UpdateCode::ColorPointer,
            UpdateCode::CachedPointer,
            UpdateCode::NewPointer,
            UpdateCode::LargePointer,
        ];
        if let Some(known) = known.into_iter().find(|known| known.as_u8() == code) {
            match FastPathUpdate::decode_with_code(data, known) {
                Ok(FastPathUpdate::Pointer(update)) => self.point(&update),
                Ok(_) => return Err(ODD),
                // Browsers go on without it, too.
                Err(_) => self.canvas.pointer(Pointer::Usual),
            }
            return Ok(());
        }
        match code {
            0 => no_orders(u16_at(data, 0)),
            1 => {
                let bitmaps: BitmapUpdateData<'_> =
                    decode_cursor(&mut ReadCursor::new(data)).map_err(|_| ODD)?;
                self.bitmaps(&bitmaps)
            }
            2 => self.colours(data),
            // Means nothing between two.
            3 => Ok(()),
            4 => self.surface(data),
            _ => Err(Broken("an update of a kind that is not known")),
        }
    }

    fn slow(&mut self, message: &[u8]) -> Result<(), Broken> {
        for part in parts(message).iter().flatten() {
            if part.kind == DEMAND_ACTIVE {
                self.begin(part.bytes)?;
            }
            let (update, pointer) = (part.is_data(DATA_UPDATE), part.is_data(DATA_POINTER));
            if !update && !pointer {
                continue;
            }
            plain(part.bytes.get(DATA_COMPRESSION).copied().unwrap_or_default())?;
            let data = part.bytes.get(DATA_HEADER..).unwrap_or_default();
            let mut cursor = ReadCursor::new(data);
            match u16_at(data, 0) {
                // Nothing.
                None => {}
                Some(_) if pointer => match slow_path::decode_slow_path_pointer(&mut cursor) {
                    Ok(update) => self.point(&update),
                    Err(_) => self.canvas.pointer(Pointer::Usual),
                },
                Some(0) => no_orders(u16_at(data, 4))?,
                Some(1) => {
                    let mut cursor = ReadCursor::new(data.get(2..).unwrap_or_default());
                    let bitmaps = slow_path::decode_slow_path_bitmap(&mut cursor).map_err(|_| ODD)?;
                    self.bitmaps(&bitmaps)?;
                }
                Some(2) => self.colours(data)?,
                Some(3) => {}
                Some(_) => return Err(Broken("an update of a kind that is not known")),
            }
        }
        Ok(())
    }

    /// A desktop begins, or begins anew with another size.
    fn begin(&mut self, demand: &[u8]) -> Result<(), Broken> {
        let (width, height) = capabilities::size(demand).ok_or(Broken("a desktop without a size"))?;
        if width == 0 || height == 0 || usize::from(width) * usize::from(height) > MOST_PIXELS {
            return Err(Broken("a size that cannot be recorded"));
        }
        self.size = Some((width, height));
        self.gathered = None;
        self.palette = None;
        self.remote_fx = MessageDecoder::new();
        self.pointers.clear();
        self.canvas.resize(width, height);
        Ok(())
    }

    /// The desktop's size in pixels.
    fn sides(&self) -> Result<(usize, usize), Broken> {
        let (width, height) = self.size.ok_or(Broken("a picture before its size"))?;
        Ok((usize::from(width), usize::from(height)))
    }

    /// Whether something is not much larger than the desktop. Targets that change its size send some of the new one before they
    /// say so, and then all of it again; browsers leave out what came before.
    fn fits(&self, width: usize, height: usize) -> Result<bool, Broken> {
        let (most_width, most_height) = self.sides()?;
        Ok(width <= most_width + MARGIN && height <= most_height + MARGIN)
    }

    /// All 256 colours (MS-RDPBCGR 2.2.9.1.1.3.1.1.1).
    fn colours(&mut self, data: &[u8]) -> Result<(), Broken> {
        let colours = data.get(8..).unwrap_or_default().as_chunks::<3>().0;
        let colours = colours.first_chunk::<256>().ok_or(Broken("too few colours"))?;
        self.palette = Some(Box::new(*colours));
        Ok(())
    }

    fn bitmaps(&mut self, update: &BitmapUpdateData<'_>) -> Result<(), Broken> {
        update.rectangles.iter().try_for_each(|bitmap| self.bitmap(bitmap))
    }

    fn bitmap(&mut self, bitmap: &BitmapData<'_>) -> Result<(), Broken> {
        let place = place(&bitmap.rectangle)?;
        let (width, height) = (usize::from(bitmap.width), usize::from(bitmap.height));
        if width < usize::from(place.width) || height < usize::from(place.height) {
            return Err(Broken("a bitmap that is smaller than its place"));
        }
        if !self.fits(width, height)? {
            return Ok(());
        }
        if !bitmap.compression_flags.contains(Compression::BITMAP_COMPRESSION) {
            let pixel = Pixel::of(bitmap.bits_per_pixel).ok_or(ODD)?;
            return self.sheet(place, Sheet { bytes: bitmap.bitmap_data, width, height, pixel });
        }
        let mut bytes = std::mem::take(&mut self.unpacked);
        bytes.clear();
        let pixel = if bitmap.bits_per_pixel == 32 {
            let decoded =
                self.planar.decode_bitmap_stream_to_rgb24(bitmap.bitmap_data, &mut bytes, width, height);
            decoded.map(|()| Pixel::Rgb).map_err(|_| ODD)
        } else {
            let bits = usize::from(bitmap.bits_per_pixel);
            let decoded = rle::decompress(bitmap.bitmap_data, &mut bytes, width, height, bits);
            decoded.map_err(|_| ODD).map(|pixel| match pixel {
                RlePixelFormat::Rgb24 => Pixel::Bgr,
                RlePixelFormat::Rgb16 => Pixel::Bits16,
                RlePixelFormat::Rgb15 => Pixel::Bits15,
                RlePixelFormat::Rgb8 => Pixel::Palette,
            })
        };
        let drawn = pixel.and_then(|pixel| self.sheet(place, Sheet { bytes: &bytes, width, height, pixel }));
        self.unpacked = bytes;
        drawn
    }

    /// Draws the left upper corner of a bitmap.
    fn sheet(&mut self, place: Place, sheet: Sheet<'_>) -> Result<(), Broken> {
        let Sheet { bytes, width, height, pixel } = sheet;
        let tight = width * pixel.bytes();
        let padded = tight.next_multiple_of(4);
        // Rows end at a multiple of four bytes, except where they were packed.
        let stride = [tight, padded].into_iter().find(|stride| stride * height == bytes.len());
        let stride =
            stride.filter(|stride| *stride > 0).ok_or(Broken("a bitmap of another size than it says"))?;
        let palette = match (pixel, &self.palette) {
            (Pixel::Palette, None) => return Err(Broken("pixels before their colours")),
            (_, palette) => palette.as_deref(),
        };
        self.pixels.clear();
        for row in bytes.chunks_exact(stride).rev().take(usize::from(place.height)) {
            let row = row.chunks_exact(pixel.bytes()).take(usize::from(place.width));
            self.pixels.extend(row.flat_map(|bytes| colour(pixel, bytes, palette)));
        }
        self.canvas.paint(place, &self.pixels, usize::from(place.width) * 4);
        Ok(())
    }

    fn surface(&mut self, data: &[u8]) -> Result<(), Broken> {
        let mut cursor = ReadCursor::new(data);
        while cursor.len() >= 2 {
            match decode_cursor(&mut cursor).map_err(|_| ODD)? {
                SurfaceCommand::SetSurfaceBits(bits) | SurfaceCommand::StreamSurfaceBits(bits) => {
                    self.bits(&bits)?;
                }
                SurfaceCommand::FrameMarker(_) => {}
            }
        }
        Ok(())
    }

    fn bits(&mut self, bits: &SurfaceBitsPdu<'_>) -> Result<(), Broken> {
        let (to, bitmap) = (&bits.destination, &bits.extended_bitmap_data);
        match bitmap.codec_id {
            0 => {
                let place = Place {
                    x: to.left,
                    y: to.top,
                    width: to.right.checked_sub(to.left).ok_or(ODD)?,
                    height: to.bottom.checked_sub(to.top).ok_or(ODD)?,
                };
                let (width, height) = (usize::from(place.width), usize::from(place.height));
                let pixel = Pixel::of(bitmap.bpp.into()).ok_or(ODD)?;
                if !self.fits(width, height)? {
                    return Ok(());
                }
                self.sheet(place, Sheet { bytes: bitmap.data, width, height, pixel })
            }
            REMOTE_FX_NUMBER => {
                let message = self.remote_fx.parse(bitmap.data).map_err(|_| ODD)?;
                message.frames.iter().try_for_each(|frame| self.frame((to.left, to.top), frame))
            }
            _ => Err(Broken("a picture in a way that was not agreed on")),
        }
    }

    /// Tiles of RemoteFX, as far as they lie in one of the frame's rectangles.
    fn frame(&mut self, (left, top): (u16, u16), frame: &Frame<'_>) -> Result<(), Broken> {
        let (width, height) = self.sides()?;
        let (set, across) = (&frame.tile_set, usize::from(TILE_SIZE));
        let most = (width.div_ceil(across) + 1) * (height.div_ceil(across) + 1);
        if set.tiles.len() > most || set.tiles.len() * frame.rectangles.len() > LOOKS {
            return Err(Broken("more tiles than the desktop has"));
        }
        let (left, top) = (usize::from(left), usize::from(top));
        let everywhere = Span { left: 0, top: 0, right: width, bottom: height };
        let rectangles: Vec<Span> = match frame.rectangles.as_slice() {
            [] => vec![everywhere],
            some => some
                .iter()
                .map(|one| {
                    let (left, top) = (left + usize::from(one.x), top + usize::from(one.y));
                    let (right, bottom) = (left + usize::from(one.width), top + usize::from(one.height));
                    Span { left, top, right, bottom }
                })
                .collect(),
        };
        for tile in &set.tiles {
            let (x, y) = (left + usize::from(tile.x) * across, top + usize::from(tile.y) * across);
            let whole = Span { left: x, top: y, right: x + across, bottom: y + across };
            let Some(whole) = whole.within(everywhere) else { continue };
            let pixels = self.tiles.decode(tile, &set.quants, set.entropy_algorithm).map_err(|_| ODD)?;
            for seen in rectangles.iter().filter_map(|rectangle| whole.within(*rectangle)) {
                let stride = across * 4;
                let pixels = pixels.get((seen.top - y) * stride + (seen.left - x) * 4..).ok_or(ODD)?;
                self.canvas.paint(seen.place()?, pixels, stride);
            }
        }
        Ok(())
    }

    fn point(&mut self, update: &PointerUpdateData<'_>) {
        let palette = self.palette.as_deref();
        let target = PointerBitmapTarget::Accelerated;
        let fits = |width: u16, height: u16| width <= POINTER && height <= POINTER;
        let (number, decoded) = match update {
            PointerUpdateData::SetHidden => return self.canvas.pointer(Pointer::Hidden),
            PointerUpdateData::SetDefault => return self.canvas.pointer(Pointer::Usual),
            PointerUpdateData::SetPosition(at) => return self.canvas.point(at.x, at.y),
            PointerUpdateData::Cached(cached) => {
                let known = self.pointers.get(usize::from(cached.cache_index));
                return self.canvas.pointer(shape(known.and_then(Option::as_ref)));
            }
            PointerUpdateData::Color(one) => (
                one.cache_index,
                fits(one.width, one.height)
                    .then(|| DecodedPointer::decode_color_pointer_attribute(one, target)),
            ),
            PointerUpdateData::New(one) => (
                one.color_pointer.cache_index,
                fits(one.color_pointer.width, one.color_pointer.height)
                    .then(|| DecodedPointer::decode_pointer_attribute_with_palette(one, target, palette)),
            ),
            PointerUpdateData::Large(one) => (
                one.cache_index,
                fits(one.width, one.height).then(|| {
                    DecodedPointer::decode_large_pointer_attribute_with_palette(one, target, palette)
                }),
            ),
        };
        let decoded = decoded.and_then(Result::ok);
        self.canvas.pointer(shape(decoded.as_ref()));
        if number < POINTERS {
            let number = usize::from(number);
            if self.pointers.len() <= number {
                self.pointers.resize_with(number + 1, || None);
            }
            self.pointers[number] = decoded;
        }
    }
}

/// A place by its borders, which exclude its end.
#[derive(Debug, Clone, Copy)]
struct Span {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Span {
    /// What both have.
    fn within(self, other: Self) -> Option<Self> {
        let both = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        (both.left < both.right && both.top < both.bottom).then_some(both)
    }

    fn place(self) -> Result<Place, Broken> {
        let number = |number: usize| u16::try_from(number).map_err(|_| ODD);
        Ok(Place {
            x: number(self.left)?,
            y: number(self.top)?,
            width: number(self.right - self.left)?,
            height: number(self.bottom - self.top)?,
        })
    }
}

/// Nothing compressed was agreed on.
fn plain(compression: u8) -> Result<(), Broken> {
    match compression & COMPRESSED {
        0 => Ok(()),
        _ => Err(Broken("a compressed update, which was not agreed on")),
    }
}

/// Some targets say that they draw nothing.
fn no_orders(count: Option<u16>) -> Result<(), Broken> {
    match count {
        None | Some(0) => Ok(()),
        Some(_) => Err(Broken("drawing orders, which were not agreed on")),
    }
}

fn place(rectangle: &InclusiveRectangle) -> Result<Place, Broken> {
    let side = |from: u16, to: u16| to.checked_sub(from).and_then(|side| side.checked_add(1)).ok_or(ODD);
    Ok(Place {
        x: rectangle.left,
        y: rectangle.top,
        width: side(rectangle.left, rectangle.right)?,
        height: side(rectangle.top, rectangle.bottom)?,
    })
}

/// A pointer that could not be read looks as pointers do.
fn shape(pointer: Option<&DecodedPointer>) -> Pointer<'_> {
    match pointer {
        None => Pointer::Usual,
        Some(pointer) if pointer.bitmap_data.is_empty() => Pointer::Hidden,
        Some(pointer) => Pointer::Shape {
            width: pointer.width,
            height: pointer.height,
            hot_x: pointer.hotspot_x,
            hot_y: pointer.hotspot_y,
            pixels: &pointer.bitmap_data,
        },
    }
}

fn colour(pixel: Pixel, bytes: &[u8], palette: Option<&[[u8; 3]; 256]>) -> [u8; 4] {
    let [red, green, blue] = match (pixel, bytes) {
        (Pixel::Palette, [number, ..]) => palette.map_or([0; 3], |palette| palette[usize::from(*number)]),
        (Pixel::Bits15, [low, high, ..]) => rdp_15bit_to_rgb(u16::from_le_bytes([*low, *high])),
        (Pixel::Bits16, [low, high, ..]) => rdp_16bit_to_rgb(u16::from_le_bytes([*low, *high])),
        (Pixel::Bgr | Pixel::Bgrx, [blue, green, red, ..]) | (Pixel::Rgb, [red, green, blue, ..]) => {
            [*red, *green, *blue]
        }
        // Rows are cut so that none is shorter.
        (_, _) => [0; 3],
    };
    [red, green, blue, 0]
}
