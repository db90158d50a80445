"""Client tokens as the SDKs for Ruby, PHP, Java and .NET mint them, byte for byte.

The signed text has the form that each SDK writes: the order of fields, their escaping, and null or
missing members for options that the user has not set.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote_plus

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from gateways import Project
from vendor import Application

DAY_S = 24 * 60 * 60

Claims = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """Options of the SDK's user; `now` is the time of minting."""

    session: str
    role: str = "publisher"
    data: str | None = None
    layout: tuple[str, ...] = ()
    expires: int | None = None
    now: int = 0

    def at(self, now: float) -> "Asked":
        return replace(self, now=int(now))


def jwt_hs256(project: Project, header: Claims, claims: Claims) -> str:
    signed = signing_input(header, claims)
    signature = hmac.digest(project.secret.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64url(signature)}"


def jwt_rs256(application: Application, header: Claims, claims: Claims) -> str:
    signed = signing_input(header, claims)
    key = serialization.load_pem_private_key(application.private_key.read_bytes(), None)
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64url(signature)}"


def signing_input(header: Claims, claims: Claims) -> str:
    def part(value: Claims) -> str:
        return base64url(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    return f"{part(header)}.{part(claims)}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def t1(project: Project, fields: str, url_safe: bool = False) -> str:
    signature = hmac.new(project.secret.encode(), fields.encode(), hashlib.sha1).hexdigest()
    whole = f"partner_id={project.key}&sig={signature}:{fields}".encode()
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return "T1==" + encode(whole).decode()


def joined(**fields: Any) -> str:
    """Members that are None are left out. No further escaping."""
    return "&".join(f"{name}={value}" for name, value in fields.items() if value is not None)


def escaped(text: str) -> str:
    """As in a form: spaces become plus signs."""
    return quote_plus(text, safe="")


def escaped_with_tilde(text: str) -> str:
    """The same except for the tilde, which older libraries escape and RFC 3986 does not."""
    return escaped(text).replace("~", "%7E")


def ruby_t1(project: Project, asked: Asked) -> str:
    fields = joined(
        role=asked.role,
        session_id=asked.session,
        create_time=asked.now,
        nonce=0.8437281904,
        expire_time=asked.expires,
        connection_data=asked.data and escaped(asked.data),
        initial_layout_class_list=escaped(" ".join(asked.layout)) or None,
    )
    return t1(project, fields)


def php_t1(project: Project, asked: Asked) -> str:
    fields = joined(
        session_id=asked.session,
        create_time=asked.now,
        role=asked.role,
        nonce=1732446000.1234,
        expire_time=asked.expires,
        connection_data=asked.data and escaped_with_tilde(asked.data),
        initial_layout_class_list=escaped(" ".join(asked.layout)),
    )
    return t1(project, fields)


def java_t1(project: Project, asked: Asked) -> str:
    """The list keeps its spaces, the nonce may be negative, and the base64 has `-` and `_`."""
    fields = joined(
        create_time=asked.now,
        expire_time=asked.expires or asked.now + DAY_S,
        session_id=asked.session,
        nonce=-1234567890,
        role=asked.role,
        scope="session.connect",
        initial_layout_class_list=" ".join(asked.layout),
        connection_data=asked.data and escaped_with_tilde(asked.data),
    )
    return t1(project, fields, url_safe=True)


def dotnet_t1(project: Project, asked: Asked) -> str:
    """It escapes in lower case."""
    fields = joined(
        session_id=asked.session,
        create_time=asked.now,
        nonce=524188,
        role=asked.role,
        initial_layout_class_list=" ".join(asked.layout) or None,
        expire_time=asked.expires,
        connection_data=asked.data and lowered(escaped_with_tilde(asked.data)),
    )
    return t1(project, fields)


def lowered(encoded: str) -> str:
    """Escapes in lower case; unreserved characters stay as they are."""
    first, *rest = encoded.split("%")
    return "".join([first, *(f"%{part[:2].lower()}{part[2:]}" for part in rest)])


def ruby_jwt(project: Project, asked: Asked) -> str:
    claims: Claims = {
        "iss": project.key,
        "ist": "project",
        "iat": asked.now,
        "nonce": 0.8437281904,
        "role": asked.role,
        "scope": "session.connect",
        "session_id": asked.session,
    }
    if asked.expires is not None:
        claims["exp"] = asked.expires
    if asked.data is not None:
        claims["connection_data"] = asked.data
    if asked.layout:
        claims["initial_layout_class_list"] = " ".join(asked.layout)
    return jwt_hs256(project, {"alg": "HS256"}, claims)


def php_jwt(project: Project, asked: Asked) -> str:
    claims: Claims = {
        "iss": project.key,
        "iat": asked.now,
        "session_id": asked.session,
        "role": asked.role,
        "ist": "project",
        "nonce": 1732446000.1234,
        "scope": "session.connect",
        # The options as the user set them; the effective members follow under other names.
        "data": asked.data,
        "expireTime": asked.expires,
    }
    if asked.expires is not None:
        claims["exp"] = asked.expires
    if asked.data is not None:
        claims["connection_data"] = asked.data
    if asked.layout:
        claims["initial_layout_class_list"] = escaped(" ".join(asked.layout))
    return jwt_hs256(project, {"typ": "JWT", "alg": "HS256"}, claims)


def java_jwt(project: Project, asked: Asked) -> str:
    claims: Claims = {
        "session_id": asked.session,
        "nonce": -1234567890,
        "role": asked.role,
        "scope": "session.connect",
    }
    if asked.layout:
        claims["initial_layout_class_list"] = " ".join(asked.layout)
    if asked.data is not None:
        claims["connection_data"] = asked.data
    claims |= {
        "ist": "project",
        "iss": project.key,
        "jti": secrets.token_urlsafe(16),
        "exp": asked.expires or asked.now + DAY_S,
        "iat": asked.now,
    }
    return jwt_hs256(project, {"alg": "HS256"}, claims)


def dotnet_jwt(project: Project, asked: Asked) -> str:
    claims: Claims = {
        "iss": project.key,
        "ist": "project",
        "role": asked.role,
        "session_id": asked.session,
        "scope": "session.connect",
        "iat": asked.now,
        "jti": base64.b64encode(secrets.token_bytes(64)).decode(),
        "initial_layout_list": " ".join(asked.layout),
        "nonce": 524188,
        "connection_data": asked.data,  # null where there is none
        "exp": asked.expires or asked.now + 300,
        "nbf": asked.now,
    }
    return jwt_hs256(project, {"alg": "HS256", "typ": "JWT"}, claims)


def java_application(application: Application, asked: Asked) -> str:
    claims: Claims = {
        "application_id": application.key,
        "session_id": asked.session,
        "nonce": -1234567890,
        "role": asked.role,
        "scope": "session.connect",
    }
    if asked.layout:
        claims["initial_layout_class_list"] = " ".join(asked.layout)
    if asked.data is not None:
        claims["connection_data"] = asked.data
    claims |= {
        "exp": asked.expires or asked.now + DAY_S,
        "iat": asked.now,
        "jti": "0a5b4e5e-4f53-4a0b-9a43-0d1b6f6b1f2e",
    }
    return jwt_rs256(application, {"alg": "RS256", "typ": "JWT"}, claims)


Mint = Callable[[Any, Asked], str]


@dataclass(frozen=True)
class Minter:
    name: str
    mint: Mint
    applications: bool = False
    # Whether a token contains an expiry if its user has not set one.
    always_ends: bool = True

    def __str__(self) -> str:
        return self.name

    def __call__(self, credentials: Project | Application, asked: Asked) -> str:
        return self.mint(credentials, asked if asked.now else asked.at(time.time()))


MINTERS = [
    Minter("ruby-t1", ruby_t1, always_ends=False),
    Minter("ruby-jwt", ruby_jwt, always_ends=False),
    Minter("php-t1", php_t1, always_ends=False),
    Minter("php-jwt", php_jwt, always_ends=False),
    Minter("java-t1", java_t1),
    Minter("java-jwt", java_jwt),
    Minter("java-application", java_application, applications=True),
    Minter("dotnet-t1", dotnet_t1, always_ends=False),
    Minter("dotnet-jwt", dotnet_jwt),
]
