"""Gateways: started and stopped as a user would do it, their announcements, and tokens for them."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# A gateway generates its authority, project and keys before it announces itself.
START_DEADLINE_S = 30
STOP_DEADLINE_S = 10
COMMAND_DEADLINE_S = 10

# All clients have one address here, and some send as fast as they can.
UNLIMITED = {
    "SIGNALBOX_LIMITS__SIGNALS_PER_SECOND_PER_CONNECTION": "0",
    "SIGNALBOX_LIMITS__ADDRESS__LINKS_PER_SECOND": "0",
    "SIGNALBOX_LIMITS__ADDRESS__REQUESTS_PER_SECOND": "0",
    "SIGNALBOX_LIMITS__ADDRESS__INVALID_TOKENS_PER_SECOND": "0",
}

BUILD = "./check foreign   (or: cargo build -p signalbox && SIGNALBOX_BIN=$PWD/target/debug/signalbox pytest tests/foreign)"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


ANY = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Project:
    key: str
    secret: str


@dataclass(frozen=True)
class Tokens:
    """A token of each role for the announced session."""

    moderator: str
    publisher: str
    subscriber: str


@dataclass(frozen=True)
class Gateway:
    """A running gateway, from its announcement."""

    quic: Address
    https: Address  # WebSocket, REST and health
    ca: Path  # the authority that signed its certificate, PEM
    project: Project
    session: str
    tokens: Tokens

    @classmethod
    def parse(cls, line: str) -> "Gateway":
        announced = json.loads(line)
        return cls(
            quic=Address.parse(announced["quic"]),
            https=Address.parse(announced["https"]),
            ca=Path(announced["ca"]),
            project=Project(**announced["project"]),
            session=announced["session"],
            tokens=Tokens(**announced["tokens"]),
        )


def mint_session(gateway: Gateway) -> str:
    """A new session, without other clients."""
    return mint(gateway, "session", "new")


def mint_token(
    gateway: Gateway, session: str, role: str = "publisher", data: str | None = None
) -> str:
    """A token for `session`; `data` is its connection data."""
    options = ["--session", session, "--role", role]
    if data is not None:
        options += ["--data", data]
    return mint(gateway, "token", *options)


def mint_server_token(gateway: Gateway) -> str:
    """A credential for the REST API."""
    return mint(gateway, "token", "--server")


def mint(gateway: Gateway, *command: str) -> str:
    project = gateway.project
    done = subprocess.run(
        [binary(), *command, "--key", project.key, "--secret", project.secret],
        capture_output=True,
        text=True,
        timeout=COMMAND_DEADLINE_S,
    )
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) != 1:
        pytest.fail(
            f"`signalbox {' '.join(command)}` should print one line and succeed; it ended with "
            f"{done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
        )
    return lines[0]


@contextmanager
def running(
    stderr_path: Path,
    *options: str,
    may_end: bool = False,
    quic: Address = ANY,
    tcp: Address = ANY,
    **settings: str,
) -> Iterator[str]:
    """A gateway, from its announcement to its end. Yields the announcement. By default the system
    chooses its ports.

    `settings` are environment variables, beside those that lift the limits on tests. With `may_end` the test may stop the gateway itself.
    """
    command = [
        *(binary(), "serve", "--announce", "json"),
        *("--quic", str(quic), "--tcp", str(tcp)),
        *options,
    ]
    with stderr_path.open("wb") as stderr:
        # Unbuffered, so that reading the first line does not consume bytes after it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            env={**os.environ, **UNLIMITED, **settings},
        )
    try:
        yield first_line(process, stderr_path)
        stop(process, may_end)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def binary() -> str:
    path = os.environ.get("SIGNALBOX_BIN")
    if not path:
        pytest.fail(f"SIGNALBOX_BIN does not say which gateway to test. Run: {BUILD}", pytrace=False)
    if not os.access(path, os.X_OK):
        pytest.fail(f"SIGNALBOX_BIN={path} is not a program. Run: {BUILD}", pytrace=False)
    return path


def first_line(process: subprocess.Popen, stderr_path: Path) -> str:
    """The announcement. Reading a pipe cannot time out, so a thread waits for the line."""
    lines: queue.Queue[bytes] = queue.Queue(maxsize=1)
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=START_DEADLINE_S)
    except queue.Empty:
        pytest.fail(f"the gateway announced nothing within {START_DEADLINE_S} s", pytrace=False)
    if not line.endswith(b"\n"):
        status = process.wait(timeout=STOP_DEADLINE_S)
        log = stderr_path.read_text(errors="replace")
        pytest.fail(
            f"the gateway ended with {status} before it announced itself\n{log}", pytrace=False
        )
    return line.decode()


def stop(process: subprocess.Popen, may_end: bool) -> None:
    """Stops the gateway as an operator would, which must work after any test."""
    if process.poll() is not None and not may_end:
        pytest.fail(f"the gateway ended by itself, with {process.returncode}", pytrace=False)
    process.send_signal(signal.SIGTERM)
    try:
        rest, _ = process.communicate(timeout=STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the gateway still runs {STOP_DEADLINE_S} s after SIGTERM", pytrace=False)
    if process.returncode != 0:
        pytest.fail(f"the gateway ended with {process.returncode} after SIGTERM", pytrace=False)
    if rest:
        pytest.fail(f"the announcement is one line, but more came: {rest!r}", pytrace=False)
