//! Reads along what a target shows, and paints it for whoever records or looks on.
//!
//! It gets the target's bytes as they come, over a short queue, and decodes them on a thread of its own. When the queue is full
//! the relay waits: nothing is left out, because each picture builds on the one before. What cannot be read ends the
//! tap, and its recording has a gap from there on; the desktop itself goes on where its policy allows that. A piece that is on
//! its way keeps the recording from ending.

use std::io;

use bytes::Bytes;
use sojourn_domain::time::Elapsed;
use tokio::sync::mpsc;

use super::{
    downward::{Broken, Downward},
    picture::{Canvas, Drawing, Place},
};
use crate::{
    session::ends::place,
    sinks::{
        desktop::{Area, PixelOrder, Pixels, PointerShape},
        witness::{Held, Witness},
    },
};

/// Pieces of at most 32 KiB that wait.
const QUEUE: usize = 16;
/// Longest side of a pointer that is drawn; of a larger one the arrow is drawn instead.
const POINTER: u16 = 256;

/// What the target sent, and when.
#[derive(Debug)]
pub(super) struct Piece {
    elapsed: Elapsed,
    bytes: Bytes,
    /// Until it is painted.
    held: Held,
}

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tap {
    pieces: Option<mpsc::Sender<Piece>>,
    witness: Witness,
}

impl Tap {
    pub(super) fn start(witness: Witness, width: u16, height: u16) -> io::Result<Self> {
        let (pieces, came) = mpsc::channel(QUEUE);
        let theirs = witness.clone();
        std::thread::Builder::new()
            .name("desktop-tap".to_owned())
            .spawn(move || read(theirs, (width, height), came))?;
        Ok(Self { pieces: Some(pieces), witness })
    }

    /// What came now.
    pub(super) fn piece(&self, bytes: &[u8]) -> Piece {
        let elapsed = self.witness.elapsed();
        Piece { elapsed, bytes: Bytes::copy_from_slice(bytes), held: self.witness.hold() }
    }

    /// Waits until there is room.
    pub(super) async fn place(&self) {
        if let Some(pieces) = &self.pieces {
            place(Some(pieces)).await;
        }
    }

    /// To be called where there is room.
    pub(super) fn take(&mut self, piece: Piece) {
        // The thread has gone when it could not read what came; it has said so.
        if let Some(pieces) = &self.pieces
            && pieces.try_send(piece).is_err()
        {
            self.pieces = None;
        }
    }
}

fn read(witness: Witness, (width, height): (u16, u16), mut came: mpsc::Receiver<Piece>) {
    let mut drawing = Drawing::new(Painter { witness, elapsed: Elapsed::from_micros(0), cannot: None });
    drawing.canvas().resize(width, height);
    let mut reader = Downward::new(true);
    let mut out = Vec::new();
    while let Some(Piece { elapsed, bytes, held }) = came.blocking_recv() {
        drawing.canvas().elapsed = elapsed;
        let read = reader.show(&bytes, &mut out, &mut drawing);
        // It is passed on elsewhere.
        out.clear();
        let broken = read.err().or_else(|| drawing.broken()).map(|Broken(what)| what);
        if let Some(what) = broken.or_else(|| drawing.canvas().cannot.take()) {
            drawing.canvas().witness.lose(&format!("the target sent {what}"));
            return;
        }
        drop(held);
    }
}

/// Paints what was decoded.
struct Painter {
    witness: Witness,
    elapsed: Elapsed,
    /// What cannot be painted.
    cannot: Option<&'static str>,
}

fn area(place: Place) -> Area {
    Area { x: place.x, y: place.y, width: place.width, height: place.height }
}

impl Canvas for Painter {
    fn resize(&mut self, width: u16, height: u16) {
        if self.witness.tap().resize(self.elapsed, width, height).is_err() {
            self.cannot.get_or_insert("a size that cannot be recorded");
        }
    }

    fn paint(&mut self, place: Place, pixels: &[u8]) {
        let stride = usize::from(place.width) * 4;
        let pixels = Pixels { bytes: pixels, stride, order: PixelOrder::Rgbx };
        if self.witness.tap().paint(self.elapsed, area(place), pixels).is_err() {
            self.cannot.get_or_insert("fewer pixels than it said");
        }
    }

    fn copy(&mut self, from_x: u16, from_y: u16, to: Place) {
        if self.witness.tap().copy(self.elapsed, from_x, from_y, area(to)).is_err() {
            self.cannot.get_or_insert("a copy that cannot be made");
        }
    }

    fn pointer(&mut self, place: Place, pixels: &[u8]) {
        let fits = place.width > 0 && place.height > 0 && place.width <= POINTER && place.height <= POINTER;
        let shape = fits.then(|| PointerShape {
            width: place.width,
            height: place.height,
            hot_x: place.x.min(place.width - 1),
            hot_y: place.y.min(place.height - 1),
            rgba: pixels.to_vec(),
        });
        // A shape that is as large as it says fits, see above.
        if self.witness.tap().pointer_shape(self.elapsed, shape).is_err() {
            self.cannot.get_or_insert("a pointer that cannot be drawn");
        }
    }
}
