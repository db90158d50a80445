"""A client's link. It reads into the :class:`Order <signalbox.order.Order>` and writes the messages
of the send queue until it ends; `reconnect.py` decides what follows."""

from __future__ import annotations

import asyncio

from ..codes import CloseReason
from ..errors import ConnectError, RefusedError, UnreachableCause, UnreachableError
from ..messages import Bye
from ..opening import Opening
from ..postcard import Malformed
from .disconnection import Disconnection
from .dispatcher import EventDispatcher
from .outgoing import OutgoingMessages
from .reply import HandshakeReply, ReplyAssembler
from .transport import (
    FAREWELL,
    Arrival,
    ControlMessage,
    StreamEnded,
    StreamMessage,
    StreamOpened,
    Transport,
    TransportClosed,
)

CONTROL_STREAM = 0
HELD_SIGNALS = 16384
"""Signals that may wait for something else to arrive first. A gateway that keeps to the protocol
comes nowhere near."""
READS_IN_A_ROW = 64
"""Arrivals handled before other tasks get a turn."""


class Link:
    """A link on which the gateway has accepted the client."""

    def __init__(self, transport: Transport, early: list[Arrival]) -> None:
        self._transport = transport
        # What has arrived on senders' streams ahead of the reply.
        self._early = early
        self._opened = 0
        self._open: set[int] = set()
        self._bye: Bye | None = None

    async def run(
        self, dispatcher: EventDispatcher, outgoing: OutgoingMessages
    ) -> Disconnection:
        """Carries the connection until the link ends."""
        writing = asyncio.create_task(self._write(outgoing))
        try:
            end = await self._read(dispatcher)
        except BaseException:
            self._transport.abort()
            raise
        finally:
            writing.cancel()
            await asyncio.wait([writing])
        await self._transport.close(
            CloseReason.NETWORK_DISCONNECTED if end.leaving else end.closing_reason
        )
        return end

    async def _write(self, outgoing: OutgoingMessages) -> None:
        more = True
        while more:
            messages, more = await outgoing.next()
            await self._transport.send(messages)

    async def _read(self, dispatcher: EventDispatcher) -> Disconnection:
        for arrival in self._early:
            self._arrived(arrival, dispatcher)
        reads = 0
        while True:
            await dispatcher.deliver()
            if self._bye is not None:
                return await self._rest(self._bye, dispatcher)
            if dispatcher.order.held > HELD_SIGNALS:
                return Disconnection(CloseReason.PROTOCOL_ERROR, "too many signals out of order")
            reads += 1
            if reads % READS_IN_A_ROW == 0:
                await asyncio.sleep(0)
            try:
                arrival = await asyncio.wait_for(
                    self._transport.receive(), dispatcher.seconds_to_leave()
                )
            except asyncio.TimeoutError:
                message = "the gateway is shutting down and asked its clients to reconnect"
                return Disconnection(CloseReason.SHUTTING_DOWN, message, leaving=True)
            if isinstance(arrival, TransportClosed):
                return Disconnection(arrival.reason, arrival.message or str(arrival.reason))
            if arrival == StreamEnded(CONTROL_STREAM, reset=False):
                return Disconnection(CloseReason.PROTOCOL_ERROR, "the control stream ended")
            try:
                self._arrived(arrival, dispatcher)
            except Malformed as fault:
                return Disconnection(CloseReason.PROTOCOL_ERROR, str(fault))

    async def _rest(self, bye: Bye, dispatcher: EventDispatcher) -> Disconnection:
        """Reads what senders' streams still bring after a bye, for as long as the farewell."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FAREWELL
        while bye.streams and (self._opened < bye.streams or self._open):
            try:
                arrival = await asyncio.wait_for(
                    self._transport.receive(), max(0.0, until - loop.time())
                )
            except asyncio.TimeoutError:
                break
            if isinstance(arrival, TransportClosed):
                break
            self._arrived(arrival, dispatcher)
            await dispatcher.deliver()
        return Disconnection(bye.reason, bye.message)

    def _arrived(self, arrival: Arrival, dispatcher: EventDispatcher) -> None:
        order = dispatcher.order
        match arrival:
            case ControlMessage(Bye() as bye):
                self._bye = bye
            case ControlMessage(message):
                dispatcher.control(message)
            case StreamOpened(_, None):
                self._opened += 1
            case StreamOpened(stream, header) if header is not None:
                # Otherwise it has only changed its sender.
                if stream not in self._open:
                    self._opened += 1
                    self._open.add(stream)
                order.open(stream, header.sender, header.after)
            case StreamMessage(stream, signal):
                order.signal(stream, signal)
            case StreamEnded(stream, reset):
                self._open.discard(stream)
                order.end(stream, reset)


async def establish(
    transport: Transport, opening: Opening, *, sent: bool = False
) -> tuple[HandshakeReply, Link]:
    """Sends an opening, unless it was sent early, and receives the gateway's reply.

    Raises :class:`ConnectError`. Then the transport is closed, and if a `resume` was sent, not with
    a goodbye: that would end the connection which another attempt is to resume.
    """
    try:
        if not sent:
            await transport.send(opening.messages())
        assembler = ReplyAssembler()
        early: list[Arrival] = []
        while True:
            arrival = await transport.receive()
            if isinstance(arrival, ControlMessage):
                reply = assembler.push(arrival.message)
                if reply is not None:
                    return reply, Link(transport, early)
            elif isinstance(arrival, TransportClosed):
                raise _closed_early(arrival)
            else:
                early.append(arrival)
    except RefusedError:
        await transport.close(CloseReason.CLIENT_DISCONNECTED)
        raise
    except BaseException:
        transport.abort()
        raise


def _closed_early(closed: TransportClosed) -> ConnectError:
    # With the code of a goodbye: something on the way has closed the link, and this is no answer.
    if closed.reason in (CloseReason.NETWORK_DISCONNECTED, CloseReason.CLIENT_DISCONNECTED):
        return UnreachableError("the gateway", UnreachableCause.OTHER, closed.message)
    # A gateway that could not send a bye closes with its reason.
    return RefusedError(closed.reason, closed.message)
