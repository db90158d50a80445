"""The guarantees over WebSocket, tested with a client that shares no code with the gateway."""

import json

import pytest

import scenarios
from gateways import Gateway, mint_token
from link import Ended
from stage import (
    QUIC,
    WEBSOCKET_JSON,
    WEBSOCKET_POSTCARD,
    Carrier,
    Scenario,
    Stage,
    all_at_once,
    ends_with,
    perform,
    signal,
)

TOKEN = "abc.def.ghi"
CLIENT_LIMIT = {WEBSOCKET_JSON: 65536, WEBSOCKET_POSTCARD: 20480}

each_encoding = pytest.mark.parametrize("carrier", [WEBSOCKET_JSON, WEBSOCKET_POSTCARD], ids=str)


@each_encoding
@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda scenario: scenario.__name__)
def test_promise(gateway: Gateway, carrier: Carrier, scenario: Scenario) -> None:
    perform(scenario, gateway, carrier)


def test_no_hello(gateway: Gateway) -> None:
    perform(scenarios.no_hello, gateway, WEBSOCKET_JSON)


# Messages that end a link with protocolError at any time.
MALFORMED_JSON = {
    "nothing": "",
    "no JSON": "hello",
    "no member": "{}",
    "two members": '{"signal":{},"goodbye":{}}',
    "an array": '[{"signal":{}}]',
    "a bare string": '"signal"',
    "null where no option is": '{"goodbye":{"signals":null}}',
    "a member twice": '{"signal":{"data":"a","data":"b"}}',
    "an unpaired surrogate": '{"signal":{"data":"\\ud800"}}',
    "a fraction": '{"goodbye":{"signals":1.0}}',
    "an id without hyphens": '{"signal":{"to":"f47ac10b58cc4372a5670e02b2c3d479"}}',
    "a byte order mark": '\ufeff{"signal":{}}',
    "binary": b'{"signal":{}}',
}
MALFORMED_POSTCARD = {
    "nothing": b"",
    "bytes missing": bytes.fromhex("01"),
    "bytes left over": bytes.fromhex("010000000707"),
    "not UTF-8": bytes.fromhex("0100000102c328"),
    "data that is not there": bytes.fromhex("01000001ffffffff0f"),
    "neither none nor some": bytes.fromhex("01020000"),
    "text": '{"signal":{}}',
}


@pytest.mark.parametrize(
    ("carrier", "malformed"),
    [(WEBSOCKET_JSON, MALFORMED_JSON), (WEBSOCKET_POSTCARD, MALFORMED_POSTCARD)],
    ids=[str(WEBSOCKET_JSON), str(WEBSOCKET_POSTCARD)],
)
def test_malformed_ends_the_link(
    gateway: Gateway, carrier: Carrier, malformed: dict[str, str | bytes]
) -> None:
    async def case(stage: Stage, message: str | bytes) -> None:
        link = await stage.join("breaker", presence=False)
        await link.write(message)
        await ends_with(stage, link, "protocolError")

    async def scenario(stage: Stage) -> None:
        cases = {name: case(stage, message) for name, message in malformed.items()}
        await all_at_once(cases)

    perform(scenario, gateway, carrier)


@each_encoding
def test_second_hello_ends_the_link(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        link = await stage.join("breaker")
        with pytest.raises(Ended):
            await link.hello(TOKEN)
        await ends_with(stage, link, "protocolError")

    perform(scenario, gateway, carrier)


@each_encoding
def test_another_message_first_ends_the_link(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        link = await stage.open()
        await link.signal(data="too early")
        await ends_with(stage, link, "protocolError")

    perform(scenario, gateway, carrier)


@each_encoding
def test_a_message_over_the_limit_ends_the_link(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        link = await stage.join("breaker")
        await link.signal(data="x" * CLIENT_LIMIT[carrier])
        await ends_with(stage, link, "frameTooLarge")

    perform(scenario, gateway, carrier)


@pytest.mark.parametrize(
    ("carrier", "message"),
    [(WEBSOCKET_JSON, '{"dance":[1,2]}'), (WEBSOCKET_POSTCARD, bytes.fromhex("c801090909"))],
    ids=[str(WEBSOCKET_JSON), str(WEBSOCKET_POSTCARD)],
)
def test_unknown_kind_is_answered_and_the_link_goes_on(
    gateway: Gateway, carrier: Carrier, message: str | bytes
) -> None:
    async def scenario(stage: Stage) -> None:
        link = await stage.join("newer than the gateway")
        await link.write(message)
        await scenarios.goes_on_after_unsupported(link)

    perform(scenario, gateway, carrier)


def test_json_with_defaults_and_unknown_members_is_accepted(gateway: Gateway) -> None:
    """Defaults left out, unknown members, ids in upper case, members in any order."""

    async def scenario(stage: Stage) -> None:
        alice = await stage.open()
        token = mint_token(gateway, stage.session)
        await alice.write(json.dumps({"hello": {"colour": "red", "token": token}}))
        await alice.next("welcome")
        for written in ({}, {"data": "a", "to": alice.me.upper(), "mood": {"good": [1]}}):
            await alice.write(json.dumps({"signal": written}))
        assert await alice.next("signal") == signal(alice, 1, None, None)
        assert await alice.next("signal") == signal(alice, 2, None, "a")
        await alice.write('{"goodbye":{}}')
        await ends_with(stage, alice, "clientDisconnected")

    perform(scenario, gateway, WEBSOCKET_JSON)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "clientDisconnected"),
        (1001, "clientDisconnected"),
        (None, "clientDisconnected"),
        (4000, "networkDisconnected"),
    ],
)
def test_how_a_carrier_ends_is_what_others_are_told(
    gateway: Gateway, code: int | None, reason: str
) -> None:
    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander", carrier=QUIC)
        leaver = await stage.join("leaver")
        await leaver.abort(code)
        destroyed = await bystander.next("connectionDestroyed")
        assert destroyed == stage.destroyed(leaver, reason, 0, QUIC)

    perform(scenario, gateway, WEBSOCKET_JSON)
