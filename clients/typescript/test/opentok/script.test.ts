/** The script build, loaded as a page's script tag does: in the global scope, with a global WebSocket. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { runInThisContext } from 'node:vm';

import type { OpenTok } from '../../src/opentok/index.js';
import { startGateway } from '../gateway.js';
import { openPage } from './page.js';
import { Project } from './project.js';
import { Seen } from './seen.js';

const FILE = new URL('../../../dist/opentok.js', import.meta.url);

test('the script build defines OT, and a page needs one line more', { timeout: 60_000 }, async (context) => {
  const page = globalThis as { OT?: OpenTok; WebSocket?: unknown };
  // Node 20 has no WebSocket of its own, which every browser has.
  page.WebSocket ??= ((await import('ws' as string)) as { WebSocket: unknown }).WebSocket;
  runInThisContext(readFileSync(FILE, 'utf8'));
  const { OT } = page;
  assert.ok(OT);
  assert.equal(OT.checkSystemRequirements(), 1);
  OT.setLogLevel(4);

  const gateway = await startGateway(context);
  OT.setGateway(gateway.url);
  const project = new Project(gateway);
  const sessionId = project.newSession();
  const opened = ['alice', 'bob'].map((name) => {
    const seen = new Seen<string>();
    const token = project.token(sessionId, { data: name });
    const { sendToAll, leave } = openPage(OT, { apiKey: project.key, sessionId, token }, (line) => seen.add(line));
    return { seen, sendToAll, leave };
  });
  const [alice, bob] = opened as [(typeof opened)[0], (typeof opened)[0]];
  await alice.seen.first((line) => line === 'bob joined');
  await bob.seen.first((line) => line === 'alice joined');
  alice.sendToAll('hello');
  await bob.seen.first((line) => line === 'alice: hello');
  await Promise.all([alice.leave(), bob.leave()]);
});
