/** Frames: messages with their length in front, as streams carry them (section 3.4). */

import { GATEWAY_MESSAGE_BYTES } from './messages.js';
import { Malformed, Writer, u32 } from './postcard.js';

/** Bytes of the longest length. */
const LENGTH_BYTES = 4;

/** A message as a frame. */
export function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Writer();
  u32.write(out, message.length);
  out.bytes(message);
  return out.finish();
}

/** Cuts the bytes of a stream into messages. Holds at most one incomplete frame and one chunk. */
export class FrameBuffer {
  #bytes = new Uint8Array(0);

  push(chunk: Uint8Array): void {
    const bytes = new Uint8Array(this.#bytes.length + chunk.length);
    bytes.set(this.#bytes);
    bytes.set(chunk, this.#bytes.length);
    this.#bytes = bytes;
  }

  /** The next message; `undefined` until it is complete. Throws {@link Malformed}. */
  next(): Uint8Array | undefined {
    let length = 0;
    for (let index = 0; index < LENGTH_BYTES; index++) {
      const byte = this.#bytes[index];
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * 2 ** (7 * index);
      if (length > GATEWAY_MESSAGE_BYTES) break;
      if (byte >= 0x80) continue;
      if (byte === 0) throw new Malformed('a length of 0, or not in its shortest form');
      const start = index + 1;
      if (this.#bytes.length < start + length) return undefined;
      const message = this.#bytes.subarray(start, start + length);
      this.#bytes = this.#bytes.subarray(start + length);
      return message;
    }
    throw new Malformed('a frame over the limit');
  }

  /** The stream has ended. Throws {@link Malformed} if that was inside a frame. */
  finish(): void {
    if (this.#bytes.length > 0) throw new Malformed('the stream ended inside a frame');
  }
}
