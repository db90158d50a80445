"""The transcripts of protocol/vectors/transcripts.json, played to the parts of the Python SDK that
do no I/O. Section 3.5 of docs/protocol.md specifies the steps.

The player repeats what links do: they neither handle senders' streams nor write before the
gateway's reply.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import signalbox
from signalbox import Streams, messages
from signalbox.codes import CloseReason, UnknownCode
from signalbox.errors import RefusedError
from signalbox.events import EventQueue
from signalbox.gateway_url import GatewayUrl
from signalbox.link.dispatcher import EventDispatcher
from signalbox.link.outgoing import BATCH, OutgoingMessages
from signalbox.link.reply import ReplyAssembler, ResumedReply
from signalbox.messages import Bye, ClientMessage
from signalbox.opening import Opening
from signalbox.options import ConnectOptions
from signalbox.order import Order, ResumePosition
from signalbox.reconnect import (
    NextStep,
    after_refused_resume,
    apply_reply,
    should_reconnect,
)
from signalbox.send_queue import Leave, QueuedSignal
from signalbox.session_view import SessionView
from signalbox.ticket import ResumeTicket

Fields = dict[str, Any]

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
TRANSCRIPTS = json.loads((VECTORS / "transcripts.json").read_text())["transcripts"]
PLAYS = [(each, carriers) for each in TRANSCRIPTS for carriers in each["carriers"]]


class Player:
    """A client whose links are the steps of a transcript."""

    def __init__(self, presence: bool, carriers: str) -> None:
        streams = Streams.PER_SENDER if carriers == "perSender" else Streams.SINGLE
        url = GatewayUrl.parse("quic://gateway.example")
        self._options = ConnectOptions((url,), "abc.def.ghi", presence=presence, streams=streams)
        # None before the first welcome.
        self.dispatcher: EventDispatcher | None = None
        self._outgoing: OutgoingMessages | None = None
        self._resume: tuple[ResumeTicket, ResumePosition] | None = None
        self._asked = 0
        self._then: str | None = None
        self._bye: CloseReason | UnknownCode | None = None
        self._surfaced: deque[Fields] = deque()
        self._open()

    def _open(self) -> None:
        """Opens a link and sends the opening."""
        opening = Opening(self._options, self._resume).messages()
        self._sent = deque(map(as_json, opening))
        # Until the gateway's reply on this link is complete.
        self._assembler: ReplyAssembler | None = ReplyAssembler()
        self._early: list[Callable[[Order], None]] = []
        self._headed: set[int] = set()
        self._ignored: set[int] = set()

    def receives(self, message: Fields, on: str | int) -> None:
        if on == "control":
            self._control(message)
        else:
            self._stream(on, message)

    def _control(self, fields: Fields) -> None:
        message = messages.GATEWAY.from_json(fields)
        if message is None:
            return
        if self._assembler is not None:
            try:
                reply = self._assembler.push(message)
            except RefusedError as refused:
                self._refused(refused.reason)
            else:
                if reply is not None:
                    self._answered(reply)
        elif isinstance(message, Bye):
            self._bye = message.reason
        else:
            self.dispatcher.control(message)

    def _answered(self, reply: messages.Welcome | ResumedReply) -> None:
        self._assembler = None
        if self.dispatcher is None:
            self._outgoing = OutgoingMessages(messages.RESUME in reply.features)
            order = Order(reply, self._options.presence)
            self.dispatcher = EventDispatcher(
                order, self._outgoing, EventQueue(), SessionView(reply)
            )
        else:
            apply_reply(self.dispatcher, self._outgoing, reply)
        for arrival in self._early:
            arrival(self.dispatcher.order)

    def _refused(self, reason: CloseReason | UnknownCode) -> None:
        """A hello or a resume has been refused."""
        step = after_refused_resume(reason) if self._resume else NextStep.GIVE_UP
        self._assembler = None
        self._then = {"RETRY": "resume", "REJOIN": "join", "GIVE_UP": "rest"}[step.name]
        if step is NextStep.GIVE_UP:
            self._surfaced.append({"ended": {"reason": str(reason)}})

    def _stream(self, stream: int, fields: Fields) -> None:
        if stream in self._ignored:
            return
        if stream in self._headed:
            message = messages.SENDER_STREAM.from_json(fields)
            if isinstance(message, messages.SenderHeader):
                self._arrived(lambda order: order.open(stream, message.sender, message.after))
            elif message is not None:
                self._arrived(lambda order: order.signal(stream, message))
            return
        header = messages.GATEWAY_STREAM.from_json(fields)
        if header is None:
            self._ignored.add(stream)
        else:
            self._headed.add(stream)
            self._arrived(lambda order: order.open(stream, header.sender, header.after))

    def stream_over(self, stream: int, reset: bool) -> None:
        if stream not in self._ignored:
            self._arrived(lambda order: order.end(stream, reset))

    def _arrived(self, arrival: Callable[[Order], None]) -> None:
        if self._assembler is not None:
            self._early.append(arrival)
        else:
            arrival(self.dispatcher.order)

    def asked(self, signal: Fields) -> None:
        """The application sends a signal."""
        self._asked += 1
        send = messages.CLIENT.from_json({"signal": signal})
        self._command(QueuedSignal(self._asked, send))

    def leave(self) -> None:
        self._command(Leave())

    def _command(self, command: QueuedSignal | Leave) -> None:
        if self._running():
            self._outgoing.queue.enqueue(command)
        else:
            self._outgoing.queue.enqueue_offline(command)

    def _running(self) -> bool:
        return self._assembler is None and self._then is None

    def next_sent(self) -> Fields | None:
        if not self._sent and self._running() and self._outgoing is not None:
            self._sent += map(as_json, self._outgoing.queue.write(BATCH))
        return self._sent.popleft() if self._sent else None

    def link_lost(self) -> None:
        self._link_over(CloseReason.NETWORK_DISCONNECTED)

    def _link_over(self, reason: CloseReason | UnknownCode) -> None:
        """Does what the reconnect loop does when a link ends."""
        self._surface()
        if self._assembler is not None:
            # A failed attempt; the next one sends the same opening.
            self._assembler = None
            self._then = "resume" if self._resume else "join"
            return
        self._resume = None
        if not should_reconnect(reason):
            self._then = "rest"
            self._surfaced.append({"ended": {"reason": str(reason)}})
            return
        position = self.dispatcher.link_lost()
        self._outgoing.link_lost()
        ticket, self.dispatcher.ticket = self.dispatcher.ticket, None
        if ticket is not None and position is not None:
            self._resume = (ticket, position)
        self._then = "resume" if self._resume else "join"

    def then(self, expected: str) -> None:
        self._follow_bye()
        then, self._then = self._then, None
        assert then == expected
        if then == "join":
            self._resume = None
        if then != "rest":
            self._open()

    def sends(self, expected: Fields) -> None:
        sent = self.next_sent()
        assert sent is not None
        ((kind, fields),) = sent.items()
        ((wanted, members),) = expected.items()
        assert kind == wanted
        for name, value in members.items():
            if name == "cursors":
                assert by_sender(fields[name], value) == by_sender(value, value)
            else:
                assert fields[name] == value

    def surfaced(self) -> list[Fields]:
        """The events since the last time."""
        self._surface()
        surfaced, self._surfaced = list(self._surfaced), deque()
        return surfaced

    def surfaces(self, expected: list[Fields]) -> None:
        if any("ended" in event for event in expected):
            self._follow_bye()
        surfaced = self.surfaced()
        for event in expected:
            awaited = event.get("inAnyOrder", [event])
            found, surfaced = surfaced[: len(awaited)], surfaced[len(awaited) :]
            assert len(found) == len(awaited) and all(each in awaited for each in found), found
        assert not surfaced

    def _surface(self) -> None:
        while self.dispatcher is not None and (event := self.dispatcher.next_event()) is not None:
            self._surfaced.append(event_as_json(event))

    def _follow_bye(self) -> None:
        """Everything that follows a bye has arrived."""
        reason, self._bye = self._bye, None
        if reason is not None:
            self._link_over(reason)

    def finish(self) -> None:
        assert self.next_sent() is None
        assert not self.surfaced()
        assert self._bye is None and self._then is None


def as_json(message: ClientMessage) -> Fields:
    return messages.CLIENT.to_json(message)


def sender_as_json(sender: str | signalbox.Server) -> str | Fields:
    return {"server": sender.gateway} if isinstance(sender, signalbox.Server) else sender


def event_as_json(event: signalbox.Event) -> Fields:
    """An event as vectors and transcripts write it."""
    match event:
        case signalbox.Connected(connection) | signalbox.Rejoined(connection):
            return {"connected": {"id": connection.id}}
        case signalbox.ConnectionCreated(connection):
            return {"created": {"id": connection.id}}
        case signalbox.ConnectionDestroyed(id, reason):
            return {"destroyed": {"id": id, "reason": str(reason)}}
        case signalbox.Signal(sender, seq, type, data):
            signal = {"from": sender_as_json(sender), "seq": seq, "type": type, "data": data}
            return {"signal": signal}
        case signalbox.Rejected(signal, code, _):
            name = "unknown" if isinstance(code, UnknownCode) else str(code)
            return {"refused": {"signal": signal, "code": name}}
        case signalbox.Reconnected(missed, gap):
            gap = gap or signalbox.Gap()
            lost = lost_as_json(gap.lost)
            return {"resumed": {"missed": missed, "lost": lost, "presence": gap.presence}}
        case signalbox.Gap(lost, False):
            return {"gap": {"lost": lost_as_json(lost)}}
    raise AssertionError(f"the reconnect loop emits this: {event}")


def lost_as_json(lost: tuple[signalbox.Lost, ...]) -> list[Fields]:
    return [
        {"from": sender_as_json(it.sender), "after": it.after, "until": it.until} for it in lost
    ]


def by_sender(cursors: list[Fields], expected: list[Fields]) -> dict[str, int]:
    """Cursors are in no order, and a cursor of 0 is allowed for every sender."""
    named = {str(cursor["from"]) for cursor in expected}
    return {
        str(cursor["from"]): cursor["seq"]
        for cursor in cursors
        if cursor["seq"] > 0 or str(cursor["from"]) in named
    }


@pytest.mark.parametrize(
    ("transcript", "carriers"), PLAYS, ids=[f"{each['name']}-{on}" for each, on in PLAYS]
)
def test_the_sdk_does_what_the_transcript_specifies(
    transcript: dict[str, Any], carriers: str
) -> None:
    async def play() -> None:
        player = Player(transcript["presence"], carriers)
        for step in transcript["steps"]:
            match step:
                case {"receives": message, "on": on}:
                    player.receives(message, on)
                case {"streamEnds": stream}:
                    player.stream_over(stream, reset=False)
                case {"streamReset": stream}:
                    player.stream_over(stream, reset=True)
                case {"linkLost": True}:
                    player.link_lost()
                case {"application": {"signal": signal}}:
                    player.asked(signal)
                case {"application": {"leave": True}}:
                    player.leave()
                case {"sends": message}:
                    player.sends(message)
                case {"sendsNothing": True}:
                    assert player.next_sent() is None
                case {"surfaces": events}:
                    player.surfaces(events)
                case {"then": what}:
                    player.then(what)
                case _:
                    pytest.fail(f"no such step: {step}")
        player.finish()

    asyncio.run(play())
