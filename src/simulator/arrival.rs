//! When bytes came, however late they are read.
//!
//! A ledger that enters the moment of reading would call a sender too fast whenever this process is late itself and finds several
//! requests at once. Linux notes when bytes reach a socket (`SO_TIMESTAMPNS`, Documentation/networking/timestamping.rst); elsewhere the
//! moment of reading has to do.

use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[cfg(target_os = "linux")]
pub(super) use self::linux::{ask_for_times, read};

#[cfg(not(target_os = "linux"))]
pub(super) fn ask_for_times(_: &TcpStream) {}

/// Reads what is there, and says when it came. No bytes: the other side has closed, and that is an error.
#[cfg(not(target_os = "linux"))]
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Instant> {
    use tokio::io::AsyncReadExt as _;
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Instant::now()),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, SystemTime};

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
    use tokio::io::Interest;

    use super::*;

    /// Has the kernel note when bytes come.
    pub(in super::super) fn ask_for_times(stream: &TcpStream) {
        // Not being able to makes the times later, no more.
        let _ = setsockopt(stream, sockopt::ReceiveTimestampns, &true);
    }

    /// Reads what is there, and says when it came. No bytes: the other side has closed, and that is an error.
    pub(in super::super) async fn read(
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<Instant> {
        stream
            .async_io(Interest::READABLE, || {
                let mut bytes = [0; 16 * 1024];
                let mut about = nix::cmsg_space!(nix::sys::time::TimeSpec);
                let mut slices = [IoSliceMut::new(&mut bytes)];
                let socket = stream.as_raw_fd();
                let message =
                    recvmsg::<()>(socket, &mut slices, Some(&mut about), MsgFlags::empty())?;
                let age = message.cmsgs()?.find_map(age_of).unwrap_or_default();
                let count = message.bytes;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                buffer.extend_from_slice(&bytes[..count]);
                Ok(Instant::now() - age)
            })
            .await
    }

    /// How long ago it was that the kernel noted.
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel notes the time of this clock, and nothing of it is left but the difference"
    )]
    fn age_of(about: ControlMessageOwned) -> Option<Duration> {
        let ControlMessageOwned::ScmTimestampns(noted) = about else {
            return None;
        };
        let noted = SystemTime::UNIX_EPOCH + Duration::from(noted);
        Some(SystemTime::now().duration_since(noted).unwrap_or_default())
    }
}
