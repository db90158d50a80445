from signalbox.codes import DisconnectReason, Role
from signalbox.event import ConnectionCreated
from signalbox.messages import ConnectionInfo, Created, Destroyed, Limits, Welcome
from signalbox.order import DESTROYED_IDS, Order


def info(n: int) -> ConnectionInfo:
    return ConnectionInfo(f"id-{n}", 0, "")


def test_the_latest_destroyed_connections_do_not_reappear() -> None:
    limits = Limits(128, 8192, 0, 0)
    order = Order(Welcome(info(-1), "1_session", Role.PUBLISHER, limits, (), 0, ()), presence=True)
    for n in range(DESTROYED_IDS + 1):
        order.control(Created(info(n)))
        order.control(Destroyed(info(n).id, DisconnectReason.CLIENT_DISCONNECTED, 0))
    while order.next_event():
        pass
    for n in (1, DESTROYED_IDS, 0):
        order.control(Created(info(n)))
    assert order.next_event() == ConnectionCreated(info(0))
    assert order.next_event() is None
