"""Requests as bytes on a TLS connection, and responses that are parsed strictly.

An HTTP library would correct requests and tolerate invalid responses.
"""

import socket
import ssl
from dataclasses import dataclass

from vendor import Vendor

DEADLINE_S = 15


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]  # names in lower case; each at most once
    body: bytes

    @property
    def content_type(self) -> str | None:
        """The exact content type, as some SDKs compare it with `==`."""
        return self.headers.get("content-type")


class Wire:
    """One connection for several requests, one after the other."""

    def __init__(self, vendor: Vendor) -> None:
        context = ssl.create_default_context(cafile=vendor.ca)
        context.set_alpn_protocols(["http/1.1"])
        address = (vendor.https.host, vendor.https.port)
        plain = socket.create_connection(address, timeout=DEADLINE_S)
        self._socket = context.wrap_socket(plain, server_hostname=vendor.https.host)
        self._unread = b""

    def close(self) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> Reply:
        self._socket.sendall(request)
        status, headers = parse_head(self._until(b"\r\n\r\n").decode("ascii"))
        if headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            body = b"".join(iter(self._chunk, b""))
        else:
            assert "transfer-encoding" not in headers
            body = self._take(int(headers.get("content-length", "0")))
        assert not self._unread  # no byte follows after the announced length
        return Reply(status, headers, body)

    def _chunk(self) -> bytes:
        chunk = self._take(int(self._until(b"\r\n"), 16))
        assert self._take(2) == b"\r\n"
        return chunk

    def _until(self, end: bytes) -> bytes:
        while end not in self._unread:
            self._read()
        found, _, self._unread = self._unread.partition(end)
        return found

    def _take(self, length: int) -> bytes:
        while len(self._unread) < length:
            self._read()
        taken, self._unread = self._unread[:length], self._unread[length:]
        return taken

    def expect_end(self) -> None:
        """The gateway closes without sending more."""
        assert self._socket.recv(1) == b""

    def _read(self) -> None:
        part = self._socket.recv(65536)
        assert part, f"the gateway closed after {self._unread!r}"
        self._unread += part


def parse_head(head: str) -> tuple[int, dict[str, str]]:
    first, *lines = head.split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    headers: dict[str, str] = {}
    for line in lines:
        name, value = line.split(": ", 1)
        assert name.lower() not in headers
        headers[name.lower()] = value
    return int(status), headers


def exchange(vendor: Vendor, request: bytes) -> Reply:
    """One request on a connection of its own."""
    wire = Wire(vendor)
    try:
        return wire.exchange(request)
    finally:
        wire.close()
