//! Frames of clients: golden bytes, malformed ones, and properties.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its answer")]

use proptest::prelude::*;
use signalbox_opentok::{
    ClientFault, ClientFrame, Receipt, Request,
    frame::{Frame, FrameFault, FrameKind},
};
use signalbox_protocol::{ConnectionId, Sender};

/// A frame with these addresses and headers.
fn frame(kind: u8, addresses: &[&str], headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let text =
        |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let mut rest = vec![0, 0, kind, u8::try_from(addresses.len()).unwrap()];
    rest.extend(addresses.iter().flat_map(|it| text(it)));
    rest.push(u8::try_from(headers.len()).unwrap());
    rest.extend(headers.iter().flat_map(|(name, value)| [text(name), text(value)].concat()));
    rest.extend(body);
    [&u32::try_from(rest.len()).unwrap().to_be_bytes(), rest.as_slice()].concat()
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

#[test]
fn the_frames_of_clients_are_read_byte_for_byte() {
    let transaction = "00 0e 5452414e53414354494f4e2d4944 00 02 7432";
    let from = "00 11 582d54422d46524f4d2d41444452455353 00 02 6332";
    for (name, hex, expected) in [
        ("ping", "00000005 0000 07 00 00", ClientFrame::Ping),
        (
            "goodbye",
            "00000012 0000 04 00 01 0009 7265636f6e6e656374 0000",
            ClientFrame::Disconnect { resumes: false },
        ),
        (
            "moving",
            "00000013 0000 04 00 01 0009 7265636f6e6e656374 0001 31",
            ClientFrame::Disconnect { resumes: true },
        ),
        ("subscribe", "00000009 0000 00 01 0002 2f61 00", ClientFrame::Ignored),
        (
            "connect",
            "00000013 0000 03 00 01 0008 756e697175654964 0002 6332",
            ClientFrame::Connect { id: "c2" },
        ),
        (
            "confirmation",
            &format!("00000034 0000 09 01 0002 6331 02 {transaction} {from}"),
            ClientFrame::Confirmation { transaction: "t2", address: "c1" },
        ),
        (
            "request",
            &format!("00000032 0000 02 00 02 {transaction} {from} 7b7d"),
            ClientFrame::Request(Request {
                transaction: "t2",
                from: "c2",
                token: None,
                body: "{}",
            }),
        ),
    ] {
        assert_eq!(ClientFrame::decode(&bytes(hex)), Ok(expected), "{name}");
    }
}

#[test]
fn malformed_frames_are_rejected_with_their_fault() {
    let status = |headers: &[(&str, &str)]| frame(9, &[], headers, b"");
    let long = "t".repeat(65);
    let request = |transaction| {
        frame(2, &[], &[("TRANSACTION-ID", transaction), ("X-TB-FROM-ADDRESS", "c")], b"")
    };
    for (bytes, fault) in [
        (vec![], FrameFault::TooShort(0).into()),
        (bytes("00000004 0000 07 00"), FrameFault::TooShort(8).into()),
        (
            bytes("00000006 0000 07 00 00"),
            ClientFault::Frame(FrameFault::Length { announced: 6, found: 5 }),
        ),
        (bytes("00000005 0000 07 00 00 00"), FrameFault::Length { announced: 5, found: 6 }.into()),
        (
            bytes("ffffffff 0000 07 00 00"),
            FrameFault::Length { announced: u32::MAX, found: 5 }.into(),
        ),
        (bytes("00000005 0001 07 00 00"), FrameFault::Reserved.into()),
        (bytes("00000005 0000 05 00 00"), FrameFault::UnknownKind(5).into()),
        (bytes("00000005 0000 0a 00 00"), FrameFault::UnknownKind(10).into()),
        (bytes("00000005 0000 08 00 00"), ClientFault::Kind(FrameKind::Pong)),
        // More addresses, headers or bytes than there are.
        (bytes("00000005 0000 00 01 00"), FrameFault::Truncated.into()),
        (bytes("00000005 0000 00 00 01"), FrameFault::Truncated.into()),
        (bytes("00000007 0000 00 01 0000 ff"), FrameFault::Truncated.into()),
        (bytes("00000007 0000 00 01 0001 61"), FrameFault::Truncated.into()),
        (bytes("00000008 0000 00 01 ffff 61 00"), FrameFault::Truncated.into()),
        (bytes("00000008 0000 00 00 01 0001 61"), FrameFault::Truncated.into()),
        (bytes("00000008 0000 00 01 0001 ff 00"), FrameFault::NotUtf8.into()),
        (bytes("0000000a 0000 04 00 01 0001 ff 0000"), FrameFault::NotUtf8.into()),
        (frame(2, &[], &[], b"\xff"), FrameFault::NotUtf8.into()),
        (status(&[]), FrameFault::MissingHeader("TRANSACTION-ID").into()),
        (status(&[("transaction-id", "t")]), FrameFault::MissingHeader("TRANSACTION-ID").into()),
        (
            status(&[("TRANSACTION-ID", "t"), ("TRANSACTION-ID", "t")]),
            FrameFault::DoubledHeader("TRANSACTION-ID").into(),
        ),
        (status(&[("TRANSACTION-ID", "")]), ClientFault::Transaction(0)),
        (request(&long), ClientFault::Transaction(65)),
        (
            frame(2, &[], &[("TRANSACTION-ID", "t")], b"{}"),
            FrameFault::MissingHeader("X-TB-FROM-ADDRESS").into(),
        ),
        (frame(3, &[], &[], b""), FrameFault::MissingHeader("uniqueId").into()),
        (frame(4, &[], &[], b""), FrameFault::MissingHeader("reconnect").into()),
    ] {
        assert_eq!(ClientFrame::decode(&bytes), Err(fault), "{}", hex::encode(&bytes));
    }
}

fn texts(count: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("\\PC{0,20}", 0..count)
}

fn receipts() -> impl Strategy<Value = Receipt> {
    let connection = any::<[u8; 16]>().prop_map(ConnectionId::from_bytes);
    let server = "[A-Za-z0-9._-]{1,64}".prop_map(|name| Sender::Server(name.parse().unwrap()));
    let sender = prop_oneof![connection.clone().prop_map(Sender::from), server];
    prop_oneof![
        Just(Receipt::Greeting),
        (sender, any::<u64>()).prop_map(|(from, seq)| Receipt::Signal { from, seq }),
        (any::<u64>(), any::<u64>(), connection.clone())
            .prop_map(|(epoch, number, id)| Receipt::Created { epoch, number, id }),
        (any::<u64>(), any::<u64>(), connection)
            .prop_map(|(epoch, number, id)| Receipt::Destroyed { epoch, number, id }),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientFrame::decode(&bytes);
        let mut announced = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        announced.extend(&bytes);
        let _ = ClientFrame::decode(&announced);
    }

    #[test]
    fn a_frame_is_read_as_it_was_written(
        kind in prop::sample::select(&FrameKind::ALL[..]),
        addresses in texts(5),
        names in texts(5),
        body in "\\PC{0,50}",
    ) {
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let bytes = frame(kind.number(), &addresses, &headers, body.as_bytes());
        let read = Frame::decode(&bytes).unwrap();
        prop_assert_eq!((read.kind, read.body), (kind, body.as_str()));
        prop_assert_eq!(read.addresses().collect::<Vec<_>>(), addresses);
        prop_assert_eq!(read.headers().collect::<Vec<_>>(), headers);
        // No part of it is a frame.
        for end in 0..bytes.len() {
            prop_assert!(Frame::decode(bytes.get(..end).unwrap()).is_err());
        }
    }

    #[test]
    fn a_receipt_has_one_text(receipt in receipts()) {
        let (text, address) = (receipt.to_string(), receipt.address().unwrap_or_default());
        prop_assert_eq!(Receipt::parse(&text, &address), Some(receipt));
    }

    #[test]
    fn arbitrary_text_is_a_receipt_in_its_only_form_or_none(
        text in "([sdc]|\\PC{0,40})\\.[0-9+ .a-z-]{0,60}",
        address in "[0-9]{0,3}\\.[0-9+ .]{0,3}",
    ) {
        if let Some(receipt) = Receipt::parse(&text, &address) {
            prop_assert!(receipt.address().is_none_or(|it| it == address));
            prop_assert_eq!(receipt.to_string().to_lowercase(), text.to_lowercase());
        }
    }
}
