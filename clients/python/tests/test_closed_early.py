import pytest

from signalbox.codes import CloseReason
from signalbox.errors import ConnectError, RefusedError, UnreachableError
from signalbox.link import _closed_early
from signalbox.link.transport import TransportClosed


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (CloseReason.NETWORK_DISCONNECTED, UnreachableError),
        # Something on the way has closed the link in good order.
        (CloseReason.CLIENT_DISCONNECTED, UnreachableError),
        (CloseReason.HELLO_TIMEOUT, RefusedError),
    ],
)
def test_a_link_that_is_closed_before_the_answer(
    reason: CloseReason, error: type[ConnectError]
) -> None:
    assert type(_closed_early(TransportClosed(reason, "closed"))) is error
