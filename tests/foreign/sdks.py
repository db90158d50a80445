"""The vendor's SDKs, unmodified, behind one set of calls, so that each guarantee is tested once.

The abilities of an SDK are in the table `SDKS` and nowhere else. Only its documented option for the
address is used. Each call blocks, as the SDKs do; a test with clients makes it in a thread.
"""

import json
import os
import select
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import opentok
import pydantic
import vonage_http_client
import vonage_video
from opentok.exceptions import OpenTokException
from vonage_http_client.errors import HttpRequestError
from vonage_video.errors import VideoError
from vonage_video.models import MediaMode, SessionOptions, SignalData, TokenOptions

from vendor import Application, Credentials, Vendor

HERE = Path(__file__).parent
# The slowest answer is the first one of a node process.
ANSWER_DEADLINE_S = 20


class Failure(Exception):
    """An exception of an SDK, by the parts that an application can distinguish. `shown` is its text
    if that is not the gateway's `message`."""

    def __init__(
        self, kind: str, status: int | None, message: str, shown: str | None = None
    ) -> None:
        super().__init__(kind, status, message)
        self.kind = kind
        self.status = status
        self.message = message
        self.shown = message if shown is None else shown


class Session(NamedTuple):
    """Options of a new session, in the words of the vendor's documentation."""

    media: str | None = None  # "routed" or "relayed"
    archive: str | None = None  # "manual" or "always"
    location: str | None = None


class Client(ABC):
    """An SDK with credentials."""

    @abstractmethod
    def create_session(self, asked: Session = Session()) -> str: ...

    @abstractmethod
    def token(
        self,
        session: str,
        form: str = "jwt",
        role: str | None = None,
        data: str | None = None,
        layout: list[str] | None = None,
        expires: int | None = None,
    ) -> str: ...

    @abstractmethod
    def signal(self, session: str, payload: dict[str, Any], to: str | None = None) -> None: ...

    @abstractmethod
    def force_disconnect(self, session: str, connection: str) -> None: ...

    @abstractmethod
    def list_streams(self, session: str) -> None: ...

    @abstractmethod
    def calls(self) -> list[str]:
        """The names of all methods of the SDK."""


class OpenTokPython(Client):
    def __init__(self, vendor: Vendor, credentials: Credentials) -> None:
        if isinstance(credentials, Application):
            # With the path of a private key it always uses the vendor's address.
            self.sdk = opentok.Client(credentials.key, str(credentials.private_key))
        else:
            url = f"https://{vendor.https}"
            self.sdk = opentok.Client(credentials.key, credentials.secret, api_url=url)

    def create_session(self, asked: Session = Session()) -> str:
        options = defined(
            media_mode=asked.media and opentok.MediaModes[asked.media],
            archive_mode=asked.archive and opentok.ArchiveModes[asked.archive],
            location=asked.location,
        )
        return self._call(self.sdk.create_session, **options).session_id

    def token(
        self, session, form="jwt", role=None, data=None, layout=None, expires=None
    ) -> str:
        options = defined(
            role=role and opentok.Roles(role),
            data=data,
            initial_layout_class_list=layout,
            expire_time=expires,
        )
        return self._call(self.sdk.generate_token, session, use_jwt=form == "jwt", **options)

    def signal(self, session, payload, to=None) -> None:
        self._call(self.sdk.send_signal, session, payload, to)

    def force_disconnect(self, session, connection) -> None:
        self._call(self.sdk.force_disconnect, session, connection)

    def list_streams(self, session) -> None:
        self._call(self.sdk.list_streams, session)

    def calls(self) -> list[str]:
        return dir(self.sdk)

    def _call(self, method: Any, *args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except OpenTokException as error:
            status = next((part for part in error.args if isinstance(part, int)), None)
            raise Failure(type(error).__name__, status, str(error)) from error


class VonagePython(Client):
    def __init__(self, vendor: Vendor, credentials: Application) -> None:
        auth = vonage_http_client.Auth(
            application_id=credentials.key, private_key=str(credentials.private_key)
        )
        options = vonage_http_client.HttpClientOptions(video_host=str(vendor.https))
        self.sdk = vonage_video.Video(vonage_http_client.HttpClient(auth, options))

    def create_session(self, asked: Session = Session()) -> str:
        options = defined(
            media_mode=asked.media and MediaMode(asked.media),
            archive_mode=asked.archive,
            location=asked.location,
        )
        session = self._call(
            self.sdk.create_session, *([SessionOptions(**options)] if options else [])
        )
        return session.session_id

    def token(
        self, session, form="jwt", role=None, data=None, layout=None, expires=None
    ) -> str:
        options = defined(
            role=role, connection_data=data, initial_layout_class_list=layout, exp=expires
        )

        def generate() -> bytes:
            return self.sdk.generate_client_token(TokenOptions(session_id=session, **options))

        return self._call(generate).decode()

    def signal(self, session, payload, to=None) -> None:
        recipient = defined(connection_id=to)
        self._call(lambda: self.sdk.send_signal(session, SignalData(**payload), **recipient))

    def force_disconnect(self, session, connection) -> None:
        self._call(self.sdk.disconnect_client, session, connection)

    def list_streams(self, session) -> None:
        self._call(self.sdk.list_streams, session)

    def calls(self) -> list[str]:
        return dir(self.sdk)

    def _call(self, method: Any, *args: Any) -> Any:
        try:
            return method(*args)
        except HttpRequestError as error:
            status = error.response.status_code
            raise Failure(type(error).__name__, status, str(error)) from error
        except (pydantic.ValidationError, VideoError) as error:
            raise Failure(type(error).__name__, None, str(error)) from error


class Node:
    """The process of `node_sdks.js`. If an SDK has ended it, the next call starts another."""

    def __init__(self, ca: Path) -> None:
        self._ca = ca
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, **line: Any) -> Any:
        process = self._running()
        process.stdin.write(json.dumps(line).encode() + b"\n")
        outcome = json.loads(self._answer(process))
        if failure := outcome.get("failure"):
            raise Failure(**failure)
        return outcome["result"]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                ["node", str(HERE / "node_sdks.js")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "NODE_EXTRA_CA_CERTS": str(self._ca)},
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes:
        deadline = time.monotonic() + ANSWER_DEADLINE_S
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
            part = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not part:
                self.stop()
                fault = "the SDK ended its process" if ready else "the SDK never came back"
                raise AssertionError(fault)
            answer += part
        return answer


class NodeSdk(Client):
    """An SDK for Node.js; `name` is the name of its class in `node_sdks.js`."""

    def __init__(self, node: Node, name: str, vendor: Vendor, credentials: Credentials) -> None:
        secret = credentials.pem if isinstance(credentials, Application) else credentials.secret
        self._node = node
        self._name = name
        self._credentials = {
            "key": credentials.key,
            "secret": secret,
            "url": f"https://{vendor.https}",
        }

    def create_session(self, asked: Session = Session()) -> str:
        return self._call("create_session", **defined(**asked._asdict()))

    def token(
        self, session, form="jwt", role=None, data=None, layout=None, expires=None
    ) -> str:
        options = defined(role=role, data=data, layout=layout, expires=expires)
        return self._call("token", session=session, t1=form == "t1", **options)

    def signal(self, session, payload, to=None) -> None:
        self._call("signal", session=session, payload=payload, to=to)

    def force_disconnect(self, session, connection) -> None:
        self._call("force_disconnect", session=session, connection=connection)

    def list_streams(self, session) -> None:
        self._call("list_streams", session=session)

    def calls(self) -> list[str]:
        return self._call("calls")

    def _call(self, call: str, **args: Any) -> Any:
        line = {"sdk": self._name, "credentials": self._credentials, "call": call, "args": args}
        return self._node.call(**line)


Open = Callable[[Node, Vendor, Any], Client]


@dataclass(frozen=True)
class Sdk:
    """An SDK in one of its modes, and its abilities."""

    name: str
    open: Open
    # Whether it authenticates as an application. Otherwise it uses a project's secret.
    applications: bool
    token_forms: tuple[str, ...] = ("jwt",)
    # Whether its address can be set. If not, it can still mint tokens.
    requests: bool = True
    lists_connections: bool = False
    # The media mode that it requests by default.
    default_media: str = "routed"
    # The longest connection data that it allows, in the units of its language.
    longest_data: int = 1000
    counts_utf16: bool = False

    def __str__(self) -> str:
        return self.name


SDKS = [
    Sdk(
        "opentok-python",
        lambda _, vendor, credentials: OpenTokPython(vendor, credentials),
        applications=False,
        token_forms=("jwt", "t1"),
        default_media="relayed",
    ),
    Sdk(
        "opentok-python-application",
        lambda _, vendor, credentials: OpenTokPython(vendor, credentials),
        applications=True,
        requests=False,
    ),
    Sdk(
        "opentok-node",
        lambda node, vendor, credentials: NodeSdk(node, "opentok", vendor, credentials),
        applications=False,
        token_forms=("jwt", "t1"),
        default_media="relayed",
        longest_data=1024,
        counts_utf16=True,
    ),
    Sdk(
        "opentok-node-application",
        lambda node, vendor, credentials: NodeSdk(node, "opentok", vendor, credentials),
        applications=True,
        default_media="relayed",
    ),
    Sdk(
        "vonage-python",
        lambda _, vendor, credentials: VonagePython(vendor, credentials),
        applications=True,
    ),
    Sdk(
        "vonage-node",
        lambda node, vendor, credentials: NodeSdk(node, "vonage", vendor, credentials),
        applications=True,
    ),
]


# The same SDK in the package with all of the vendor's products.
WHOLE_VONAGE_NODE = Sdk(
    "whole-vonage-node",
    lambda node, vendor, credentials: NodeSdk(node, "whole vonage", vendor, credentials),
    applications=True,
)

REQUESTING = [sdk for sdk in SDKS if sdk.requests]


def by_name(name: str) -> Sdk:
    return next(sdk for sdk in SDKS if sdk.name == name)


def defined(**options: Any) -> dict[str, Any]:
    """The options that are set. The SDK has defaults for the others."""
    return {name: value for name, value in options.items() if value is not None}
