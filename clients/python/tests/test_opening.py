from signalbox.gateway_url import GatewayUrl
from signalbox.messages import Cursor, Cursors, Resume, Ticket
from signalbox.opening import Opening
from signalbox.options import ConnectOptions
from signalbox.order import ResumePosition
from signalbox.postcard import Server
from signalbox.ticket import ResumeTicket

OPTIONS = ConnectOptions((GatewayUrl.parse("quic://a"),), "token")


def opening(cursors: int) -> Opening:
    ticket = ResumeTicket(Ticket("ticket", 1000))
    return Opening(OPTIONS, (ticket, ResumePosition(0, 0, (Cursor(Server("gw-1"), 1),) * cursors)))


def test_many_cursors_take_several_messages() -> None:
    for count, expected in [
        (0, [(0, False)]),
        (500, [(500, False)]),
        (501, [(500, True), (1, False)]),
        (1500, [(500, True), (500, True), (500, False)]),
    ]:
        messages = opening(count).messages()
        assert [type(message) for message in messages] == [Resume] + [Cursors] * (len(expected) - 1)
        assert [(len(message.cursors), message.more) for message in messages] == expected


def test_attempts_with_one_ticket_are_numbered_from_one() -> None:
    attempts = opening(0)
    assert [attempts.messages()[0].attempt for _ in range(3)] == [1, 2, 3]
