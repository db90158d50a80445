//! Vectors of messages that are none, or that are not allowed: what every implementation must refuse,
//! and how.
//!
//! `vectors/malformed.json` is compared with the lists here. After an addition, write it again with
//! `UPDATE_VECTORS=1 cargo test -p signalbox-protocol --test malformed`. What a decoder alone can tell
//! is checked here with the real ones; a gateway is given all that is for it in `tests/tests/e2e/vectors.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{
    ClientMessage, ClientStream, CloseReason, ConnectionId, ErrorCode, Features, GatewayMessage,
    GatewayStream, SenderMessage, Signal, Streams, binary,
    frame::{FrameBuffer, FrameError},
    json,
    limits::{CLIENT_FRAME_BYTES, GATEWAY_FRAME_BYTES},
    message::{Cursor, Hello, Message, Resume, SendSignal},
};

/// One line of the file. docs/protocol.md, section 3.5, says what the members mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    reader: String,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    carriers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    fin: bool,
    /// Whether a decoder refuses it; else it is a message that is not allowed there.
    malformed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Vector {
    fn new(reader: &str, place: &str, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reader: reader.into(),
            place: place.into(),
            carriers: None,
            hex: None,
            json: None,
            fin: false,
            malformed: true,
            reason: Some(CloseReason::ProtocolError.name().into()),
            error: None,
        }
    }

    fn hex(self, hex: &str) -> Self {
        Self { hex: Some(hex.replace(' ', "")), ..self }
    }

    fn json(self, text: impl Into<String>) -> Self {
        Self { json: Some(text.into()), ..self }
    }

    fn then_fin(self) -> Self {
        Self { fin: true, ..self }
    }

    fn reason(self, reason: CloseReason) -> Self {
        Self { reason: Some(reason.name().into()), ..self }
    }

    fn error(self, code: ErrorCode) -> Self {
        Self { reason: None, error: Some(code.name().into()), ..self }
    }

    fn only_on(self, carrier: &str) -> Self {
        Self { carriers: Some(vec![carrier.into()]), ..self }
    }

    /// A message that can be read, in both encodings.
    fn of<'a>(self, message: &impl Message<'a>) -> [Self; 2] {
        let binary = Self { malformed: false, ..self.clone() };
        let text = Self { name: format!("{}, in JSON", self.name), malformed: false, ..self };
        [binary.hex(&hex(&binary::encode(message))), text.json(json::encode(message))]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

const BOB: &str = "f4 7a c1 0b 58 cc 43 72 a5 67 0e 02 b2 c3 d4 79";
const GATEWAY: &str = "04 67 77 2d 31";
const TOKEN: &str = "0b 61 62 63 2e 64 65 66 2e 67 68 69";

fn malformed_postcard_of_a_client() -> Vec<Vector> {
    let short_id = &BOB[..BOB.len() - 3];
    let mut list = Vec::new();
    let mut add = |place: &str, name: &str, hex: &str| {
        list.push(Vector::new("gateway", place, name).hex(hex));
    };
    add("control", "no bytes", "");
    add("control", "a kind in more than 32 bits", "ff ff ff ff 10");
    add("control", "a kind in more than 5 bytes", "80 80 80 80 80 00");
    add("control", "half of a kind", "80");
    add("control", "an id that is cut short", &format!("02 {short_id}"));
    add("control", "an id with a length", &format!("02 10 {BOB}"));
    add("control", "a goodbye without its number", "03");
    add("control", "a goodbye in more than 64 bits", "03 ff ff ff ff ff ff ff ff ff 02");
    add("control", "a ticketStored with something behind it", "04 00");
    add("control", "more cursors than there are bytes", "06 ff ff 03");
    add("control", "a cursor that is cut short", &format!("06 01 00 {BOB}"));
    add("control", "a sender of neither kind", &format!("06 01 02 {BOB} 01 00"));
    add("control", "a server without a name", "06 01 01 00 01 00");
    add("control", "a server whose name has a space", "06 01 01 04 67 77 20 31 01 00");
    let long = "78 ".repeat(65);
    add("control", "a server with a name of 65 bytes", &format!("06 01 01 41 {long} 01 00"));
    add("signals", "a kind without its fields", "01");
    add("signals", "bytes missing", "01 00 00 01 05 68 65 6c 6c");
    add("signals", "bytes left over", "01 00 00 00 07 07");
    add("signals", "neither none nor some", "01 02 00 00");
    add("signals", "text that is not UTF-8", "01 00 00 01 02 c3 28");
    add("signals", "text with a surrogate", "01 00 00 01 03 ed a0 80");
    add("signals", "data that is not there", "01 00 00 01 ff ff ff ff 0f");
    add("signals", "a length in more than 64 bits", "01 00 00 01 ff ff ff ff ff ff ff ff ff 7f");
    add("first", "a hello without its fields", "00");
    let features = |list: &str| format!("00 {TOKEN} {list} 00 00");
    add("first", "more features than there are bytes", &features("ff ff 03"));
    add("first", "33 features", &features(&format!("21 {}", "01 78 ".repeat(33))));
    add("first", "a feature of 33 bytes", &features(&format!("01 21 {}", "78 ".repeat(33))));
    add("first", "an enum value that is not listed", &format!("00 {TOKEN} 00 02 00"));
    add("first", "a hello with something behind it", &format!("00 {TOKEN} 00 00 00 00"));
    add("first", "a bool that is neither", "05 06 5a 6d 39 76 2d 5f 01 00 03 00 00 02 00");
    add("first", "a resume that is cut short", "05 06 5a 6d 39 76 2d 5f 01 00 03 00 00");
    add("header", "no bytes", "");
    add("header", "a header with something behind it", "00 00");
    list
}

fn malformed_json_of_a_client() -> Vec<Vector> {
    let mut list = Vec::new();
    let mut add = |place: &str, name: &str, json: &str| {
        list.push(Vector::new("gateway", place, name).json(json));
    };
    add("control", "nothing", "");
    add("control", "no JSON", "hello");
    add("control", "half of a message", r#"{"signal":{"data":"#);
    add("control", "something behind the message", r#"{"ticketStored":{}} {}"#);
    add("control", "a comma too many", r#"{"ticketStored":{},}"#);
    add("control", "single quotes", "{'ticketStored':{}}");
    add("control", "a comment", r#"{"ticketStored":{/* */}}"#);
    add("control", "a byte order mark", "\u{feff}{\"ticketStored\":{}}");
    add("control", "null", "null");
    add("control", "a bare string", r#""ticketStored""#);
    add("control", "an array", r#"[{"ticketStored":{}}]"#);
    add("control", "no member", "{}");
    add("control", "two members", r#"{"signal":{},"goodbye":{}}"#);
    add("control", "a known kind and an unknown one", r#"{"ticketStored":{},"wave":{}}"#);
    add("control", "a kind twice", r#"{"ticketStored":{},"ticketStored":{}}"#);
    add("control", "an unknown kind twice", r#"{"wave":{},"wave":{}}"#);
    add("control", "two unknown kinds", r#"{"wave":{},"nod":{}}"#);
    add("control", "an array for fields", r#"{"signal":[null,"chat","hello"]}"#);
    add("control", "an empty array for fields", r#"{"ticketStored":[]}"#);
    add("control", "null for fields", r#"{"ticketStored":null}"#);
    add("control", "a string for fields", r#"{"ticketStored":""}"#);
    add("control", "a member that is missing", r#"{"forceDisconnect":{}}"#);
    add("control", "null where no option is", r#"{"goodbye":{"signals":null}}"#);
    add("control", "a number as text", r#"{"goodbye":{"signals":"1"}}"#);
    add("control", "a fraction", r#"{"goodbye":{"signals":1.0}}"#);
    add("control", "an exponent", r#"{"goodbye":{"signals":1e0}}"#);
    add("control", "a negative number", r#"{"goodbye":{"signals":-1}}"#);
    add("control", "a number with a leading zero", r#"{"goodbye":{"signals":01}}"#);
    add("control", "more than 64 bits", r#"{"goodbye":{"signals":18446744073709551616}}"#);
    add("control", "a number that is none", r#"{"goodbye":{"signals":NaN}}"#);
    let id = |id: &str| format!(r#"{{"forceDisconnect":{{"id":{id}}}}}"#);
    add("control", "no id", &id(r#""bob""#));
    add("control", "an id without hyphens", &id(r#""f47ac10b58cc4372a5670e02b2c3d479""#));
    add("control", "an id in braces", &id(r#""{f47ac10b-58cc-4372-a567-0e02b2c3d479}""#));
    add("control", "null for an id", &id("null"));
    add("signals", "a number for text", r#"{"signal":{"data":1}}"#);
    add("signals", "an object for text", r#"{"signal":{"data":{"text":"hello"}}}"#);
    add("signals", "a member twice", r#"{"signal":{"data":"a","data":"a"}}"#);
    add(
        "signals",
        "a member twice, once with escapes",
        r#"{"signal":{"data":"a","d\u0061ta":"a"}}"#,
    );
    add("signals", "an unknown member twice", r#"{"signal":{"color":1,"color":2}}"#);
    add("signals", "a member twice inside an unknown one", r#"{"signal":{"x":[{"a":1,"a":1}]}}"#);
    add("control", "a member twice inside an unknown kind", r#"{"wave":{"a":1,"a":1}}"#);
    add("signals", "an unpaired surrogate", r#"{"signal":{"data":"\ud800"}}"#);
    add("signals", "surrogates the wrong way round", r#"{"signal":{"data":"\udca6\ud83d"}}"#);
    add("signals", "an unpaired surrogate in an unknown member", r#"{"signal":{"x":"\ud800"}}"#);
    add("signals", "an unpaired surrogate in a name", r#"{"signal":{"\ud800":1}}"#);
    add("control", "an unpaired surrogate in an unknown kind", r#"{"wave":"\ud800"}"#);
    add("signals", "an escape that JSON does not have", r#"{"signal":{"data":"\x41"}}"#);
    add("signals", "a line break in a string", "{\"signal\":{\"data\":\"a\nb\"}}");
    add("signals", "a number beyond a double in an unknown member", r#"{"signal":{"x":1e999}}"#);
    let deep = format!(r#"{{"signal":{{"x":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
    add("signals", "an unknown member that is nested too deeply", &deep);
    let hello = |members: &str| format!(r#"{{"hello":{{"token":"abc.def.ghi"{members}}}}}"#);
    add("first", "a hello without a token", r#"{"hello":{}}"#);
    add("first", "an enum value that is not listed", &hello(r#","streams":"both""#));
    add("first", "an enum value in another case", &hello(r#","streams":"PerSender""#));
    add("first", "a number for an enum", &hello(r#","streams":1"#));
    add("first", "an object for an enum", &hello(r#","streams":{"single":null}"#));
    add("first", "a text for features", &hello(r#","features":"presence""#));
    add("first", "null for features", &hello(r#","features":null"#));
    add("first", "a number for a feature", &hello(r#","features":["presence",1]"#));
    let features = |count, name: String| {
        let names = vec![format!("{name:?}"); count].join(",");
        hello(&format!(r#","features":[{names}]"#))
    };
    add("first", "33 features", &features(33, "x".into()));
    add("first", "a feature of 33 bytes", &features(1, "x".repeat(33)));
    let cursors = |cursors: &str| {
        format!(r#"{{"resume":{{"ticket":"Zm9v-_","attempt":1,"events":0,"cursors":{cursors}}}}}"#)
    };
    let server = r#"{"server":"gw-1"}"#;
    let more = r#"{"resume":{"ticket":"Zm9v-_","attempt":1,"events":0,"more":1}}"#;
    add("first", "a number for a bool", more);
    add("first", "an array for a cursor", &cursors(&format!("[[{server},1]]")));
    add("first", "an object for cursors", &cursors(&format!(r#"{{"from":{server},"seq":1}}"#)));
    add("first", "a cursor without a number", &cursors(&format!(r#"[{{"from":{server}}}]"#)));
    add("first", "a cursor without a sender", &cursors(r#"[{"seq":1}]"#));
    let from = |from: &str| cursors(&format!(r#"[{{"from":{from},"seq":1}}]"#));
    add("first", "null for a sender", &from("null"));
    add("first", "an array for a sender", &from(r#"["gw-1"]"#));
    add("first", "a sender that is neither a connection nor a server", &from(r#"{"client":"a"}"#));
    add("first", "a server twice", &from(r#"{"server":"a","server":"a"}"#));
    add("first", "a server whose name has a space", &from(r#"{"server":"gw 1"}"#));
    list
}

fn frames_of_a_client() -> Vec<Vector> {
    use CloseReason::FrameTooLarge;
    let frames = |name: &str, hex: &str| Vector::new("gateway", "frames", name).hex(hex);
    vec![
        frames("a length that is not in its shortest form", "81 00 04"),
        frames("a frame of length 0", "00"),
        frames("a length over the limit", "81 a0 01").reason(FrameTooLarge),
        frames("a length of 5 bytes", "80 80 80 80 01").reason(FrameTooLarge),
        frames("a length of 4 bytes that goes on", "ff ff ff ff").reason(FrameTooLarge),
        frames("the end inside a length", "80").then_fin(),
        frames("the end inside a frame", "02 03").then_fin(),
    ]
}

/// Well-formed messages, where or as they are not allowed.
fn forbidden_messages_of_a_client() -> Vec<Vector> {
    use CloseReason::{InvalidTicket, InvalidToken};
    let control = |name: &str| Vector::new("gateway", "control", name);
    let signals = |name: &str| Vector::new("gateway", "signals", name);
    let first = |name: &str| Vector::new("gateway", "first", name);
    let hello = |token: String, agent: Option<String>| {
        let (token, agent) = (token.into(), agent.map(Into::into));
        ClientMessage::Hello(Hello {
            token,
            features: Features::default(),
            streams: Streams::PerSender,
            agent,
        })
    };
    let resume = |ticket: &str, cursors: Vec<Cursor>| {
        ClientMessage::Resume(Resume {
            ticket: ticket.to_owned().into(),
            attempt: 1,
            streams: Streams::PerSender,
            events: 0,
            accepted: 0,
            cursors,
            more: false,
            agent: None,
        })
    };
    let signal = |to, signal_type: Option<String>, data: Option<String>| {
        ClientMessage::Signal(SendSignal::new(to, Signal::new(signal_type, data)))
    };
    let bob = ConnectionId::from_bytes(unhex(&BOB.replace(' ', "")).try_into().unwrap());
    let many = (0..501u64).map(|number| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        Cursor { from: ConnectionId::from_bytes(id).into(), seq: 1 }
    });
    let twice = vec![Cursor { from: bob.into(), seq: 1 }; 2];
    let none = || signal(None, None, None);
    let token = || "abc.def.ghi".to_owned();
    let more = ClientMessage::Cursors { cursors: vec![], more: false };
    let mut list = [
        control("a hello later").of(&hello(token(), None)),
        control("a resume later").of(&resume("Zm9v-_", vec![])),
        control("cursors that were not announced").of(&more),
        first("a signal first").of(&none()),
        first("a goodbye first").of(&ClientMessage::Goodbye { signals: 0 }),
        first("a ticketStored first").of(&ClientMessage::TicketStored {}),
        first("cursors first").of(&more),
        first("a name of 65 bytes").of(&hello(token(), Some("x".repeat(65)))),
        first("no token").reason(InvalidToken).of(&hello(String::new(), None)),
        first("a token that is none").reason(InvalidToken).of(&hello(token(), None)),
        first("a token that is too long").reason(InvalidToken).of(&hello("x".repeat(18_433), None)),
        first("a ticket that is none").reason(InvalidTicket).of(&resume("Zm9v-_", vec![])),
        first("501 cursors").of(&resume("Zm9v-_", many.collect())),
        first("two cursors for one sender").of(&resume("Zm9v-_", twice)),
        signals("a type of other characters").error(ErrorCode::InvalidType).of(&signal(
            None,
            Some("a b".into()),
            None,
        )),
        signals("a type of 129 bytes").error(ErrorCode::TypeTooLong).of(&signal(
            None,
            Some("t".repeat(129)),
            None,
        )),
        signals("data of 8193 bytes").error(ErrorCode::DataTooLong).of(&signal(
            None,
            None,
            Some("d".repeat(8193)),
        )),
        signals("data of 8194 bytes in 4097 characters").error(ErrorCode::DataTooLong).of(&signal(
            None,
            None,
            Some("é".repeat(4097)),
        )),
        signals("a signal to nobody").error(ErrorCode::NotFound).of(&signal(Some(bob), None, None)),
        control("a forceDisconnect of a publisher")
            .error(ErrorCode::Forbidden)
            .of(&ClientMessage::ForceDisconnect { id: bob }),
    ]
    .concat();
    let [on_control, _] = control("a signal on the control stream").only_on("quic").of(&none());
    let [among_signals, _] = signals("a goodbye on the signals stream")
        .only_on("quic")
        .of(&ClientMessage::Goodbye { signals: 0 });
    let good = |vector: Vector| Vector { malformed: false, ..vector };
    list.extend([
        on_control,
        among_signals,
        good(Vector::new("gateway", "header", "a header of an unknown kind").hex("01")),
        good(first("an unknown kind first").hex("c8 01 09 09 09")),
        good(first("an unknown kind first, in JSON").json(r#"{"wave":{"hand":"left"}}"#)),
        good(control("an unknown kind").error(ErrorCode::Unsupported).hex("c8 01 09 09 09")),
        good(signals("an unknown kind").error(ErrorCode::Unsupported).hex("c8 01 09 09 09")),
        good(
            control("an unknown kind, in JSON")
                .error(ErrorCode::Unsupported)
                .json(r#"{"wave":{"hand":"left"}}"#),
        ),
    ]);
    list
}

fn malformed_messages_of_a_gateway() -> Vec<Vector> {
    let mut list = Vec::new();
    let mut add = |place: &str, name: &str, hex: &str| {
        list.push(Vector::new("client", place, name).hex(hex));
    };
    add("control", "no bytes", "");
    add("control", "a welcome without its fields", "00");
    add("control", "a role that is not listed", &format!("00 {BOB} 01 00 01 78 04 01 01 00 01 00"));
    let welcome = |gateways: &str| {
        let (session, limits) = (hex(SESSION.as_bytes()), "80 01 80 40 00 b0 ea 01");
        format!("00 {BOB} 01 00 48 {session} 01 {limits} 00 00 {gateways}")
    };
    let url = |bytes: usize| "61 ".repeat(bytes);
    add("control", "17 gateways", &welcome(&format!("11 {}", format!("01 {}", url(1)).repeat(17))));
    add("control", "a gateway of 257 bytes", &welcome(&format!("01 81 02 {}", url(257))));
    add("control", "more connections than there are bytes", "01 ff ff ff ff 0f");
    add("control", "a connection that is cut short", &format!("01 01 {BOB} 00"));
    add("control", "connection data that is not UTF-8", &format!("02 {BOB} 00 02 c3 28"));
    add("control", "a reason in more than 16 bits", "06 ff ff 04 00 00");
    add("control", "a bye with something behind it", "06 00 00 00 00");
    add("control", "a bool that is neither", "09 00 02 00");
    add("control", "neither none nor some", "05 02 01 00");
    add("control", "an accepted in more than 64 bits", "0a ff ff ff ff ff ff ff ff ff 02");
    add("control", "a goAway in more than 32 bits", "0b ff ff ff ff 10");
    add("header", "no bytes", "");
    add("header", "a header without its fields", "00");
    add("header", "a header that is cut short", &format!("00 00 {BOB}"));
    add("header", "a header with something behind it", &format!("00 01 {GATEWAY} 00 00"));
    add("header", "a sender of neither kind", &format!("00 02 {GATEWAY} 00"));
    add("header", "a server without a name", "00 01 00 00");
    add("sender", "no bytes", "");
    add("sender", "a signal that is cut short", "00 01 01 04 63 68 61");
    add("sender", "a signal with something behind it", "00 01 00 00 00");
    add("sender", "text that is not UTF-8", "00 01 00 01 02 c3 28");
    add("frames", "a length that is not in its shortest form", "83 00 0a ac 02");
    add("frames", "a frame of length 0", "00");
    add("frames", "a length over the limit", "81 80 04");
    add("frames", "a length of 5 bytes", "80 80 80 80 01");
    for (name, hex) in [("the end inside a length", "80"), ("the end inside a frame", "03 0a")] {
        list.push(Vector::new("client", "frames", name).hex(hex).then_fin());
    }
    let mut add = |name: &str, json: &str| {
        list.push(Vector::new("client", "control", name).json(json));
    };
    add("nothing", "");
    add("no JSON", "hello");
    add("a byte order mark", "\u{feff}{\"accepted\":{\"signals\":1}}");
    add("no member", "{}");
    add("two members", r#"{"accepted":{"signals":1},"goAway":{"withinMs":1}}"#);
    add("two unknown kinds", r#"{"wave":{},"nod":{}}"#);
    add("an array for fields", r#"{"accepted":[1]}"#);
    add("a member that is missing", r#"{"accepted":{}}"#);
    add("null where no option is", r#"{"accepted":{"signals":null}}"#);
    add("a fraction", r#"{"accepted":{"signals":1.5}}"#);
    add("a negative number", r#"{"accepted":{"signals":-1}}"#);
    add("more than 32 bits", r#"{"goAway":{"withinMs":4294967296}}"#);
    add("a number for text", r#"{"bye":{"reason":"slowConsumer","message":1,"streams":0}}"#);
    add("a number for a reason", r#"{"bye":{"reason":4,"message":"","streams":0}}"#);
    add("a number for a bool", r#"{"gap":{"lost":[],"presence":1,"present":0}}"#);
    add(
        "an array for a connection",
        &format!(r#"{{"present":{{"connections":[["{BOB_ID}",1,""]]}}}}"#),
    );
    add("no sender", r#"{"signal":{"seq":1,"type":null,"data":null}}"#);
    add("null for a sender", r#"{"signal":{"from":null,"seq":1,"type":null,"data":null}}"#);
    add("no id", r#"{"signal":{"from":"bob","seq":1,"type":null,"data":null}}"#);
    add(
        "an unpaired surrogate",
        r#"{"signal":{"from":{"server":"gw-1"},"seq":1,"type":null,"data":"\ud800"}}"#,
    );
    add("a text for features", &WELCOME.replace("[]", r#""presence""#));
    add("a role that is not listed", &WELCOME.replace("publisher", "king"));
    let gateways = |list: &str| {
        WELCOME.replace("\"present\":0", &format!("\"present\":0,\"gateways\":{list}"))
    };
    add("a text for gateways", &gateways(r#""quic://gw-2.example""#));
    add("17 gateways", &gateways(&format!("[{}]", vec![r#""quic://a""#; 17].join(","))));
    add("a gateway of 257 bytes", &gateways(&format!(r#"["quic://{}"]"#, "a".repeat(250))));
    add("an object for a role", &WELCOME.replace(r#""publisher""#, r#"{"publisher":null}"#));
    let gap = GatewayMessage::Gap { lost: vec![], presence: true, present: 0 };
    list.extend(Vector::new("client", "control", "a gap of presence outside a resume").of(&gap));
    list
}

const BOB_ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

const SESSION: &str = "1_MX4xMjM0NTY3OH5-MTc5NTUwMDAwMDAwMH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg";

const WELCOME: &str = r#"{"welcome":{"connection":{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","createdAt":1,"data":""},"session":"1_MX4xMjM0NTY3OH5-MTc5NTUwMDAwMDAwMH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg","role":"publisher","limits":{"typeBytes":128,"dataBytes":8192,"signalsPerSecond":0,"idleTimeoutMs":30000},"features":[],"present":0}}"#;

fn vectors() -> Vec<Vector> {
    [
        malformed_postcard_of_a_client(),
        malformed_json_of_a_client(),
        frames_of_a_client(),
        forbidden_messages_of_a_client(),
        malformed_messages_of_a_gateway(),
    ]
    .concat()
}

#[test]
fn vectors_are_as_committed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/malformed.json");
    let vectors = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&vectors).unwrap();
        text.push('\n');
        fs::write(&path, text).unwrap();
    }
    let committed: Vec<Vector> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for (ours, committed) in vectors.iter().zip(&committed) {
        assert_eq!(ours, committed);
    }
    assert_eq!(vectors.len(), committed.len());
}

/// Whether the decoder of that place takes it.
fn is_read<'a, M: Message<'a>>(vector: &'a Vector, bytes: &'a [u8]) -> bool {
    match &vector.json {
        Some(text) => json::decode::<M>(text).is_ok(),
        None => binary::decode::<M>(bytes).is_ok(),
    }
}

#[test]
fn decoders_refuse_what_is_malformed_and_nothing_else() {
    for vector in vectors() {
        let bytes = vector.hex.as_deref().map(unhex).unwrap_or_default();
        let read = match (vector.reader.as_str(), vector.place.as_str()) {
            ("gateway", "first" | "control" | "signals") => {
                is_read::<ClientMessage<'_>>(&vector, &bytes)
            }
            ("gateway", "header") => is_read::<ClientStream>(&vector, &bytes),
            ("client", "control") => is_read::<GatewayMessage<'_>>(&vector, &bytes),
            ("client", "header") => is_read::<GatewayStream>(&vector, &bytes),
            ("client", "sender") => is_read::<SenderMessage<'_>>(&vector, &bytes),
            ("gateway", "frames") => frames_are_read(&vector, &bytes, |it| {
                binary::decode::<ClientMessage<'_>>(it).is_ok()
            }),
            ("client", "frames") => frames_are_read(&vector, &bytes, |it| {
                binary::decode::<GatewayMessage<'_>>(it).is_ok()
            }),
            other => panic!("{other:?}"),
        };
        assert_eq!(read, !vector.malformed, "{vector:?}");
    }
}

/// Whether a stream with these bytes is read to its end; and if its frames are at fault, whether
/// the fault is the one that the vector tells.
fn frames_are_read(vector: &Vector, bytes: &[u8], is_read: impl Fn(&[u8]) -> bool) -> bool {
    let max = if vector.reader == "client" { GATEWAY_FRAME_BYTES } else { CLIENT_FRAME_BYTES };
    let mut buffer = FrameBuffer::new(max);
    buffer.push(bytes);
    loop {
        match buffer.next_frame() {
            Ok(Some(frame)) if !is_read(frame) => return false,
            Ok(Some(_)) => {}
            Ok(None) => return !vector.fin || buffer.finish().is_ok(),
            Err(fault) => {
                let too_large = matches!(fault, FrameError::TooLarge { .. });
                let expected = if too_large && vector.reader == "gateway" {
                    CloseReason::FrameTooLarge
                } else {
                    CloseReason::ProtocolError
                };
                assert_eq!(vector.reason.as_deref(), Some(expected.name()), "{vector:?}");
                return false;
            }
        }
    }
}

#[test]
fn every_vector_says_one_thing_in_one_way() {
    let mut names = std::collections::HashSet::new();
    for vector in vectors() {
        assert_ne!(vector.hex.is_some(), vector.json.is_some(), "{vector:?}");
        assert_ne!(vector.reason.is_some(), vector.error.is_some(), "{vector:?}");
        assert!(vector.reason.iter().all(|name| CloseReason::from_name(name).is_some()));
        assert!(vector.error.iter().all(|name| ErrorCode::from_name(name).is_some()));
        let encoding = vector.json.is_some();
        assert!(
            names.insert((
                vector.reader.clone(),
                vector.place.clone(),
                encoding,
                vector.name.clone()
            )),
            "{vector:?}"
        );
    }
}
