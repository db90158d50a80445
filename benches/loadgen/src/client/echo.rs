//! A minimal client of an echo, over TCP, TLS, UDP or QUIC.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::Context as _;
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UdpSocket,
};
use tokio_rustls::rustls::ClientConfig;

use super::{
    Address, ClientProtocol, HandshakeReply, MinimalClient, Received,
    stream::{self, ByteStream},
};
use crate::payload;

/// An echo over a carrier that no other system uses.
pub enum EchoTarget {
    /// Over UDP.
    Udp(SocketAddr),
    /// Over QUIC.
    Quic(SocketAddr, Box<ClientConfig>),
}

impl EchoTarget {
    /// Connects a client.
    pub async fn join(&self) -> anyhow::Result<MinimalClient> {
        stream::join(self.connect(), Box::new(EchoProtocol)).await
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn ByteStream>> {
        match self {
            Self::Udp(address) => {
                let socket = UdpSocket::bind("0.0.0.0:0").await?;
                socket.connect(address).await?;
                // Otherwise the first datagram would wait for a retry.
                socket.writable().await?;
                Ok(Box::new(DatagramStream(socket)))
            }
            Self::Quic(address, tls) => {
                let crypto = QuicClientConfig::try_from(ClientConfig::clone(tls))?;
                let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
                endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
                let name = address.ip().to_string();
                let connection = endpoint.connect(*address, &name)?.await;
                let connection = connection.context("cannot connect to the echo over QUIC")?;
                // The streams keep the connection, which keeps the endpoint.
                let (sending, receiving) = connection.open_bi().await?;
                Ok(Box::new(tokio::io::join(receiving, sending)))
            }
        }
    }
}

/// Datagrams as a stream: each write and each read is one datagram.
struct DatagramStream(UdpSocket);

impl AsyncRead for DatagramStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.poll_recv(cx, buffer)
    }
}

impl AsyncWrite for DatagramStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(ready!(self.0.poll_send(cx, bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Data of one length, and nothing else.
pub struct EchoProtocol;

impl ClientProtocol for EchoProtocol {
    fn opening(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn join(&mut self, _: &[u8]) -> anyhow::Result<HandshakeReply> {
        Ok(HandshakeReply::Joined(0, Vec::new()))
    }

    fn address(&self) -> Address {
        Address::Number(0)
    }

    fn encode(&self, _: Option<Address>, data: &str, out: &mut Vec<u8>) {
        out.extend(data.as_bytes());
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> anyhow::Result<Received<'a>> {
        Ok(match bytes.get(..payload::BYTES) {
            None => Received::Incomplete,
            Some(data) => Received::Signal(data.len(), std::str::from_utf8(data)?.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_one_length() {
        let data = payload::encode(7);
        let bytes = [data.as_bytes(), b"0"].concat();
        assert_eq!(
            EchoProtocol.decode(&bytes).unwrap(),
            Received::Signal(payload::BYTES, data.into())
        );
        assert_eq!(
            EchoProtocol.decode(&bytes[..payload::BYTES - 1]).unwrap(),
            Received::Incomplete
        );
        EchoProtocol.decode(&[0xff; payload::BYTES]).unwrap_err();
    }
}
