"""A link's transport over WebSocket (section 8)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from .. import json_messages, messages
from ..codes import CloseReason, websocket_close_reason, websocket_code
from ..errors import ConnectError, ProtocolError, UnreachableCause, UnreachableError
from ..frame import GATEWAY_FRAME_BYTES
from ..gateway_url import GatewayUrl
from ..messages import ClientMessage, GatewayMessage
from ..postcard import Malformed
from .transport import FAREWELL, Arrival, ControlMessage, Transport, TransportClosed

JSON = Subprotocol("signalbox.v1.json")
POSTCARD = Subprotocol("signalbox.v1.postcard")
PROTOCOL_ERROR_CODE = 1002
ADDRESS_DELAY = 0.25
"""Head start of each address over the next one of the same host (RFC 8305 §5)."""

W = TypeVar("W", bound="WebSocketTransport")


class WebSocketTransport(Transport):
    """A WebSocket, with postcard or with JSON."""

    def __init__(self, socket: ClientConnection, subprotocol: str) -> None:
        self._socket = socket
        self._json = subprotocol == JSON
        self._closed: TransportClosed | None = None

    @classmethod
    async def open(
        cls: type[W],
        url: GatewayUrl,
        roots: ssl.SSLContext,
        *,
        json: bool = False,
        keep_alive: float | None = None,
    ) -> W:
        """Opens a WebSocket. Raises :class:`ConnectError`.

        With `keep_alive` the client pings at this interval, and takes the link for lost when two
        more intervals have passed without an answer.
        """
        subprotocol = JSON if json else POSTCARD
        limit = json_messages.GATEWAY_JSON_BYTES if json else GATEWAY_FRAME_BYTES
        try:
            socket = await connect(
                f"{url.scheme}://{url.address}{url.path}",
                ssl=roots if url.scheme == "wss" else None,
                subprotocols=[subprotocol],
                compression=None,
                proxy=None,
                open_timeout=None,
                ping_interval=keep_alive,
                ping_timeout=keep_alive and 2 * keep_alive,
                close_timeout=FAREWELL,
                max_size=limit,
                happy_eyeballs_delay=ADDRESS_DELAY,
            )
        except (OSError, InvalidHandshake, EOFError) as error:
            raise _unreachable(url, error) from error
        if socket.subprotocol != subprotocol:
            await socket.close()
            raise ProtocolError(f"offered {subprotocol}, and it answered {socket.subprotocol}")
        return cls(socket, subprotocol)

    async def send(self, messages: Sequence[ClientMessage]) -> None:
        for message in messages:
            await self.write(self._encode(message))

    async def write(self, message: str | bytes) -> None:
        """Writes an encoded message."""
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            pass

    async def receive(self) -> Arrival:
        while self._closed is None:
            try:
                message = self._decode(await self._socket.recv())
            except ConnectionClosed:
                self._closed = self._reason()
            except Malformed as fault:
                self._closed = TransportClosed(CloseReason.PROTOCOL_ERROR, str(fault))
                await self._socket.close(PROTOCOL_ERROR_CODE)
            else:
                # Messages of an unknown kind are skipped.
                if message is not None:
                    return ControlMessage(message)
        return self._closed

    async def close(self, reason: CloseReason) -> None:
        await self.close_with(websocket_code(reason))

    async def close_with(self, code: int | None) -> None:
        """Closes with a code of WebSocket, or without one."""
        try:
            await self._socket.close(code)  # type: ignore[arg-type]
        except ConnectionClosed:
            pass

    def abort(self) -> None:
        self._socket.transport.abort()

    def _encode(self, message: ClientMessage) -> str | bytes:
        return json_messages.encode(message) if self._json else messages.CLIENT.encode(message)

    def _decode(self, message: str | bytes) -> GatewayMessage | None:
        if isinstance(message, str) != self._json:
            raise Malformed("a message of another subprotocol")
        if isinstance(message, str):
            return json_messages.decode(message)
        return messages.GATEWAY.decode(message)

    def _reason(self) -> TransportClosed:
        close = self._socket.protocol.close_rcvd
        if close is None:
            lost = "the connection ended without a close"
            return TransportClosed(CloseReason.NETWORK_DISCONNECTED, lost)
        return TransportClosed(websocket_close_reason(close.code), close.reason, close.code)


def _unreachable(url: GatewayUrl, error: Exception) -> ConnectError:
    cause, detail = UnreachableCause.OTHER, str(error)
    if isinstance(error, ConnectionRefusedError):
        cause = UnreachableCause.NOT_LISTENING
    elif isinstance(error, ssl.SSLCertVerificationError):
        cause, detail = UnreachableCause.CERTIFICATE, error.verify_message
    elif isinstance(error, InvalidStatus):
        body = error.response.body or b""
        # The body says more than the status.
        detail = f"HTTP {error.response.status_code}: {body.decode(errors='replace').strip()}"
        cause = UnreachableCause.HTTP
    elif isinstance(error, OSError) and isinstance(error, asyncio.TimeoutError):
        detail = "the connection timed out"
    return UnreachableError(str(url), cause, detail or type(error).__name__)
