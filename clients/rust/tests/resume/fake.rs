//! A scripted gateway: it speaks the protocol over plain WebSocket, and a test sends each of its
//! messages.

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use signalbox_client::{
    Client, CloseReason, ConnectOptions, ConnectionId, ConnectionInfo, Connector, ErrorCode, Event,
    Events, Limits, Role, Sender,
};
use signalbox_protocol::{
    ClientMessage, Codec, Feature, Features, GatewayMessage, binary,
    message::{Cursor, ReceivedSignal, Ticket, Welcome},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// Fails the test if `future` takes too long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: it did not happen"),
    }
}

pub(crate) fn id(n: u8) -> ConnectionId {
    ConnectionId::from_bytes([n; 16])
}

pub(crate) fn info(n: u8) -> ConnectionInfo {
    ConnectionInfo { id: id(n), created_at: 0, data: String::new() }
}

pub(crate) fn ticket(ticket: &str, window_ms: u32) -> Ticket<'_> {
    Ticket { ticket: ticket.into(), window_ms }
}

pub(crate) fn signal(from: u8, seq: u64) -> GatewayMessage<'static> {
    let data = Some("d".into());
    GatewayMessage::Signal(ReceivedSignal { from: id(from).into(), seq, signal_type: None, data })
}

pub(crate) fn bye(reason: CloseReason) -> GatewayMessage<'static> {
    GatewayMessage::Bye { reason, message: "".into(), streams: 0 }
}

pub(crate) fn error(signal: Option<u64>, code: ErrorCode) -> GatewayMessage<'static> {
    GatewayMessage::Error { signal, code, message: "no".into() }
}

/// A fake gateway to which clients connect.
pub(crate) struct Fake {
    listener: TcpListener,
    /// The features that it can grant.
    features: Features,
}

impl Fake {
    pub(crate) async fn new() -> Self {
        Self::with(Feature::ALL.into_iter().collect()).await
    }

    /// A gateway that grants these features and no others.
    pub(crate) async fn with(features: Features) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), features }
    }

    /// Nobody can connect for this time, which passes at once; then another gateway is in its
    /// place.
    pub(crate) async fn restart_after(self, time: Duration, events: &mut Events) -> Self {
        let (address, features) = (self.listener.local_addr().unwrap(), self.features);
        drop(self);
        tokio::time::pause();
        let event = tokio::time::timeout(time, events.next()).await;
        tokio::time::resume();
        assert!(event.is_err(), "{event:?} while nobody was there");
        Self { listener: TcpListener::bind(address).await.unwrap(), features }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.url(), "token")
    }

    /// The next link, on which nothing has been said.
    pub(crate) async fn accept(&self) -> FakeLink {
        let (stream, _) = soon("a link", self.listener.accept()).await.unwrap();
        FakeLink::new(stream, self.features).await
    }

    /// A client of connection 0 with these options, and the gateway's end of its link.
    pub(crate) async fn join(&self, options: &ConnectOptions) -> (Client, Events, FakeLink) {
        // Nothing here is encrypted, but a connector has to trust somebody.
        let anybody = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
        let connector = Connector::with_roots_pem(anybody.pem().as_bytes()).unwrap();
        let gateway = async {
            let mut link = self.accept().await;
            assert_eq!(link.hear().await, "hello token");
            link.welcome(0).await;
            link
        };
        let connecting = soon("connecting", connector.connect(options));
        let (connected, link) = tokio::join!(connecting, gateway);
        let (client, mut events) = connected.unwrap();
        let first = next(&mut events).await;
        assert!(matches!(first, Event::SessionConnected { .. }), "{first:?}");
        (client, events, link)
    }

    /// The same, of a gateway that keeps the connection by this ticket.
    pub(crate) async fn join_kept(&self, kept: Ticket<'_>) -> (Client, Events, FakeLink) {
        let (client, events, mut link) = self.join(&self.options()).await;
        link.say(GatewayMessage::Ticket(kept)).await;
        (client, events, link)
    }
}

/// The next event.
pub(crate) async fn next(events: &mut Events) -> Event {
    soon("an event", events.next()).await.expect("the session is not over")
}

/// The gateway's end of a link. Dropping it cuts the link.
pub(crate) struct FakeLink {
    socket: WebSocketStream<TcpStream>,
    /// The features that the gateway grants, of those that the client has asked for.
    features: Features,
}

impl FakeLink {
    async fn new(stream: TcpStream, features: Features) -> Self {
        #[expect(clippy::result_large_err, reason = "the library's type")]
        let choose = |_: &Request, mut response: Response| {
            let chosen = HeaderValue::from_static(Codec::Postcard.subprotocol());
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
            Ok(response)
        };
        let handshake = tokio_tungstenite::accept_hdr_async(stream, choose);
        Self { socket: soon("a handshake", handshake).await.unwrap(), features }
    }

    pub(crate) async fn say(&mut self, message: GatewayMessage<'_>) {
        self.socket.send(Message::Binary(binary::encode(&message).into())).await.unwrap();
    }

    pub(crate) async fn welcome(&mut self, me: u8) {
        let welcome = Welcome {
            connection: info(me),
            session: "1_MX4xMjM0NTY3OH5-MTc5NTUwMDAwMDAwMH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg"
                .parse()
                .unwrap(),
            role: Role::Publisher,
            limits: Limits {
                type_bytes: 128,
                data_bytes: 8192,
                signals_per_second: 0,
                idle_timeout_ms: 30_000,
            },
            features: self.features,
            present: 0,
            gateways: Vec::new(),
        };
        self.say(GatewayMessage::Welcome(welcome)).await;
    }

    /// The next message of the client, in short; `close` when the client has ended the link.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match soon("a message", self.socket.next()).await {
                Some(Ok(Message::Binary(bytes))) => {
                    let message = binary::decode(&bytes).unwrap().unwrap();
                    if let ClientMessage::Hello(hello) = &message {
                        let granted = hello.features.iter();
                        self.features = granted.filter(|it| self.features.contains(*it)).collect();
                    }
                    return in_short(message);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return "close".into(),
            }
        }
    }

    /// Closes the link in good order, without a bye.
    pub(crate) async fn close(mut self, code: Option<CloseCode>) {
        let frame = code.map(|code| CloseFrame { code, reason: "".into() });
        self.socket.close(frame).await.unwrap();
    }

    /// The code with which the client closes the link; none if it just ends.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match soon("a close", self.socket.next()).await? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

fn in_short(message: ClientMessage<'_>) -> String {
    let heard = |cursors: Vec<Cursor>| {
        let each = cursors.iter().map(|cursor| match &cursor.from {
            Sender::Connection(from) => format!("{}:{}", from.as_bytes()[0], cursor.seq),
            Sender::Server(_) => format!("s:{}", cursor.seq),
        });
        let mut each: Vec<_> = each.collect();
        each.sort();
        each.join(" ")
    };
    match message {
        ClientMessage::Hello(hello) => format!("hello {}", hello.token),
        ClientMessage::TicketStored {} => "ticketStored".into(),
        ClientMessage::Resume(resume) => {
            let (ticket, events) = (resume.ticket, resume.events);
            format!("resume {ticket}, {events} events, heard {}", heard(resume.cursors))
        }
        ClientMessage::Signal(signal) => format!("signal {}", signal.data.unwrap_or_default()),
        ClientMessage::Goodbye { signals } => format!("goodbye {signals}"),
        other => format!("{other:?}"),
    }
}
