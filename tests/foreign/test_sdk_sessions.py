"""Creating sessions as the vendor documents it, with each SDK whose address can be set."""

import time

import pytest

import session_id
from conftest import OpenSdk
from sdks import REQUESTING, SDKS, Failure, Sdk, Session
from vendor import Vendor

# The vendor's prefix: for peers that may connect directly, and for media through its servers.
VERSIONS = {"relayed": "1", "routed": "2"}
CLOCK_SLACK_MS = 2000

each_sdk = pytest.mark.parametrize("sdk", REQUESTING, ids=str)

ASKED = {
    "relayed": Session(media="relayed"),
    "routed": Session(media="routed"),
    "located": Session(media="relayed", location="12.34.56.78"),
    "archived": Session(media="routed", archive="always"),
    "archived-by-hand": Session(media="routed", archive="manual", location="192.0.2.1"),
}


@each_sdk
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_created(vendor: Vendor, open_sdk: OpenSdk, sdk: Sdk, asked: Session) -> None:
    key = (vendor.application if sdk.applications else vendor.project).key
    before_ms = time.time_ns() // 1_000_000
    created = session_id.parse(open_sdk(sdk).create_session(asked))
    after_ms = time.time_ns() // 1_000_000
    assert created.version == VERSIONS[asked.media]
    assert (created.key, created.location) == (key, asked.location or "")
    assert before_ms - CLOCK_SLACK_MS <= created.created_ms <= after_ms + CLOCK_SLACK_MS


@each_sdk
def test_created_with_nothing_asked(open_sdk: OpenSdk, sdk: Sdk) -> None:
    """The SDK chooses the body of the request, which may be empty."""
    created = session_id.parse(open_sdk(sdk).create_session())
    assert (created.version, created.location) == (VERSIONS[sdk.default_media], "")


@each_sdk
def test_each_is_another(open_sdk: OpenSdk, sdk: Sdk) -> None:
    client = open_sdk(sdk)
    assert client.create_session() != client.create_session()


@each_sdk
def test_created_after_a_signal(open_sdk: OpenSdk, sdk: Sdk) -> None:
    """An SDK that keeps its headers between calls labels the form as JSON here."""
    client = open_sdk(sdk)
    with pytest.raises(Failure):
        client.signal(client.create_session(), {"type": "t", "data": "to nobody"})
    asked = Session(media="relayed", location="12.34.56.78")
    created = session_id.parse(client.create_session(asked))
    assert (created.version, created.location) == ("1", "12.34.56.78")


@pytest.mark.parametrize("sdk", [sdk for sdk in REQUESTING if not sdk.applications], ids=str)
def test_created_with_the_older_secret(vendor: Vendor, open_sdk: OpenSdk, sdk: Sdk) -> None:
    """A project has two secrets while one is being replaced."""
    created = session_id.parse(open_sdk(sdk, vendor.older).create_session())
    assert created.key == vendor.project.key


@pytest.mark.parametrize("sdk", SDKS, ids=str)
def test_table_of_abilities(open_sdk: OpenSdk, sdk: Sdk) -> None:
    """When an SDK gains a call that lists connections, it must be tested."""
    calls = [name.lower().replace("_", "") for name in open_sdk(sdk).calls()]
    assert ("listconnections" in calls) == sdk.lists_connections
    assert "liststreams" in calls or "getstreaminfo" in calls  # so these are its calls
