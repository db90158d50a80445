"""Clusters: three gateways, and the nats-server that connects them."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests

from gateways import (
    ANY,
    COMMAND_DEADLINE_S,
    START_DEADLINE_S,
    UNLIMITED,
    Gateway,
    binary,
    mint_server_token,
    mint_session,
    running,
)
from nats_server import nats_server
from vendor import Customers, Vendor

GATEWAYS = 3
# A gateway knows the others once it has been connected to NATS for a lease, which is two seconds.
KNOWN_DEADLINE_S = 30

DRAIN_SPREAD_MS = 300


class Cluster:
    """Gateways by number, from 0. Number 0 is named `gw-0`."""

    def __init__(
        self, directory: Path, customers: Customers, nats: str, settings: dict[str, str]
    ) -> None:
        self._directory = directory
        self._customers = customers
        self._nats = nats
        self._settings = settings
        self._running = {}
        self._vendors: dict[int, Vendor] = {}

    @staticmethod
    def log(directory: Path, number: int) -> Path:
        return directory / f"gw-{number}.log"

    def at(self, number: int) -> Vendor:
        """A gateway that runs, or has run."""
        return self._vendors[number]

    @property
    def gateways(self) -> list[Vendor]:
        """Those that run."""
        return [self._vendors[number] for number in sorted(self._running)]

    def start(self, number: int, **settings: str) -> None:
        """Starts a gateway, on the ports that it had before."""
        log = self.log(self._directory, number)
        before = self._vendors.get(number, self._customers.vendor)
        options = ("--config", str(self._config(number)))
        settings = {**self._settings, **settings}
        process = running(log, *options, quic=before.quic, tcp=before.https, **settings)
        self._vendors[number] = self._customers.at(process.__enter__())
        self._running[number] = process

    def refused(self, number: int, **settings: str) -> str:
        """Starts a gateway that must end because of its settings. Returns what it says."""
        command = [binary(), "serve", "--config", str(self._config(number))]
        listen = ["--quic", str(ANY), "--tcp", str(ANY)]
        done = subprocess.run(
            [*command, *listen],
            capture_output=True,
            text=True,
            timeout=START_DEADLINE_S,
            env={**os.environ, **UNLIMITED, **self._settings, **settings},
        )
        assert done.returncode == 1
        return done.stderr

    def kill(self, number: int) -> None:
        # An error in its block ends it without SIGTERM.
        self._running.pop(number).__exit__(RuntimeError, RuntimeError(), None)

    def stop(self, number: int) -> None:
        """Stops it as for an upgrade."""
        self._running.pop(number).__exit__(None, None, None)

    def stop_all(self) -> None:
        self.at_once(self.stop, list(self._running))

    def at_once(self, call: Callable[[int], None], numbers: Sequence[int]) -> None:
        with ThreadPoolExecutor(GATEWAYS) as pool:
            list(pool.map(call, numbers))

    def _config(self, number: int) -> Path:
        config = self._directory / f"gw-{number}.toml"
        config.write_text(
            f'name = "gw-{number}"\n\n{self._customers.config}\n\n'
            f'[cluster]\nservers = ["{self._nats}"]\n\n'
            f"[drain]\nspread_ms = {DRAIN_SPREAD_MS}\n"
        )
        return config

    def wait_until_known(self) -> None:
        """Waits until the gateways know each other: they know that nobody is in a session."""
        gateways = self.gateways
        session = mint_session(gateways[0])
        deadline = time.monotonic() + KNOWN_DEADLINE_S
        for gateway in gateways:
            while (status := self.list_at(gateway, session).status_code) != 404:
                assert status == 503
                assert time.monotonic() < deadline, f"{gateway.https} knows no other gateway"

    def ids_at(self, gateway: Gateway, session: str) -> set[str]:
        """The connections in a session, as a gateway lists them."""
        listed = self.list_at(gateway, session).json()
        return {item["connectionId"] for item in listed.get("items", [])}

    def list_at(self, gateway: Gateway, session: str) -> requests.Response:
        """A gateway's list of the connections in a session."""
        path = f"/v2/project/{gateway.project.key}/session/{session}/connection"
        return requests.get(
            f"https://{gateway.https}{path}",
            headers={"X-OPENTOK-AUTH": mint_server_token(gateway)},
            verify=str(gateway.ca),
            timeout=COMMAND_DEADLINE_S,
        )


@contextmanager
def running_cluster(
    directory: Path, customers: Customers, settings: dict[str, str]
) -> Iterator[Cluster]:
    """Three gateways that know each other; `settings` are environment variables."""
    with nats_server(directory) as nats:
        cluster = Cluster(directory, customers, nats, settings)
        try:
            cluster.at_once(cluster.start, range(GATEWAYS))
            cluster.wait_until_known()
            yield cluster
        finally:
            cluster.stop_all()
