"""The golden vectors, against an encoder that was written from the document alone.

If these hold and the Rust tests hold, two independent readings of the document agree on every byte.
"""

import json
import re
from pathlib import Path

import pytest

import postcard
from postcard import Frames, Malformed
from ws_client import decode_json

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "protocol/vectors/messages.json").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
TABLES = {
    "client": postcard.CLIENT,
    "gateway": postcard.GATEWAY,
    "clientStream": postcard.CLIENT_STREAM,
    "gatewayStream": postcard.GATEWAY_STREAM,
    "sender": postcard.SENDER,
}

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def message(vector: dict) -> postcard.Message:
    (only,) = vector["json"].items()
    return only


@each_vector
def test_encodes(vector: dict) -> None:
    encoded = TABLES[vector["kind"]].encode(*message(vector))
    assert encoded.hex() == vector["hex"]
    assert postcard.frame(encoded).hex() == vector["frame"]


@each_vector
def test_decodes(vector: dict) -> None:
    decoded = TABLES[vector["kind"]].decode(bytes.fromhex(vector["hex"]))
    assert decoded == message(vector)


@each_vector
def test_nothing_shorter_or_longer_is_the_message(vector: dict) -> None:
    table, whole = TABLES[vector["kind"]], bytes.fromhex(vector["hex"])
    for cut in range(len(whole)):
        with pytest.raises(Malformed):
            table.decode(whole[:cut])
    with pytest.raises(Malformed):
        table.decode(whole + b"\0")


# An example in the document: its heading, its lines of bytes with remarks, and maybe its JSON.
EXAMPLE = re.compile(
    r'```text\n(vector|computed) "([^"]+)"\n(.*?)```(?:\n```json\n(.*?)```)?', re.DOTALL
)
BYTES = re.compile(r"(?:[0-9a-f]{2}(?: |$))*", re.MULTILINE)


def example_frame(lines: str) -> str:
    return "".join(BYTES.match(line).group().replace(" ", "") for line in lines.splitlines())


def test_the_document_shows_every_vector_as_it_is() -> None:
    vectors = {vector["name"]: vector for vector in VECTORS}
    shown = set()
    for source, name, lines, in_json in EXAMPLE.findall(DOCUMENT):
        frame = example_frame(lines)
        if source == "vector":
            shown.add(name)
            assert frame == vectors[name]["frame"], name
            assert not in_json or json.loads(in_json) == vectors[name]["json"], name
        else:
            frames = Frames()
            assert len(list(frames.feed(bytes.fromhex(frame)))) == 1, name
            frames.end()
    assert shown == set(vectors)


def test_frames_are_cut_wherever_the_bytes_are_split() -> None:
    stream = b"".join(bytes.fromhex(vector["frame"]) for vector in VECTORS)
    expected = [bytes.fromhex(vector["hex"]) for vector in VECTORS]
    for size in (1, 2, 7, 64, len(stream)):
        frames = Frames()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [found for piece in pieces for found in frames.feed(piece)] == expected
        frames.end()


@pytest.mark.parametrize("prefix", ["8100", "80808001", "81800400", "ffffffff"])
def test_a_bad_length_is_refused_already_on_the_prefix(prefix: str) -> None:
    with pytest.raises(Malformed):
        list(Frames().feed(bytes.fromhex(prefix)))


def test_a_stream_may_not_end_inside_a_frame() -> None:
    frames = Frames()
    assert list(frames.feed(bytes.fromhex("0b0604"))) == []
    with pytest.raises(Malformed):
        frames.end()


MALFORMED = [
    vector
    for vector in json.loads((ROOT / "protocol/vectors/malformed.json").read_text(encoding="utf-8"))
    if vector["malformed"]
]
TABLE_OF_PLACE = {
    ("client", "control"): postcard.GATEWAY,
    ("client", "header"): postcard.GATEWAY_STREAM,
    ("client", "sender"): postcard.SENDER,
    # As a gateway written from the document would read them.
    ("gateway", "first"): postcard.CLIENT,
    ("gateway", "control"): postcard.CLIENT,
    ("gateway", "signals"): postcard.CLIENT,
    ("gateway", "header"): postcard.CLIENT_STREAM,
}


def read_frames(vector: dict) -> None:
    """As a client reads a stream: in one piece, and byte by byte."""
    data = bytes.fromhex(vector["hex"])
    for size in (1, len(data)):
        frames = Frames()
        for at in range(0, len(data), size):
            for message in frames.feed(data[at : at + size]):
                postcard.GATEWAY.decode(message)
        if vector.get("fin"):
            frames.end()


@pytest.mark.parametrize(
    "vector",
    [vector for vector in MALFORMED if "hex" in vector],
    ids=lambda vector: f"{vector['reader']}-{vector['place']}-{vector['name']}",
)
def test_malformed_postcard_is_refused(vector: dict) -> None:
    if vector["place"] != "frames":
        with pytest.raises(Malformed):
            TABLE_OF_PLACE[vector["reader"], vector["place"]].decode(bytes.fromhex(vector["hex"]))
    elif vector["reader"] == "client":
        with pytest.raises(Malformed):
            read_frames(vector)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in MALFORMED if "json" in vector and vector["reader"] == "client"],
    ids=lambda vector: vector["name"],
)
def test_malformed_json_is_refused(vector: dict) -> None:
    with pytest.raises(Malformed):
        decode_json(vector["json"])


@each_vector
def test_json_of_every_vector_is_taken(vector: dict) -> None:
    if vector["kind"] == "gateway":
        assert decode_json(json.dumps(vector["json"])) == message(vector)


def test_an_unknown_kind_is_skipped() -> None:
    assert postcard.CLIENT.decode(bytes.fromhex("c801090909")) is None


def test_unknown_codes_are_accepted_and_unknown_enum_values_are_not() -> None:
    assert postcard.GATEWAY.decode(bytes.fromhex("06ac020000")) == (
        "bye",
        {"reason": 300, "message": "", "streams": 0},
    )
    with pytest.raises(Malformed):
        postcard.CLIENT.decode(bytes.fromhex("0000010200"))


# The table of section 3.1.
@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (8192, "8040"),
        (30000, "b0ea01"),
        (70000, "f0a204"),
        (1795500000000, "80868fe1a034"),
        (2**64 - 1, "ffffffffffffffffff01"),
    ],
)
def test_varints(value: int, encoded: str) -> None:
    assert postcard.varint(value).hex() == encoded
    assert postcard.Reader(bytes.fromhex(encoded)).varint(64) == value


@pytest.mark.parametrize(
    ("bits", "encoded"),
    [(16, "ffff04"), (16, "80808000"), (32, "ffffffff10"), (64, "ffffffffffffffffff02")],
)
def test_a_varint_beyond_its_type_is_malformed(bits: int, encoded: str) -> None:
    with pytest.raises(Malformed):
        postcard.Reader(bytes.fromhex(encoded)).varint(bits)
