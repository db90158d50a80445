"""The REST API conforms to its OpenAPI document, and the gateway serves that document.

Schemathesis reads the document and calls every operation with valid and with invalid requests;
every response must be documented. Its random ids would only lead to 403 and 404, so each valid one
is replaced by the id of a session or of a client that is connected. A run in which one of the
documented successes was never seen fails.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.parameters import ParameterLocation

from conftest import Gateway
from ws_client import WebSocketLink

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
DEADLINE_S = 15
GOOD_FOR_S = 300
# One in this many calls goes to an empty session, which has answers of its own.
NOBODY_EVERY = 4

METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE")
JSON = "application/json"

CONFIGURATION = schemathesis.Config.from_dict(
    {
        "seed": 20261124,
        "generation": {
            "deterministic": True,
            "max-examples": 100,
            "no-shrink": True,
            # The tests add credentials; generated ones beside them would make requests ambiguous.
            "with-security-parameters": False,
        },
        "checks": {
            # An input that is too long is invalid, too, and has a status of its own.
            "negative_data_rejection": {"expected-statuses": [400, 403, 404, 405, 413]},
        },
        "phases": {"coverage": {"unexpected-methods": [*METHODS, "QUERY"]}},
    }
)
# Read from the file, as pytest needs the operations before the gateway runs.
# `calls` checks that the gateway serves the same document.
API = schemathesis.openapi.from_path(DOCUMENT, config=CONFIGURATION)


def jwt(gateway: Gateway, **claims: str) -> str:
    """A JWT of the project, made by hand so that the test does not depend on our own code."""
    now = int(time.time())
    claims = {"iss": gateway.project.key, "iat": now, "exp": now + GOOD_FOR_S, **claims}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    secret = gateway.project.secret.encode()
    return f"{signed}.{base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Http(requests.Session):
    """Calls to the gateway by path. Its certificate is verified."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, and no authority but the gateway's
        self.verify = str(gateway.ca)
        self.base = f"https://{gateway.https}"
        self.as_server = {"X-OPENTOK-AUTH": jwt(gateway, ist="project")}
        # Both headers are valid everywhere, and there are two content types: all in turn.
        bearer = {"Authorization": f"Bearer {jwt(gateway)}"}
        self.turns = itertools.cycle(
            {**credential, **accept}
            for accept in ({"Accept": JSON}, {})
            for credential in (self.as_server, bearer)
        )

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.request(method, self.base + path, timeout=DEADLINE_S, **options)

    def new_session(self) -> str:
        headers = {**self.as_server, "Accept": JSON}
        (created,) = self.ask("POST", "/session/create", headers=headers).json()
        return created["session_id"]


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> Iterator[Http]:
    with Http(gateway) as http:
        yield http


class Company:
    """Clients that are connected while a test calls the REST API. A thread reads for them."""

    def __init__(self, gateway: Gateway, http: Http) -> None:
        self.gateway = gateway
        self.session = http.new_session()
        self.empty_session = http.new_session()
        self._token = jwt(gateway, session_id=self.session, scope="session.connect")
        self._links: dict[str, WebSocketLink] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def join(self) -> str:
        """Connects another client to the session and returns its connection id."""
        address = self.gateway.https
        link = self._await(
            WebSocketLink.connect(address.host, address.port, self.gateway.ca, self._token)
        )
        self._links[link.me] = link
        return link.me

    def is_connected(self, connection: str) -> bool:
        return self._links[connection].ended is None

    def close(self) -> None:
        async def close_all() -> None:
            await asyncio.gather(*(link.close() for link in self._links.values()))

        self._await(close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def _await(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(DEADLINE_S)


@pytest.fixture(scope="module")
def company(gateway: Gateway, http: Http) -> Iterator[Company]:
    company = Company(gateway, http)
    yield company
    company.close()


class Calls:
    """Replaces generated ids by real ones, and records the responses of each operation."""

    def __init__(self, company: Company, http: Http) -> None:
        self.company = company
        self.http = http
        self.expires = int(time.time()) + GOOD_FOR_S
        self.stayer = company.join()
        self.victim = company.join()
        # Statuses: the documented ones of success, and those that were received.
        self.promised: set[str] = set()
        self.seen: set[str] = set()
        self._turns = itertools.count(1)

    def make_real(self, case: schemathesis.Case) -> None:
        responses = case.operation.definition.raw["responses"]
        self.promised = {status for status in responses if status.startswith("2")}
        nobody = next(self._turns) % NOBODY_EVERY == 0
        parameters = case.path_parameters or {}
        for name in parameters.keys() - negated(case, ParameterLocation.PATH):
            if name == "projectId":
                parameters[name] = self.company.gateway.project.key
            elif name == "sessionId":
                empty = nobody and "connectionId" not in parameters
                parameters[name] = self.company.empty_session if empty else self.company.session
            elif name == "connectionId" and not nobody:
                parameters[name] = self._someone(case.method)
            elif name == "revocationId" and not nobody:
                parameters[name] = self._revocation()
        if isinstance(case.body, dict) and not case.meta.is_negative_at(ParameterLocation.BODY):
            if case.body.get("to"):
                case.body["to"][0] = self.stayer
            if case.path.endswith(("/revocations", "/disconnect")):
                self._make_selection_real(case.body)
            if nobody and case.path.endswith("/revocations"):
                # The same revocation each time, which is created once.
                case.body = {"tokenId": "the same", "expires": self.expires}

    def _make_selection_real(self, body: dict[str, Any]) -> None:
        """Puts values in range. No connected client has a token that matches."""
        real = {
            "sessionId": self.company.empty_session,
            "issuedBefore": int(time.time()),
            "expires": self.expires,
        }
        body.update({name: value for name, value in real.items() if name in body})

    def _revocation(self) -> str:
        path = f"/v2/project/{self.company.gateway.project.key}/revocations"
        body = {"connectionData": f"user {next(self._turns)}"}
        created = self.http.ask("POST", path, headers=self.http.as_server, json=body)
        return created.json()["id"]

    def _someone(self, method: str) -> str:
        """A connection in the session. If the call will end it, another one is opened first."""
        if method != "DELETE":
            return self.stayer
        if not self.company.is_connected(self.victim):
            self.victim = self.company.join()
        return self.victim


def negated(case: schemathesis.Case, location: ParameterLocation) -> set[str]:
    """The parameters that are invalid on purpose and must stay so."""
    if not case.meta.is_negative_at(location):
        return set()
    data = case.meta.phase.data
    return {data.parameter, *(mutation.parameter for mutation in data.mutations)}


@pytest.fixture
def calls(company: Company, http: Http) -> Iterator[Calls]:
    served = http.ask("GET", "/openapi.yaml").content
    assert served == DOCUMENT.read_bytes(), "the gateway serves another document"
    calls = Calls(company, http)
    yield calls
    assert calls.promised, "no call was made"
    assert calls.promised - calls.seen == set(), "documented successes that no call has reached"


# Hypothesis warns of a fixture that all calls of an operation share. Here that is intended.
@API.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_is_answered_as_documented(
    case: schemathesis.Case, calls: Calls, http: Http
) -> None:
    calls.make_real(case)
    headers = next(http.turns)
    options = {"verify": http.verify, "timeout": DEADLINE_S}
    response = case.call(base_url=http.base, session=http, headers=headers, **options)
    calls.seen.add(str(response.status_code))
    # A body that does not begin like a JSON object is read as a form with unknown fields.
    form = case.path == "/session/create" and not isinstance(case.body, dict)
    case.validate_response(
        response,
        headers=headers,
        transport_kwargs=options,
        excluded_checks=[schemathesis.checks.negative_data_rejection] if form else None,
    )


def test_the_served_document_is_the_one_in_docs(http: Http) -> None:
    served = http.ask("GET", "/openapi.yaml")
    assert (served.status_code, served.headers["Content-Type"]) == (200, "application/yaml")
    assert served.content == DOCUMENT.read_bytes()


def test_a_method_that_is_not_documented_is_refused(company: Company, http: Http) -> None:
    real = {
        "projectId": company.gateway.project.key,
        "sessionId": company.session,
        "connectionId": company.join(),
        "revocationId": "7d0c1f5e-3a55-4f0e-9f5b-0d5d1f7a2c11",
    }
    for path, item in API.raw_schema["paths"].items():
        documented = {method for method in METHODS if method.lower() in item}
        for method in sorted(set(METHODS) - documented):
            answer = http.ask(method, path.format(**real), headers=http.as_server)
            check_error(answer, 405)
            # HEAD comes with GET, as in HTTP.
            allowed = {name.strip() for name in answer.headers["Allow"].split(",")} - {"HEAD"}
            assert (method, path, allowed) == (method, path, documented)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/session",
        "/session/create/",
        "/v2/project/{projectId}/session/{sessionId}",
        "/v2/project/{projectId}/session/{sessionId}/signal/",
        "/v2/project/{projectId}/session/{sessionId}/stream",
        "/v2/project/{projectId}/archive",
    ],
)
def test_a_path_that_is_not_documented_is_not_there(path: str, company: Company, http: Http) -> None:
    real = path.format(projectId=company.gateway.project.key, sessionId=company.session)
    for method in ("GET", "POST"):
        check_error(http.ask(method, real, headers=http.as_server), 404)


def check_error(answer: requests.Response, status: int) -> None:
    request = (answer.request.method, answer.request.path_url)
    content_type = answer.headers.get("Content-Type")
    assert (*request, answer.status_code, content_type) == (*request, status, JSON)
    check("Error", answer.json())
    assert answer.json()["code"] == status


def test_xml_replies_are_as_documented(http: Http) -> None:
    """For clients that do not accept JSON. Schemathesis does not check the contents of XML."""
    created = http.ask("POST", "/session/create", headers=http.as_server)
    assert (created.status_code, created.headers["Content-Type"]) == (200, "text/xml")
    sessions = ElementTree.fromstring(created.content)
    (session,) = sessions
    check_xml("CreatedSessionsXml", {session.tag: texts(session)}, sessions.tag)

    refused = http.ask("POST", "/session/create")
    assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/xml")
    error = ElementTree.fromstring(refused.content)
    fields = texts(error)
    check_xml("ErrorXml", {**fields, "code": int(fields["code"])}, error.tag)


def texts(element: ElementTree.Element) -> dict[str, str]:
    return {child.tag: child.text for child in element}


def check_xml(name: str, content: dict[str, Any], tag: str) -> None:
    check(name, content)
    assert tag == API.raw_schema["components"]["schemas"][name]["xml"]["name"]


def check(name: str, content: Any) -> None:
    """Whether a value conforms to the schema with that name."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": API.raw_schema["components"]}
    jsonschema_rs.validate(schema, content)
