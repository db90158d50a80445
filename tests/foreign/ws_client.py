"""A client on WebSocket: `websockets` for the transport, and JSON or `postcard` for the messages.

It was written from docs/protocol.md alone and shares no code with the gateway or its own client.
"""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

import postcard
from link import Link
from postcard import Malformed, Message

PATH = "/v1/connect"
JSON = "signalbox.v1.json"
POSTCARD = "signalbox.v1.postcard"
# What a client must accept from the gateway, and should not exceed.
MESSAGE_BYTES = {JSON: 262144, POSTCARD: postcard.GATEWAY_FRAME_BYTES}

FIRST_REASON_CODE = 4000
NETWORK_CODE = FIRST_REASON_CODE + postcard.REASONS["networkDisconnected"]

REASON_OF_CODE = {FIRST_REASON_CODE + code: name for name, code in postcard.REASONS.items()}


class WebSocketLink(Link):
    def __init__(self, socket: ClientConnection, encoding: str) -> None:
        super().__init__()
        self._socket = socket
        self._encoding = encoding
        # Always reading, regardless of the application.
        self._reading = asyncio.create_task(self._read_all())

    @classmethod
    async def open(
        cls, host: str, port: int, ca: Path, encoding: str = JSON, silence_s: float | None = None
    ) -> Self:
        """After `silence_s` without an answer to a ping the link is taken for lost; else the library
        decides."""
        pings = {}
        if silence_s is not None:
            pings = {"ping_interval": silence_s / 3, "ping_timeout": silence_s, "close_timeout": 1}
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["http/1.1"])
        socket = await connect(
            f"wss://{host}:{port}{PATH}",
            ssl=context,
            subprotocols=[encoding],
            compression=None,
            proxy=None,
            max_size=MESSAGE_BYTES[encoding],
            **pings,
        )
        link = cls(socket, encoding)
        if socket.subprotocol != encoding:
            await link.close()
            raise Malformed(f"offered {encoding}, the gateway answered {socket.subprotocol}")
        return link

    async def send(self, kind: str, fields: dict[str, Any]) -> None:
        await self.write(self._encode(kind, fields))

    async def write(self, message: str | bytes) -> None:
        await self._socket.send(message)

    async def abort(self, code: int | None) -> None:
        """Closes with this code, or with none, as an application that says nothing more."""
        await self._socket.close(code)

    def cut(self) -> None:
        self._lost = True
        self._socket.transport.abort()

    async def abandon(self) -> None:
        self._lost = True
        await self.abort(NETWORK_CODE)

    async def close(self) -> None:
        await self._socket.close(CloseCode.NORMAL_CLOSURE)
        await self._reading

    def _encode(self, kind: str, fields: dict[str, Any]) -> str | bytes:
        if self._encoding == POSTCARD:
            return postcard.CLIENT.encode(kind, fields)
        # As a person would type it: what is null may be left out.
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps({kind: present})

    async def _read_all(self) -> None:
        try:
            async for data in self._socket:
                if (message := self._decode(data)) is not None:
                    self._read(*message)
        except Malformed as fault:
            await self._socket.close(CloseCode.PROTOCOL_ERROR)
            self._over(None, "protocolError", str(fault))
            return
        except ConnectionClosed:
            # Every close but 1000 and 1001 comes by here. Its code is read below, as theirs is.
            pass
        self._over_with_close_frame()

    def _over_with_close_frame(self) -> None:
        close = self._socket.protocol.close_rcvd
        if close is None:
            self._over(None, None, "the gateway sent no Close frame")
        elif close.code == CloseCode.NORMAL_CLOSURE and self._said_goodbye:
            self._over(close.code, "clientDisconnected", close.reason)
        else:
            self._over(close.code, REASON_OF_CODE.get(close.code), close.reason)

    def _decode(self, data: str | bytes) -> Message | None:
        if isinstance(data, str) != (self._encoding == JSON):
            raise Malformed(f"a message of the wrong type on {self._encoding}")
        return decode_json(data) if isinstance(data, str) else postcard.GATEWAY.decode(data)


def decode_json(text: str) -> Message | None:
    """The message, or None for a kind that is unknown and therefore to be skipped."""
    try:
        message = json.loads(text, object_pairs_hook=_members_once, parse_constant=_no_constant)
        text.encode()
        json.dumps(message, ensure_ascii=False).encode()
    except (json.JSONDecodeError, UnicodeEncodeError, RecursionError) as fault:
        raise Malformed("not JSON that can be written as UTF-8") from fault
    if not isinstance(message, dict) or len(message) != 1:
        raise Malformed("not an object with exactly one member")
    ((kind, fields),) = message.items()
    if kind not in postcard.GATEWAY:
        return None
    if not postcard.GATEWAY.is_json(kind, fields):
        raise Malformed(f"not the fields of {kind}")
    return kind, fields


def _members_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    once = dict(members)
    if len(once) < len(members):
        raise Malformed("a member is there twice")
    return postcard.with_servers(once)


def _no_constant(name: str) -> None:
    raise Malformed(f"{name} is not JSON")
