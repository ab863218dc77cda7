//! A TCP relay whose far side fails on demand: a service that is gone, silent or slow, and comes
//! back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use crate::wait;

/// How it behaves, for connections that stand too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    /// Relays everything.
    Well,
    /// Every connection is cut, new ones at once.
    Gone,
    /// Connections are taken and kept, and nothing moves.
    Silent,
    /// Everything moves, at about 64 KiB a second in each direction of each connection.
    Slow,
}

const PAUSE: Duration = Duration::from_millis(50);
const SLOW_PIECE: usize = 3 << 10;

/// The relay. Its threads end with the test process or when it is dropped.
#[derive(Debug)]
pub struct Flaky {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
}

/// What the threads of a relay that was dropped see.
const DROPPED: u8 = u8::MAX;

impl Flaky {
    /// Relays to `far`.
    pub fn before(far: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let shared = mood.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mood = shared.load(Ordering::SeqCst);
                if mood == DROPPED {
                    return;
                }
                if mood == Mood::Gone as u8 {
                    // Closed by being dropped.
                    continue;
                }
                let shared = shared.clone();
                thread::spawn(move || relay(near, far, &shared));
            }
        });
        Self { address, mood }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }
}

impl Drop for Flaky {
    fn drop(&mut self) {
        self.mood.store(DROPPED, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(near: TcpStream, far: SocketAddr, mood: &Arc<AtomicU8>) {
    let Ok(far) = TcpStream::connect(far) else { return };
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    let shared = mood.clone();
    let back = thread::spawn(move || pump(far_too, near_too, &shared));
    pump(near, far, mood);
    // It ends when both directions have.
    let _ = back.join();
}

/// One direction.
fn pump(mut from: TcpStream, mut to: TcpStream, mood: &AtomicU8) {
    // Without it a silent peer would hide a change of mood.
    from.set_read_timeout(Some(PAUSE)).expect("a time-out");
    let mut piece = vec![0; 1 << 16];
    loop {
        let now = mood.load(Ordering::SeqCst);
        if now == DROPPED || now == Mood::Gone as u8 {
            // Both are cut, whatever the other direction thinks.
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
        if now == Mood::Silent as u8 {
            wait::during(PAUSE, || {});
            continue;
        }
        let slow = now == Mood::Slow as u8;
        let room = if slow { SLOW_PIECE } else { piece.len() };
        match from.read(&mut piece[..room]) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(length) => {
                if to.write_all(&piece[..length]).is_err() {
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
                if slow {
                    wait::during(PAUSE, || {});
                }
            }
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_relays_falls_silent_and_cuts() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let flaky = Flaky::before(server.local_addr().unwrap());
        let mut near = TcpStream::connect(flaky.address()).unwrap();
        let (mut far, _) = server.accept().unwrap();
        let mut word = [0; 4];
        near.write_all(b"ping").unwrap();
        far.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"ping");
        flaky.set(Mood::Silent);
        // One look at the mood may still be under way.
        wait::during(PAUSE * 3, || {});
        far.write_all(b"pong").unwrap();
        near.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(near.read(&mut word).is_err());
        flaky.set(Mood::Well);
        near.set_read_timeout(None).unwrap();
        near.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"pong");
        flaky.set(Mood::Gone);
        assert_eq!(near.read(&mut word).unwrap(), 0);
    }
}
