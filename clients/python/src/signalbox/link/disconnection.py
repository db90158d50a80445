"""Why a link has ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..codes import CloseReason, UnknownCode


@dataclass(frozen=True)
class Disconnection:
    """The end of a link."""

    reason: CloseReason | UnknownCode
    message: str
    leaving: bool = False
    """The client has left the link at the gateway's request and will resume."""

    @classmethod
    def lost(cls, message: str) -> Disconnection:
        """The transport has failed."""
        return cls(CloseReason.NETWORK_DISCONNECTED, message)

    @property
    def closing_reason(self) -> CloseReason:
        """What the transport is closed with. A goodbye would end a resumable connection."""
        if self.leaving:
            return CloseReason.NETWORK_DISCONNECTED
        return CloseReason.CLIENT_DISCONNECTED
