"""The shutdown of a gateway, from the view of its clients (section 5.12)."""

import os
import signal
from pathlib import Path

import pytest

from gateways import Gateway, running
from stage import QUIC, WEBSOCKET_JSON, Carrier, Stage, perform

SPREAD_MS = 40_000


@pytest.mark.parametrize("carrier", [QUIC, WEBSOCKET_JSON], ids=str)
def test_a_gateway_that_goes_down_asks_its_clients_to_go(tmp_path: Path, carrier: Carrier) -> None:
    pid_file = tmp_path / "pid"

    async def scenario(stage: Stage) -> None:
        alice = await stage.kept("alice")
        bob = await stage.kept("bob")
        await alice.next("connectionCreated")
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        for link in (alice, bob):
            within = (await link.next("goAway"))["withinMs"]
            assert SPREAD_MS // 4 <= within <= SPREAD_MS
        # Until then the session goes on.
        await bob.signal(data="still here")
        assert (await alice.next("signal"))["data"] == "still here"
        await bob.next("signal")
        # Bob leaves without a goodbye: the others are not told, and signals to Bob wait.
        await bob.abandon()
        await alice.signal(data="to everybody", to=bob.me)
        await alice.signal(data="on")
        kinds = []
        while (event := await alice.event()).kind != "signal":
            kinds.append(event.kind)
        assert event.fields["data"] == "on"
        assert set(kinds) <= {"accepted"}
        # No client is admitted, and none is told that its ticket is invalid.
        with pytest.raises(Exception) as refused:
            await stage.resume(bob)
        assert "invalidTicket" not in str(refused.value)

    settings = {
        "SIGNALBOX_DRAIN__SPREAD_MS": str(SPREAD_MS),
        "SIGNALBOX_DRAIN__TIMEOUT_MS": str(2 * SPREAD_MS),
    }
    options = ("--dev", "--dev-dir", str(tmp_path / "dev"), "--pid-file", str(pid_file))
    # The second signal to stop, at the end of the scenario, ends the gateway at once.
    with running(
        tmp_path / "stderr.log", *options, may_end=True, **settings
    ) as announcement:
        perform(scenario, Gateway.parse(announcement), carrier)
