//! Faults of TCP, which carries WebSockets and HTTP. A stream cannot lose bytes in the middle, so a lost
//! packet is a stall. A stream is cut in the middle of a chunk, if data is flowing.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    ChaosSpec, IDLE, LINKS,
    decisions::{Cut, LinkDecisions, PacketDecision, PacketDecisions, Protocol},
};

/// Bytes of one read, and all that is buffered of a stream in one direction.
const CHUNK: usize = 16 * 1024;

/// Time for which a cut waits for a chunk to be in the middle of.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Pause after an error of the listener, which is no error of a link.
const PAUSE: Duration = Duration::from_millis(100);

/// Forwards connections between clients and the gateway.
pub(super) async fn forward(spec: ChaosSpec, listener: TcpListener, to: SocketAddr) {
    let permits = Arc::new(Semaphore::new(LINKS));
    for number in 1.. {
        // Clients without a permit wait in the queue of the listener.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let (stream, client) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    debug!(%error, "accepting failed");
                    sleep(PAUSE).await;
                }
            }
        };
        info!(protocol = "tcp", link = number, %client, "link opened");
        let link =
            ProxiedStream { number, decisions: LinkDecisions::new(spec, Protocol::Tcp, number) };
        tokio::spawn(async move {
            if let Err(error) = link.forward(stream, to).await {
                debug!(protocol = "tcp", link = number, %error, "link ended");
            }
            drop(permit);
        });
    }
}

struct ProxiedStream {
    number: u64,
    decisions: LinkDecisions,
}

/// The end of a stream in one direction.
enum StreamEnd {
    /// The sender closed it.
    Closed,
    /// The proxy cut it.
    CutShort,
}

impl ProxiedStream {
    async fn forward(self, mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
        let Self { number, decisions: LinkDecisions { lifetime, cut, to_gateway, to_client } } =
            self;
        let mut gateway = TcpStream::connect(to).await.inspect_err(|error| {
            warn!(protocol = "tcp", link = number, %error, "gateway not reached");
        })?;
        client.set_nodelay(true)?;
        gateway.set_nodelay(true)?;
        let cut_at = lifetime.map(|lifetime| Instant::now() + lifetime);
        let was_cut = {
            let (from_client, into_client) = client.split();
            let (from_gateway, into_gateway) = gateway.split();
            let up = StreamDirection { number, name: "to gateway", packets: to_gateway, cut_at };
            let down = StreamDirection { number, name: "to client", packets: to_client, cut_at };
            let up = up.forward(from_client, into_gateway);
            let down = down.forward(from_gateway, into_client);
            let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
            let too_late = async {
                match cut_at {
                    Some(at) => sleep_until(at + CUT_GRACE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = too_late => true,
                end = &mut up => match end? {
                    StreamEnd::CutShort => true,
                    StreamEnd::Closed => matches!(down.await?, StreamEnd::CutShort),
                },
                end = &mut down => match end? {
                    StreamEnd::CutShort => true,
                    StreamEnd::Closed => matches!(up.await?, StreamEnd::CutShort),
                },
            }
        };
        if was_cut {
            info!(protocol = "tcp", link = number, how = cut.name(), "link cut");
            cut_off(cut, client, gateway).await?;
        }
        Ok(())
    }
}

struct StreamDirection {
    number: u64,
    name: &'static str,
    packets: PacketDecisions,
    cut_at: Option<Instant>,
}

impl StreamDirection {
    async fn forward(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<StreamEnd> {
        let (link, direction) = (self.number, self.name);
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                to.shutdown().await?;
                return Ok(StreamEnd::Closed);
            }
            let PacketDecision { lost, delay } = self.packets.next();
            if lost {
                let stall = self.packets.stall();
                info!(protocol = "tcp", link, direction, ?stall, "link stalled");
                sleep(stall).await;
            }
            if !delay.is_zero() {
                debug!(protocol = "tcp", link, direction, ?delay, "bytes delayed");
                sleep(delay).await;
            }
            let cut = self.cut_at.is_some_and(|at| at <= Instant::now());
            let passes = if cut { self.packets.part_of(length) } else { length };
            to.write_all(buffer.get(..passes).unwrap_or_default()).await?;
            if cut {
                let kept_back = length - passes;
                debug!(protocol = "tcp", link, direction, passes, kept_back, "bytes cut in two");
                return Ok(StreamEnd::CutShort);
            }
        }
    }
}

/// Ends both sides of a link, and discards the bytes that they still send.
async fn cut_off(cut: Cut, mut client: TcpStream, mut gateway: TcpStream) -> io::Result<()> {
    match cut {
        Cut::Reset => {
            client.set_zero_linger()?;
            gateway.set_zero_linger()?;
            return Ok(());
        }
        Cut::End => {
            client.shutdown().await?;
            gateway.shutdown().await?;
        }
        Cut::Silence => {}
    }
    tokio::join!(discard(&mut client), discard(&mut gateway));
    Ok(())
}

/// Reads until the other end closes or falls silent.
async fn discard(stream: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(Ok(1..)) = timeout(IDLE, stream.read(&mut buffer)).await {}
}
