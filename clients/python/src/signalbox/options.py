"""Connection options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .codes import Streams
from .gateway_url import GatewayUrl

VERSION = "0.1.0"
AGENT = f"signalbox-python/{VERSION}"
KEEP_ALIVE = 10.0
"""A third of the gateway's default idle timeout, and often enough to keep a NAT's mapping alive."""


@dataclass(frozen=True)
class ConnectOptions:
    """The gateways, the token and the behaviour of one connection. See :func:`signalbox.connect`."""

    urls: tuple[GatewayUrl, ...]
    token: str
    presence: bool = True
    resume: bool = True
    rejoin: bool = True
    streams: Streams = Streams.PER_SENDER
    json: bool = False
    keep_alive: float = KEEP_ALIVE
    early_data: bool = True
    ca_file: str | Path | None = None
    agent: str = AGENT

    def __repr__(self) -> str:
        # The token is a secret.
        return f"ConnectOptions(urls={[str(url) for url in self.urls]})"
