//! A connection to one checked address.

use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream that HTTP can be spoken over.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Opens connections. Is handed addresses only, so it cannot resolve anything a second time.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Connects to `address`.
    ///
    /// # Errors
    /// What the operating system says.
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Socket>>;

    /// Whether `address` belongs to this machine (asked for public addresses too: a machine may reach its own
    /// listener by its public address).
    fn is_local(&self, address: IpAddr) -> bool;
}

/// TCP, without a proxy.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

#[async_trait]
impl Dial for TcpDialer {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Socket>> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    fn is_local(&self, address: IpAddr) -> bool {
        // Only an address of this machine can be bound; nothing is sent.
        UdpSocket::bind((address, 0)).is_ok()
    }
}
