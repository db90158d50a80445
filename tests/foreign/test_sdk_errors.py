"""The exceptions of each SDK for the gateway's error responses, which applications catch.

The gateway chooses the status, the content type and the message. The rest comes from the SDK, and
is the same with the vendor's own service.
"""

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import room
from conftest import OpenSdk, Perform
from room import Room
from sdks import REQUESTING, Client, Failure, Sdk, Session, by_name
from vendor import LIMITED_SIGNALS_PER_SECOND, Vendor

NOBODY_THERE = "Not found. No clients are actively connected to the OpenTok session."
NOT_THERE = "Not found. The connection is not in the session."
BAD_ID = "Invalid connection ID"
ANOTHER_PROJECT = "Id in the token does not match the one in the url"

GOOD = {"type": "t", "data": "d"}
# Characters of two bytes each: an SDK that counts characters allows too many bytes.
TOO_LONG = "é" * 4097
SOMEBODY = str(uuid.uuid4())
NO_SESSION = "1_not-a-session"

each_sdk = pytest.mark.parametrize("sdk", REQUESTING, ids=str)


@dataclass(frozen=True)
class Thrown:
    """The exception of an SDK for a status: its class, and the parts of the response in it."""

    kind: str
    status: bool = False
    message: bool = False


# By SDK and call. None stands for all other statuses.
OPENTOK_PYTHON: dict[str, dict[int | None, Thrown]] = {
    # Intended as an AuthError, which the SDK's own handler catches.
    "create": {403: Thrown("RequestError"), None: Thrown("OpenTokException")},
    # Intended as a SignalingError, but an error response is false in Python.
    "signal": {None: Thrown("RequestError", status=True)},
    "disconnect": {
        400: Thrown("ForceDisconnectError"),
        403: Thrown("AuthError"),
        404: Thrown("ForceDisconnectError"),
    },
}
OPENTOK_NODE: dict[str, dict[int | None, Thrown]] = {
    "create": {None: Thrown("Error")},
    "signal": {
        403: Thrown("AuthError"),
        404: Thrown("SignalError"),
        None: Thrown("RequestError", message=True),
    },
    "disconnect": {
        403: Thrown("AuthError"),
        404: Thrown("ForceDisconnectError"),
        None: Thrown("RequestError", message=True),
    },
}
VONAGE_PYTHON_ALWAYS: dict[int | None, Thrown] = {
    403: Thrown("ForbiddenError", status=True, message=True),
    404: Thrown("NotFoundError", status=True, message=True),
    429: Thrown("RateLimitedError", status=True, message=True),
    None: Thrown("HttpRequestError", status=True, message=True),
}
VONAGE_NODE_ALWAYS: dict[int | None, Thrown] = {None: Thrown("VetchError", status=True, message=True)}
CALLS = ("create", "signal", "disconnect")
THROWS = {
    "opentok-python": OPENTOK_PYTHON,
    "opentok-node": OPENTOK_NODE,
    "opentok-node-application": OPENTOK_NODE,
    "vonage-python": dict.fromkeys(CALLS, VONAGE_PYTHON_ALWAYS),
    "vonage-node": dict.fromkeys(CALLS, VONAGE_NODE_ALWAYS),
}


def check(sdk: Sdk, call: str, failure: Failure, status: int, message: str) -> None:
    by_status = THROWS[sdk.name][call]
    check_thrown(by_status.get(status) or by_status[None], failure, status, message)


def check_thrown(thrown: Thrown, failure: Failure, status: int, message: str) -> None:
    assert failure.kind == thrown.kind
    assert failure.status == (status if thrown.status else None)
    if thrown.message:
        assert message in failure.message


def failure_of(call: Callable[..., Any], *args: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        call(*args)
    return caught.value


@dataclass(frozen=True)
class Refused:
    """A call that the gateway rejects in any session."""

    call: str
    by: Callable[[Client, str], None]
    status: int
    message: str
    # SDKs that reject it themselves, and the exceptions they throw then.
    before: dict[str, str] | None = None


REFUSED = {
    "signal to nobody": Refused(
        "signal", lambda client, session: client.signal(session, GOOD), 404, NOBODY_THERE
    ),
    "data too long": Refused(
        "signal",
        lambda client, session: client.signal(session, {"type": "t", "data": TOO_LONG}),
        413,
        "8192",
    ),
    "type too long": Refused(
        "signal",
        lambda client, session: client.signal(session, {"type": "t" * 129, "data": "d"}),
        413,
        "128",
        {"vonage-python": "ValidationError"},
    ),
    "type of other characters": Refused(
        "signal",
        lambda client, session: client.signal(session, {"type": "a b", "data": "d"}),
        400,
        "type",
    ),
    "no data": Refused(
        "signal",
        lambda client, session: client.signal(session, {"type": "t"}),
        400,
        "Signal payload 'data' must be set",
        {"vonage-python": "ValidationError"},
    ),
    "signal in no session": Refused(
        "signal", lambda client, _: client.signal(NO_SESSION, GOOD), 400, "Invalid session ID"
    ),
    "signal to no id": Refused(
        "signal", lambda client, session: client.signal(session, GOOD, "nobody"), 400, BAD_ID
    ),
    "disconnect nobody": Refused(
        "disconnect",
        lambda client, session: client.force_disconnect(session, SOMEBODY),
        404,
        NOT_THERE,
    ),
    "disconnect no id": Refused(
        "disconnect", lambda client, session: client.force_disconnect(session, "nobody"), 400, BAD_ID
    ),
    "disconnect in no session": Refused(
        "disconnect",
        lambda client, _: client.force_disconnect(NO_SESSION, SOMEBODY),
        400,
        "Invalid session ID",
    ),
}


@each_sdk
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_refused(client: Client, sdk: Sdk, refused: Refused) -> None:
    session = client.create_session()
    failure = failure_of(refused.by, client, session)
    if refused.before and sdk.name in refused.before:
        assert failure.kind == refused.before[sdk.name]
    else:
        check(sdk, refused.call, failure, refused.status, refused.message)
    assert client.create_session() != session  # it goes on


CALLS_OF_ALL: dict[str, Callable[[Client, str], Any]] = {
    "create": lambda client, _: client.create_session(Session(media="routed")),
    "signal": lambda client, session: client.signal(session, GOOD),
    "disconnect": lambda client, session: client.force_disconnect(session, SOMEBODY),
}


@each_sdk
@pytest.mark.parametrize("call", CALLS_OF_ALL)
def test_wrong_secret(
    vendor: Vendor, open_sdk: OpenSdk, client: Client, sdk: Sdk, call: str
) -> None:
    session = client.create_session()
    wrong = open_sdk(sdk, vendor.wrong_application if sdk.applications else vendor.wrong)
    failure = failure_of(CALLS_OF_ALL[call], wrong, session)
    check(sdk, call, failure, 403, "Unauthorized token")


@each_sdk
@pytest.mark.parametrize("call", ["signal", "disconnect"])
def test_session_of_another_project(
    vendor: Vendor, open_sdk: OpenSdk, client: Client, sdk: Sdk, call: str
) -> None:
    foreign_sdk = next(other for other in REQUESTING if not other.applications)
    session = open_sdk(foreign_sdk, vendor.other).create_session()
    failure = failure_of(CALLS_OF_ALL[call], client, session)
    check(sdk, call, failure, 403, ANOTHER_PROJECT)


@each_sdk
def test_somebody_else_is_there(perform: Perform, sdk: Sdk) -> None:
    async def play(room: Room) -> None:
        await room.join()
        for call, method in [
            ("signal", lambda: room.client.signal(room.session, GOOD, SOMEBODY)),
            ("disconnect", lambda: room.client.force_disconnect(room.session, SOMEBODY)),
        ]:
            failure = await asyncio.to_thread(failure_of, method)
            check(sdk, call, failure, 404, NOT_THERE)

    perform(play)


@each_sdk
def test_one_who_hears_nothing(perform: Perform, sdk: Sdk) -> None:
    async def play(room: Room) -> None:
        deaf = await room.join(role="publisheronly")
        method = room.client.signal
        failure = await asyncio.to_thread(failure_of, method, room.session, GOOD, deaf.me)
        check(sdk, "signal", failure, 403, "does not receive signals")

    perform(play)


@each_sdk
def test_too_many_signals(vendor: Vendor, open_sdk: OpenSdk, sdk: Sdk) -> None:
    """The project has a rate limit, which the second signal within a second exceeds."""
    client = open_sdk(sdk, vendor.limited_application if sdk.applications else vendor.limited)

    def too_many(session: str) -> None:
        for _ in range(20 * LIMITED_SIGNALS_PER_SECOND):
            client.signal(session, GOOD)

    async def play(room: Room) -> None:
        await room.join()
        failure = await asyncio.to_thread(failure_of, too_many, room.session)
        check(sdk, "signal", failure, 429, "exceeds its limit of signals per second")

    room.perform(vendor, client, client, play)


# The columns of the table in docs/migrating.md, and the calls of its rows.
SHOWN_BY = ("opentok-node", "opentok-python", "vonage-node", "vonage-python")
SHOWN_FOR: dict[str, tuple[str, Callable[[Client, str], Any]]] = {
    "404, nobody is there": ("good", REFUSED["signal to nobody"].by),
    "403, wrong secret": ("wrong", REFUSED["signal to nobody"].by),
    "403, wrong secret, `createSession`": ("wrong", CALLS_OF_ALL["create"]),
    "403, session of another project": ("other", REFUSED["signal to nobody"].by),
    "400, type of other characters": ("good", REFUSED["type of other characters"].by),
    "413, data too long": ("good", REFUSED["data too long"].by),
    "404, `forceDisconnect` of nobody": ("good", REFUSED["disconnect nobody"].by),
}
SHOWN_TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).parents[2] / "docs" / "migrating.md")
    .read_text()
    .split("**What each SDK shows**")[1]
    .split("**")[0]
    .splitlines()
    if line.startswith("| 4")
]


def test_the_table_of_errors_by_sdk_is_complete() -> None:
    assert {row[0] for row in SHOWN_TABLE} == set(SHOWN_FOR)


@pytest.mark.parametrize("sdk", [by_name(name) for name in SHOWN_BY], ids=str)
@pytest.mark.parametrize("row", SHOWN_TABLE, ids=lambda row: row[0])
def test_shows_what_the_page_says(
    vendor: Vendor, open_sdk: OpenSdk, client: Client, sdk: Sdk, row: list[str]
) -> None:
    """A cell has the class of the error and its text, in which `…` stands for any text."""
    kind, text = row[1 + SHOWN_BY.index(sdk.name)].strip("`").split(": ", 1)
    who, call = SHOWN_FOR[row[0]]
    session = client.create_session()
    if who == "wrong":
        client = open_sdk(sdk, vendor.wrong_application if sdk.applications else vendor.wrong)
    elif who == "other":
        other = next(other for other in REQUESTING if not other.applications)
        session = open_sdk(other, vendor.other).create_session()
    failure = failure_of(call, client, session)
    assert failure.kind == kind
    pattern = ".*".join(re.escape(part) for part in text.split("…"))
    assert re.fullmatch(pattern, failure.shown, re.DOTALL), failure.shown


# The result of an SDK when the gateway lists no streams: this error, or an empty list.
STREAMS = {
    "opentok-python": None,
    "opentok-node": Thrown("NotFoundError"),
    "opentok-node-application": Thrown("NotFoundError"),
    "vonage-python": VONAGE_PYTHON_ALWAYS[404],
    "vonage-node": VONAGE_NODE_ALWAYS[None],
}


@each_sdk
def test_streams_are_not_there(client: Client, sdk: Sdk) -> None:
    """Signalbox has no media. An SDK that requests it gets a response that it can handle."""
    session = client.create_session()
    if (thrown := STREAMS[sdk.name]) is None:
        client.list_streams(session)
    else:
        check_thrown(thrown, failure_of(client.list_streams, session), 404, "no media")
