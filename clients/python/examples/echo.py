"""Signals to one connection: answers each signal to its sender alone.

python examples/echo.py wss://localhost:4433 TOKEN CA.pem
"""

import asyncio
import sys

import signalbox


async def main(url: str, token: str, ca_file: str | None = None) -> None:
    async with signalbox.connect(url, token, ca_file=ca_file) as session:
        print(f"echoing as {session.connection.id}")
        async for event in session:
            match event:
                case signalbox.Signal(str(sender), _, type, data):
                    if sender != session.connection.id:
                        await answer(session, sender, type, data)


async def answer(
    session: signalbox.Session, sender: str, type: str | None, data: str | None
) -> None:
    try:
        await session.signal(type=type, data=data, to=sender)
    except signalbox.RejectedError as error:
        # The sender may have left meanwhile.
        print(f"no answer to {sender}: {error}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
