"""A client in Java, written from docs/protocol.md and the vectors alone.

Where its author had to guess, the document was corrected. The client is in java/; it needs a JDK
and no library. It is compiled here, and each test runs it as a program.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import log_to_show
from gateways import Gateway, mint_session, mint_token, running

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "protocol" / "vectors"

COMPILE_DEADLINE_S = 50
RUN_DEADLINE_S = 55

# A link lives for a second on average, so that a few hundred signals take several links.
BAD_NETWORK = "cut=1s,delay=20ms,drop=0.01,seed=7"
IDLE_TIMEOUT_MS = "1500"
SIGNALS = 100


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled client. The compiler's warnings are errors."""
    folder = tmp_path_factory.mktemp("java")
    sources = sorted(map(str, (HERE / "java").glob("*.java")))
    command = [tool("javac"), "--release", "17", "-Xlint:all", "-Werror", "-d", str(folder), *sources]
    expect_success(command, COMPILE_DEADLINE_S)
    return folder


def test_vectors(classes: Path) -> None:
    play(classes, "vectors")


def test_transcripts(classes: Path) -> None:
    play(classes, "transcripts")


@pytest.mark.parametrize("encoding", ["json", "postcard"])
def test_live(classes: Path, gateway: Gateway, encoding: str) -> None:
    """Signals, presence, cut links, lost answers, late attempts, and goodbye."""
    play_on(classes, gateway, "live", encoding)


def test_bad_network(classes: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    options = ["--dev", "--dev-dir", str(tmp_path / "dev"), "--chaos", BAD_NETWORK]
    settings = {"SIGNALBOX_TIMEOUTS__IDLE_MS": IDLE_TIMEOUT_MS}
    stderr_path = log_to_show(pytestconfig, tmp_path / "stderr.log")
    with running(stderr_path, *options, **settings) as announcement:
        play_on(classes, Gateway.parse(announcement), "chaos", str(SIGNALS))


def play_on(classes: Path, gateway: Gateway, test: str, argument: str) -> None:
    """Runs a test of the client in a new session."""
    token = mint_token(gateway, mint_session(gateway))
    play(classes, test, str(gateway.https), str(gateway.ca), token, argument)


def play(classes: Path, test: str, *arguments: str) -> None:
    command = [tool("java"), "-cp", str(classes), "Main", str(VECTORS), test, *arguments]
    expect_success(command, RUN_DEADLINE_S)


def expect_success(command: list[str], deadline_s: int) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s)
    if done.returncode != 0:
        pytest.fail(
            f"{Path(command[0]).name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}",
            pytrace=False,
        )


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"there is no {name}; ./check foreign installs it where it may", pytrace=False)
    return path
