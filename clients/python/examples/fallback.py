"""Fallback between transports: WebSocket where QUIC is blocked.

python examples/fallback.py quic://localhost:4433 wss://localhost:4433 TOKEN CA.pem
"""

import asyncio
import sys

import signalbox


async def main(first: str, second: str, token: str, ca_file: str | None = None) -> None:
    try:
        session = await signalbox.connect([first, second], token, ca_file=ca_file)
    except signalbox.RefusedError as error:
        sys.exit(f"refused ({error.reason}): {error.message}")
    except signalbox.ConnectError as error:
        sys.exit(str(error))
    async with session:
        seq = await session.signal(type="greeting", data="hello")
        print(f"the gateway accepted signal {seq}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
