//! Reads along what a target shows, and paints it for whoever records or looks on.
//!
//! It gets what is shown message by message, over a short queue, and decodes it on a thread of its own. When the queue is
//! full the relay waits: nothing is left out, because each picture builds on the one before. What cannot be read ends the
//! tap, and its recording has a gap from there on; the desktop itself goes on where its policy allows that. A piece that is on
//! its way keeps the recording from ending.
//!
//! Decoders that a hostile target makes panic end no more than the tap: the panic is caught on its thread, where it is such
//! an end, too, with its reason in the recording.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use sojourn_domain::time::Elapsed;
use tokio::sync::mpsc;

use super::picture::{Broken, Canvas, Picture, Place, Pointer, Seen};
use crate::{
    session::ends::place,
    sinks::{
        desktop::{Area, PixelOrder, Pixels, PointerShape},
        witness::{Held, Witness},
    },
};

/// What came at a time, of which this much waits; each is at most 96 KiB.
const QUEUE: usize = 16;
/// Longest side of a pointer that is drawn; of a larger one the arrow is drawn instead.
const POINTER: u16 = 256;

/// What the target showed, and when.
#[derive(Debug)]
pub(super) struct Piece {
    elapsed: Elapsed,
    seen: Vec<Seen>,
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
    pub(super) fn start(witness: Witness) -> io::Result<Self> {
        let (pieces, came) = mpsc::channel(QUEUE);
        let theirs = witness.clone();
        std::thread::Builder::new().name("desktop-tap".to_owned()).spawn(move || read(&theirs, came))?;
        Ok(Self { pieces: Some(pieces), witness })
    }

    /// What came now.
    pub(super) fn piece(&self, seen: Vec<Seen>) -> Piece {
        Piece { elapsed: self.witness.elapsed(), seen, held: self.witness.hold() }
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

fn read(witness: &Witness, mut came: mpsc::Receiver<Piece>) {
    let painter = Painter { witness: witness.clone(), elapsed: Elapsed::from_micros(0), cannot: None };
    let mut picture = Picture::new(painter);
    while let Some(Piece { elapsed, seen, held }) = came.blocking_recv() {
        picture.canvas().elapsed = elapsed;
        // What a decoder that failed holds is not looked at again, and no lock is held where decoders run.
        let what = match catch_unwind(AssertUnwindSafe(|| see(&mut picture, &seen))) {
            Ok(Ok(())) => None,
            Ok(Err(Broken(what))) => Some(what),
            Err(_) => Some("what makes its decoder fail"),
        };
        if let Some(what) = what {
            witness.lose(&format!("the target sent {what}"));
            return;
        }
        drop(held);
    }
}

fn see(picture: &mut Picture<Painter>, seen: &[Seen]) -> Result<(), Broken> {
    for seen in seen {
        picture.see(seen)?;
        if let Some(what) = picture.canvas().cannot {
            return Err(Broken(what));
        }
    }
    Ok(())
}

/// Paints what was decoded.
struct Painter {
    witness: Witness,
    elapsed: Elapsed,
    /// What cannot be painted.
    cannot: Option<&'static str>,
}

impl Canvas for Painter {
    fn resize(&mut self, width: u16, height: u16) {
        if self.witness.tap().resize(self.elapsed, width, height).is_err() {
            self.cannot.get_or_insert("a size that cannot be recorded");
        }
    }

    fn paint(&mut self, place: Place, pixels: &[u8], stride: usize) {
        let area = Area { x: place.x, y: place.y, width: place.width, height: place.height };
        let pixels = Pixels { bytes: pixels, stride, order: PixelOrder::Rgbx };
        if self.witness.tap().paint(self.elapsed, area, pixels).is_err() {
            self.cannot.get_or_insert("fewer pixels than it said");
        }
    }

    fn point(&mut self, x: u16, y: u16) {
        self.witness.tap().pointer(self.elapsed, Some((x, y)));
    }

    fn pointer(&mut self, pointer: Pointer<'_>) {
        let shape = match pointer {
            Pointer::Shape { width, height, hot_x, hot_y, pixels }
                if width <= POINTER && height <= POINTER =>
            {
                let (hot_x, hot_y) = (hot_x.min(width - 1), hot_y.min(height - 1));
                Some(PointerShape { width, height, hot_x, hot_y, rgba: pixels.to_vec() })
            }
            Pointer::Usual | Pointer::Shape { .. } => None,
            // It is somewhere all the same, and is to be seen there again.
            Pointer::Hidden => {
                Some(PointerShape { width: 1, height: 1, hot_x: 0, hot_y: 0, rgba: vec![0; 4] })
            }
        };
        // A shape that is as large as it says fits, see above.
        if self.witness.tap().pointer_shape(self.elapsed, shape).is_err() {
            self.cannot.get_or_insert("a pointer that cannot be drawn");
        }
    }
}
