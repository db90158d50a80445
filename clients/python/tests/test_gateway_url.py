import pytest

import signalbox
from signalbox.dial import interleave_families
from signalbox.gateway_url import GatewayUrl


@pytest.mark.parametrize(
    ("url", "scheme", "address", "path"),
    [
        ("quic://a.example", "quic", "a.example:4433", "/v1/connect"),
        ("wss://a.example/", "wss", "a.example:4433", "/v1/connect"),
        ("wss://a.example:443", "wss", "a.example:443", "/v1/connect"),
        ("ws://127.0.0.1:8080/proxied", "ws", "127.0.0.1:8080", "/proxied"),
        ("quic://[::1]:9", "quic", "[::1]:9", "/v1/connect"),
    ],
)
def test_urls_name_a_gateway(url: str, scheme: str, address: str, path: str) -> None:
    parsed = GatewayUrl.parse(url)
    assert (parsed.scheme, parsed.address, parsed.path) == (scheme, address, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:4433",
        "http://a",
        "quic://",
        "wss://a/?token=x",
        "wss://u:p@a",
        "wss://a:port",
        "wss://[::1",
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(signalbox.UrlError):
        signalbox.connect(url, "token")


def test_a_token_is_not_shown() -> None:
    connecting = signalbox.connect("wss://a.example", "abc.def.ghi")
    assert "abc.def.ghi" not in repr(vars(connecting))


def test_an_agent_over_the_limit_is_rejected() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        signalbox.connect("wss://a.example", "token", agent="é" * 33)


def test_address_families_take_turns() -> None:
    a, b, c = (("::1", 1, 0, 0), ("::2", 1, 0, 0), ("::3", 1, 0, 0))
    d, e = (("1.1.1.1", 1), ("2.2.2.2", 1))
    assert interleave_families([a, b, c, d, e]) == [a, d, b, e, c]
    assert interleave_families([d, a, b, c]) == [d, a, b, c]
    assert interleave_families([]) == []
