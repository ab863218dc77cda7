use ironrdp_core::{Encode, encode_vec};
use ironrdp_graphics::{
    color_conversion::to_64x64_ycbcr_tile,
    dwt,
    image_processing::PixelFormat,
    quantization,
    rdp6::{BitmapStreamEncoder, RgbChannels},
    rlgr, subband_reconstruction,
};
use ironrdp_pdu::{
    codecs::rfx::{
        Block, ChannelsPdu, CodecChannel, CodecVersionsPdu, ContextPdu, EntropyAlgorithm, FrameBeginPdu,
        FrameEndPdu, OperatingMode, Quant, RegionPdu, RfxChannel, RfxRectangle, SyncPdu, Tile, TileSetPdu,
    },
    geometry::ExclusiveRectangle,
    pointer::{CachedPointerAttribute, ColorPointerAttribute, Point16, PointerAttribute},
    surface_commands::ExtendedBitmapDataPdu,
};

use super::*;

type Colour = [u8; 3];

const RED: Colour = [248, 0, 0];
const GREEN: Colour = [0, 252, 0];
const BLUE: Colour = [0, 0, 248];

/// What was drawn, on a small desktop.
#[derive(Default)]
struct Paper {
    size: (u16, u16),
    pixels: Vec<Colour>,
    at: Option<(u16, u16)>,
    pointer: String,
}

impl Paper {
    fn at(&self, x: u16, y: u16) -> Colour {
        self.pixels[usize::from(y) * usize::from(self.size.0) + usize::from(x)]
    }
}

impl Canvas for Paper {
    fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.pixels = vec![[0; 3]; usize::from(width) * usize::from(height)];
    }

    fn paint(&mut self, place: Place, pixels: &[u8], stride: usize) {
        let (across, down) = (usize::from(self.size.0), usize::from(self.size.1));
        for row in 0..usize::from(place.height) {
            for column in 0..usize::from(place.width) {
                let pixel = &pixels[row * stride + column * 4..][..4];
                let (x, y) = (usize::from(place.x) + column, usize::from(place.y) + row);
                if x < across && y < down {
                    self.pixels[y * across + x] = [pixel[0], pixel[1], pixel[2]];
                }
            }
        }
    }

    fn point(&mut self, x: u16, y: u16) {
        self.at = Some((x, y));
    }

    fn pointer(&mut self, pointer: Pointer<'_>) {
        self.pointer = match pointer {
            Pointer::Usual => "usual".to_owned(),
            Pointer::Hidden => "hidden".to_owned(),
            Pointer::Shape { width, height, hot_x, hot_y, pixels } => {
                format!("{width}x{height} at {hot_x},{hot_y}: {:?}", pixels.first_chunk::<4>().unwrap())
            }
        };
    }
}

fn demand(width: u16, height: u16) -> Seen {
    let (w, h) = (width.to_le_bytes(), height.to_le_bytes());
    let set = [&[2, 0, 28, 0, 16, 0, 1, 0, 1, 0, 1, 0][..], &w, &h, &[0; 12]].concat();
    let rest = [&[0x11, 0, 0xea, 3, 1, 0, 1, 0, 4, 0, 32, 0][..], b"RDP\0", &[1, 0, 0, 0], &set, &[0; 4]];
    let rest = rest.concat();
    let length = u16::try_from(rest.len() + 2).unwrap().to_le_bytes();
    Seen::Slow([&length[..], &rest].concat().into())
}

fn slow(kind: u8, data: &[u8]) -> Seen {
    let length = u16::try_from(data.len() + 18).unwrap().to_le_bytes();
    let header = [&length[..], &[0x17, 0, 0xea, 3, 1, 0, 1, 0, 0, 1, 0, 0, kind, 0, 0, 0]].concat();
    Seen::Slow([&header[..], data].concat().into())
}

fn piece(header: u8, data: &[u8]) -> Vec<u8> {
    [&[header][..], &u16::try_from(data.len()).unwrap().to_le_bytes(), data].concat()
}

fn message(updates: &[u8]) -> Seen {
    let length = u16::try_from(updates.len() + 3).unwrap() | 0x8000;
    Seen::Fast([&[0][..], &length.to_be_bytes(), updates].concat().into())
}

fn fast(code: UpdateCode, data: &[u8]) -> Seen {
    message(&piece(code.as_u8(), data))
}

/// A bitmap, and where it belongs.
fn bitmap(place: [u16; 4], size: (u16, u16), bits: u16, packed: bool, data: &[u8]) -> Vec<u8> {
    let [left, top, right, bottom] = place;
    let no_header = Compression::BITMAP_COMPRESSION | Compression::NO_BITMAP_COMPRESSION_HDR;
    let bitmap = BitmapData {
        rectangle: InclusiveRectangle { left, top, right, bottom },
        width: size.0,
        height: size.1,
        bits_per_pixel: bits,
        compression_flags: if packed { no_header } else { Compression::empty() },
        compressed_data_header: None,
        bitmap_data: data,
    };
    encode_vec(&BitmapUpdateData { rectangles: vec![bitmap] }).unwrap()
}

fn surface(codec_id: u8, [left, top, right, bottom]: [u16; 4], bpp: u8, data: &[u8]) -> Vec<u8> {
    encode_vec(&SurfaceCommand::StreamSurfaceBits(SurfaceBitsPdu {
        destination: ExclusiveRectangle { left, top, right, bottom },
        extended_bitmap_data: ExtendedBitmapDataPdu {
            bpp,
            codec_id,
            width: right - left,
            height: bottom - top,
            header: None,
            data,
        },
    }))
    .unwrap()
}

fn drawn(seen: &[Seen]) -> (Paper, Result<(), Broken>) {
    let mut picture = Picture::new(Paper::default());
    let read = std::iter::once(&demand(100, 80)).chain(seen).try_for_each(|seen| picture.see(seen));
    (picture.canvas, read)
}

fn good(seen: &[Seen]) -> Paper {
    let (paper, read) = drawn(seen);
    assert_eq!(read, Ok(()));
    paper
}

#[test]
fn plain_bitmaps_of_every_depth() {
    // Two by two, from the lowest row: green and blue below red and red.
    let two = |pixels: [&[u8]; 4], padding: &[u8]| {
        [pixels[0], pixels[1], padding, pixels[2], pixels[3], padding].concat()
    };
    let (r, g, b) = (&[0, 0xf8][..], &[0xe0, 7][..], &[0x1f, 0][..]);
    let (r5, g5, b5) = (&[0, 0x7c][..], &[0xe0, 3][..], &[0x1f, 0][..]);
    let (r8, g8, b8) = (&[0, 0, 255][..], &[0, 255, 0][..], &[255, 0, 0][..]);
    let (r32, g32, b32) = (&[0, 0, 255, 9][..], &[0, 255, 0, 9][..], &[255, 0, 0, 9][..]);
    let colours = (0..=255_u8).flat_map(|at| match at {
        1 => [255, 0, 0],
        2 => [0, 255, 0],
        _ => [0, 0, 255],
    });
    let palette: Vec<u8> = [2, 0, 0, 0, 0, 1, 0, 0].into_iter().chain(colours).collect();
    let cases = [
        (16, two([g, b, r, r], &[])),
        (15, two([g5, b5, r5, r5], &[])),
        (24, two([g8, b8, r8, r8], &[0, 0])),
        (32, two([g32, b32, r32, r32], &[])),
        (8, two([&[2], &[3], &[1], &[1]], &[0, 0])),
    ];
    for (bits, data) in cases {
        let update = bitmap([10, 20, 11, 21], (2, 2), bits, false, &data);
        // The older form of the same.
        for update in [fast(UpdateCode::Bitmap, &update), slow(DATA_UPDATE, &update)] {
            let paper = good(&[fast(UpdateCode::Palette, &palette), update]);
            let near = |at: Colour, wanted: Colour| at.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 9);
            let seen = [paper.at(10, 20), paper.at(11, 20), paper.at(10, 21), paper.at(11, 21)];
            for (seen, wanted) in seen.into_iter().zip([RED, RED, GREEN, BLUE]) {
                assert!(near(seen, wanted), "{bits}: {seen:?}, not {wanted:?}");
            }
            assert_eq!((paper.at(9, 20), paper.at(12, 21)), ([0; 3], [0; 3]));
        }
    }
}

#[test]
fn packed_bitmaps_are_unpacked() {
    // A run of eight pixels, of which three by two are to be seen, at the edge.
    let run = bitmap([98, 78, 100, 79], (4, 2), 16, true, &[0x68, 0, 0xf8]);
    let paper = good(&[fast(UpdateCode::Bitmap, &run)]);
    assert_eq!((paper.at(98, 78), paper.at(99, 79), paper.at(97, 79)), ([255, 0, 0], [255, 0, 0], [0; 3]));
    for packed in [false, true] {
        let mut data = vec![0; 64];
        let rgb = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let mut encoder = BitmapStreamEncoder::new(2, 2);
        let length = encoder.encode_bitmap::<RgbChannels>(&rgb, &mut data, packed).unwrap();
        let update = bitmap([0, 0, 1, 1], (2, 2), 32, true, &data[..length]);
        let paper = good(&[slow(DATA_UPDATE, &update)]);
        assert_eq!((paper.at(0, 1), paper.at(1, 0)), ([1, 2, 3], [10, 11, 12]), "the lowest row is first");
    }
}

fn component(plane: &mut [i16; 4096]) -> Vec<u8> {
    dwt::encode(plane, &mut [0; 4096]);
    quantization::encode(plane, &Quant::default());
    subband_reconstruction::encode(&mut plane[4032..]);
    let mut data = vec![0; 8192];
    let length = rlgr::encode(EntropyAlgorithm::Rlgr3, plane, &mut data).unwrap();
    data.truncate(length);
    data
}

/// A message of RemoteFX: one colour in two tiles beside each other, of which rectangles are to be seen.
fn remote_fx([r, g, b]: Colour, rectangles: &[[u16; 4]]) -> Vec<u8> {
    let input = [r, g, b, 255].repeat(4096);
    let [mut y, mut cb, mut cr] = [[0; 4096]; 3];
    to_64x64_ycbcr_tile(&input, 64, 64, 256, PixelFormat::RgbA32, &mut y, &mut cb, &mut cr).unwrap();
    let [y, cb, cr] = [component(&mut y), component(&mut cb), component(&mut cr)];
    let tile = |x| Tile {
        y_quant_index: 0,
        cb_quant_index: 0,
        cr_quant_index: 0,
        x,
        y: 0,
        y_data: &y,
        cb_data: &cb,
        cr_data: &cr,
    };
    let entropy_algorithm = EntropyAlgorithm::Rlgr3;
    let context = ContextPdu { flags: OperatingMode::empty(), entropy_algorithm };
    let rectangles =
        rectangles.iter().map(|&[x, y, width, height]| RfxRectangle { x, y, width, height }).collect();
    let blocks = [
        Block::Sync(SyncPdu),
        Block::CodecVersions(CodecVersionsPdu),
        Block::Channels(ChannelsPdu(vec![RfxChannel { width: 100, height: 80 }])),
        Block::CodecChannel(CodecChannel::Context(context)),
        Block::CodecChannel(CodecChannel::FrameBegin(FrameBeginPdu { index: 0, number_of_regions: 1 })),
        Block::CodecChannel(CodecChannel::Region(RegionPdu { rectangles })),
        Block::CodecChannel(CodecChannel::TileSet(TileSetPdu {
            entropy_algorithm,
            quants: vec![Quant::default()],
            tiles: vec![tile(0), tile(1)],
        })),
        Block::CodecChannel(CodecChannel::FrameEnd(FrameEndPdu)),
    ];
    blocks.iter().flat_map(|block| encode_vec(block as &dyn Encode).unwrap()).collect()
}

#[test]
fn tiles_are_seen_within_their_rectangles() {
    let data = remote_fx([200, 40, 90], &[[1, 2, 3, 4], [60, 0, 10, 10]]);
    let update = surface(REMOTE_FX_NUMBER, [10, 5, 100, 80], 32, &data);
    let paper = good(&[fast(UpdateCode::SurfaceCommands, &update)]);
    let near = |at: Colour| at.iter().zip([200, 40, 90]).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 6);
    for (x, y) in [(11, 7), (13, 10), (70, 5), (73, 14), (74, 14), (79, 14)] {
        assert!(near(paper.at(x, y)), "{x}, {y}: {:?}", paper.at(x, y));
    }
    for (x, y) in [(10, 7), (14, 10), (11, 6), (11, 11), (69, 5), (80, 5), (70, 15)] {
        assert_eq!(paper.at(x, y), [0; 3], "{x}, {y}");
    }
    // Without a rectangle, all that lies on the desktop. In pieces.
    let update = surface(REMOTE_FX_NUMBER, [0, 20, 100, 80], 32, &remote_fx([200, 40, 90], &[]));
    let (first, rest) = update.split_at(30);
    let (next, last) = rest.split_at(50);
    let code = UpdateCode::SurfaceCommands.as_u8();
    let mark = [2, 0, 4, 0, 1, 0, 0, 0, 0, 0];
    let pieces = [
        message(&piece(code | 2 << 4, first)),
        message(&[piece(code | 3 << 4, next), piece(code | 1 << 4, last), piece(code, &mark[2..])].concat()),
    ];
    let paper = good(&pieces);
    assert!(near(paper.at(0, 20)) && near(paper.at(99, 79)));
    assert_eq!(paper.at(0, 19), [0; 3]);
}

#[test]
fn a_surface_of_plain_pixels() {
    let data = [[255, 0, 0, 0].repeat(2), [0, 0, 255, 0].repeat(2)].concat();
    let paper = good(&[fast(UpdateCode::SurfaceCommands, &surface(0, [5, 6, 7, 8], 32, &data))]);
    assert_eq!((paper.at(5, 6), paper.at(6, 7), paper.at(7, 7)), ([255, 0, 0], [0, 0, 255], [0; 3]));
}

#[test]
fn pointers_are_shown_hidden_and_known_again() {
    let colour = ColorPointerAttribute {
        cache_index: 3,
        hot_spot: Point16 { x: 1, y: 0 },
        width: 2,
        height: 1,
        xor_mask: &[1, 2, 3, 4, 5, 6],
        and_mask: &[0, 0],
    };
    let new = PointerAttribute { xor_bpp: 24, color_pointer: colour };
    let shown = encode_vec(&new).unwrap();
    let is = |seen: &[Seen]| good(seen).pointer;
    let shape = "2x1 at 1,0: [3, 2, 1, 255]";
    let new = fast(UpdateCode::NewPointer, &shown);
    assert_eq!(is(std::slice::from_ref(&new)), shape);
    assert_eq!(is(&[fast(UpdateCode::ColorPointer, &encode_vec(&colour).unwrap())]), shape);
    let hidden = fast(UpdateCode::HiddenPointer, &[]);
    assert_eq!(is(&[new.clone(), hidden.clone()]), "hidden");
    let again = |cache_index| {
        fast(UpdateCode::CachedPointer, &encode_vec(&CachedPointerAttribute { cache_index }).unwrap())
    };
    assert_eq!(is(&[new.clone(), hidden, again(3)]), shape);
    assert_eq!(is(&[new.clone(), again(4)]), "usual");
    assert_eq!(is(&[new.clone(), fast(UpdateCode::DefaultPointer, &[])]), "usual");
    assert_eq!(is(&[new, fast(UpdateCode::NewPointer, &shown[..9])]), "usual", "cut off");
    assert_eq!(is(&[slow(DATA_POINTER, &[&[8, 0, 0, 0][..], &shown].concat())]), shape);
    assert_eq!(is(&[slow(DATA_POINTER, &[1, 0, 0, 0, 0, 0, 0, 0])]), "hidden");
    assert_eq!(good(&[fast(UpdateCode::PositionPointer, &[7, 0, 9, 0])]).at, Some((7, 9)));
    assert_eq!(good(&[slow(DATA_POINTER, &[3, 0, 0, 0, 7, 0, 9, 0])]).at, Some((7, 9)));
}

#[test]
fn what_is_larger_than_the_desktop_is_left_out() {
    let large = bitmap([0, 0, 163, 0], (164, 1), 16, true, &[0xf3, 164, 0, 0, 0xf8]);
    let surface = surface(0, [0, 0, 1, 200], 32, &[9; 800]);
    let paper = good(&[fast(UpdateCode::Bitmap, &large), fast(UpdateCode::SurfaceCommands, &surface)]);
    assert!(paper.pixels.iter().all(|pixel| *pixel == [0; 3]));
}

#[test]
fn a_desktop_begins_anew() {
    let red = bitmap([0, 0, 0, 0], (1, 1), 32, false, &[0, 0, 255, 0]);
    let paper = good(&[
        fast(UpdateCode::Bitmap, &red),
        demand(50, 40),
        fast(UpdateCode::Synchronize, &[]),
        fast(UpdateCode::Orders, &[0, 0]),
        slow(DATA_UPDATE, &[0; 8]),
        slow(DATA_UPDATE, &[3, 0, 0, 0]),
        slow(DATA_UPDATE, &[]),
        // A licence.
        Seen::Slow(vec![0x80, 0, 0, 0, 0xff, 3, 16, 0, 7, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0].into()),
    ]);
    assert_eq!((paper.size, paper.at(0, 0)), ((50, 40), [0; 3]));
}

#[test]
fn what_cannot_be_read_is_the_last() {
    let red = [0, 0, 255, 0];
    let plain = bitmap([0, 0, 0, 0], (1, 1), 32, false, &red);
    let Seen::Fast(encrypted) = fast(UpdateCode::Bitmap, &plain) else { panic!("fast") };
    let encrypted = [&[0x80][..], &encrypted[1..]].concat();
    let Seen::Slow(compressed) = slow(DATA_UPDATE, &plain) else { panic!("slow") };
    let mut compressed = compressed.to_vec();
    compressed[DATA_COMPRESSION] = COMPRESSED;
    let cases = [
        ("a size", demand(0, 10)),
        ("a size", demand(5000, 5000)),
        ("RDP's own encryption", Seen::Fast(encrypted.into())),
        ("compressed", Seen::Slow(compressed.into())),
        ("compressed", message(&[0x81, 0x20, 0, 0])),
        ("cut off", message(&[1, 9, 0, 1])),
        ("did not begin", message(&piece(1 | 3 << 4, &[1]))),
        ("did not begin", message(&[piece(1 | 2 << 4, &[1]), piece(4 | 1 << 4, &[1])].concat())),
        ("orders", fast(UpdateCode::Orders, &[1, 0, 9])),
        ("orders", slow(DATA_UPDATE, &[0, 0, 0, 0, 1, 0, 0, 0])),
        ("not known", message(&piece(7, &[]))),
        ("not known", slow(DATA_UPDATE, &[9, 0])),
        ("colours", fast(UpdateCode::Palette, &[2, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3])),
        ("colours", fast(UpdateCode::Bitmap, &bitmap([0, 0, 0, 0], (4, 1), 8, false, &[1; 4]))),
        ("cannot be read", fast(UpdateCode::Bitmap, &plain[..20])),
        ("cannot be read", fast(UpdateCode::Bitmap, &bitmap([1, 0, 0, 0], (1, 1), 32, false, &red))),
        ("cannot be read", fast(UpdateCode::Bitmap, &bitmap([0; 4], (1, 1), 7, false, &red))),
        ("cannot be read", fast(UpdateCode::Bitmap, &bitmap([0; 4], (1, 1), 16, true, &[0xff]))),
        ("cannot be read", fast(UpdateCode::Bitmap, &bitmap([0; 4], (1, 1), 32, true, &[0xff]))),
        ("smaller than its place", fast(UpdateCode::Bitmap, &bitmap([0, 0, 1, 0], (1, 1), 32, false, &red))),
        ("another size", fast(UpdateCode::Bitmap, &bitmap([0; 4], (1, 2), 32, false, &red))),
        ("not agreed on", fast(UpdateCode::SurfaceCommands, &surface(1, [0, 0, 1, 1], 32, &red))),
        ("cannot be read", fast(UpdateCode::SurfaceCommands, &surface(3, [0, 0, 1, 1], 32, &red))),
        ("cannot be read", fast(UpdateCode::SurfaceCommands, &[9, 0, 1])),
    ];
    for (what, seen) in cases {
        let broken = drawn(std::slice::from_ref(&seen)).1.unwrap_err();
        assert!(broken.0.contains(what), "{broken:?}, not {what}: {seen:?}");
    }
    let mut picture = Picture::new(Paper::default());
    assert!(picture.see(&fast(UpdateCode::Bitmap, &plain)).is_err(), "before its size");
    // An update without an end.
    let mut picture = Picture::new(Paper::default());
    picture.see(&message(&piece(4 | 2 << 4, &[0; 30_000]))).unwrap();
    let more = message(&piece(4 | 3 << 4, &[0; 30_000]));
    let taken = (0..10_000).take_while(|_| picture.see(&more).is_ok()).count();
    assert!(taken < 1200, "{taken}");
}
