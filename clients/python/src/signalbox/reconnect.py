"""The reconnect loop: carries a client's session over successive links.

When a link is lost, the client resumes its connection over another, or joins again, or gives up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto

from .backoff import Backoff, jitter
from .codes import CloseReason, UnknownCode
from .dial import Dialer
from .errors import ConnectError, ConnectTimeoutError, RefusedError
from .event import Reconnecting
from .link import Link
from .link.disconnection import Disconnection
from .link.dispatcher import EventDispatcher
from .link.outgoing import OutgoingMessages
from .link.reply import HandshakeReply, ResumedReply
from .messages import RESUME
from .opening import Opening
from .order import ResumePosition
from .ticket import ResumeTicket

REJOIN_TIMEOUT = 300.0
"""How long a client tries to join again."""
SHUTDOWN_SPREAD = 1.0
"""Within what time the clients of a gateway that has ended all links at once reconnect, so that
they do not return at the same moment."""
LEAVE_TIMEOUT = 2.0
"""How long a client that leaves while it has no link tries to resume, to send its goodbye."""

logger = logging.getLogger("signalbox")

Resumption = tuple[ResumeTicket, ResumePosition]


class SessionEnded(Exception):
    """The client does not reconnect."""

    def __init__(self, end: Disconnection) -> None:
        super().__init__(end.message)
        self.end = end


class ReconnectLoop:
    """Carries the session until it ends."""

    def __init__(
        self,
        dialer: Dialer,
        dispatcher: EventDispatcher,
        outgoing: OutgoingMessages,
        leaving: asyncio.Event,
    ) -> None:
        self._dialer = dialer
        self._dispatcher = dispatcher
        self._outgoing = outgoing
        self._leaving = leaving
        self._backoff = Backoff()
        # The client has left, and only its goodbye is still to be sent.
        self._left = False

    async def run(self, link: Link) -> None:
        """Runs until the session has ended, and delivers the last event."""
        end = Disconnection(
            CloseReason.CLIENT_DISCONNECTED, "the client left, and the gateway did not answer"
        )
        try:
            while True:
                started = _now()
                end = await link.run(self._dispatcher, self._outgoing)
                self._backoff.reset_if_stable(_now() - started)
                link = await self._next_link(end)
        except SessionEnded as ended:
            end = ended.end
        except Exception as error:
            logger.exception("the client failed")
            end = Disconnection(CloseReason.INTERNAL_ERROR, f"the client failed: {error}")
        finally:
            self._outgoing.close()
            self._dispatcher.finish(end)

    async def _next_link(self, end: Disconnection) -> Link:
        """The link after one that has ended. Raises :class:`SessionEnded`."""
        left = self._leaving.is_set()
        if end.reason == CloseReason.CLIENT_DISCONNECTED and not left:
            # A middlebox has closed the connection in good order.
            end = Disconnection.lost("the connection was closed on the way")
        if not should_reconnect(end.reason) or self._left:
            raise SessionEnded(end)
        self._left = left
        dispatcher = self._dispatcher
        position, ticket = dispatcher.link_lost(), dispatcher.ticket
        dispatcher.ticket = None
        resume = (ticket, position) if ticket and position else None
        if resume is None and (left or not self._dialer.options.rejoin):
            raise SessionEnded(end)
        self._outgoing.link_lost()
        leave_at, dispatcher.leave_at = dispatcher.leave_at, None
        pause = jitter(reconnect_spread(end.reason, leave_at, _now()))
        if end.reason == CloseReason.SHUTTING_DOWN:
            self._backoff.gateway_restarts(_now())
            self._dialer.avoid_current()
        dispatcher.order.emit(Reconnecting(end.reason, end.message))
        await dispatcher.deliver()
        reconnected = await self._unless_leaving(pause, resume)
        if reconnected is None:
            self._left = True
            reconnected = await self._resume_to_leave(resume)
        reply, link = reconnected
        if not isinstance(reply, ResumedReply):
            self._dialer.welcomed(reply.gateways)
        apply_reply(dispatcher, self._outgoing, reply)
        return link

    async def _unless_leaving(
        self, pause: float, resume: Resumption | None
    ) -> tuple[HandshakeReply, Link] | None:
        """Reconnects; None if the application leaves meanwhile."""
        reconnecting = asyncio.create_task(self._reconnect(pause, resume))
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({reconnecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return reconnecting.result() if reconnecting.done() else None
        finally:
            for task in (reconnecting, leaving):
                task.cancel()
            await asyncio.gather(reconnecting, leaving, return_exceptions=True)

    async def _reconnect(
        self, pause: float, resume: Resumption | None
    ) -> tuple[HandshakeReply, Link]:
        """Reconnects as the same connection while the gateway can resume it, then as another.

        The gateway's resume window begins when it detects the loss.
        """
        await asyncio.sleep(pause)
        options = self._dialer.options
        if resume is not None:
            ticket, _ = resume
            time = ticket.window + self._dispatcher.loss_detection_time()
            time += self._backoff.restart_time_left(_now())
            back = await self._attempts(Opening(options, resume), time, after_refused_resume)
            if back is not None:
                return back
        if options.rejoin:
            back = await self._attempts(Opening(options), REJOIN_TIMEOUT, after_refused_hello)
            if back is not None:
                return back
        lost = "the link was lost, and the client could not reconnect in time"
        raise SessionEnded(Disconnection.lost(lost))

    async def _resume_to_leave(self, resume: Resumption | None) -> tuple[HandshakeReply, Link]:
        """Tries once to resume, so that the last signals and the goodbye are sent."""
        if resume is not None:
            try:
                return await self._dialer.open(
                    Opening(self._dialer.options, resume), LEAVE_TIMEOUT
                )
            except ConnectError as error:
                logger.debug("could not resume to say goodbye: %s", error)
        left = "the client left while it had no link"
        raise SessionEnded(Disconnection(CloseReason.CLIENT_DISCONNECTED, left))

    async def _attempts(
        self,
        opening: Opening,
        time: float,
        next_step: Callable[[CloseReason | UnknownCode], NextStep],
    ) -> tuple[HandshakeReply, Link] | None:
        """Sends an opening until it is answered, within a time. None if it will not succeed."""
        deadline = _now() + time
        while True:
            pause = self._backoff.next_pause(_now())
            await asyncio.sleep(min(pause, max(0.0, deadline - _now())))
            now = _now()
            if now >= deadline:
                return None
            try:
                timeout = self._dialer.head_starts + self._backoff.attempt_timeout(now)
                return await self._dialer.open(opening, timeout)
            except RefusedError as refused:
                step = next_step(refused.reason)
                if step is NextStep.REJOIN:
                    return None
                if step is NextStep.GIVE_UP:
                    end = Disconnection(refused.reason, refused.message)
                    raise SessionEnded(end) from refused
                logger.debug("reconnect attempt refused: %s", refused)
                if refused.reason == CloseReason.SHUTTING_DOWN:
                    self._backoff.gateway_restarts(_now())
            except ConnectTimeoutError:
                logger.debug("reconnect attempt timed out")
                self._backoff.attempt_timed_out()
            except ConnectError as error:
                logger.debug("reconnect attempt failed: %s", error)


def apply_reply(
    dispatcher: EventDispatcher, outgoing: OutgoingMessages, reply: HandshakeReply
) -> None:
    """Continues with the gateway's reply: as the same connection, or as another one."""
    if isinstance(reply, ResumedReply):
        dispatcher.ticket = reply.ticket
        dispatcher.order.resume(reply.missed, reply.gap, reply.present)
        for event in outgoing.resumed(reply.signals, reply.rejected):
            dispatcher.order.emit(event)
    else:
        dispatcher.order.rejoin(reply)
        dispatcher.view.limits = reply.limits
        dispatcher.view.gateways = reply.gateways
        outgoing.rejoined(RESUME in reply.features)
    outgoing.pace(dispatcher.view.limits.signals_per_second)


class NextStep(Enum):
    """What a client does when the gateway has refused its opening."""

    RETRY = auto()
    REJOIN = auto()
    GIVE_UP = auto()


def should_reconnect(reason: CloseReason | UnknownCode) -> bool:
    """Whether a client reconnects when a link has ended for this reason."""
    return reason in (CloseReason.NETWORK_DISCONNECTED, CloseReason.SHUTTING_DOWN)


def after_refused_hello(reason: CloseReason | UnknownCode) -> NextStep:
    """What follows when a `hello` is refused."""
    temporary = {
        CloseReason.NETWORK_DISCONNECTED,
        CloseReason.SHUTTING_DOWN,
        CloseReason.HELLO_TIMEOUT,
        CloseReason.CONNECTION_LIMIT,
        CloseReason.INTERNAL_ERROR,
    }
    retry = isinstance(reason, UnknownCode) or reason in temporary
    return NextStep.RETRY if retry else NextStep.GIVE_UP


def after_refused_resume(reason: CloseReason | UnknownCode) -> NextStep:
    """What follows when a `resume` is refused."""
    # The gateway does not know the connection any more, or does not support resuming.
    if reason in (CloseReason.INVALID_TICKET, CloseReason.PROTOCOL_ERROR):
        return NextStep.REJOIN
    return after_refused_hello(reason)


def reconnect_spread(
    reason: CloseReason | UnknownCode, leave_at: float | None, now: float
) -> float:
    """Within what time the clients that lost their links together with this one reconnect."""
    # A gateway has spread the clients that it asked to leave, unless it then hurried.
    spread = leave_at is not None and leave_at <= now
    return SHUTDOWN_SPREAD if reason == CloseReason.SHUTTING_DOWN and not spread else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
