"""Clients join with tokens of each SDK and get the role and data that the token states."""

import time

import pytest

from conftest import OpenSdk, Perform
from link import Ended
from room import CARRIERS, Room
from sdks import SDKS, Failure, Sdk
from vendor import Vendor

DAY_S = 24 * 60 * 60
# The vendor's maximum, and a little less for the duration of the test.
LONGEST_S = 30 * DAY_S - 60
DATA = 'name=Zoë & Co. ~ 🚦\n{"id":"1+1=2%20"}'
ROLES = ("subscriber", "publisher", "moderator", "publisheronly")

Kind = tuple[Sdk, str]


def names(kinds: list[Kind]) -> list[str]:
    return [f"{sdk}-{form}" for sdk, form in kinds]


KINDS: list[Kind] = [(sdk, form) for sdk in SDKS for form in sdk.token_forms]
OF_PROJECTS = [(sdk, form) for sdk, form in KINDS if not sdk.applications]

each_kind = pytest.mark.parametrize(("sdk", "form"), KINDS, ids=names(KINDS))


@each_kind
def test_says_role_and_data(perform: Perform, form: str) -> None:
    async def play(room: Room) -> None:
        for role in ROLES:
            token = await room.minted(form=form, role=role, data=DATA)
            for carrier in CARRIERS:
                link = await room.admit(token, carrier)
                assert (link.welcome["session"], link.welcome["role"]) == (room.session, role)
                assert link.welcome["connection"]["data"] == DATA

    perform(play)


@each_kind
def test_says_nothing(perform: Perform, form: str) -> None:
    """Without options the client is a publisher without data, as with the vendor."""

    async def play(room: Room) -> None:
        token = await room.minted(form=form)
        for carrier in CARRIERS:
            link = await room.admit(token, carrier)
            assert link.welcome["role"] == "publisher"
            assert link.welcome["connection"]["data"] == ""

    perform(play)


@each_kind
@pytest.mark.parametrize("lasts_s", [60, DAY_S, LONGEST_S], ids=["minute", "day", "month"])
def test_expires(perform: Perform, form: str, lasts_s: int) -> None:
    async def play(room: Room) -> None:
        token = await room.minted(form=form, expires=int(time.time()) + lasts_s)
        await room.admit(token)

    perform(play)


@each_kind
def test_longer_than_the_vendors_longest(perform: Perform, form: str) -> None:
    """Some SDKs reject it themselves; the gateway refuses the tokens of the others."""

    async def play(room: Room) -> None:
        with pytest.raises((Failure, Ended), match="30 days|invalidToken"):
            token = await room.minted(form=form, expires=int(time.time()) + 31 * DAY_S)
            await room.admit(token)

    perform(play)


@each_kind
def test_has_layout_classes(perform: Perform, form: str) -> None:
    """They are about media, and the gateway ignores them in every form."""

    async def play(room: Room) -> None:
        token = await room.minted(form=form, layout=["focus", "main"], data=DATA)
        link = await room.admit(token)
        assert link.welcome["connection"]["data"] == DATA

    perform(play)


@each_kind
@pytest.mark.parametrize("character", ["a", "€", "🚦"], ids=["ascii", "euro", "emoji"])
def test_has_the_longest_data(perform: Perform, sdk: Sdk, form: str, character: str) -> None:
    """A thousand characters, of which an SDK that escapes them makes twelve bytes each."""

    async def play(room: Room) -> None:
        units = len(character.encode("utf-16-le")) // 2 if sdk.counts_utf16 else 1
        data = character * (sdk.longest_data // units)
        link = await room.join(form=form, data=data)
        assert link.welcome["connection"]["data"] == data

    perform(play)


@each_kind
def test_is_for_its_session_alone(perform: Perform, form: str) -> None:
    """Clients of one session see each other, and no client of another session."""

    async def play(room: Room) -> None:
        alice = await room.join(form=form, data="alice")
        other = await room.elsewhere()
        stranger = await other.join(form=form, data="stranger")
        assert stranger.welcome["present"] == 0
        bob = await room.join(form=form, data="bob")
        assert await alice.event() == ("connectionCreated", bob.welcome["connection"])

    perform(play)


@each_kind
def test_with_the_wrong_secret(
    vendor: Vendor, open_sdk: OpenSdk, perform: Perform, sdk: Sdk, form: str
) -> None:
    forger = open_sdk(sdk, vendor.wrong_application if sdk.applications else vendor.wrong)

    async def play(room: Room) -> None:
        token = await room.minted(by=forger, form=form, role="moderator")
        for carrier in CARRIERS:
            with pytest.raises(Ended, match="invalidToken"):
                await room.admit(token, carrier)

    perform(play)


@pytest.mark.parametrize(("sdk", "form"), OF_PROJECTS, ids=names(OF_PROJECTS))
def test_with_the_older_secret(
    vendor: Vendor, open_sdk: OpenSdk, perform: Perform, sdk: Sdk, form: str
) -> None:
    older = open_sdk(sdk, vendor.older)

    async def play(room: Room) -> None:
        link = await room.admit(await room.minted(by=older, form=form, role="moderator"))
        assert link.welcome["role"] == "moderator"

    perform(play)
