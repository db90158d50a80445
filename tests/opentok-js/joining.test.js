/** Pages that are not let in, and what their applications are told. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenTok from 'opentok';

import { Gateway } from '../browser/harness/gateway.js';
import { Page } from './harness/page.js';

const PLAIN = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' };

let gateway;
test.before(async (context) => (gateway = await Gateway.start(context, PLAIN)));

for (const [name, code, join] of [
  ['a token that is none', 1004, (session) => ({ session, token: 'T1==nonsense' })],
  ['a token of another session', 1004, (session) => ({ session, token: gateway.token({ session: gateway.newSession() }) })],
  ['what is no session', 1005, (session) => ({ session: '1_nonsense', token: gateway.token({ session }) })],
]) {
  test(`${name} is told so at once`, async (context) => {
    const joining = Page.open(context, gateway).join(gateway, join(gateway.newSession()));
    await assert.rejects(joining, { code });
  });
}

test('a page of another project is told so', async (context) => {
  const session = gateway.newSession();
  const other = { projectKey: '1', token: (options) => gateway.token(options) };
  await assert.rejects(Page.open(context, gateway).join(other, { session }), { code: 1004 });
});

test('a token of 12 KB, with the longest data', async (context) => {
  const session = gateway.newSession();
  const data = '€'.repeat(1000);
  // The older form is the longer one: it encodes each of these three bytes in four.
  const token = new OpenTok(gateway.projectKey, gateway.projectSecret).generateToken(session, { data }, true);
  assert.ok(token.startsWith('T1==') && token.length > 12_000, `${token.length}`);
  const client = await Page.open(context, gateway).join(gateway, { session, token });
  assert.deepEqual(await client.take('connectionCreated', 1), [data]);
});

test('a token that is too long is told so', async (context) => {
  const joining = Page.open(context, gateway).join(gateway, {
    session: gateway.newSession(),
    token: `T1==${'x'.repeat(20_000)}`,
  });
  await assert.rejects(joining, { code: 1004, message: /the token has more than 18432 bytes/ });
});

test('a session that is full is told so', async (context) => {
  const small = await Gateway.start(context, { ...PLAIN, SIGNALBOX_LIMITS__CONNECTIONS_PER_SESSION: '1' });
  const session = small.newSession();
  const alice = await Page.open(context, small).join(small, { session, data: 'alice' });
  // The SDK tries three times, three seconds apart.
  await assert.rejects(Page.open(context, small).join(small, { session, data: 'bob' }), { code: 1027 });
  await alice.signal({ data: 'still there' });
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'still there', 'alice']]);
  assert.deepEqual(await alice.take('connectionCreated', 1), ['alice']);
  assert.deepEqual(alice.pending('connectionCreated', 'connectionDestroyed'), []);
});
