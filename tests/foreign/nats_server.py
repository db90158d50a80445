"""A nats-server of its own for a cluster of gateways."""

import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_DEADLINE_S = 20
STOP_DEADLINE_S = 10

LISTENS = re.compile(r"Listening for client connections on .*:(\d+)")
READY = "Server is ready"


@contextmanager
def nats_server(directory: Path, configuration: str = "") -> Iterator[str]:
    """Runs it with this configuration, on a port that the system chooses. Yields its URL."""
    config = directory / "nats.conf"
    config.write_text(configuration)
    process = subprocess.Popen(
        [program(), "--addr", "127.0.0.1", "--port", "-1", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
    )
    try:
        yield f"nats://127.0.0.1:{port(process)}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def program() -> str:
    # Debian installs it where only the superuser looks for programs.
    path = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        pytest.fail("there is no nats-server; ./check foreign installs it where it may", pytrace=False)
    return path


def port(process: subprocess.Popen[str]) -> int:
    """The port, once the server is ready. The thread reads on: a server that cannot log blocks."""
    found: queue.Queue[int | str] = queue.Queue()

    def read() -> None:
        port, log = 0, ""
        for line in process.stderr:
            log += line
            if listens := LISTENS.search(line):
                port = int(listens[1])
            if READY in line:
                found.put(port)
        found.put(log)

    threading.Thread(target=read, daemon=True).start()
    try:
        answer = found.get(timeout=START_DEADLINE_S)
    except queue.Empty:
        pytest.fail(f"nats-server was not ready within {START_DEADLINE_S} s", pytrace=False)
    if not isinstance(answer, int):
        pytest.fail(f"nats-server has ended\n{answer}", pytrace=False)
    return answer
