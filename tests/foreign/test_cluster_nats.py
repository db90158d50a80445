"""The configuration of NATS in docs/clustering.md: three servers, TLS, and exact permissions."""

import asyncio
import json
import re
import secrets
import socket
import subprocess
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster import GATEWAYS, Cluster
from gateways import Gateway, mint_session, mint_token
from link import Link
from nats_server import nats_server
from stage import QUIC
from vendor import new_customers

DOCUMENT = Path(__file__).parents[2] / "docs" / "clustering.md"
BLOCK = re.compile(r"^```(?:text|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVERS = 3
PASSWORD = "a long random password"


def block(mark: str) -> str:
    """The example of the document that contains this text."""
    (found,) = [text for text in BLOCK.findall(DOCUMENT.read_text()) if mark in text]
    return found


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """Every change must be possible, or the document has changed."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def free_ports(count: int) -> list[int]:
    """Each server must know the ports of the others before they run."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def client_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "client.pem", directory / "client.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    options = ["-nodes", "-subj", "/CN=gateway", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=20)
    return certificate, key


def start_servers(
    servers: list[ExitStack], directory: Path, password: str, tls: str
) -> list[str]:
    """Starts the documented servers, and returns their URLs."""
    config = block("# nats-1.conf")
    ports = free_ports(SERVERS)
    routes = [(f"nats-{n}:6222", f"127.0.0.1:{port}") for n, port in enumerate(ports, 1)]
    urls = []
    for number, port in enumerate(ports, 1):
        own = directory / f"nats-{number}"
        own.mkdir()
        access = replaced(block("# access.conf"), (PASSWORD, password))
        (own / "access.conf").write_text(access)
        (own / "tls.conf").write_text(tls)
        name = ('server_name: "nats-1"', f'server_name: "nats-{number}"')
        text = replaced(config, name, ("0.0.0.0:6222", f"127.0.0.1:{port}"), *routes)
        urls.append(servers[number - 1].enter_context(nats_server(own, text)))
    return [url.replace("nats://", "tls://") for url in urls]


async def hears(sender: Link, receiver: Link, data: str) -> None:
    await sender.signal(data=data)
    while (await receiver.next("signal"))["data"] != data:
        pass


@pytest.mark.parametrize("verify", [False, True], ids=["password", "client-certificate"])
def test_documented_servers(gateway: Gateway, tmp_path: Path, verify: bool) -> None:
    password = secrets.token_hex(16)
    certificate, key = client_certificate(tmp_path)
    files = gateway.ca.parent
    tls = replaced(
        block("# tls.conf"),
        ("/etc/nats/cert.pem", str(files / "leaf.pem")),
        ("/etc/nats/key.pem", str(files / "leaf.key")),
        ("/etc/nats/ca.pem", str(certificate)),
    )
    settings = block("tls://nats-1:4222")
    if verify:
        tls = replaced(tls, ("# ca_file", "ca_file"), ("# verify", "verify"))
        settings = replaced(settings, ("# certificate", "certificate"), ("# key", "key"))
    with ExitStack() as everything:
        servers = [everything.enter_context(ExitStack()) for _ in range(SERVERS)]
        urls = start_servers(servers, tmp_path, password, tls)
        settings = tomllib.loads(
            replaced(
                settings,
                *((f"tls://nats-{n}:4222", url) for n, url in enumerate(urls, 1)),
                (PASSWORD, password),
                ("/etc/signalbox/nats-ca.pem", str(gateway.ca)),
                ("/etc/signalbox/nats.crt", str(certificate)),
                ("/etc/signalbox/nats.key", str(key)),
            )
        )
        given = settings["cluster"]
        variables = {
            f"SIGNALBOX_CLUSTER__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in given.items()
        }
        customers = new_customers(tmp_path, gateway.ca, "http://127.0.0.1:1/")
        cluster = Cluster(tmp_path, customers, urls[0], variables)
        everything.callback(cluster.stop_all)
        cluster.at_once(cluster.start, range(GATEWAYS))
        cluster.wait_until_known()

        refused = cluster.refused(GATEWAYS, SIGNALBOX_CLUSTER__NAMESPACE="other")
        assert "allow publish and subscribe on 'other.>'" in refused
        refused = cluster.refused(GATEWAYS, SIGNALBOX_CLUSTER__PASSWORD="wrong")
        assert "NATS refuses the credentials of the gateway" in refused

        async def scenario(session: str) -> None:
            links = []
            for where in cluster.gateways:
                token = await asyncio.to_thread(mint_token, where, session)
                links.append(await QUIC.connect(where, token, presence=True, resume=True))
            for receiver in links[1:]:
                await hears(links[0], receiver, f"to {receiver.me}")
            # Every gateway prefers another server, or has another one left.
            await asyncio.to_thread(servers[0].close)
            for sender in links:
                for receiver in links:
                    await hears(sender, receiver, f"from {sender.me} to {receiver.me}")
            await asyncio.gather(*(link.close() for link in links))

        asyncio.run(scenario(mint_session(cluster.at(0))))
