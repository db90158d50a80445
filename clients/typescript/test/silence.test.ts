import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import { SilenceWatch } from '../src/link/silence.js';
import { FakeLink } from './fake-link.js';

function stage(context: TestContext, idleMs = 30_000) {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const link = new FakeLink();
  let lost = 0;
  const watch = new SilenceWatch(link, idleMs, () => lost++);
  return { link, watch, tick: (ms: number) => context.mock.timers.tick(ms), lost: () => lost };
}

const answer = { kind: 'error', signal: null, code: 'unsupported', message: '' } as const;

test('a link that speaks is left alone', (context) => {
  const { link, tick, lost } = stage(context);
  for (let n = 0; n < 20; n++) {
    tick(10_000);
    link.receive(answer);
  }
  assert.equal(lost(), 0);
  assert.ok(link.probes <= 1, String(link.probes));
});

test('a silent link is probed, and left alone if it answers', (context) => {
  const { link, tick, lost } = stage(context);
  for (let n = 1; n <= 10; n++) {
    tick(15_000);
    assert.ok(link.probes >= Math.ceil(n / 2));
    tick(1);
    link.receive(answer);
  }
  assert.equal(lost(), 0);
});

test('a link that does not answer is lost soon after the idle timeout, once', (context) => {
  const { link, tick, lost } = stage(context);
  tick(15_000);
  assert.equal(link.probes, 1);
  tick(15_000);
  assert.deepEqual([link.probes, lost()], [2, 0]);
  tick(3_000);
  assert.equal(lost(), 1);
  tick(100_000);
  assert.equal(lost(), 1);
});

test('a late timer does not condemn a link whose answer has still to be read', (context) => {
  const { link, tick, lost } = stage(context);
  tick(15_000);
  // The answer arrived while the machine slept, and the timer runs ahead of it.
  tick(15_000);
  link.receive(answer);
  tick(3_000);
  assert.deepEqual([link.probes, lost()], [2, 0]);
});

test('a suspected link has three seconds', (context) => {
  const { link, watch, tick, lost } = stage(context);
  watch.suspect();
  assert.equal(link.probes, 1);
  tick(2_999);
  assert.equal(lost(), 0);
  tick(1);
  assert.equal(lost(), 1);
});

test('a suspected link that answers is well', (context) => {
  const { link, watch, tick, lost } = stage(context);
  watch.suspect();
  tick(100);
  link.receive(answer);
  tick(2_900);
  assert.equal(lost(), 0);
  watch.stop();
  tick(100_000);
  assert.equal(lost(), 0);
});

test('a gateway without an idle timeout does not make the client busy', (context) => {
  const { link, tick } = stage(context, 0);
  tick(500);
  link.receive(answer);
  tick(400);
  assert.ok(link.probes <= 2, String(link.probes));
});
