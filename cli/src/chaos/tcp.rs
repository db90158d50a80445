//! Chaos for TCP, which carries WebSockets and HTTP. A stream cannot lose bytes in its middle, so a
//! lost packet shows as a stream that stands still for a while. What is cut is cut in the middle of
//! something, if anything is under way.

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
    IDLE, LINKS, Spec,
    fate::{Carrier, Cut, Fate, Packet, Packets},
};

/// What is read at once, and all that is held of a stream in one direction.
const CHUNK: usize = 16 * 1024;

/// How long a cut waits for something to be in the middle of.
const IN_THE_MIDDLE: Duration = Duration::from_secs(1);

/// After an error of the listener, which is no error of a link.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries connections between clients and the gateway.
pub(super) async fn carry(spec: Spec, listener: TcpListener, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(LINKS));
    for number in 1.. {
        // Clients without a place wait in the listener's queue.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, client) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => {
                    debug!(%error, "accepting failed");
                    sleep(PAUSE).await;
                }
            }
        };
        info!(carrier = "tcp", link = number, %client, "link opened");
        let link = Link { number, fate: Fate::new(spec, Carrier::Tcp, number) };
        tokio::spawn(async move {
            if let Err(error) = link.carry(stream, to).await {
                debug!(carrier = "tcp", link = number, %error, "link ended");
            }
            drop(place);
        });
    }
}

struct Link {
    number: u64,
    fate: Fate,
}

/// How a direction of a stream came to its end.
enum End {
    /// Its sender closed it.
    Closed,
    /// It was cut in the middle of something.
    CutShort,
}

impl Link {
    async fn carry(self, mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
        let Self { number, fate: Fate { lifetime, cut, to_gateway, to_client } } = self;
        let mut gateway = TcpStream::connect(to).await.inspect_err(|error| {
            warn!(carrier = "tcp", link = number, %error, "gateway not reached");
        })?;
        client.set_nodelay(true)?;
        gateway.set_nodelay(true)?;
        let cut_at = lifetime.map(|lifetime| Instant::now() + lifetime);
        let was_cut = {
            let (from_client, into_client) = client.split();
            let (from_gateway, into_gateway) = gateway.split();
            let up = Direction { number, name: "to gateway", packets: to_gateway, cut_at };
            let down = Direction { number, name: "to client", packets: to_client, cut_at };
            let up = up.carry(from_client, into_gateway);
            let down = down.carry(from_gateway, into_client);
            let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
            let too_late = async {
                match cut_at {
                    Some(at) => sleep_until(at + IN_THE_MIDDLE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = too_late => true,
                end = &mut up => match end? {
                    End::CutShort => true,
                    End::Closed => matches!(down.await?, End::CutShort),
                },
                end = &mut down => match end? {
                    End::CutShort => true,
                    End::Closed => matches!(up.await?, End::CutShort),
                },
            }
        };
        if was_cut {
            info!(carrier = "tcp", link = number, how = cut.name(), "link cut");
            cut_off(cut, client, gateway).await?;
        }
        Ok(())
    }
}

struct Direction {
    number: u64,
    name: &'static str,
    packets: Packets,
    cut_at: Option<Instant>,
}

impl Direction {
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
        let (link, direction) = (self.number, self.name);
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                to.shutdown().await?;
                return Ok(End::Closed);
            }
            let Packet { lost, delay } = self.packets.next();
            if lost {
                let stall = self.packets.stall();
                info!(carrier = "tcp", link, direction, ?stall, "link stalled");
                sleep(stall).await;
            }
            if !delay.is_zero() {
                debug!(carrier = "tcp", link, direction, ?delay, "bytes delayed");
                sleep(delay).await;
            }
            let cut = self.cut_at.is_some_and(|at| at <= Instant::now());
            let passes = if cut { self.packets.part_of(length) } else { length };
            to.write_all(buffer.get(..passes).unwrap_or_default()).await?;
            if cut {
                let kept_back = length - passes;
                debug!(carrier = "tcp", link, direction, passes, kept_back, "bytes cut in two");
                return Ok(End::CutShort);
            }
        }
    }
}

/// Ends both sides of a link. What they still send goes nowhere.
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

/// Reads until the other end has closed, or has been silent for long.
async fn discard(stream: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(Ok(1..)) = timeout(IDLE, stream.read(&mut buffer)).await {}
}
