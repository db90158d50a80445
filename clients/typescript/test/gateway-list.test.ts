import assert from 'node:assert/strict';
import { test } from 'node:test';

import { GatewayList } from '../src/gateway-list.js';
import { resolveOptions } from '../src/options.js';

const options = resolveOptions({});
const URLS = ['https://a', 'https://b', 'wss://c'];

/** Short names of the targets: `wt` is WebTransport, `ws` is WebSocket. */
function order(list: GatewayList): string {
  const name = (transport: string) => (transport === 'webtransport' ? 'wt' : 'ws');
  return list
    .inOrder()
    .map(({ transport, gateway }) => `${name(transport)}:${gateway.split(':')[0]}`)
    .join(' ');
}

function find(list: GatewayList, name: string) {
  const index = order(list).split(' ').indexOf(name);
  return list.inOrder()[index]!;
}

test('targets are tried as given, and the current one first', () => {
  const list = new GatewayList(URLS, options);
  assert.equal(order(list), 'wt:a ws:a wt:b ws:b ws:c');
  list.answered(find(list, 'ws:b'));
  assert.equal(order(list), 'ws:b wt:a ws:a wt:b ws:c');
  list.answered(find(list, 'ws:c'));
  assert.equal(order(list), 'ws:c wt:a ws:a wt:b ws:b');
});

test('a gateway that shuts down is tried last, over all transports', () => {
  const list = new GatewayList(URLS, options);
  list.answered(find(list, 'ws:a'));
  list.avoidCurrent();
  assert.equal(order(list), 'wt:b ws:b ws:c ws:a wt:a');
  // Another one refuses the ticket: it is the first to be asked to join.
  list.answered(find(list, 'ws:b'));
  assert.equal(order(list), 'ws:b wt:b ws:c wt:a ws:a');
  // The next one shuts down, and the first is running again.
  list.avoidCurrent();
  assert.equal(order(list), 'wt:a ws:a ws:c ws:b wt:b');
  list.answered(find(list, 'wt:b'));
  assert.equal(order(list), 'wt:b wt:a ws:a ws:b ws:c');
});

test('a gateway that leaves an opening unanswered is tried last', () => {
  const list = new GatewayList(URLS, options);
  list.avoid(find(list, 'wt:a'));
  assert.equal(order(list), 'wt:b ws:b ws:c wt:a ws:a');
  const single = new GatewayList('https://a', options);
  single.avoid(find(single, 'wt:a'));
  assert.equal(order(single), 'wt:a ws:a', 'it is the only one');
});

test('a target counts once', () => {
  const list = new GatewayList(['https://a', 'https://a:4433/', 'wss://a'], options);
  assert.equal(order(list), 'wt:a ws:a');
});

test('gateways of a welcome are tried after those of the application', () => {
  const list = new GatewayList(URLS, options);
  list.answered(find(list, 'ws:a'));
  list.welcomed(['wss://d', 'https://b:4433', 'https://d']);
  assert.equal(order(list), 'ws:a wt:a wt:b ws:b ws:c ws:d wt:d');
  assert.equal(list.length, 7);
  // The next welcome replaces them, but a gateway does not list itself.
  list.answered(find(list, 'wt:d'));
  list.welcomed(['wss://e']);
  assert.equal(order(list), 'wt:d wt:a ws:a wt:b ws:b ws:c ws:e');
  list.answered(find(list, 'ws:a'));
  list.welcomed([]);
  assert.equal(order(list), 'ws:a wt:a wt:b ws:b ws:c');
});

test('URLs of a welcome that this client cannot use are passed over', () => {
  const list = new GatewayList('wss://a', options);
  list.welcomed(['quic://b', 'b', 'wss://b/path', 'ws://b', 'wss://c']);
  assert.equal(order(list), 'ws:a ws:c');
  const plain = new GatewayList('ws://a', options);
  plain.welcomed(['ws://b']);
  assert.equal(order(plain), 'ws:a ws:b', 'without TLS as before');
});
