"""A project's webhook: an HTTP server that records deliveries and answers as a test requires."""

import json
import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

# The gateway delivers at once, and again half a second after the first refusal.
DEADLINE_S = 15

GOOD = 204
# Not a status: close the connection without a response.
NOTHING = 0


@dataclass(frozen=True)
class Delivery:
    """One request, and the status of its response."""

    headers: dict[str, str]  # names in lower case
    body: bytes
    answer: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inboxes: dict[str, queue.Queue[Delivery]] = {}
        self._answers: dict[str, list[int]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host}:{port}/hooks"

    def answer(self, session: str, *statuses: int) -> None:
        """Sets the responses to the next deliveries about this session. Later ones succeed."""
        with self._lock:
            self._answers[session] = list(statuses)

    def next(self, session: str) -> Delivery:
        """The next delivery about this session, in order of arrival."""
        return self._inbox(session).get(timeout=DEADLINE_S)

    def _inbox(self, session: str) -> queue.Queue[Delivery]:
        with self._lock:
            return self._inboxes.setdefault(session, queue.Queue())

    def _received(self, headers: dict[str, str], body: bytes) -> int:
        session = json.loads(body)["sessionId"]
        with self._lock:
            answers = self._answers.get(session)
            answer = answers.pop(0) if answers else GOOD
        self._inbox(session).put(Delivery(headers, body, answer))
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/hooks"
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._received(headers, body)
                if answer == NOTHING:
                    self.close_connection = True
                    return
                self.send_response(answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Logs nothing, as pytest shows the deliveries of a failed test."""

        return Handler
