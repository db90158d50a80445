"""The session as the application has been told of it."""

from __future__ import annotations

from .event import ConnectionCreated, ConnectionDestroyed, Event, Rejoined
from .messages import ConnectionInfo, Welcome


class SessionView:
    """Updated with each event that is delivered."""

    def __init__(self, welcome: Welcome) -> None:
        self.session = welcome.session
        self.role = welcome.role
        self.present_on_joining = welcome.present
        self.connection = welcome.connection
        self.limits = welcome.limits
        self.gateways = welcome.gateways
        self._others: dict[str, ConnectionInfo] = {}

    def presence(self) -> list[ConnectionInfo]:
        """The other connections, oldest first."""
        return sorted(self._others.values(), key=lambda it: (it.created_at, it.id))

    def apply(self, event: Event) -> None:
        """Applies an event that is about to be delivered."""
        match event:
            case ConnectionCreated(connection):
                self._others[connection.id] = connection
            case ConnectionDestroyed(id):
                self._others.pop(id, None)
            case Rejoined(connection):
                self.connection = connection
                self._others.clear()
