"""Resuming: sends a number each second, and reports each loss of the link and what followed.

Pull the network cable or restart the gateway; or start it as `signalbox serve --dev --chaos`, which
cuts links on purpose.

python examples/resume.py quic://localhost:4433 TOKEN CA.pem
"""

import asyncio
import itertools
import sys

import signalbox


async def send_numbers(session: signalbox.Session) -> None:
    """`signal` returns when the gateway has accepted the number, over whichever link."""
    for number in itertools.count(1):
        await asyncio.sleep(1)
        try:
            await session.signal(data=str(number))
        except signalbox.DisconnectedError:
            return
        print(f"accepted {number}")


async def main(url: str, token: str, ca_file: str | None = None) -> None:
    async with signalbox.connect(url, token, ca_file=ca_file) as session:
        sending = asyncio.create_task(send_numbers(session))
        async for event in session:
            match event:
                case signalbox.Signal(data=str(data)):
                    print(f"received {ascii(data)}")
                case signalbox.Reconnecting(reason):
                    print(f"link lost: {reason}")
                case signalbox.Reconnected(missed, None):
                    print(f"resumed; {missed} missed events follow, nothing is lost")
                case signalbox.Gap(lost):
                    print(f"lost between gateways: {lost}")
                case signalbox.Reconnected(_, signalbox.Gap(lost)):
                    for each in lost:
                        print(f"resumed; lost {each.after + 1} to {each.until} of {each.sender}")
                case signalbox.Rejoined(connection):
                    print(f"joined again as {connection.id}; numbers may arrive twice")
                case signalbox.Disconnected(reason, message):
                    print(f"session ended ({reason}): {message}")
        await sending


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
