import pytest

import signalbox
from signalbox.gateway_list import GatewayList, parse_urls
from signalbox.gateway_url import GatewayUrl

URLS = ["quic://a", "wss://a", "quic://b", "wss://b", "quic://c"]


def order(gateways: GatewayList) -> list[str]:
    return [f"{url.scheme}://{url.host}" for url in gateways.in_order()]


def test_urls_are_tried_as_given_and_the_current_one_first() -> None:
    gateways = GatewayList(parse_urls(URLS))
    assert order(gateways) == URLS
    gateways.answered(GatewayUrl.parse("wss://b"))
    assert order(gateways) == ["wss://b", "quic://a", "wss://a", "quic://b", "quic://c"]
    gateways.answered(GatewayUrl.parse("quic://c"))
    assert order(gateways) == ["quic://c", "quic://a", "wss://a", "quic://b", "wss://b"]


def test_a_gateway_that_shuts_down_is_tried_last_on_all_its_urls() -> None:
    gateways = GatewayList(parse_urls(URLS))
    gateways.answered(GatewayUrl.parse("wss://a"))
    gateways.avoid_current()
    assert order(gateways) == ["quic://b", "wss://b", "quic://c", "wss://a", "quic://a"]
    # Another one refuses the ticket: it is the first to be asked to join.
    gateways.answered(GatewayUrl.parse("wss://b"))
    assert order(gateways) == ["wss://b", "quic://b", "quic://c", "quic://a", "wss://a"]
    # The next one shuts down, and the first is running again.
    gateways.avoid_current()
    assert order(gateways) == ["quic://a", "wss://a", "quic://c", "wss://b", "quic://b"]
    gateways.answered(GatewayUrl.parse("quic://b"))
    assert order(gateways) == ["quic://b", "quic://a", "wss://a", "wss://b", "quic://c"]


def test_a_gateway_that_leaves_an_opening_unanswered_is_tried_last() -> None:
    gateways = GatewayList(parse_urls(URLS))
    gateways.avoid(GatewayUrl.parse("quic://a"))
    assert order(gateways) == ["quic://b", "wss://b", "quic://c", "quic://a", "wss://a"]
    single = GatewayList(parse_urls(["quic://a", "wss://a"]))
    single.avoid(GatewayUrl.parse("quic://a"))
    assert order(single) == ["quic://a", "wss://a"], "it is the only one"


def test_gateways_of_a_welcome_come_after_those_of_the_application() -> None:
    gateways = GatewayList(parse_urls(["quic://a", "wss://b"]))

    def add(gateways: GatewayList, *texts: str) -> str:
        gateways.welcomed(texts)
        return "".join(url.host for url in gateways.in_order())

    assert add(gateways, "wss://c", "wss://b:4433/", "wss://c") == "abc"
    # No URL, a scheme that this SDK does not have, and one without TLS.
    unusable = ("d", "https://d", "ws://e")
    assert add(gateways, *unusable, "quic://f") == "abf", "the last welcome counts"
    gateways.answered(GatewayUrl.parse("quic://f"))
    assert add(gateways, "quic://g") == "fabg", "the current one stays"
    gateways.avoid_current()
    assert add(gateways) == "abf"
    plain = GatewayList(parse_urls("ws://a"))
    assert add(plain, "ws://b") == "ab"


def test_a_url_counts_once_and_a_list_has_at_least_one() -> None:
    gateways = GatewayList(parse_urls(["quic://a", "quic://a:4433/", "wss://a"]))
    assert order(gateways) == ["quic://a", "wss://a"]
    for urls in ([], (), ["quic://a", "b"], ""):
        with pytest.raises(signalbox.UrlError):
            signalbox.connect(urls, "token")
