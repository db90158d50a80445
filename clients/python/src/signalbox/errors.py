"""Errors of connecting and sending, by what the caller can do about them."""

from __future__ import annotations

from enum import Enum

from .codes import CloseReason, ErrorCode, UnknownCode


class SignalboxError(Exception):
    """Any error of this package."""


class ConnectError(SignalboxError):
    """The client could not join the session."""


class UrlError(ConnectError):
    """The URL does not name a gateway. The caller must correct it."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}: use quic://HOST[:PORT], wss://HOST[:PORT] or ws://HOST[:PORT]")


class RootsError(ConnectError):
    """The trusted root certificates cannot be used. The caller must correct them."""


class MissingDependencyError(ConnectError):
    """A `quic://` URL needs `aioquic`. Install the package as `signalbox[quic]`."""


class ResolveError(ConnectError):
    """The host has no address."""

    def __init__(self, host: str) -> None:
        super().__init__(f"cannot find the address of {host}")
        self.host = host
        """The host."""


class UnreachableCause(Enum):
    """Why a gateway cannot be reached, as far as it is known."""

    NOT_LISTENING = "not listening"
    """No program listens at the address."""
    CERTIFICATE = "certificate"
    """The certificate is not trusted, names another host, or has expired."""
    HTTP = "http"
    """The answer is an HTTP response other than a WebSocket upgrade."""
    OTHER = "other"
    """Another cause."""


class UnreachableError(ConnectError):
    """Nothing at the address answers as a gateway."""

    def __init__(self, address: str, cause: UnreachableCause, detail: str) -> None:
        super().__init__(f"cannot reach the gateway at {address}: {detail}")
        self.address = address
        """Scheme, host and port."""
        self.cause = cause
        """The cause, where the caller can do something about it."""


class RefusedError(ConnectError):
    """The gateway refused the client."""

    def __init__(self, reason: CloseReason | UnknownCode, message: str) -> None:
        super().__init__(f"the gateway refused the connection ({reason}): {message}")
        self.reason = reason
        """Why."""
        self.message = message
        """The reason for people."""


class ProtocolError(ConnectError):
    """The peer violates the protocol."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the gateway does not speak the protocol: {detail}")


class ConnectTimeoutError(ConnectError):
    """The gateway did not answer in time."""

    def __init__(self, tried: list[str]) -> None:
        addresses = f" (tried {', '.join(tried)})" if tried else ""
        super().__init__(f"the gateway did not answer in time{addresses}")
        self.tried = tried
        """The URLs that were tried."""


class SendError(SignalboxError):
    """A signal was not sent, or it is not certain that it was."""


class InvalidSignalError(SendError, ValueError):
    """The signal is invalid; nothing was sent. The caller must correct it."""

    def __init__(self, code: ErrorCode | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The code with which a gateway would reject it; None for a text that cannot be encoded."""


class RejectedError(SendError):
    """The gateway rejected the signal."""

    def __init__(self, code: ErrorCode | UnknownCode, message: str) -> None:
        super().__init__(f"the gateway rejected the signal ({code}): {message}")
        self.code = code
        """Why."""
        self.message = message
        """The reason for people."""


class NotSentError(SendError):
    """The link was lost before the gateway confirmed the signal, and it is not sent again."""

    def __init__(self) -> None:
        super().__init__("the link was lost, and the signal is not sent again")


class DisconnectedError(SendError):
    """The client is no longer in the session."""

    def __init__(self) -> None:
        super().__init__("the client is no longer in the session")
