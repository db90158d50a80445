"""What every foreign client's test stands on: one gateway, started as a user would start it.

The clients here share no code with the gateway, so they notice what our own client and our own
server agree on by mistake. `./check foreign` builds the gateway, installs the clients and runs them.
"""

import json
import os
import queue
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

# A debug build makes its authority, its project and its keys before it announces itself.
START_DEADLINE_S = 30
STOP_DEADLINE_S = 10
COMMAND_DEADLINE_S = 10
# Far above what any test needs: a hung test must fail, and nothing may depend on how soon.
TEST_DEADLINE_S = 60

BUILD = "./check foreign   (or: cargo build -p signalbox && SIGNALBOX_BIN=$PWD/target/debug/signalbox pytest tests/foreign)"

STDERR_PATH = pytest.StashKey[Path]()

# Most assertions are there, and should say as much as those in the tests themselves.
pytest.register_assert_rewrite("scenarios")


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
    """A running gateway, as it announced itself."""

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


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config):
    """One gateway for the whole run. A test that needs to be alone takes a session of its own."""
    directory = tmp_path_factory.mktemp("gateway")
    stderr_path = directory / "stderr.log"
    pytestconfig.stash[STDERR_PATH] = stderr_path
    command = [
        *(binary(), "serve", "--dev", "--announce", "json"),
        *("--quic", "127.0.0.1:0", "--tcp", "127.0.0.1:0"),
        *("--dev-dir", str(directory / "dev")),
    ]
    with stderr_path.open("wb") as stderr:
        # Unbuffered, so that reading the first line takes nothing of what may follow it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, bufsize=0
        )
    try:
        yield Gateway.parse(first_line(process))
        stop(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def mint_session(gateway: Gateway) -> str:
    """A session that nobody else is in."""
    return mint(gateway, "session", "new")


def mint_token(
    gateway: Gateway, session: str, role: str = "publisher", data: str | None = None
) -> str:
    """A token for `session`; `data` is what the others learn of its connection."""
    options = ["--session", session, "--role", role]
    if data is not None:
        options += ["--data", data]
    return mint(gateway, "token", *options)


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


def binary() -> str:
    path = os.environ.get("SIGNALBOX_BIN")
    if not path:
        pytest.fail(f"SIGNALBOX_BIN does not say which gateway to test. Run: {BUILD}", pytrace=False)
    if not os.access(path, os.X_OK):
        pytest.fail(f"SIGNALBOX_BIN={path} is not a program. Run: {BUILD}", pytrace=False)
    return path


def first_line(process: subprocess.Popen) -> str:
    """The announcement. A pipe has no deadline of its own, so a thread waits for the line."""
    lines: queue.Queue[bytes] = queue.Queue(maxsize=1)
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=START_DEADLINE_S)
    except queue.Empty:
        pytest.fail(f"the gateway announced nothing within {START_DEADLINE_S} s", pytrace=False)
    if not line.endswith(b"\n"):
        status = process.wait(timeout=STOP_DEADLINE_S)
        pytest.fail(f"the gateway ended with {status} before it announced itself", pytrace=False)
    return line.decode()


def stop(process: subprocess.Popen) -> None:
    """Ends the gateway as an operator would, which must work whatever the tests did to it."""
    if process.poll() is not None:
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_DEADLINE_S))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Puts the end of the gateway's log beside a failure."""
    report = (yield).get_result()
    path = item.config.stash.get(STDERR_PATH, None)
    if report.failed and path is not None and path.exists():
        lines = path.read_text(errors="replace").splitlines()
        report.sections.append(("end of the gateway's stderr", "\n".join(lines[-50:])))
