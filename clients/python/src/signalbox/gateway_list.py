"""The URLs of a client's gateways, and the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UrlError
from .gateway_url import GatewayUrl


def parse_urls(urls: str | Sequence[str]) -> tuple[GatewayUrl, ...]:
    """One URL or several, each once. Raises :class:`UrlError`."""
    texts = [urls] if isinstance(urls, str) else urls
    if not texts:
        raise UrlError("no URL is given")
    return tuple(dict.fromkeys(map(GatewayUrl.parse, texts)))


class GatewayList:
    """The URLs, and what is known about their gateways."""

    def __init__(self, urls: tuple[GatewayUrl, ...]) -> None:
        # In order of preference, each once: the application's, then those of the last welcome.
        self._urls = self._given = urls
        # The URL whose gateway has answered last. It is tried first.
        self._current: GatewayUrl | None = None
        # Host and port of a gateway that shuts down, or has left an opening unanswered. It is tried
        # last.
        self._avoided: str | None = None

    def __len__(self) -> int:
        return len(self._urls)

    def welcomed(self, texts: Sequence[str]) -> None:
        """Takes the other gateways of a welcome, in place of those of an earlier one.

        What is not the URL of a gateway is ignored.
        """
        # A ticket that has travelled over TLS must not be sent without it.
        allow_plain = any(url.scheme == "ws" for url in self._given)
        # A welcome does not name the gateway that sends it.
        added = [self._current] if self._current else []
        for text in texts:
            try:
                url = GatewayUrl.parse(text)
            except UrlError:
                continue
            if allow_plain or url.scheme != "ws":
                added.append(url)
        self._urls = tuple(dict.fromkeys([*self._given, *added]))

    def in_order(self) -> list[GatewayUrl]:
        """The URLs in the order in which to try them."""
        return sorted(
            self._urls, key=lambda url: (url.address == self._avoided, url != self._current)
        )

    def answered(self, url: GatewayUrl) -> None:
        """Records that the gateway at this URL has answered an opening."""
        self._current = url
        if self._avoided == url.address:
            self._avoided = None

    def avoid(self, url: GatewayUrl) -> None:
        """Puts the other gateways before this one until it answers again."""
        self._avoided = url.address

    def avoid_current(self) -> None:
        """The same for the gateway that has answered last."""
        self._avoided = self._current.address if self._current else None
