//! Bytes of a stream, cut anywhere: what comes out as frames does not depend on the cuts, none is
//! over the limit, and no more is held than was put in.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signalbox_protocol::frame::{FrameBuffer, FrameError};

const MAX: usize = 200;

fn read(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut buffer = FrameBuffer::new(MAX);
    let mut frames = Vec::new();
    for chunk in chunks {
        buffer.push(chunk);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        buffer.shrink();
    }
    (frames, buffer.finish().err())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = read(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut).max(1)).collect();
    assert_eq!(whole, read(&pieces));
    assert!(whole.0.iter().all(|frame| frame.len() <= MAX));
});
