/** The package's entry, as an application imports it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OT, * as named from '@signalbox/client/opentok';

test('the entry has OT as its default and by name', async () => {
  const session = named.initSession('12345678', '1_session');
  const codes: number[] = [];
  named.once('exception', (event: { code: number }) => codes.push(event.code));
  await assert.rejects(session.connect('token'), { name: 'OT_INVALID_PARAMETER', message: /setGateway/ });
  await assert.rejects(session.connect('token'), { name: 'OT_INVALID_PARAMETER' });
  assert.deepEqual(codes, [1011]);
  OT.setGateway('not a URL');
  await assert.rejects(session.connect('token'), { name: 'OT_INVALID_PARAMETER', code: 1011 });
  assert.equal(named.checkSystemRequirements(), 1);
});
