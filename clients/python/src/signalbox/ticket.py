"""The ticket with which a client resumes its connection."""

from __future__ import annotations

from . import messages


class ResumeTicket:
    """A ticket, and the number of attempts made with it."""

    def __init__(self, ticket: messages.Ticket) -> None:
        self.text = ticket.ticket
        self.window = ticket.window_ms / 1000
        """For how many seconds after a loss it is valid."""
        self._attempts = 0

    def __repr__(self) -> str:
        # The text is a secret.
        return f"ResumeTicket(window={self.window})"

    def next_attempt(self) -> int:
        """The number of another attempt, from 1."""
        self._attempts += 1
        return self._attempts
