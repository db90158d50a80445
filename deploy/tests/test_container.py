"""The Dockerfile and the compose file."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml


def tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / name
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def test_the_dockerfile_keeps_the_rules(deploy: Path) -> None:
    # Debian's packages of the build stage are those of its day.
    checked = tool("hadolint", "--ignore", "DL3008", deploy / "Dockerfile")
    assert checked.returncode == 0, checked.stdout


def test_the_image_builds_from_what_the_workspace_needs(deploy: Path) -> None:
    root = deploy.parent
    allowed = {
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
    assert {member.split("/")[0] for member in workspace["members"]} <= allowed
    assert not {".git", ".signalbox", "target", "deploy"} & allowed
    rust = workspace["package"]["rust-version"]
    assert f"docker.io/library/rust:{rust}-" in (deploy / "Dockerfile").read_text()


def test_the_compose_file_is_valid(deploy: Path) -> None:
    file = deploy / "compose.yaml"
    checked = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert checked.returncode == 0, checked.stdout
    services = yaml.safe_load(file.read_text())["services"]
    gateways = {name: it for name, it in services.items() if name != "nats"}
    assert len(gateways) == 3
    ports = {name: re.match(r"\d+", it["ports"][0])[0] for name, it in gateways.items()}
    for name, it in gateways.items():
        variables = it["environment"]
        assert variables["SIGNALBOX_NAME"] == name
        # Each knows the addresses of the others.
        urls = json.loads(variables["SIGNALBOX_RESUME__GATEWAYS"].replace("${SIGNALBOX_HOST:-localhost}", "host"))
        others = {port for other, port in ports.items() if other != name}
        assert {url.rsplit(":", 1)[1] for url in urls} == others
        assert it["ports"] == [f"{ports[name]}:4433/tcp", f"{ports[name]}:4433/udp"]
        assert it["read_only"] and it["cap_drop"] == ["ALL"]
