"""The Debian package's metadata and scripts. deploy/test installs the package."""

import subprocess
import tomllib
from pathlib import Path

import pytest

GENERATED = "../target/package/"


def metadata(deploy: Path) -> dict:
    return tomllib.loads((deploy.parent / "cli/Cargo.toml").read_text())["package"]["metadata"]["deb"]


def test_every_file_of_the_package_exists(deploy: Path) -> None:
    package = metadata(deploy)
    files = [source for source, _, _ in package["assets"] if not source.startswith(GENERATED)]
    assert len(files) == 3
    # cargo-deb finds what is named after the package there.
    units = package["systemd-units"]["unit-scripts"]
    files += [f"{units}/signalbox.service", f"{units}/signalbox.sysusers"]
    for file in [*files, package["license-file"][0], package["maintainer-scripts"]]:
        assert (deploy.parent / "cli" / file).exists(), file


def test_the_configuration_with_secrets_is_private_and_kept(deploy: Path) -> None:
    package = metadata(deploy)
    assert ["../deploy/config/signalbox.toml", "etc/signalbox/signalbox.toml", "640"] in package["assets"]
    assert package["conf-files"] == ["/etc/signalbox/signalbox.toml"]


@pytest.mark.parametrize("name", ["postinst", "postrm"])
def test_the_scripts_are_valid_and_leave_room_for_those_of_systemd(deploy: Path, name: str) -> None:
    script = deploy / "debian" / name
    assert "#DEBHELPER#\n" in script.read_text()
    subprocess.run(["sh", "-n", script], check=True, timeout=60)
