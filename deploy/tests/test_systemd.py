"""The unit is valid, and confines the gateway."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = "systemd/signalbox.service"
# The exposure of the unit, from 0 to 10. systemd calls less than 2 "OK". The service needs the network, and may use port 443.
EXPOSURE = 1.6
# systemd before version 253 keeps the type of the line before.
KNOWN = "Failed to parse service type, ignoring: notify-reload"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@needs_systemd
def test_the_unit_is_valid(deploy: Path, tmp_path: Path) -> None:
    # Without the package, its program does not exist.
    program = tmp_path / "signalbox"
    program.touch(mode=0o755)
    unit = tmp_path / "signalbox.service"
    unit.write_text((deploy / UNIT).read_text().replace("/usr/bin/signalbox", str(program)))
    verified = analyze("verify", "--man=no", str(unit))
    problems = [line for line in verified.stderr.splitlines() if str(unit) in line and KNOWN not in line]
    assert verified.returncode == 0 and not problems, verified.stderr
    unit.write_text(unit.read_text().replace("WatchdogSec=30s", "WatchdogSec=soon"))
    assert "ignoring: soon" in analyze("verify", "--man=no", str(unit)).stderr


@needs_systemd
def test_the_unit_confines_the_gateway(deploy: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(deploy / UNIT)).stdout
    exposure = re.search(r"Overall exposure level for signalbox.service: ([0-9.]+)", said)
    assert exposure and float(exposure[1]) <= EXPOSURE, said


def test_a_stop_takes_longer_than_the_default_drain(deploy: Path) -> None:
    unit = dict(line.split("=", 1) for line in (deploy / UNIT).read_text().splitlines() if "=" in line)
    manual = (deploy.parent / "docs/settings.md").read_text()
    drain = re.search(r"^timeout_ms = (\d+) ", manual, re.MULTILINE)
    assert drain and int(unit["TimeoutStopSec"].removesuffix("s")) * 1000 >= int(drain[1]) + 10_000
    assert unit["StateDirectory"] == "signalbox" and 'state_file = "/var/lib/signalbox/state"' in (
        deploy / "config/signalbox.toml"
    ).read_text()


def test_an_invalid_configuration_is_not_started_again(deploy: Path) -> None:
    manual = (deploy.parent / "docs/operations.md").read_text()
    invalid = re.search(r"^\| (\d+) \| the configuration is invalid", manual, re.MULTILINE)
    assert invalid and f"RestartPreventExitStatus={invalid[1]}\n" in (deploy / UNIT).read_text()
