"""The event dispatcher: sorts the gateway's messages into what the link needs and what the
application receives, and delivers events to it."""

from __future__ import annotations

import asyncio

from ..backoff import jitter
from ..event import Event, Rejected
from ..events import EventQueue
from ..messages import Accepted, Error, GatewayMessage, GoAway, Ticket
from ..order import Order, ResumePosition
from ..session_view import SessionView
from ..ticket import ResumeTicket
from .disconnection import Disconnection
from .outgoing import OutgoingMessages


class EventDispatcher:
    """Delivers events to the application, in order."""

    def __init__(
        self, order: Order, outgoing: OutgoingMessages, events: EventQueue, view: SessionView
    ) -> None:
        self.order = order
        self.ticket: ResumeTicket | None = None
        """What resuming needs, once the gateway has sent it."""
        self.leave_at: float | None = None
        """When the client leaves its link, if the gateway has asked it to."""
        self.view = view
        self._outgoing = outgoing
        self._events = events

    def control(self, message: GatewayMessage) -> None:
        """Takes a message of the control stream that does not end the link."""
        match message:
            case Ticket():
                self.ticket = ResumeTicket(message)
            case Accepted(signals):
                self._outgoing.accepted(signals)
            case GoAway(within_ms):
                # Not at once, as all clients are asked at once; and the last quarter is for the
                # time that the request took to arrive.
                quarter = within_ms / 1000 / 4
                now = asyncio.get_running_loop().time()
                self.leave_at = now + 2 * quarter + jitter(quarter)
            case Error(None, code, text):
                self.order.emit(Rejected(None, code, text))
            case Error(int(signal), code, text):
                rejected = self._outgoing.queue.rejected(signal, code, text)
                if rejected is not None:
                    self.order.emit(rejected)
            case _:
                self.order.control(message)

    def link_lost(self) -> ResumePosition | None:
        """The link is lost. Returns the position to resume from; None if it is not certain."""
        return self.order.link_lost(self._outgoing.queue.accepted_signals)

    def seconds_to_leave(self) -> float | None:
        """When the client should leave its link, as the gateway has asked.

        A client without a ticket stays until the gateway ends the link: leaving would only lose
        signals in flight.
        """
        if self.leave_at is None or self.ticket is None:
            return None
        return max(0.0, self.leave_at - asyncio.get_running_loop().time())

    def loss_detection_time(self) -> float:
        """How long the gateway may take to detect a lost link.

        That is its idle timeout, and a third more for the interval of its WebSocket pings.
        """
        return self.view.limits.idle_timeout_ms / 1000 * 4 / 3

    def next_event(self) -> Event | None:
        """The next event in order. The client's view of the session changes with it."""
        event = self.order.next_event()
        if event is not None:
            self.view.apply(event)
        return event

    async def deliver(self) -> None:
        """Delivers all events that are due. Waits for an application that is behind."""
        while (event := self.next_event()) is not None:
            if not self._events.try_put(event):
                self._outgoing.queue.set_stalled(True)
                try:
                    await self._events.put(event)
                finally:
                    self._outgoing.queue.set_stalled(False)

    def finish(self, end: Disconnection) -> None:
        """Delivers the last events, however far behind the application is."""
        self._events.finish(self._rest(), end.reason, end.message)

    def _rest(self) -> list[Event]:
        events = []
        while (event := self.next_event()) is not None:
            events.append(event)
        return events
