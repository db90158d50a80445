"""The state of a client's connection across links: sections 5.7 to 5.10 and 7.1.

A message counts twice. When it is *read*, both sides have it behind them, which is what `events` and
confirmations are about; when what it says is *told*, the application has it, which is what cursors are
about. Between the two, on QUIC, `ordering` may hold it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from postcard import Malformed, Server

Fields = dict[str, Any]
Told = tuple[str, Fields]

# How many cursors one message may hold (section 9).
CURSORS = 500


@dataclass
class Connection:
    presence: bool = True
    welcome: Fields | None = None
    # The newest that has come; with it a link that is lost is not the end.
    ticket: str | None = None
    # How many times it has said `resume` with each ticket.
    attempts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    cursors: dict[str | Server, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    # `connectionDestroyed` that has been read and waits for its connection's last signal.
    destroyed: list[Fields] = field(default_factory=list)
    sent: int = 0
    accepted: int = 0
    unconfirmed: dict[int, Fields] = field(default_factory=dict)
    # What has come ahead of `resumed`, and takes effect with it.
    _ahead: list[Told] = field(default_factory=list)

    @property
    def me(self) -> str | None:
        return self.welcome and self.welcome["connection"]["id"]

    def send(self, signal: Fields) -> int:
        """Remembers a signal until it is confirmed, and gives it its number."""
        self.sent += 1
        self.unconfirmed[self.sent] = signal
        return self.sent

    def read(self, kind: str, fields: Fields) -> list[Told]:
        """Takes a message that has been read. Returns what the application is to be told for it."""
        match kind:
            case "welcome":
                self.welcome = fields
            case "ticket":
                self.ticket = fields["ticket"]
            case "gap":
                self._ahead.append((kind, fields))
                return []
            case "present" if self._ahead:
                self._ahead.append((kind, fields))
                return []
            case "resumed":
                self.ticket = fields["ticket"]["ticket"]
                self._taken(fields["signals"], at_least=self.accepted)
                return [*self._take_effect(), (kind, fields)]
            case "accepted":
                self._taken(fields["signals"], at_least=self.accepted + 1)
            case "connectionCreated" | "connectionDestroyed":
                self.events += 1
        return [(kind, fields)]

    def told(self, kind: str, fields: Fields) -> None:
        """The application has been told this."""
        match kind:
            case "present":
                self.named.update(connection["id"] for connection in fields["connections"])
            case "connectionCreated":
                self.named.add(fields["id"])
            case "connectionDestroyed":
                self.named.discard(fields["id"])
                self.cursors.pop(fields["id"], None)
            case "signal":
                self.cursors[fields["from"]] = fields["seq"]

    def link_lost(self) -> None:
        """What came ahead of a `resumed` that did not come is as if it had not."""
        self._ahead.clear()

    def due(self) -> list[Fields]:
        """Takes out each held `connectionDestroyed` whose last signal has been told."""
        due = [fields for fields in self.destroyed if self.has_left(fields)]
        for fields in due:
            self.destroyed.remove(fields)
        return due

    def has_left(self, destroyed: Fields) -> bool:
        return self.cursors.get(destroyed["id"], 0) >= destroyed["lastSeq"]

    def all_cursors(self) -> list[Fields]:
        """How far each sender was heard; those of whom something is awaited are never left out."""
        awaited = {fields["id"]: 0 for fields in self.destroyed}
        return [{"from": sender, "seq": seq} for sender, seq in (awaited | self.cursors).items()]

    def _taken(self, signals: int, at_least: int) -> None:
        if not at_least <= signals <= self.sent:
            raise Malformed(f"{signals} signals taken, of {self.sent}, after {self.accepted}")
        self.accepted = signals
        for number in [number for number in self.unconfirmed if number <= signals]:
            del self.unconfirmed[number]

    def _take_effect(self) -> list[Told]:
        """Takes what is lost for lost. Returns what the application is to be told of it."""
        gaps = [fields for kind, fields in self._ahead if kind == "gap"]
        named = [fields for kind, fields in self._ahead if kind == "present"]
        there = {each["id"]: each for fields in named for each in fields["connections"]}
        self._ahead.clear()
        for lost in (lost for gap in gaps for lost in gap["lost"]):
            if lost["after"] != self.cursors.get(lost["from"], 0):
                raise Malformed(f"{lost} does not begin at the cursor")
            self.cursors[lost["from"]] = lost["until"]
        told = [("gap", gap) for gap in gaps]
        if any(gap["presence"] for gap in gaps[:-1]):
            raise Malformed("a gap of presence that is not the last")
        if len(there) != sum(gap["present"] for gap in gaps):
            raise Malformed(f"{len(there)} connections named behind {gaps}")
        return told + self._recount(there) if gaps and gaps[-1]["presence"] else told

    def _recount(self, there: dict[str, Fields]) -> list[Told]:
        """Changes that a new list of all members reveals."""
        if not self.presence:
            return []
        self.events = 0
        held = {fields["id"]: fields["reason"] for fields in self.destroyed}
        self.destroyed = []
        gone = sorted(self.named - set(there))
        # A connection that came and left meanwhile is not named. A cursor would ask for its last signals.
        awaited = {self.me, *self.named, *there}
        self.cursors = {
            sender: seq
            for sender, seq in self.cursors.items()
            if isinstance(sender, Server) or sender in awaited
        }
        new = [connection for id, connection in there.items() if id not in self.named]
        return [("connectionDestroyed", missing(id, held)) for id in gone] + [
            ("connectionCreated", connection) for connection in new
        ]


def missing(id: str, held: dict[str, str]) -> Fields:
    """What stands for the `connectionDestroyed` that was lost, or whose last signals were."""
    return {"id": id, "reason": held.get(id, "networkDisconnected"), "lastSeq": 0}
