"""A test client on WebSocket: the SDK's transport, with raw access to messages."""

import ssl
from pathlib import Path
from typing import Self

from link import Link
from signalbox import CloseReason
from signalbox.codes import websocket_code
from signalbox.gateway_url import WEBSOCKET_PATH, GatewayUrl
from signalbox.link.websocket import JSON, WebSocketTransport


class WebSocketLink(Link):
    transport: WebSocketTransport

    @classmethod
    async def open(
        cls, host: str, port: int, ca: Path, encoding: str = JSON, silence_s: float | None = None
    ) -> Self:
        """After `silence_s` without an answer to a ping the link counts as lost; by default it
        never does."""
        roots = ssl.create_default_context(cafile=ca)
        roots.set_alpn_protocols(["http/1.1"])
        url = GatewayUrl("wss", host, port, WEBSOCKET_PATH)
        transport = await WebSocketTransport.open(
            url, roots, json=encoding == JSON, keep_alive=silence_s and silence_s / 3
        )
        return cls(transport)

    async def write(self, message: str | bytes) -> None:
        """Writes a raw message."""
        await self.transport.write(message)

    async def abort(self, code: int | None) -> None:
        """Closes with this code, or without one."""
        await self.transport.close_with(code)

    async def close(self) -> None:
        await super().close()
        await self._reading

    async def abandon(self) -> None:
        self._lost = True
        await self.abort(websocket_code(CloseReason.NETWORK_DISCONNECTED))

    def cut(self) -> None:
        self._lost = True
        self.transport.abort()
