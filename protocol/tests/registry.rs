//! `vectors/protocol.json`: kinds with their fields, enums, codes, reasons and limits for programs
//! to read, for instance to generate a client's tables.
//!
//! It is made here from the crate's own types; only the fields of messages are written out, and a
//! codec that knows nothing but the file must decode every golden vector. Write it again with
//! `UPDATE_VECTORS=1 cargo test -p signalbox-protocol --test registry`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use std::{collections::HashSet, fs, path::PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use signalbox_protocol::{
    ALPN, CONNECT_PATH, ClientMessage, ClientStream, CloseReason, Codec, DisconnectReason,
    ErrorCode, Feature, GatewayId, GatewayMessage, GatewayStream, Role, SenderMessage, SessionId,
    Streams, close::ComeBack, frame, json as json_form, limits, message::Message,
};

/// The fields of a message or a type: name, type, and the value of a member that may be left out in
/// JSON.
type Fields = &'static [(&'static str, &'static str, Option<&'static str>)];

const CLIENT: &[Fields] = &[
    &[
        ("token", "text", None),
        ("features", "list text", Some("[]")),
        ("streams", "streams", Some("\"perSender\"")),
        ("agent", "option text", Some("null")),
    ],
    &[
        ("to", "option id", Some("null")),
        ("type", "option text", Some("null")),
        ("data", "option text", Some("null")),
    ],
    &[("id", "id", None)],
    &[("signals", "u64", Some("0"))],
    &[],
    &[
        ("ticket", "text", None),
        ("attempt", "u32", None),
        ("streams", "streams", Some("\"perSender\"")),
        ("events", "u64", None),
        ("accepted", "u64", Some("0")),
        ("cursors", "list cursor", Some("[]")),
        ("more", "bool", Some("false")),
        ("agent", "option text", Some("null")),
    ],
    &[("cursors", "list cursor", None), ("more", "bool", Some("false"))],
    &[],
];

const GATEWAY: &[Fields] = &[
    &[
        ("connection", "connection", None),
        ("session", "text", None),
        ("role", "role", None),
        ("limits", "limits", None),
        ("features", "list text", None),
        ("present", "u32", None),
        ("gateways", "list text", Some("[]")),
    ],
    &[("connections", "list connection", None)],
    CONNECTION,
    &[("id", "id", None), ("reason", "disconnectReason", None), ("lastSeq", "u64", None)],
    &[
        ("from", "sender", None),
        ("seq", "u64", None),
        ("type", "option text", None),
        ("data", "option text", None),
    ],
    &[("signal", "option u64", None), ("code", "errorCode", None), ("message", "text", None)],
    &[("reason", "closeReason", None), ("message", "text", None), ("streams", "u64", None)],
    TICKET,
    &[("ticket", "ticket", None), ("signals", "u64", None), ("missed", "u64", None)],
    &[("lost", "list lost", None), ("presence", "bool", None), ("present", "u32", None)],
    &[("signals", "u64", None)],
    &[("withinMs", "u32", None)],
    &[],
];

const CLIENT_STREAM: &[Fields] = &[&[]];
const GATEWAY_STREAM: &[Fields] = &[&[("from", "sender", None), ("after", "u64", None)]];
const SENDER: &[Fields] = &[
    &[("seq", "u64", None), ("type", "option text", None), ("data", "option text", None)],
    &[("from", "sender", None), ("after", "u64", None)],
];

const CONNECTION: Fields =
    &[("id", "id", None), ("createdAt", "u64", None), ("data", "text", None)];
const TICKET: Fields = &[("ticket", "text", None), ("windowMs", "u32", None)];
const TYPES: &[(&str, Fields)] = &[
    ("connection", CONNECTION),
    ("cursor", &[("from", "sender", None), ("seq", "u64", None)]),
    (
        "limits",
        &[
            ("typeBytes", "u32", None),
            ("dataBytes", "u32", None),
            ("signalsPerSecond", "u32", None),
            ("idleTimeoutMs", "u32", None),
        ],
    ),
    ("lost", &[("from", "sender", None), ("after", "u64", None), ("until", "u64", None)]),
    ("ticket", TICKET),
];

fn fields(fields: Fields) -> Value {
    let field = |(name, kind, default): &(&str, &str, Option<&str>)| {
        let mut field = json!({ "name": name, "type": kind });
        if let Some(default) = default {
            field["jsonDefault"] = serde_json::from_str(default).unwrap();
        }
        field
    };
    fields.iter().map(field).collect()
}

fn kinds<'a, M: Message<'a>>(of_each: &[Fields]) -> Value {
    assert_eq!(M::NAMES.len(), of_each.len());
    let kind = |(number, (name, all)): (usize, (&&str, &Fields))| json!({ "number": number, "name": name, "fields": fields(all) });
    M::NAMES.iter().zip(of_each).enumerate().map(kind).collect()
}

/// A closed enum: its values in order, as their JSON names and their postcard numbers are.
fn closed(values: &[impl Serialize]) -> Value {
    let value = |(number, value): (usize, _)| {
        let name = serde_json::to_value(value).unwrap();
        assert!(name.is_string());
        json!({ "number": number, "name": name })
    };
    values.iter().enumerate().map(value).collect()
}

fn close_reasons() -> Value {
    let reason = |reason: &CloseReason| {
        let others = reason.disconnect_reason().name();
        json!({
            "number": reason.code(),
            "name": reason.name(),
            "quic": reason.quic_code(),
            "webSocket": reason.websocket_code(),
            "http": reason.http_status(),
            "comeBack": reason.come_back().map_or("no", ComeBack::name),
            // These two end no connection.
            "others": (!matches!(reason, CloseReason::Superseded | CloseReason::InvalidTicket)).then_some(others),
        })
    };
    CloseReason::ALL.iter().map(reason).collect()
}

/// Types with several forms, by their number in postcard. In JSON a `bare` form is the value
/// itself, and any other form is an object with one member.
fn unions() -> Value {
    json!({ "sender": [
        { "number": 0, "name": "connection", "type": "id", "bare": true },
        { "number": 1, "name": "server", "type": "text", "bare": false },
    ] })
}

fn limits() -> Value {
    let limit = |name: &str, value: usize, unit: &str, beyond: Value| json!({ "name": name, "atMost": value, "unit": unit, "beyond": beyond });
    let reason = |reason: CloseReason| json!({ "reason": reason.name() });
    let error = |code: ErrorCode| json!({ "error": code.name() });
    json!([
        limit("signal.type", limits::TYPE_BYTES, "bytes", error(ErrorCode::TypeTooLong)),
        limit("signal.data", limits::DATA_BYTES, "bytes", error(ErrorCode::DataTooLong)),
        limit(
            "client message, postcard",
            limits::CLIENT_FRAME_BYTES,
            "bytes",
            reason(CloseReason::FrameTooLarge)
        ),
        limit(
            "client message, JSON",
            limits::CLIENT_JSON_BYTES,
            "bytes",
            reason(CloseReason::FrameTooLarge)
        ),
        limit("gateway message, postcard", limits::GATEWAY_FRAME_BYTES, "bytes", Value::Null),
        limit("gateway message, JSON", limits::GATEWAY_JSON_BYTES, "bytes", Value::Null),
        limit(
            "length of a frame",
            frame::MAX_PREFIX_BYTES,
            "bytes",
            reason(CloseReason::FrameTooLarge)
        ),
        limit("token", limits::TOKEN_BYTES, "bytes", reason(CloseReason::InvalidToken)),
        limit("ticket", limits::TICKET_BYTES, "bytes", reason(CloseReason::InvalidTicket)),
        limit("agent", limits::AGENT_BYTES, "bytes", reason(CloseReason::ProtocolError)),
        limit("features", limits::FEATURES, "elements", reason(CloseReason::ProtocolError)),
        limit(
            "name of a feature",
            limits::FEATURE_BYTES,
            "bytes",
            reason(CloseReason::ProtocolError)
        ),
        limit(
            "cursors of one message",
            limits::CURSORS,
            "elements",
            reason(CloseReason::ProtocolError)
        ),
        limit(
            "cursors of one resume",
            limits::CURSORS_IN_ALL,
            "elements",
            reason(CloseReason::ProtocolError)
        ),
        limit("cursors for one sender", 1, "elements", reason(CloseReason::ProtocolError)),
        limit("welcome.gateways", limits::GATEWAYS, "elements", Value::Null),
        limit("URL of a gateway", limits::GATEWAY_URL_BYTES, "bytes", Value::Null),
        limit("gap.lost", limits::LOST, "elements", Value::Null),
        limit(
            "connection data",
            limits::CONNECTION_DATA_BYTES,
            "bytes",
            reason(CloseReason::InvalidToken)
        ),
        limit("session id", SessionId::MAX_BYTES, "bytes", Value::Null),
        limit("gateway name", GatewayId::MAX_BYTES, "bytes", Value::Null),
    ])
}

fn registry() -> Value {
    let types: Map<_, _> =
        TYPES.iter().map(|(name, all)| ((*name).to_owned(), fields(all))).collect();
    let errors: Value = ErrorCode::ALL
        .iter()
        .map(|code| json!({ "number": code.code(), "name": code.name(), "http": code.http_status() }))
        .collect();
    let disconnects: Value = DisconnectReason::ALL
        .iter()
        .map(|reason| json!({ "number": reason.code(), "name": reason.name() }))
        .collect();
    json!({
        "version": 1,
        "alpn": std::str::from_utf8(ALPN).unwrap(),
        "subprotocols": { "postcard": Codec::Postcard.subprotocol(), "json": Codec::Json.subprotocol() },
        "connectPath": CONNECT_PATH,
        "kinds": {
            "client": kinds::<ClientMessage<'_>>(CLIENT),
            "gateway": kinds::<GatewayMessage<'_>>(GATEWAY),
            "clientStream": kinds::<ClientStream>(CLIENT_STREAM),
            "gatewayStream": kinds::<GatewayStream>(GATEWAY_STREAM),
            "sender": kinds::<SenderMessage<'_>>(SENDER),
        },
        "types": types,
        "unions": unions(),
        "features": Feature::ALL.map(Feature::name),
        "enums": {
            "role": closed(&Role::ALL),
            "streams": closed(&[Streams::PerSender, Streams::Single]),
        },
        "codes": {
            "errorCode": errors,
            "closeReason": close_reasons(),
            "disconnectReason": disconnects,
        },
        "limits": limits(),
    })
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

#[test]
fn the_registry_is_as_committed() {
    let registry = registry();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&registry).unwrap();
        text.push('\n');
        fs::write(path("protocol.json"), text).unwrap();
    }
    let committed: Value =
        serde_json::from_str(&fs::read_to_string(path("protocol.json")).unwrap()).unwrap();
    assert_eq!(registry, committed);
}

/// Decodes postcard by the registry alone.
struct Reader<'a> {
    bytes: &'a [u8],
    registry: &'a Value,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn length(&mut self) -> usize {
        usize::try_from(self.varint()).unwrap()
    }

    fn named(&mut self, list: &Value) -> Value {
        let number = self.varint();
        let found = list.as_array().unwrap().iter().find(|it| it["number"] == number);
        found.unwrap()["name"].clone()
    }

    fn union(&mut self, list: &Value) -> Value {
        let number = self.varint();
        let found = list.as_array().unwrap().iter().find(|it| it["number"] == number).unwrap();
        let value = self.value(found["type"].as_str().unwrap());
        if found["bare"] == true {
            value
        } else {
            json!({ found["name"].as_str().unwrap(): value })
        }
    }

    fn fields(&mut self, fields: &Value) -> Value {
        let mut object = Map::new();
        for field in fields.as_array().unwrap() {
            let value = self.value(field["type"].as_str().unwrap());
            object.insert(field["name"].as_str().unwrap().to_owned(), value);
        }
        object.into()
    }

    fn value(&mut self, kind: &str) -> Value {
        match kind.split_once(' ') {
            Some(("option", inner)) => match self.take(1)[0] {
                0 => return Value::Null,
                _ => return self.value(inner),
            },
            Some(("list", inner)) => {
                return (0..self.length()).map(|_| self.value(inner)).collect();
            }
            _ => {}
        }
        match kind {
            "bool" => (self.take(1)[0] == 1).into(),
            "u16" | "u32" | "u64" => self.varint().into(),
            "text" => {
                let length = self.length();
                std::str::from_utf8(self.take(length)).unwrap().into()
            }
            "id" => uuid::Uuid::from_slice(self.take(16)).unwrap().hyphenated().to_string().into(),
            _ => {
                let registry = self.registry;
                let all = |table: &str| Some(&registry[table][kind]).filter(|it| !it.is_null());
                if let Some(list) = all("unions") {
                    return self.union(list);
                }
                match (all("types"), all("enums").or_else(|| all("codes"))) {
                    (Some(fields), _) => self.fields(fields),
                    (_, Some(list)) => self.named(list),
                    _ => panic!("no type {kind}"),
                }
            }
        }
    }
}

#[test]
fn the_registry_is_enough_to_decode_every_vector() {
    let (registry, mut seen) = (registry(), HashSet::new());
    let vectors: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(path("messages.json")).unwrap()).unwrap();
    for vector in &vectors {
        let hex = vector["hex"].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let mut reader = Reader { bytes: &bytes, registry: &registry };
        let table = &registry["kinds"][vector["kind"].as_str().unwrap()];
        let kind = &table[reader.length()];
        let decoded = json!({ kind["name"].as_str().unwrap(): reader.fields(&kind["fields"]) });
        assert!(reader.bytes.is_empty(), "{vector}");
        assert_eq!(decoded, vector["json"]);
        seen.insert((vector["kind"].to_string(), kind["name"].to_string()));
    }
    let all: usize = registry["kinds"]
        .as_object()
        .unwrap()
        .values()
        .map(|it| it.as_array().unwrap().len())
        .sum();
    assert_eq!(seen.len(), all, "every kind has a vector, so that its fields are checked");
}

/// Every object of a client's message, with the fields that it has by the registry.
fn objects(
    value: &Value,
    at: &str,
    fields: &Value,
    registry: &Value,
    out: &mut Vec<(String, Value)>,
) {
    out.push((at.to_owned(), fields.clone()));
    for field in fields.as_array().unwrap() {
        let (name, kind) = (field["name"].as_str().unwrap(), field["type"].as_str().unwrap());
        if let Some(inner) =
            kind.strip_prefix("list ").filter(|it| registry["types"].get(it).is_some())
        {
            for index in 0..value[name].as_array().unwrap().len() {
                let at = format!("{at}/{name}/{index}");
                objects(&value[name][index], &at, &registry["types"][inner], registry, out);
            }
        }
    }
}

#[test]
fn json_defaults_of_a_client_are_as_registered() {
    let registry = registry();
    let vectors: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(path("messages.json")).unwrap()).unwrap();
    let mut defaults = 0;
    for vector in vectors.iter().filter(|vector| vector["kind"] == "client") {
        let (name, value) = vector["json"].as_object().unwrap().iter().next().unwrap();
        let kinds = registry["kinds"]["client"].as_array().unwrap();
        let kind = kinds.iter().find(|kind| kind["name"] == name[..]).unwrap();
        let mut all = Vec::new();
        objects(value, &format!("/{name}"), &kind["fields"], &registry, &mut all);
        for (at, fields) in all {
            for field in fields.as_array().unwrap() {
                let mut without = vector["json"].clone();
                let object = without.pointer_mut(&at).unwrap().as_object_mut().unwrap();
                object.remove(field["name"].as_str().unwrap()).unwrap();
                let text = without.to_string();
                let read = json_form::decode::<ClientMessage<'_>>(&text);
                let Some(default) = field.get("jsonDefault") else {
                    assert!(read.is_err(), "{text}");
                    continue;
                };
                defaults += 1;
                let mut with = vector["json"].clone();
                with.pointer_mut(&at).unwrap()[field["name"].as_str().unwrap()] = default.clone();
                let text = with.to_string();
                assert_eq!(read, json_form::decode::<ClientMessage<'_>>(&text), "{text}");
            }
        }
    }
    assert!(defaults > 20, "{defaults}");
}
