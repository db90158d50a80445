"""Moderation: disconnects every connection that sends a signal of the type `spam`.

python examples/moderator.py wss://localhost:4433 MODERATOR_TOKEN CA.pem
"""

import asyncio
import sys

import signalbox


async def main(url: str, token: str, ca_file: str | None = None) -> None:
    async with signalbox.connect(url, token, ca_file=ca_file) as session:
        if session.role is not signalbox.Role.MODERATOR:
            sys.exit(f"the token's role is {session.role}")
        async for event in session:
            match event:
                case signalbox.Signal(str(sender), _, "spam", _):
                    await session.force_disconnect(sender)
                case signalbox.ConnectionDestroyed(
                    id, signalbox.DisconnectReason.FORCE_DISCONNECTED
                ):
                    print(f"disconnected {id}")
                case signalbox.Rejected(_, code, message):
                    print(f"rejected ({code}): {message}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
