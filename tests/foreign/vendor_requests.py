"""The requests of the vendor's SDKs for Ruby, PHP, Java and .NET, byte for byte.

These SDKs are not installed here. The requests were derived from their source and that of their
HTTP libraries: names, case and order of headers, the forms, and their mistakes. Each class is one
SDK; its methods make whole requests.
"""

import json
import secrets
import time
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote, quote_plus

from gateways import Address
from vendor import Application, Credentials
from vendor_tokens import jwt_hs256, jwt_rs256

Headers = list[tuple[str, str]]

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class Requests(ABC):
    """An SDK with credentials and a configured address."""

    def __init__(self, credentials: Credentials, host: Address) -> None:
        self.credentials = credentials
        self.host = str(host)

    @abstractmethod
    def create(self, relayed: bool = True, location: str | None = None) -> bytes: ...

    @abstractmethod
    def signal(
        self, session: str, type: str | None, data: str | None, to: str | None = None
    ) -> bytes: ...

    @abstractmethod
    def force_disconnect(self, session: str, connection: str) -> bytes: ...

    @abstractmethod
    def list_connections(self, session: str) -> bytes: ...

    @abstractmethod
    def credential(self) -> str:
        """The token of each request."""

    def in_session(self, session: str, *rest: str) -> str:
        return "/".join([f"/v2/project/{self.credentials.key}/session/{session}", *rest])


class Ruby(Requests):
    """HTTParty on Net::HTTP, which capitalizes every word of a header and sends `close`."""

    def create(self, relayed: bool = True, location: str | None = None) -> bytes:
        preference = "enabled" if relayed else "disabled"
        fields = {"archiveMode": "manual", "p2p.preference": preference}
        if location:
            fields["location"] = location
        body = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        return self._request("POST", "/session/create", FORM, body)

    def signal(self, session, type, data, to=None) -> bytes:
        rest = ["signal"] if to is None else ["connection", to, "signal"]
        given = {"type": type, "data": data}
        payload = {name: value for name, value in given.items() if value is not None}
        return self._request("POST", self.in_session(session, *rest), JSON, compact(payload))

    def force_disconnect(self, session, connection) -> bytes:
        return self._request("DELETE", self.in_session(session, "connection", connection), JSON)

    def list_connections(self, session) -> bytes:
        return self._request("GET", self.in_session(session, "connection"))

    def credential(self) -> str:
        now = int(time.time())
        claims = {"iss": self.credentials.key, "iat": now, "exp": now + 300}
        # The SDK puts `ist` into the header by mistake; it is ignored there.
        return jwt_hs256(self.credentials, {"ist": "project", "alg": "HS256"}, claims)

    def _request(self, method: str, path: str, content_type: str = "", body: str = "") -> bytes:
        headers = [
            ("Accept-Encoding", "gzip;q=1.0,deflate;q=0.6,identity;q=0.3"),
            ("User-Agent", "OpenTok-Ruby-SDK/4.13.0-Ruby-Version-3.3.6-p108"),
            ("X-Opentok-Auth", self.credential()),
            *([("Content-Type", content_type)] if content_type else []),
            ("Accept", "*/*"),
            ("Connection", "close"),
            ("Host", self.host),
            *([("Content-Length", str(len(body.encode())))] if body else []),
        ]
        return written(method, path, headers, body)


class Php(Requests):
    """Guzzle on libcurl. It sends no `Accept` header."""

    def create(self, relayed: bool = True, location: str | None = None) -> bytes:
        preference = "enabled" if relayed else "disabled"
        fields = {"archiveMode": "manual", "p2p.preference": preference}
        if location:
            fields["location"] = location
        fields |= {"e2ee": "false", "api_key": self.credentials.key}
        body = "&".join(f"{name}={php_urlencode(value)}" for name, value in fields.items())
        return self._request("POST", "/session/create", FORM, body)

    def signal(self, session, type, data, to=None) -> bytes:
        rest = ["signal"] if to is None else ["connection", to, "signal"]
        # Escapes every slash and every character outside ASCII.
        body = json.dumps({"type": type or "", "data": data or ""}, separators=(",", ":"))
        body = body.replace("/", "\\/")
        return self._request("POST", self.in_session(session, *rest), JSON, body)

    def force_disconnect(self, session, connection) -> bytes:
        return self._request("DELETE", self.in_session(session, "connection", connection), JSON)

    def list_connections(self, session) -> bytes:
        return self._request("GET", self.in_session(session, "connection", ""))

    def credential(self) -> str:
        now = int(time.time())
        if isinstance(self.credentials, Application):
            claims = {
                "application_id": self.credentials.key,
                "iat": now,
                "jti": "b7a2c1e5-0a0f-4d6b-9f3f-8f8a0d9b1c2d",
                "exp": now + 900,
            }
            return jwt_rs256(self.credentials, {"typ": "JWT", "alg": "RS256"}, claims)
        claims = {
            "ist": "project",
            "iss": self.credentials.key,
            "iat": now,
            "exp": now + 300,
            "jti": "674313a9e1c5b",
        }
        return jwt_hs256(self.credentials, {"typ": "JWT", "alg": "HS256"}, claims)

    def _request(self, method: str, path: str, content_type: str = "", body: str = "") -> bytes:
        headers = [
            ("Host", self.host),
            ("User-Agent", "OpenTok-PHP-SDK/5.1.0 GuzzleHttp/7"),
            *([("Content-Type", content_type)] if content_type else []),
            # The same header for a key pair: PHP does not use Bearer.
            ("X-OPENTOK-AUTH", self.credential()),
            *([("Content-Length", str(len(body.encode())))] if body else []),
        ]
        return written(method, path, headers, body)


class Java(Requests):
    """async-http-client on Netty, whose own headers are in lower case."""

    def create(self, relayed: bool = True, location: str | None = None) -> bytes:
        preference = "enabled" if relayed else "disabled"
        fields = {"p2p.preference": preference, "archiveMode": "manual", "e2ee": "false"}
        if location:
            fields = {"location": location} | fields
        body = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())
        return self._request("POST", "/session/create", body, [("Accept", JSON)], FORM)

    def signal(self, session, type, data, to=None) -> bytes:
        rest = ["signal"] if to is None else ["connection", to, "signal"]
        body = compact({"type": type, "data": data})  # null where there is none
        any_type = [("accept", "*/*")]
        return self._request("POST", self.in_session(session, *rest), body, any_type, JSON)

    def force_disconnect(self, session, connection) -> bytes:
        path = self.in_session(session, "connection", connection)
        return self._request("DELETE", path, "", [("accept", "*/*")])

    def list_connections(self, session) -> bytes:
        path = self.in_session(session, "connection")
        return self._request("GET", path, "", [("Accept", JSON)])

    def credential(self) -> str:
        now = int(time.time())
        if isinstance(self.credentials, Application):
            claims: dict[str, Any] = {
                "iat": now,
                "jti": "0a5b4e5e-4f53-4a0b-9a43-0d1b6f6b1f2e",
                "application_id": self.credentials.key,
                "exp": now + 900,
            }
            return jwt_rs256(self.credentials, {"alg": "RS256", "typ": "JWT"}, claims)
        claims = {
            "ist": "project",
            "iss": self.credentials.key,
            "jti": secrets.token_urlsafe(16),
            "exp": now + 180,
            "iat": now,
        }
        return jwt_hs256(self.credentials, {"alg": "HS256"}, claims)

    def _request(
        self, method: str, path: str, body: str, accept: Headers, content_type: str = ""
    ) -> bytes:
        if isinstance(self.credentials, Application):
            credential = ("Authorization", f"Bearer {self.credential()}")
        else:
            credential = ("X-OPENTOK-AUTH", self.credential())
        headers = [
            *([("Content-Type", content_type)] if content_type else []),
            *accept,
            ("User-Agent", "Opentok-Java-SDK/4.17.0 JRE/21.0.5"),
            credential,
            *([("content-length", str(len(body.encode())))] if body else []),
            ("host", self.host),
        ]
        return written(method, path, headers, body)


class DotNet(Requests):
    """HttpWebRequest. It puts its content type into `Expect`, which HTTP does not define."""

    def create(self, relayed: bool = True, location: str | None = None) -> bytes:
        preference = "enabled" if relayed else "disabled"
        fields = {
            "location": location or "",
            "p2p.preference": preference,
            "archiveMode": "manual",
            "e2ee": "False",
        }
        body = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())
        return self._request("POST", "/session/create", FORM, body)

    def signal(self, session, type, data, to=None) -> bytes:
        rest = ["signal"] if to is None else ["connection", to, "signal"]
        given = {"data": data, "type": type}
        payload = {name: value for name, value in given.items() if value is not None}
        return self._request("POST", self.in_session(session, *rest), JSON, compact(payload))

    def force_disconnect(self, session, connection) -> bytes:
        return self._request("DELETE", self.in_session(session, "connection", connection))

    def list_connections(self, session) -> bytes:
        return self._request("GET", self.in_session(session, "connection"))

    def credential(self) -> str:
        now = round(time.time())
        claims = {"iss": self.credentials.key, "ist": "project", "iat": now, "exp": now + 300}
        return jwt_hs256(self.credentials, {"typ": "JWT", "alg": "HS256"}, claims)

    def _request(self, method: str, path: str, content_type: str = "", body: str = "") -> bytes:
        length = len(body)  # in characters, so that only ASCII works
        headers = [
            ("Host", self.host),
            ("User-Agent", "OpenTok-DotNet-SDK/3.22.0"),
            *([("Expect", content_type)] if content_type else []),
            ("X-OPENTOK-AUTH", self.credential()),
            ("X-TB-VERSION", "1"),
            *([("Content-Type", content_type)] if content_type else []),
            *([("Content-Length", str(length))] if method != "GET" else []),
        ]
        return written(method, path, headers, body)


def written(method: str, path: str, headers: Headers, body: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body.encode()


def compact(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def php_urlencode(text: str) -> str:
    """Like the encoding of a form, but it encodes the tilde, too."""
    return quote_plus(text).replace("~", "%7E")
