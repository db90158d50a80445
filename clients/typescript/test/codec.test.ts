import assert from 'node:assert/strict';
import { test } from 'node:test';

import { reasonOfWebSocketCode, reasonOfWebTransportCode, webSocketCode } from '../src/protocol/close.js';
import { FrameBuffer, frame } from '../src/protocol/frame.js';
import {
  AGENT_BYTES,
  CURSORS,
  CURSORS_IN_ALL,
  GATEWAYS,
  GATEWAY_MESSAGE_BYTES,
  GATEWAY_URL_BYTES,
  PATH,
  SUBPROTOCOL,
  TOKEN_BYTES,
  clientMessages,
  clientStream,
  gatewayMessages,
  gatewayStream,
  senderMessages,
} from '../src/protocol/messages.js';
import { Malformed, type MessageCodec, Reader, Writer, u16, u32, u64 } from '../src/protocol/postcard.js';
import { bytesOf, hexOf, vectors } from './vectors.js';

// eslint-disable-next-line -- messages of several tables
const tables: Record<string, MessageCodec<any>> = {
  client: clientMessages,
  gateway: gatewayMessages,
  clientStream,
  gatewayStream,
  sender: senderMessages,
};

test('messages have the bytes of the golden vectors, both ways', () => {
  const all = vectors('messages.json');
  assert.ok(all.length >= 35);
  for (const { name, kind, hex, frame: framed, json } of all) {
    const codec = tables[kind]!;
    const [[member, fields]] = Object.entries(json) as [[string, object]];
    const message = { kind: member, ...fields };
    assert.equal(hexOf(codec.encode(message)), hex, name);
    assert.deepEqual(codec.decode(bytesOf(hex)), message, name);
    assert.equal(hexOf(frame(codec.encode(message))), framed, name);
    const buffer = new FrameBuffer();
    for (const byte of bytesOf(framed)) {
      assert.equal(buffer.next(), undefined, name);
      buffer.push(Uint8Array.of(byte));
    }
    assert.equal(hexOf(buffer.next()!), hex, name);
    buffer.finish();
  }
});

test('malformed messages are refused, and unknown kinds are skipped', () => {
  const readers: Record<string, Record<string, MessageCodec<unknown>>> = {
    client: { control: gatewayMessages, header: gatewayStream, sender: senderMessages },
    gateway: { control: clientMessages, first: clientMessages, signals: clientMessages, header: clientStream },
  };
  let refused = 0;
  let skipped = 0;
  for (const { name, reader, place, hex, malformed, fin } of vectors('malformed.json')) {
    if (hex === undefined) continue;
    if (place === 'frames') {
      if (reader !== 'client') continue;
      const read = () => {
        const buffer = new FrameBuffer();
        buffer.push(bytesOf(hex));
        while (buffer.next() !== undefined);
        if (fin) buffer.finish();
      };
      assert.throws(read, Malformed, name);
      refused++;
      continue;
    }
    const codec = readers[reader]![place]!;
    if (malformed) {
      // A client's decoder of its own messages does not check what only a gateway must.
      if (reader === 'gateway') {
        try {
          codec.decode(bytesOf(hex));
        } catch (error) {
          assert.ok(error instanceof Malformed, name);
          refused++;
        }
        continue;
      }
      assert.throws(() => codec.decode(bytesOf(hex)), Malformed, name);
      refused++;
    } else {
      codec.decode(bytesOf(hex));
      skipped++;
    }
  }
  assert.ok(refused > 50, String(refused));
  assert.ok(skipped > 10, String(skipped));
  assert.equal(gatewayMessages.decode(bytesOf('c801090909')), undefined);
});

test('tables, codes and limits are those of protocol.json', () => {
  const protocol = vectors('protocol.json');
  assert.equal(PATH, protocol.connectPath);
  assert.ok(Object.values(protocol.subprotocols).includes(SUBPROTOCOL));
  const limit = (name: string) =>
    protocol.limits.find((it: { name: string }) => it.name === name).atMost;
  assert.equal(GATEWAY_MESSAGE_BYTES, limit('gateway message, postcard'));
  assert.equal(CURSORS, limit('cursors of one message'));
  assert.equal(CURSORS_IN_ALL, limit('cursors of one resume'));
  assert.equal(TOKEN_BYTES, limit('token'));
  assert.equal(AGENT_BYTES, limit('agent'));
  assert.equal(GATEWAYS, limit('welcome.gateways'));
  assert.equal(GATEWAY_URL_BYTES, limit('URL of a gateway'));
  for (const { name, number, webSocket } of protocol.codes.closeReason) {
    assert.equal(reasonOfWebTransportCode(number), name);
    assert.equal(reasonOfWebSocketCode(webSocket), name);
    const bye = gatewayMessages.decode(Uint8Array.of(6, number, 0, 0));
    assert.deepEqual(bye, { kind: 'bye', reason: name, message: '', streams: 0 });
  }
  for (const { name, number } of protocol.codes.errorCode) {
    const error = gatewayMessages.decode(Uint8Array.of(5, 0, number, 0));
    assert.deepEqual(error, { kind: 'error', signal: null, code: name, message: '' });
  }
  for (const { name, number } of protocol.codes.disconnectReason) {
    const bytes = Uint8Array.of(3, ...new Uint8Array(16), number, 0);
    const message = gatewayMessages.decode(bytes);
    assert.ok(message?.kind === 'connectionDestroyed' && message.reason === name);
  }
  for (const [table, kinds] of Object.entries(protocol.kinds)) {
    for (const { number } of kinds as { number: number }[]) {
      // A known kind without its fields is malformed, or has none.
      try {
        assert.notEqual(tables[table]!.decode(Uint8Array.of(number)), undefined);
      } catch (error) {
        assert.ok(error instanceof Malformed);
      }
    }
  }
  assert.equal(webSocketCode('networkDisconnected'), 4002);
  assert.equal(reasonOfWebSocketCode(1006), 'networkDisconnected');
  assert.equal(reasonOfWebSocketCode(4999), 'unknown');
});

test('numbers take the bytes of section 3.1', () => {
  const bytes = (write: (out: Writer) => void) => {
    const out = new Writer();
    write(out);
    return hexOf(out.finish());
  };
  for (const [value, hex] of [
    [0, '00'], [1, '01'], [127, '7f'], [128, '8001'], [300, 'ac02'], [8192, '8040'],
    [30000, 'b0ea01'], [70000, 'f0a204'], [1795500000000, '80868fe1a034'],
    [Number.MAX_SAFE_INTEGER, 'ffffffffffffff0f'],
  ] as const) {
    assert.equal(bytes((out) => u64.write(out, value)), hex);
    assert.equal(u64.read(new Reader(bytesOf(hex))), value);
  }
  assert.throws(() => u16.read(new Reader(bytesOf('808004'))), Malformed);
  assert.throws(() => u32.read(new Reader(bytesOf('8080808010'))), Malformed);
  assert.throws(() => u64.read(new Reader(bytesOf('ffffffffffffffffff02'))), Malformed);
  assert.equal(u32.read(new Reader(bytesOf('8000'))), 0);
});

test('texts pass as they are, with a byte order mark and U+0000', () => {
  for (const data of ['\ufeffx', '\u0000', '']) {
    const message = { kind: 'signal', to: null, type: null, data } as const;
    assert.deepEqual(clientMessages.decode(clientMessages.encode(message)), message);
  }
});
