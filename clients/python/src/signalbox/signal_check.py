"""The rules for valid signals, checked before anything is sent."""

from __future__ import annotations

import re

from .codes import ErrorCode
from .errors import InvalidSignalError
from .messages import Limits, SendSignal
from .postcard import ID_TEXT

TYPE = re.compile("[A-Za-z0-9._~-]*")


def check_id(connection: str) -> str:
    """A connection id in lower case. Raises :class:`InvalidSignalError`."""
    if ID_TEXT.fullmatch(connection) is None:
        raise InvalidSignalError(None, f"{connection!r} is not a connection id")
    return connection.lower()


def check_signal(signal: SendSignal, limits: Limits) -> None:
    """Raises :class:`InvalidSignalError`."""
    if signal.type is not None:
        if (size := _bytes(signal.type, "type")) > limits.type_bytes:
            message = f"signal type has {size} bytes, at most {limits.type_bytes} are allowed"
            raise InvalidSignalError(ErrorCode.TYPE_TOO_LONG, message)
        if TYPE.fullmatch(signal.type) is None:
            message = "signal type may hold only A-Z, a-z, 0-9, '-', '.', '_' and '~'"
            raise InvalidSignalError(ErrorCode.INVALID_TYPE, message)
    if signal.data is not None and (size := _bytes(signal.data, "data")) > limits.data_bytes:
        message = f"signal data has {size} bytes, at most {limits.data_bytes} are allowed"
        raise InvalidSignalError(ErrorCode.DATA_TOO_LONG, message)


def _bytes(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidSignalError(None, f"signal {what} has an unpaired surrogate") from error
