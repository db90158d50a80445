"""Gateway URLs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import UrlError

DEFAULT_PORT = 4433
WEBSOCKET_PATH = "/v1/connect"
SCHEMES = ("quic", "wss", "ws")


@dataclass(frozen=True)
class GatewayUrl:
    """A parsed URL."""

    scheme: str
    host: str
    port: int
    path: str
    """Path of the WebSocket endpoint."""

    @classmethod
    def parse(cls, text: str) -> GatewayUrl:
        """Raises :class:`UrlError`."""
        try:
            url = urlsplit(text)
            host, port = url.hostname, url.port
        except ValueError as error:
            raise UrlError(f"{error} in {text!r}") from error
        if url.scheme not in SCHEMES:
            raise UrlError(f"unknown scheme in {text!r}")
        # Tokens do not belong in URLs, which end up in logs.
        if url.query or url.username is not None or url.password is not None:
            raise UrlError(f"neither a query nor a user name is allowed in {text!r}")
        if not host:
            raise UrlError(f"no host in {text!r}")
        path = url.path if url.path not in ("", "/") else WEBSOCKET_PATH
        return cls(url.scheme, host, port or DEFAULT_PORT, path)

    @property
    def address(self) -> str:
        """Host and port as one text."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"
