"""The golden vectors and the registry, against the Python SDK and the specification.

The SDK's encoder shares no code with the gateway. If these tests and those in Rust pass, two
implementations and the document agree on every byte.
"""

import json
import re
from pathlib import Path

import pytest

from signalbox import json_messages, messages
from signalbox.codes import CloseReason, DisconnectReason, ErrorCode, UnknownCode
from signalbox.frame import GATEWAY_FRAME_BYTES, PREFIX_BYTES, FrameBuffer, frame
from signalbox.messages import Bye
from signalbox.postcard import Malformed, Reader, varint

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "protocol/vectors/messages.json").read_text(encoding="utf-8"))
DOCUMENT = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
TABLES: dict[str, messages.Kinds] = {
    "client": messages.CLIENT,
    "gateway": messages.GATEWAY,
    "clientStream": messages.CLIENT_STREAM,
    "gatewayStream": messages.GATEWAY_STREAM,
    "sender": messages.SENDER_STREAM,
}

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


@each_vector
def test_encodes(vector: dict) -> None:
    table = TABLES[vector["kind"]]
    encoded = table.encode(table.from_json(vector["json"]))
    assert encoded.hex() == vector["hex"]
    assert frame(encoded).hex() == vector["frame"]


@each_vector
def test_decodes(vector: dict) -> None:
    table = TABLES[vector["kind"]]
    decoded = table.decode(bytes.fromhex(vector["hex"]))
    assert table.to_json(decoded) == vector["json"]


@each_vector
def test_nothing_shorter_or_longer_is_the_message(vector: dict) -> None:
    table, whole = TABLES[vector["kind"]], bytes.fromhex(vector["hex"])
    for cut in range(len(whole)):
        with pytest.raises(Malformed):
            table.decode(whole[:cut])
    with pytest.raises(Malformed):
        table.decode(whole + b"\0")


# An example in the document: its heading, its lines of annotated bytes, and maybe its JSON.
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
        shown_frame = example_frame(lines)
        if source == "vector":
            shown.add(name)
            assert shown_frame == vectors[name]["frame"], name
            assert not in_json or json.loads(in_json) == vectors[name]["json"], name
        else:
            frames = FrameBuffer()
            assert len(list(frames.feed(bytes.fromhex(shown_frame)))) == 1, name
            frames.finish()
    assert shown == set(vectors)


def test_frames_are_cut_wherever_the_bytes_are_split() -> None:
    stream = b"".join(bytes.fromhex(vector["frame"]) for vector in VECTORS)
    expected = [bytes.fromhex(vector["hex"]) for vector in VECTORS]
    for size in (1, 2, 7, 64, len(stream)):
        frames = FrameBuffer()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [found for piece in pieces for found in frames.feed(piece)] == expected
        frames.finish()


@pytest.mark.parametrize("prefix", ["8100", "80808001", "81800400", "ffffffff"])
def test_a_bad_length_is_refused_already_on_the_prefix(prefix: str) -> None:
    with pytest.raises(Malformed):
        list(FrameBuffer().feed(bytes.fromhex(prefix)))


def test_a_stream_may_not_end_inside_a_frame() -> None:
    frames = FrameBuffer()
    assert list(frames.feed(bytes.fromhex("0b0604"))) == []
    with pytest.raises(Malformed):
        frames.finish()


MALFORMED = [
    vector
    for vector in json.loads((ROOT / "protocol/vectors/malformed.json").read_text(encoding="utf-8"))
    if vector["malformed"]
]
TABLE_OF_PLACE = {
    ("client", "control"): messages.GATEWAY,
    ("client", "header"): messages.GATEWAY_STREAM,
    ("client", "sender"): messages.SENDER_STREAM,
    # A gateway in Python would read them with these tables.
    ("gateway", "first"): messages.CLIENT,
    ("gateway", "control"): messages.CLIENT,
    ("gateway", "signals"): messages.CLIENT,
    ("gateway", "header"): messages.CLIENT_STREAM,
}


def read_frames(vector: dict) -> None:
    """Reads a stream as a client does: in one piece, and byte by byte."""
    data = bytes.fromhex(vector["hex"])
    for size in (1, len(data)):
        frames = FrameBuffer()
        for at in range(0, len(data), size):
            for message in frames.feed(data[at : at + size]):
                messages.GATEWAY.decode(message)
        if vector.get("fin"):
            frames.finish()


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
        json_messages.decode(vector["json"])


@each_vector
def test_json_of_every_vector_is_taken(vector: dict) -> None:
    if vector["kind"] == "gateway":
        decoded = json_messages.decode(json.dumps(vector["json"]))
        assert messages.GATEWAY.to_json(decoded) == vector["json"]


def test_an_unknown_kind_is_skipped() -> None:
    assert messages.CLIENT.decode(bytes.fromhex("c801090909")) is None


def test_unknown_codes_are_accepted_and_unknown_enum_values_are_not() -> None:
    bye = messages.GATEWAY.decode(bytes.fromhex("06ac020000"))
    assert bye == Bye(UnknownCode(300), "", 0)
    with pytest.raises(Malformed):
        messages.CLIENT.decode(bytes.fromhex("0000010200"))


REGISTRY = json.loads((ROOT / "protocol/vectors/protocol.json").read_text(encoding="utf-8"))


def numbers(of: list[dict]) -> dict[str, int]:
    return {entry["name"]: entry["number"] for entry in of}


def test_the_sdk_has_the_kinds_and_codes_of_the_registry() -> None:
    for table, kinds in REGISTRY["kinds"].items():
        assert [kind["name"] for kind in kinds] == TABLES[table].names
        assert [kind["number"] for kind in kinds] == list(range(len(kinds)))
    codes = REGISTRY["codes"]
    for name, members in (
        ("errorCode", ErrorCode),
        ("closeReason", CloseReason),
        ("disconnectReason", DisconnectReason),
    ):
        assert numbers(codes[name]) == {str(it): it.number for it in members}
    limits = {limit["name"]: limit["atMost"] for limit in REGISTRY["limits"]}
    assert limits["gateway message, postcard"] == GATEWAY_FRAME_BYTES
    assert limits["length of a frame"] == PREFIX_BYTES
    assert limits["welcome.gateways"] == messages.GATEWAY_COUNT
    assert limits["URL of a gateway"] == messages.GATEWAY_URL_BYTES


def section(number: int) -> str:
    return re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[number]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without links and quotes."""
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


# Names of types in the document, where they differ from those in the registry.
CALLED = {"role": "enum", "streams": "enum", "errorCode": "code", "closeReason": "code"}
CALLED |= {"disconnectReason": "code", "connection": "connection info"}
CALLED |= {"list connection": "list of connection info", "ticket": "the fields of ticket"}
CALLED |= {"list cursor": "list of cursor", "list lost": "list of lost"}
CALLED |= {"list text": "list of text"}


def test_the_document_has_the_fields_of_the_registry() -> None:
    """Names, order, types and JSON defaults, kind by kind."""
    kinds = {
        (kind["name"], kind["number"]): kind["fields"]
        for table in ("client", "gateway")
        for kind in REGISTRY["kinds"][table]
        # Its fields are in the table of connection info.
        if kind["name"] != "connectionCreated"
    }
    checked = set()
    parts = re.split(r"^#### `(\w+)` \((\d+)\)$", section(4).split("### 4.3")[0], flags=re.MULTILINE)
    for name, number, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        if (key := (name, int(number))) not in kinds:
            continue
        checked.add(key)
        # The table of a type that the message contains follows behind an anchor.
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
    assert varint(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).varint(64) == value


@pytest.mark.parametrize(
    ("bits", "encoded"),
    [(16, "ffff04"), (16, "80808000"), (32, "ffffffff10"), (64, "ffffffffffffffffff02")],
)
def test_a_varint_beyond_its_type_is_malformed(bits: int, encoded: str) -> None:
    with pytest.raises(Malformed):
        Reader(bytes.fromhex(encoded)).varint(bits)
