//! Raw Ethernet sockets (Linux AF_PACKET): the only unsafe code of the crate, because neither the
//! address of such a socket, its multicast membership nor its readiness has a safe wrapper.

use std::{
    io::{self, Read as _},
    os::fd::AsRawFd as _,
};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::interfaces::Interface;

/// Ethernet's numbers for what a frame carries.
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_ALL: u16 = 0x0003;

/// Frames are cut to this length; everything we read is far shorter or at the start.
pub(crate) const FRAME_BYTES: usize = 2048;

/// An interface that goes down is told as an error, not as something to read.
const READS: Interest = Interest::READABLE.add(Interest::ERROR);

/// A raw socket bound to one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: AsyncFd<Socket>,
}

impl PacketSocket {
    /// Opens a socket that receives the frames of one ethertype that pass the filter.
    pub(crate) fn open(interface: &Interface, ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        // Protocol 0 receives nothing, so that no frame of another interface, and none that the
        // filter would have kept out, is queued before everything is set.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        // Answers to a fast scan come in bursts. A smaller buffer still works.
        let _ = socket.set_recv_buffer_size(1 << 20);
        if !filter.is_empty() {
            socket.attach_filter(filter)?;
        }
        socket.bind(&address(interface.index, ethertype))?;
        #[expect(unsafe_code, reason = "tokio cannot check that a type keeps its descriptor open")]
        // SAFETY: a `Socket` owns its descriptor, always names the same one, and lives as long as
        // the registration, which owns it.
        let fd = unsafe { AsyncFd::register_with_interest(socket, READS.add(Interest::WRITABLE))? };
        Ok(Self { fd })
    }

    /// Also receives the multicast frames that this machine has not subscribed to, until closed.
    pub(crate) fn hear_all_multicast(&self, interface: &Interface) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: index(interface.index),
            mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        #[expect(unsafe_code, reason = "setsockopt has no safe wrapper for this option")]
        // SAFETY: the descriptor is open, and the pointer and length describe `request`, which
        // lives until the call returns.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The next frame. Safe to drop at the await.
    pub(crate) async fn receive(&self, buffer: &mut [u8; FRAME_BYTES]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.ready(READS).await?;
            match ready.try_io(|fd| fd.get_ref().read(buffer)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// The next frame that is here already.
    pub(crate) fn received(&self, buffer: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        // Nothing there, or an error that `receive` meets again.
        self.fd.get_ref().read(buffer).ok()
    }

    /// Sends a frame, waiting while the interface's queue is full.
    pub(crate) async fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            let mut ready = self.fd.writable().await?;
            match ready.try_io(|fd| fd.get_ref().send(frame)) {
                Ok(Ok(_)) => return Ok(()),
                // The driver's queue is full although the socket's is not.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

fn index(index: u32) -> libc::c_int {
    libc::c_int::try_from(index).unwrap_or(libc::c_int::MAX)
}

fn address(interface: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    #[expect(unsafe_code, reason = "socket2 builds no AF_PACKET address")]
    // SAFETY: `sockaddr_ll` is a sockaddr type, fits `sockaddr_storage`, and all zeros is a valid
    // value of it. The length is that of the type written.
    unsafe {
        let link: &mut libc::sockaddr_ll = storage.view_as();
        link.sll_family = libc::AF_PACKET as libc::sa_family_t;
        link.sll_protocol = ethertype.to_be();
        link.sll_ifindex = index(interface);
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    }
}

/// What an error of a raw socket means: `true` when nothing can be seen until somebody changes
/// something about the interface or this process's rights.
pub(crate) fn blinds(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::ENETDOWN | libc::ENODEV | libc::ENXIO)
    )
}

/// The error in words that say what to do.
pub(crate) fn explain(error: &io::Error, interface: &str) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "this process may not open raw sockets: grant it CAP_NET_RAW \
             (`setcap cap_net_raw+ep /path/to/sojourn`)"
            .to_owned(),
        Some(libc::ENETDOWN) => format!("the interface {interface} is down"),
        Some(libc::ENODEV | libc::ENXIO) => format!("there is no interface {interface}"),
        _ => format!("a raw socket on {interface} failed: {error}"),
    }
}
