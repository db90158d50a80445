"""Sessions as an application holds them: :func:`connect` and :class:`Session`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .codes import Role, Streams
from .dial import Dialer
from .errors import ProtocolError, SendError
from .event import Event
from .events import EventQueue
from .gateway_list import parse_urls
from .link import Link
from .link.dispatcher import EventDispatcher
from .link.outgoing import OutgoingMessages
from .messages import RESUME, ConnectionInfo, ForceDisconnect, Limits, SendSignal, Welcome
from .opening import Opening
from .options import AGENT, KEEP_ALIVE, ConnectOptions
from .order import Order
from .reconnect import ReconnectLoop
from .send_queue import Completion, QueuedSignal
from .session_view import SessionView
from .signal_check import check_id, check_signal

CONNECT_TIMEOUT = 10.0
"""How many seconds connecting may take."""
DISCONNECT_TIMEOUT = 2.0
"""How long :meth:`Session.disconnect` waits for the gateway's answer: the time that the protocol
gives the gateway, and one round trip of a bad network."""
AGENT_BYTES = 64


class Session(AsyncIterator[Event]):
    """A session that the client has joined. Made by :func:`connect`.

    Iterate over it for its events. The last one is :class:`Disconnected`; then the iteration ends.
    An application that does not read its events is disconnected as a slow consumer in the end.
    """

    def __init__(self, dialer: Dialer, welcome: Welcome, link: Link) -> None:
        self._view = SessionView(welcome)
        self._events = EventQueue()
        self._outgoing = OutgoingMessages(RESUME in welcome.features)
        self._leaving = asyncio.Event()
        self._sent = 0
        order = Order(welcome, dialer.options.presence)
        dispatcher = EventDispatcher(order, self._outgoing, self._events, self._view)
        loop = ReconnectLoop(dialer, dispatcher, self._outgoing, self._leaving)
        self._task = asyncio.create_task(loop.run(link))

    @property
    def connection(self) -> ConnectionInfo:
        """The client's own connection. It changes with :class:`Rejoined`."""
        return self._view.connection

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._view.session

    @property
    def role(self) -> Role:
        """The role that the token grants."""
        return self._view.role

    @property
    def limits(self) -> Limits:
        """The gateway's limits for this client."""
        return self._view.limits

    @property
    def gateways(self) -> tuple[str, ...]:
        """URLs of other gateways with which the client may resume or join.

        They are in the operator's order of preference. Usually there are none.
        """
        return self._view.gateways

    @property
    def presence(self) -> list[ConnectionInfo]:
        """The other connections in the session, as far as events have told of them, oldest first.

        Empty without `presence`.
        """
        return self._view.presence()

    @property
    def present_on_joining(self) -> int:
        """How many others were in the session when the client joined.

        The first :class:`ConnectionCreated` events are theirs. 0 without `presence`.
        """
        return self._view.present_on_joining

    async def signal(
        self,
        *,
        type: str | None = None,
        data: str | None = None,
        to: str | None = None,
        retry_after_reconnect: bool = True,
    ) -> int:
        """Sends a signal and waits until the gateway has accepted it.

        Accepted means that it has been delivered to every receiver or is queued for it. If the link
        is lost meanwhile, that may take until the client has reconnected. The call does not wait if
        `resume` is off, nor if the application has left so many events unread that the confirmation
        cannot be read; a rejection then comes as :class:`Rejected`.

        :param type: at most 128 bytes of `A-Z a-z 0-9 - . _ ~`
        :param data: at most 8192 bytes of UTF-8. With neither type nor data the signal is a ping
        :param to: the id of a connection; None sends to everyone, the sender included
        :param retry_after_reconnect: whether to send the signal again if the link is lost before
            the gateway has confirmed it. If not, it is not sent while the client has no link either
        :return: the signal's sequence number, which receivers see
        :raises InvalidSignalError: if a text is too long or has characters that are not allowed
        :raises RejectedError: if the gateway rejects it
        :raises NotSentError: if the link was lost, and the signal is not to be sent again
        :raises DisconnectedError: if the client is no longer in the session. With this and the
            previous error the gateway may have accepted the signal, and the confirmation been lost
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def complete(outcome: int | SendError) -> bool:
            if future.done():
                return False
            if isinstance(outcome, SendError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            return True

        await self._enqueue(SendSignal(to, type, data), retry_after_reconnect, complete)
        return await future

    async def enqueue(
        self,
        *,
        type: str | None = None,
        data: str | None = None,
        to: str | None = None,
        retry_after_reconnect: bool = True,
    ) -> int:
        """Queues a signal and does not wait for the gateway; for many signals in a row.

        Waits while the limit of unconfirmed signals is reached. The parameters are those of
        :meth:`signal`.

        :return: the signal's number among all that this client has sent, from 1, by which
            :class:`Rejected` names it
        :raises InvalidSignalError: and then nothing was sent
        :raises DisconnectedError: and then nothing was sent
        """
        return await self._enqueue(SendSignal(to, type, data), retry_after_reconnect, None)

    async def _enqueue(
        self, signal: SendSignal, retry: bool, completion: Completion | None
    ) -> int:
        check_signal(signal, self.limits)
        if signal.to is not None:
            signal = SendSignal(check_id(signal.to), signal.type, signal.data)
        queued = QueuedSignal(0, signal, retry, completion)

        def number() -> QueuedSignal:
            self._sent += 1
            queued.number = self._sent
            return queued

        await self._outgoing.enqueue(number)
        return queued.number

    async def force_disconnect(self, connection: str) -> None:
        """Disconnects another connection. For moderators only.

        If the gateway rejects it, that comes as :class:`Rejected`.

        :param connection: the id of the connection
        :raises DisconnectedError: if the client is no longer in the session
        """
        command = ForceDisconnect(check_id(connection))
        await self._outgoing.enqueue(lambda: command)

    async def disconnect(self) -> None:
        """Leaves the session.

        When this returns, the gateway has received every signal sent before, if the network still
        carries anything. A client without a link tries once more to reconnect; if that fails, the
        others see it leave when the gateway's resume window ends.
        """
        if not self._leaving.is_set():
            self._leaving.set()
            self._outgoing.leave()
        done, _ = await asyncio.wait({self._task}, timeout=DISCONNECT_TIMEOUT)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def ended(self) -> None:
        """Waits until the client is no longer in the session."""
        await asyncio.wait({self._task})

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> Event:
        event = await self._events.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Nobody reads events any more; a full queue must not hold up the goodbye.
        self._events.discard()
        await self.disconnect()


class Connecting:
    """The result of :func:`connect`: to be used with `async with`, or awaited."""

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options
        self._session: Session | None = None

    def __await__(self) -> Generator[Any, None, Session]:
        return self._connect().__await__()

    async def __aenter__(self) -> Session:
        self._session = await self._connect()
        return self._session

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.__aexit__(exc_type, exc, traceback)

    async def _connect(self) -> Session:
        dialer = Dialer(self._options)
        reply, link = await dialer.open(Opening(self._options), CONNECT_TIMEOUT)
        if not isinstance(reply, Welcome):
            raise ProtocolError("the gateway answered hello with resumed")
        dialer.welcomed(reply.gateways)
        return Session(dialer, reply, link)


def connect(
    url: str | Sequence[str],
    token: str,
    *,
    presence: bool = True,
    resume: bool = True,
    rejoin: bool = True,
    streams: Streams = Streams.PER_SENDER,
    json: bool = False,
    keep_alive: float = KEEP_ALIVE,
    early_data: bool = True,
    ca_file: str | Path | None = None,
    agent: str = AGENT,
) -> Connecting:
    """Joins the session that a token names.

    Use it as `async with signalbox.connect(url, token) as session:`, which leaves the session at
    the end of the block; or as `session = await signalbox.connect(url, token)`, and call
    :meth:`Session.disconnect`.

    :param url: the URL of the gateway: `wss://HOST[:PORT]`, `quic://HOST[:PORT]` (needs
        `signalbox[quic]`) or `ws://HOST[:PORT]` (plaintext). The default port is 4433. Several URLs
        are several transports of a gateway, several gateways, or both, in order of preference. Each
        has a head start of 300 ms over the next; if it fails, or its gateway shuts down, the next
        is tried at once. The first gateway to answer is used. A reconnect begins with the URL that
        answered last, or, if its gateway shuts down, with the other gateways, and each has a head
        start of a second
    :param token: a token from the project's server
    :param presence: whether to receive :class:`ConnectionCreated` and :class:`ConnectionDestroyed`
        of others. Large sessions do without
    :param resume: whether to continue as the same connection when the link is lost, and to receive
        what was missed. It also makes the gateway confirm signals
    :param rejoin: whether to join again, as another connection, when the link is lost and the
        connection cannot be resumed. The client tries for five minutes
    :param streams: how a QUIC client receives signals
    :param json: whether to speak JSON instead of postcard on a WebSocket
    :param keep_alive: the interval of keep-alives in seconds. Must be below the gateway's idle
        timeout. After three intervals of silence the link counts as lost
    :param early_data: whether a QUIC client resumes with its first packet (0-RTT), which saves a
        round trip. Early data has no forward secrecy: it carries the resume ticket and the last
        sequence number of each sender
    :param ca_file: a PEM file with the only certificates to trust, for gateways with a certificate
        authority of their own. The default is those of the operating system
    :param agent: the application's name and version, for the gateway's log; at most 64 bytes
    :raises UrlError: if a URL does not name a gateway
    :raises ConnectError: when used or awaited, if the client could not join
    """
    if len(agent.encode()) > AGENT_BYTES:
        raise ValueError(f"agent has more than {AGENT_BYTES} bytes")
    if not keep_alive > 0:
        raise ValueError("keep_alive must be positive")
    options = ConnectOptions(
        urls=parse_urls(url),
        token=token,
        presence=presence,
        resume=resume,
        rejoin=rejoin,
        streams=streams,
        json=json,
        keep_alive=keep_alive,
        early_data=early_data,
        ca_file=ca_file,
        agent=agent,
    )
    return Connecting(options)
