"""The first messages on a link: a `hello`, or a `resume` with the number of the attempt."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import CURSORS, PRESENCE, RESUME, ClientMessage, Cursors, Hello, Resume
from .options import ConnectOptions
from .order import ResumePosition
from .ticket import ResumeTicket


@dataclass(frozen=True)
class Opening:
    """The first messages of a client on each link that it opens, until one is answered."""

    options: ConnectOptions
    resume: tuple[ResumeTicket, ResumePosition] | None = None
    """Resumes a connection whose link is lost. Without it the client joins as a new connection."""

    def messages(self) -> list[ClientMessage]:
        """The messages for one link. Each call counts as an attempt.

        The gateway refuses an attempt that arrives after a later one, so two links must never carry
        the same number.
        """
        options = self.options
        if self.resume is None:
            wanted = {PRESENCE: options.presence, RESUME: options.resume}
            features = tuple(name for name, is_wanted in wanted.items() if is_wanted)
            return [Hello(options.token, features, options.streams, options.agent)]
        ticket, position = self.resume
        starts = range(0, max(len(position.cursors), 1), CURSORS)
        messages: list[ClientMessage] = []
        for start in starts:
            cursors, more = position.cursors[start : start + CURSORS], start != starts[-1]
            if start:
                messages.append(Cursors(cursors, more))
            else:
                messages.append(
                    Resume(
                        ticket.text,
                        ticket.next_attempt(),
                        options.streams,
                        position.events,
                        position.accepted,
                        cursors,
                        more,
                        options.agent,
                    )
                )
        return messages
