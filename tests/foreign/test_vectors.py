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


REGISTRY = json.loads((ROOT / "protocol/vectors/protocol.json").read_text(encoding="utf-8"))


def numbers(of: list[dict]) -> dict[str, int]:
    return {entry["name"]: entry["number"] for entry in of}


def test_the_registry_has_what_was_read_in_the_document() -> None:
    for table, kinds in REGISTRY["kinds"].items():
        assert [kind["name"] for kind in kinds] == TABLES[table].names
        assert [kind["number"] for kind in kinds] == list(range(len(kinds)))
    codes = REGISTRY["codes"]
    assert numbers(codes["errorCode"]) == postcard.ERROR_CODES
    assert numbers(codes["closeReason"]) == postcard.REASONS
    limits = {limit["name"]: limit["atMost"] for limit in REGISTRY["limits"]}
    assert limits["gateway message, postcard"] == postcard.GATEWAY_FRAME_BYTES
    assert limits["length of a frame"] == postcard.PREFIX_BYTES


def section(number: int) -> str:
    return re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[number]


def rows(text: str) -> list[list[str]]:
    """The cells of its tables, without links and quotes."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
    lines = [line for line in plain.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_document_has_the_codes_of_the_registry() -> None:
    codes = REGISTRY["codes"]
    shown = [row[:3] for row in rows(section(10)) if row[0].isdigit()]
    assert shown == [
        [str(code["number"]), code["name"], str(code["http"])] for code in codes["errorCode"]
    ]
    shown = [row[:4] for row in rows(section(11)) if row[0].isdigit()]
    assert shown == [
        [str(reason[member]) for member in ("quic", "name", "webSocket", "http")]
        for reason in codes["closeReason"]
    ]


def test_the_document_has_the_limits_of_the_registry() -> None:
    shown = {number for row in rows(section(9)) for number in re.findall(r"\d+", row[1])}
    fixed = {limit["atMost"] for limit in REGISTRY["limits"] if limit["name"] != "length of a frame"}
    assert {str(number) for number in fixed} <= shown


# What the document calls a type by another name than the registry.
CALLED = {"role": "enum", "streams": "enum", "errorCode": "code", "closeReason": "code"}
CALLED |= {"disconnectReason": "code", "connection": "connection info"}
CALLED |= {"list connection": "list of connection info", "ticket": "the fields of ticket"}
CALLED |= {"list cursor": "list of cursor", "list lost": "list of lost"}
CALLED |= {"list text": "list of text"}


def test_the_document_has_the_fields_of_the_registry() -> None:
    """Names, order, types, and what a client may leave out, kind by kind."""
    kinds = {
        (kind["name"], kind["number"]): kind["fields"]
        for table in ("client", "gateway")
        for kind in REGISTRY["kinds"][table]
        # Its fields are told where connection info is.
        if kind["name"] != "connectionCreated"
    }
    checked = set()
    parts = re.split(r"^#### `(\w+)` \((\d+)\)$", section(4).split("### 4.3")[0], flags=re.MULTILINE)
    for name, number, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        if (key := (name, int(number))) not in kinds:
            continue
        checked.add(key)
        # Another table, of a type that occurs in the message, follows behind an anchor.
        shown = [row for row in rows(text.split("<a id=")[0]) if row[0] != "field"]
        fields = kinds[key]
        assert [row[0] for row in shown] == [field["name"] for field in fields], name
        for row, field in zip(shown, fields):
            assert row[1] == CALLED.get(field["type"], field["type"]), (name, row)
            if len(row) == 4:
                default = field.get("jsonDefault", "–")
                spelt = {"[]": "empty"}.get(json.dumps(default), json.dumps(default).strip('"'))
                assert row[2] == ("–" if default == "–" else spelt), (name, row)
    assert checked == set(kinds)


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
