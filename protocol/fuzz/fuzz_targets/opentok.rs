//! Bytes as frames of the vendor's browser SDK: never a panic, neither in the frame nor in the request
//! inside, and a receipt has one form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signalbox_opentok::{ClientFrame, Receipt, frame::Frame};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        let texts = frame.addresses().map(str::len).sum::<usize>()
            + frame.headers().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        assert!(texts + frame.body.len() <= bytes.len());
    }
    match ClientFrame::decode(bytes) {
        Ok(ClientFrame::Request(request)) => {
            if let Err(refusal) = request.action() {
                assert!((400..500).contains(&refusal.status));
            }
        }
        Ok(ClientFrame::Confirmation { transaction, address }) => {
            if let Some(receipt) = Receipt::parse(transaction, address) {
                let address = receipt.address().unwrap_or_default();
                assert_eq!(Receipt::parse(&receipt.to_string(), &address), Some(receipt));
            }
        }
        _ => {}
    }
});
