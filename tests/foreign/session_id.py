"""The checks of session ids in the vendor's SDKs.

To clients an id is opaque. These SDKs parse it, each in its own way, and never send a request with
an id that fails their check.
"""

import base64
import re
from typing import NamedTuple

LONGEST = 255
INT32_MAX = 2**31 - 1


class SessionId(NamedTuple):
    version: str  # "1" if relayed, "2" if routed
    key: str
    location: str
    created_ms: int
    nonce: str


def parse(session: str) -> SessionId:
    """Parses the whole id, as strictly as the gateway guarantees its form."""
    assert len(session) <= LONGEST
    version, encoded = session[:1], session[2:]
    assert session[1] == "_"
    fields = decoded(encoded).split("~")
    assert (len(fields), fields[0], fields[5:]) == (7, "1", ["", ""])
    _, key, location, created_ms, nonce = fields[:5]
    assert len(nonce) == 24 and nonce.isascii() and nonce.isalnum()
    return SessionId(version, key, location, int(created_ms), nonce)


def node_accepts(session: str, key: str) -> bool:
    """It checks that the second field is the key."""
    text = decoded(session[2:])
    return text.split("~")[1] == key


def python_and_java_accept(session: str, key: str) -> bool:
    """They check that one of the fields is the key."""
    return key in decoded(session[2:]).split("~")


def ruby_accepts(session: str, key: str) -> bool:
    """It checks that the id contains the key."""
    return key in decoded(session[2:])


def php_accepts(session: str, key: str) -> bool:
    """It splits at hyphens *before* it decodes, and checks that a field of a piece is the key."""
    pieces = session[2:].split("-")
    return any(key in decoded_by_php(piece).split("~") for piece in pieces)


def dotnet_accepts(session: str, key: str) -> bool:
    """It decodes `-` but not `_`, and requires the key to be a positive Int32."""
    parts = session.replace("-", "+").split("_")
    if len(parts) != 2:
        return False
    found = int(decoded(parts[1]).split("~")[1])
    return found == int(key) and 0 < found <= INT32_MAX


def decoded(encoded: str) -> str:
    standard = encoded.translate(str.maketrans("-_", "+/"))
    return base64.b64decode(padded(standard), validate=True).decode()


def decoded_by_php(piece: str) -> str:
    """Skips characters outside the standard alphabet, and drops a single trailing one."""
    known = re.sub("[^A-Za-z0-9+/]", "", piece)
    whole = known[:-1] if len(known) % 4 == 1 else known
    return base64.b64decode(padded(whole)).decode(errors="replace")


def padded(encoded: str) -> str:
    return encoded + "=" * (-len(encoded) % 4)


ACCEPT = {
    "node": node_accepts,
    "python-and-java": python_and_java_accept,
    "ruby": ruby_accepts,
    "php": php_accepts,
    "dotnet": dotnet_accepts,
}
