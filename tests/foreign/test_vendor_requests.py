"""The REST API as the vendor's SDKs for Ruby, PHP, Java and .NET use it, on the wire.

A response is correct if the SDK accepts it, so the tests repeat the checks of each SDK.
"""

import asyncio
import json
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import session_id
from conftest import OpenSdk
from connection import SERVERS
from gateways import Project
from room import CARRIERS, Play, Room
from sdks import by_name
from vendor import Application, Credentials, Vendor
from vendor_requests import DotNet, Java, Php, Requests, Ruby
from vendor_wire import Reply, Wire, exchange

INT32_MAX = 2**31 - 1
STATES = ("connecting", "connected", "disconnected")


def session_of_xml(reply: Reply) -> str:
    """For Ruby, PHP and .NET. The first two follow a path of names, the third searches for one."""
    assert (reply.status, reply.content_type) == (200, "text/xml")
    assert reply.body.startswith(b'<?xml version="1.0" encoding="UTF-8"')
    root = ET.fromstring(reply.body)
    assert (root.tag, [child.tag for child in root]) == ("sessions", ["Session"])
    (created,) = root
    assert len(created.findall("session_id")) == len(created.findall("partner_id")) == 1
    assert created.findtext("create_dt")
    return created.findtext("session_id")


def session_of_json(reply: Reply) -> str:
    """For Java, which requires exactly one session."""
    assert (reply.status, reply.content_type) == (200, "application/json")
    (created,) = json.loads(reply.body)
    assert set(created) >= {"session_id", "project_id", "partner_id", "create_dt"}
    return created["session_id"]


@dataclass(frozen=True)
class Sdk:
    """The differences between the SDKs, apart from their requests."""

    requests: type[Requests]
    session_of: Callable[[Reply], str]
    accepts: str  # in `session_id.ACCEPT`
    applications: bool = False
    # It counts characters instead of bytes, so it can send only ASCII.
    only_ascii: bool = False


SDKS = {
    "ruby": Sdk(Ruby, session_of_xml, "ruby"),
    "php": Sdk(Php, session_of_xml, "php"),
    "php-application": Sdk(Php, session_of_xml, "php", applications=True),
    "java": Sdk(Java, session_of_json, "python-and-java"),
    "java-application": Sdk(Java, session_of_json, "python-and-java", applications=True),
    "dotnet": Sdk(DotNet, session_of_xml, "dotnet", only_ascii=True),
}

each_sdk = pytest.mark.parametrize("sdk", SDKS.values(), ids=SDKS.keys())


@dataclass(frozen=True)
class Server:
    """A customer's server: an SDK with valid credentials."""

    sdk: Sdk
    vendor: Vendor
    credentials: Credentials

    @property
    def requests(self) -> Requests:
        return self.sdk.requests(self.credentials, self.vendor.https)

    def exchange(self, request: bytes) -> Reply:
        return exchange(self.vendor, request)

    def create(self, **asked) -> str:
        return self.sdk.session_of(self.exchange(self.requests.create(**asked)))


@pytest.fixture
def server(vendor: Vendor, sdk: Sdk) -> Server:
    return Server(sdk, vendor, vendor.application if sdk.applications else vendor.project)


def perform(server: Server, open_sdk: OpenSdk, play: Play) -> None:
    """Runs a scenario in a session that the server created. Another SDK mints the tokens."""
    minter = "vonage-python" if server.sdk.applications else "opentok-python"
    client = open_sdk(by_name(minter))

    async def in_a_room() -> None:
        session = await asyncio.to_thread(server.create)
        async with Room(server.vendor, client, client, session) as room:
            await play(room)

    asyncio.run(in_a_room())


def accepted(reply: Reply) -> None:
    """Ruby and Java accept only 204."""
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.get("content-length", "0") == "0"


def refused(reply: Reply, status: int, message: str) -> None:
    """PHP reads `message` for statuses that it does not know; the others check the status."""
    assert (reply.status, reply.content_type) == (status, "application/json")
    error = json.loads(reply.body)
    assert set(error) == {"code", "message", "description"}
    assert type(error["code"]) is int
    assert message in error["message"]


@each_sdk
@pytest.mark.parametrize("location", [None, "203.0.113.250"], ids=["anywhere", "located"])
@pytest.mark.parametrize("relayed", [True, False], ids=["relayed", "routed"])
def test_create(server: Server, relayed: bool, location: str | None) -> None:
    created = server.create(relayed=relayed, location=location)
    found = session_id.parse(created)
    expected = ("1" if relayed else "2", server.credentials.key, location or "")
    assert (found.version, found.key, found.location) == expected


@each_sdk
def test_sdks_accept_the_session_id(server: Server) -> None:
    """Many ids, as a character that fails a check occurs only in some."""
    accepts = session_id.ACCEPT[server.sdk.accepts]
    request = server.requests.create().replace(b"Connection: close\r\n", b"")
    wire = Wire(server.vendor)
    for _ in range(1000):
        created = server.sdk.session_of(wire.exchange(request))
        assert accepts(created, server.credentials.key), created
    wire.close()


def test_dotnet_reads_the_project_as_a_number(vendor: Vendor) -> None:
    for project in (vendor.project, vendor.limited, vendor.other, vendor.watched):
        request = DotNet(project, vendor.https).create()
        (created,) = ET.fromstring(exchange(vendor, request).body)
        assert 0 < int(created.findtext("partner_id")) <= INT32_MAX
        assert created.findtext("partner_id") == project.key


@each_sdk
def test_signal(server: Server, open_sdk: OpenSdk) -> None:
    texts = ["ascii only / and a slash", *([] if server.sdk.only_ascii else ["für alle 🚦"])]

    async def play(room: Room) -> None:
        links = [await room.join(carrier) for carrier in CARRIERS]
        for text in texts:
            requests = server.requests
            for request, receivers in [
                (requests.signal(room.session, "chat", text), links),
                (requests.signal(room.session, "chat", text, to=links[1].me), links[1:]),
            ]:
                accepted(await asyncio.to_thread(server.exchange, request))
                for link in receivers:
                    signal = await link.next("signal")
                    del signal["seq"]
                    assert signal == {"from": SERVERS, "type": "chat", "data": text}

    perform(server, open_sdk, play)


@each_sdk
def test_signal_without_a_type(server: Server, open_sdk: OpenSdk) -> None:
    """The type is missing from Ruby and .NET, null from Java, and empty from PHP."""

    async def play(room: Room) -> None:
        link = await room.join()
        request = server.requests.signal(room.session, None, "data alone")
        accepted(await asyncio.to_thread(server.exchange, request))
        signal = await link.next("signal")
        assert (signal["from"], signal["type"] or "", signal["data"]) == (SERVERS, "", "data alone")

    perform(server, open_sdk, play)


@each_sdk
def test_signal_without_anything(server: Server, open_sdk: OpenSdk) -> None:
    """PHP sends empty data, which is valid. The others leave it out, or send null."""

    async def play(room: Room) -> None:
        await room.join()
        request = server.requests.signal(room.session, None, None)
        reply = await asyncio.to_thread(server.exchange, request)
        if server.sdk.requests is Php:
            accepted(reply)
        else:
            refused(reply, 400, "Signal payload 'data' must be set")
            assert json.loads(reply.body)["code"] == 15202

    perform(server, open_sdk, play)


@each_sdk
def test_force_disconnect(server: Server, open_sdk: OpenSdk) -> None:
    async def play(room: Room) -> None:
        bystander = await room.join()
        for carrier in CARRIERS:
            victim = await room.join(carrier)
            request = server.requests.force_disconnect(room.session, victim.me)
            accepted(await asyncio.to_thread(server.exchange, request))
            await victim.next("ended")
            assert victim.bye["reason"] == "forceDisconnected"
            destroyed = await bystander.next("connectionDestroyed")
            assert (destroyed["id"], destroyed["reason"]) == (victim.me, "forceDisconnected")
            refused(await asyncio.to_thread(server.exchange, request), 404, "Not found")

    perform(server, open_sdk, play)


@each_sdk
def test_list_connections(server: Server, open_sdk: OpenSdk) -> None:
    """Java rejects a list with an unknown field, and reads the time as a long."""

    async def play(room: Room) -> None:
        links = [await room.join(carrier, data="seen by clients alone") for carrier in CARRIERS]
        request = server.requests.list_connections(room.session)
        reply = await asyncio.to_thread(server.exchange, request)
        assert (reply.status, reply.content_type) == (200, "application/json")
        listed = json.loads(reply.body)
        assert set(listed) == {"count", "projectId", "sessionId", "items"}
        assert listed["count"] == len(listed["items"]) == len(links)
        assert (listed["projectId"], listed["sessionId"]) == (server.credentials.key, room.session)
        for item, link in zip(listed["items"], links):
            assert set(item) == {"connectionId", "createdAt", "connectionState"}
            connection = link.welcome["connection"]
            assert (item["connectionId"], item["createdAt"]) == (link.me, connection["createdAt"])
            assert type(item["createdAt"]) is int
            assert item["connectionState"].lower() in STATES

    perform(server, open_sdk, play)


@each_sdk
def test_an_empty_session_is_not_found(server: Server) -> None:
    session, somebody = server.create(), str(uuid.uuid4())
    requests = server.requests
    nobody = "Not found. No clients are actively connected to the OpenTok session."
    refused(server.exchange(requests.signal(session, "t", "d")), 404, nobody)
    refused(server.exchange(requests.signal(session, "t", "d", somebody)), 404, "Not found")
    refused(server.exchange(requests.force_disconnect(session, somebody)), 404, "Not found")
    refused(server.exchange(requests.list_connections(session)), 404, "Session not found")


@each_sdk
@pytest.mark.parametrize(
    ("type", "data", "status"),
    [("t" * 129, "d", 413), ("t", "d" * 8193, 413), ("a b", "d", 400)],
    ids=["long-type", "long-data", "bad-type"],
)
def test_faulty_signal(server: Server, type: str, data: str, status: int) -> None:
    refused(server.exchange(server.requests.signal(server.create(), type, data)), status, "")


def forged(vendor: Vendor, sdk: Sdk) -> Credentials:
    return vendor.wrong_application if sdk.applications else vendor.wrong


@each_sdk
def test_wrong_secret(vendor: Vendor, server: Server) -> None:
    requests = server.sdk.requests(forged(vendor, server.sdk), vendor.https)
    session, somebody = server.create(), str(uuid.uuid4())
    for request in (
        requests.signal(session, "t", "d"),
        requests.force_disconnect(session, somebody),
        requests.list_connections(session),
    ):
        refused(server.exchange(request), 403, "Unauthorized token")


@each_sdk
def test_wrong_secret_when_creating(vendor: Vendor, server: Server) -> None:
    """An SDK that does not accept JSON gets XML, which it can parse."""
    requests = server.sdk.requests(forged(vendor, server.sdk), vendor.https)
    reply = server.exchange(requests.create())
    if server.sdk.session_of is session_of_json:
        refused(reply, 403, "Unauthorized token")
        return
    assert (reply.status, reply.content_type) == (403, "application/xml")
    error = ET.fromstring(reply.body)
    assert error.tag == "errorPayload"
    assert (error.findtext("code"), error.findtext("message")) == ("10002", "Unauthorized token")


@each_sdk
def test_lists_of_streams(server: Server) -> None:
    """PHP adds a slash at the end. There is no media, and SDKs throw their exception for 404."""
    session = server.create()
    for path in ("/stream", "/stream/"):
        request = server.requests.list_connections(session)
        slash = b"/connection/ " if b"/connection/ " in request else b"/connection "
        refused(server.exchange(request.replace(slash, f"{path} ".encode())), 404, "no media")


@each_sdk
def test_requests_on_one_connection(server: Server) -> None:
    """All SDKs keep connections open, except Ruby's, which closes after each request."""
    requests = server.requests
    wire = Wire(server.vendor)
    reply = wire.exchange(requests.create())
    session = server.sdk.session_of(reply)
    if server.sdk.requests is Ruby:
        assert reply.headers["connection"] == "close"
        wire.expect_end()
    else:
        for _ in range(3):
            refused(wire.exchange(requests.signal(session, "t", "d")), 404, "Not found")
    wire.close()


def test_the_other_project(vendor: Vendor) -> None:
    """A project reaches neither the sessions nor the path of another one."""
    session = exchange_created(vendor, vendor.other)
    own = Java(vendor.project, vendor.https)
    reply = exchange(vendor, own.signal(session, "t", "d"))
    refused(reply, 403, "Id in the token does not match the one in the url")
    request = own.signal(session, "t", "d").replace(
        f"/project/{vendor.project.key}/".encode(), f"/project/{vendor.other.key}/".encode()
    )
    refused(exchange(vendor, request), 403, "Id in the token does not match the one in the url")


def exchange_created(vendor: Vendor, project: Project | Application) -> str:
    return session_of_json(exchange(vendor, Java(project, vendor.https).create()))
