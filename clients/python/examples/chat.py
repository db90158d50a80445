"""A chat in a terminal: sends each line to everyone, and prints the lines of others.

python examples/chat.py wss://localhost:4433 TOKEN CA.pem
"""

import asyncio
import sys

import signalbox


async def send_lines(session: signalbox.Session) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        await session.enqueue(type="chat", data=line.rstrip("\n"))
    await session.disconnect()


async def main(url: str, token: str, ca_file: str | None = None) -> None:
    async with signalbox.connect(url, token, ca_file=ca_file) as session:
        sending = asyncio.create_task(send_lines(session))
        async for event in session:
            match event:
                case signalbox.ConnectionCreated(connection):
                    print(f"* {connection.id} joined")
                case signalbox.ConnectionDestroyed(id, reason):
                    print(f"* {id} left: {reason}")
                case signalbox.Signal(str(sender), _, _, str(data)):
                    if sender != session.connection.id:
                        # Text of others must not act on the terminal.
                        print(f"{sender}: {ascii(data)}")
                case signalbox.Reconnecting(reason):
                    print(f"* connection lost: {reason}")
                case signalbox.Reconnected() | signalbox.Rejoined():
                    print("* reconnected")
                case signalbox.Disconnected(reason, message):
                    print(f"* ended ({reason}): {message}")
        sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
