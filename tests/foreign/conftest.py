"""What every foreign client's test stands on: one gateway, started as a user would start it.

The clients here share no code with the gateway, so they notice what our own client and our own
server agree on by mistake. `./check foreign` builds the gateway, installs the clients and runs them.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from processes import Address, Project, binary, running

COMMAND_DEADLINE_S = 10
# Far above what any test needs: a hung test must fail, and nothing may depend on how soon.
TEST_DEADLINE_S = 60

# Of every gateway that has been started.
STDERR_PATHS = pytest.StashKey[list[Path]]()

# Most assertions are there, and should say as much as those in the tests themselves.
pytest.register_assert_rewrite("scenarios")


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
def gateway(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Gateway]:
    """One gateway for the whole run. A test that needs to be alone takes a session of its own."""
    directory = tmp_path_factory.mktemp("gateway")
    stderr_path = log_to_show(pytestconfig, directory / "stderr.log")
    with running(stderr_path, "--dev", "--dev-dir", str(directory / "dev")) as announcement:
        yield Gateway.parse(announcement)


def log_to_show(config: pytest.Config, stderr_path: Path) -> Path:
    """Where a gateway logs to; the end of that is shown with every failure."""
    config.stash.setdefault(STDERR_PATHS, []).append(stderr_path)
    return stderr_path


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_DEADLINE_S))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Puts the end of the gateways' logs beside a failure."""
    report = (yield).get_result()
    if not report.failed:
        return
    for path in item.config.stash.get(STDERR_PATHS, []):
        if path.exists():
            lines = path.read_text(errors="replace").splitlines()
            title = f"end of the stderr of {path.parent.name}"
            report.sections.append((title, "\n".join(lines[-50:])))
