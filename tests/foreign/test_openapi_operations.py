"""The endpoints of the admin page answer as docs/openapi-operations.yaml says, error by error."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis

from gateways import Gateway, mint_session, running
from stage import WEBSOCKET_JSON, Stage, perform

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi-operations.yaml"
API = schemathesis.openapi.from_path(DOCUMENT).raw_schema
DEADLINE_S = 15
UNKNOWN_ID = "7d0c1f5e-3a55-4f0e-9f5b-0d5d1f7a2c11"
SESSION = "/admin/sessions/{session}"
CONNECTION = f"{SESSION}/connections/{{connection}}"
REVOCATIONS = "/admin/projects/{project}/revocations"
REVOCATION = f"{REVOCATIONS}/{{revocation}}"


class Operations:
    """The operations listener of a gateway. Every answer is compared with the document."""

    def __init__(self, address: str) -> None:
        self._base = f"http://{address}"
        self.seen: set[tuple[str, str, str]] = set()

    def ask(
        self,
        method: str,
        path: str,
        status: int,
        *,
        query: str = "",
        body: Any = None,
        change: bool = True,
        **names: str,
    ) -> Any:
        headers = {} if method == "GET" or not change else {"X-Signalbox-Admin": "1"}
        url = f"{self._base}{path.format(**names)}{query}"
        answer = requests.request(method, url, headers=headers, json=body, timeout=DEADLINE_S)
        assert answer.status_code == status, answer.text
        documented = resolved(API["paths"][path][method.lower()]["responses"][str(status)])
        self.seen.add((method, path, str(status)))
        if "content" not in documented:
            assert answer.content == b""
            return None
        assert answer.headers["Content-Type"] == "application/json"
        schema = documented["content"]["application/json"]["schema"]
        jsonschema_rs.validate({**schema, "components": API["components"]}, answer.json())
        return answer.json()


def resolved(part: Any) -> Any:
    while "$ref" in part:
        for name in part["$ref"].removeprefix("#/").split("/"):
            part = (API if name == "components" else part)[name]
    return part


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[tuple[Gateway, Operations]]:
    config = tmp_path / "gateway.toml"
    config.write_text("")
    options = ("--dev", "--dev-dir", str(tmp_path / "dev"), "--config", str(config))
    with running(tmp_path / "stderr.log", *options, may_end=True) as announcement:
        yield Gateway.parse(announcement), Operations(json.loads(announcement)["ops"])


def test_every_documented_answer_is_as_documented(
    own_gateway: tuple[Gateway, Operations], tmp_path: Path
) -> None:
    gateway, operations = own_gateway
    ask = operations.ask
    project = gateway.project.key

    async def scenario(stage: Stage) -> None:
        alice = await stage.kept("alice")
        await stage.kept("bob")
        session = stage.session
        ask("GET", "/admin/overview", 200)
        ask("GET", "/admin/settings", 200)
        (listed,) = ask("GET", "/admin/sessions", 200, query="?search=ALICE")["sessions"]
        assert (listed["id"], listed["matches"][0]["data"]) == (session, "alice")
        ask("GET", "/admin/sessions", 400, query="?limit=0")
        shown = ask("GET", SESSION, 200, query="?limit=1", session=session)
        assert (shown["connections"], len(shown["items"]), shown["next"]) == (2, 1, 1)
        ask("DELETE", CONNECTION, 403, change=False, session=session, connection=alice.me)
        ask("DELETE", CONNECTION, 204, session=session, connection=alice.me)
        ask("DELETE", CONNECTION, 404, session=session, connection=alice.me)
        ask("DELETE", CONNECTION, 400, session=session, connection="x")
        ask("DELETE", SESSION, 403, change=False, session=session)
        assert ask("DELETE", SESSION, 200, session=session) == {"disconnected": 1}
        for method in ("GET", "DELETE"):
            ask(method, SESSION, 404, session=mint_session(gateway))
            ask(method, SESSION, 400, session="x")
        revocation = {"connectionData": "mallory"}
        made = ask("POST", REVOCATIONS, 201, body=revocation, project=project)
        earlier = {**revocation, "issuedBefore": made["issuedBefore"] - 100}
        ask("POST", REVOCATIONS, 200, body=earlier, project=project)
        ask("POST", REVOCATIONS, 400, body={}, project=project)
        ask("POST", REVOCATIONS, 403, body=revocation, change=False, project=project)
        ask("POST", REVOCATIONS, 404, body=revocation, project="1")
        ask("POST", REVOCATIONS, 413, body={"tokenId": "x" * 70_000}, project=project)
        assert ask("GET", REVOCATIONS, 200, project=project)["count"] == 1
        ask("GET", REVOCATIONS, 404, project="1")
        ask("DELETE", REVOCATION, 403, change=False, project=project, revocation=made["id"])
        ask("DELETE", REVOCATION, 204, project=project, revocation=made["id"])
        ask("DELETE", REVOCATION, 404, project=project, revocation=UNKNOWN_ID)
        ask("DELETE", REVOCATION, 400, project=project, revocation="x")
        ask("POST", "/reload", 403, change=False)
        (tmp_path / "gateway.toml").write_text("[limits]\nconnections = 7\n[process]\nthreads = 3\n")
        reloaded = ask("POST", "/reload", 200)
        assert [it["setting"] for it in reloaded["changed"]] == ["limits.connections"]
        assert [it["setting"] for it in reloaded["awaitingRestart"]] == ["process.threads"]
        (tmp_path / "gateway.toml").write_text("[limits]\nconnections = true\n")
        assert "gateway.toml:2: limits.connections" in ask("POST", "/reload", 422)["message"]
        ask("POST", "/admin/drain", 403, change=False)
        ask("POST", "/admin/drain", 202)

    perform(scenario, gateway, WEBSOCKET_JSON)
    documented = {
        (method.upper(), path, status)
        for path, item in API["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "delete")
        for status in operation["responses"]
    }
    # A body that does not arrive, a full list, and a gateway that is cut off from its cluster.
    elsewhere = {"408", "409", "503"}
    missing = {it for it in documented - operations.seen if it[2] not in elsewhere}
    assert missing == set()
