"""Clients join with tokens of the vendor's SDKs for Ruby, PHP, Java and .NET."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable

import pytest

from conftest import OpenSdk
from gateways import Project
from link import Ended
from room import CARRIERS, Room
from sdks import by_name
from vendor import Credentials, Vendor, public_pem
from vendor_tokens import DAY_S, MINTERS, Asked, Minter, java_jwt

DATA = 'name=Zoë & Co. ~ 🚦\n{"id":"1+1=2%20"}'
ROLES = ("subscriber", "publisher", "moderator", "publisheronly")
LONGEST_S = 30 * DAY_S - 60
# More than the tolerated difference of clocks.
LONG_AGO_S = 10 * 60

APPLICATION = next(minter for minter in MINTERS if minter.applications)
RUBY_T1 = next(minter for minter in MINTERS if minter.name == "ruby-t1")

each_minter = pytest.mark.parametrize("minter", MINTERS, ids=str)
each_t1 = pytest.mark.parametrize(
    "minter", [minter for minter in MINTERS if minter.name.endswith("-t1")], ids=str
)

Play = Callable[[Room, Credentials], Awaitable[None]]


def perform(vendor: Vendor, open_sdk: OpenSdk, minter: Minter, play: Play) -> None:
    """Runs a scenario in a session of the project of the tokens."""
    creator = open_sdk(by_name("vonage-python" if minter.applications else "opentok-python"))
    credentials = vendor.application if minter.applications else vendor.project

    async def in_a_room() -> None:
        async with await Room.created(vendor, creator, creator) as room:
            await play(room, credentials)

    asyncio.run(in_a_room())


async def turned_away(room: Room, token: str, reason: str) -> None:
    for carrier in CARRIERS:
        with pytest.raises(Ended, match=reason):
            await room.admit(token, carrier)


@each_minter
def test_says_role_and_data(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    async def play(room: Room, credentials: Credentials) -> None:
        for role in ROLES:
            expires = int(time.time()) + 60
            asked = Asked(room.session, role, DATA, layout=("focus", "main"), expires=expires)
            for carrier in CARRIERS:
                link = await room.admit(minter(credentials, asked), carrier)
                assert (link.welcome["session"], link.welcome["role"]) == (room.session, role)
                assert link.welcome["connection"]["data"] == DATA

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_says_nothing(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    """No data, no classes, and with half of the SDKs no expiry."""

    async def play(room: Room, credentials: Credentials) -> None:
        for carrier in CARRIERS:
            link = await room.admit(minter(credentials, Asked(room.session)), carrier)
            assert link.welcome["role"] == "publisher"
            assert link.welcome["connection"]["data"] == ""

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_lasts_a_month(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    async def play(room: Room, credentials: Credentials) -> None:
        made = int(time.time()) - 15 * DAY_S
        asked = Asked(room.session, expires=made + LONGEST_S, now=made)
        await room.admit(minter(credentials, asked))

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_is_over(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    async def play(room: Room, credentials: Credentials) -> None:
        now = int(time.time())
        asked = Asked(room.session, now=now - DAY_S, expires=now - LONG_AGO_S)
        await turned_away(room, minter(credentials, asked), "tokenExpired")

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_is_over_after_a_day(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    """A token without an expiry is valid for a day."""

    async def play(room: Room, credentials: Credentials) -> None:
        now = int(time.time())
        asked = Asked(room.session, now=now - DAY_S - LONG_AGO_S)
        await turned_away(room, minter(credentials, asked), "tokenExpired")
        if not minter.always_ends:
            asked = Asked(room.session, now=now - DAY_S + LONG_AGO_S)
            await room.admit(minter(credentials, asked))

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_is_of_another_project(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    """A project can sign a token for any id, but the id names the project of the session."""
    foreign = vendor.limited_application if minter.applications else vendor.other

    async def play(room: Room, _: Credentials) -> None:
        await turned_away(room, minter(foreign, Asked(room.session)), "wrongProject")

    perform(vendor, open_sdk, minter, play)


@each_minter
def test_is_forged(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    wrong = vendor.wrong_application if minter.applications else vendor.wrong

    async def play(room: Room, _: Credentials) -> None:
        await turned_away(room, minter(wrong, Asked(room.session)), "invalidToken")

    perform(vendor, open_sdk, minter, play)


def test_a_public_key_is_no_secret(vendor: Vendor, open_sdk: OpenSdk) -> None:
    """A token that is signed with the public key as if it were a secret."""

    async def play(room: Room, credentials: Credentials) -> None:
        public = Project(credentials.key, public_pem(credentials))
        token = java_jwt(public, Asked(room.session).at(time.time()))
        await turned_away(room, token, "invalidToken")

    perform(vendor, open_sdk, APPLICATION, play)


@each_t1
def test_t1_with_another_role(vendor: Vendor, open_sdk: OpenSdk, minter: Minter) -> None:
    """The signature covers every byte after the first colon."""

    async def play(room: Room, credentials: Credentials) -> None:
        token = minter(credentials, Asked(room.session, "publisher", "a:b"))
        link = await room.admit(token)
        assert link.welcome["connection"]["data"] == "a:b"
        whole = decoded(token)
        assert whole.count(b"role=publisher") == 1
        raised = encoded(whole.replace(b"role=publisher", b"role=moderator"))
        await turned_away(room, raised, "invalidToken")

    perform(vendor, open_sdk, minter, play)


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "unpadded"])
@pytest.mark.parametrize("url_safe", [True, False], ids=["url-safe", "standard"])
def test_t1_in_each_alphabet(
    vendor: Vendor, open_sdk: OpenSdk, url_safe: bool, padded: bool
) -> None:
    """Of the characters in a token, SDKs encode only the tilde differently; only Ruby keeps it."""

    async def play(room: Room, credentials: Credentials) -> None:
        paddings = set()
        for length in range(3):
            asked = Asked(room.session, data="~~~" + "x" * length)
            whole = decoded(RUBY_T1(credentials, asked))
            token = encoded(whole, url_safe, padded)
            assert ("-" if url_safe else "+") in token
            paddings.add(token.count("=") - "T1==".count("="))
            link = await room.admit(token)
            assert link.welcome["connection"]["data"] == asked.data
        assert paddings == ({0, 1, 2} if padded else {0})

    perform(vendor, open_sdk, RUBY_T1, play)


def decoded(token: str) -> bytes:
    return base64.b64decode(token.removeprefix("T1==").translate(str.maketrans("-_", "+/")))


def encoded(whole: bytes, url_safe: bool = False, padded: bool = True) -> str:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(whole).decode()
    return "T1==" + (text if padded else text.rstrip("="))
