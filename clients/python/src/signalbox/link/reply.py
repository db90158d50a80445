"""The gateway's reply to an opening, assembled from its messages."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ProtocolError, RefusedError
from ..event import Gap
from ..messages import (
    Bye,
    ConnectionInfo,
    Error,
    GapMessage,
    GatewayMessage,
    GoAway,
    Lost,
    Present,
    Resumed,
    Welcome,
)
from ..ticket import ResumeTicket


@dataclass(frozen=True)
class ResumedReply:
    """The connection continues."""

    ticket: ResumeTicket
    signals: int
    """How many of the client's signals the gateway has accepted."""
    rejected: tuple[Error, ...]
    """Rejected signals among them."""
    missed: int
    """Signals and presence events that follow."""
    gap: Gap | None
    present: tuple[ConnectionInfo, ...]
    """All other connections in the session, if the gap includes presence."""


HandshakeReply = Welcome | ResumedReply


class ReplyAssembler:
    """Takes messages until the reply is complete."""

    def __init__(self) -> None:
        self._rejected: list[Error] = []
        self._has_gap = False
        self._lost: list[Lost] = []
        self._presence = False
        self._present: list[ConnectionInfo] = []

    def push(self, message: GatewayMessage) -> HandshakeReply | None:
        """Takes a message; the last one completes the reply.

        Raises :class:`RefusedError` or :class:`ProtocolError`.
        """
        match message:
            case GapMessage(lost, presence, _):
                if self._presence:
                    raise ProtocolError("a gap follows after a gap of presence")
                self._has_gap = True
                self._lost += lost
                self._presence = presence
            case Error(signal=int()):
                self._rejected.append(message)
            case Present(connections):
                self._present += connections
            case GoAway():
                # A bye follows soon.
                pass
            case Welcome():
                return message
            case Resumed(ticket, signals, missed):
                gap = Gap(tuple(self._lost), self._presence) if self._has_gap else None
                rejected, present = tuple(self._rejected), tuple(self._present)
                return ResumedReply(ResumeTicket(ticket), signals, rejected, missed, gap, present)
            case Bye(reason, text, _):
                raise RefusedError(reason, text)
            case _:
                raise ProtocolError("unexpected message during the handshake")
        return None
