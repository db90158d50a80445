import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventDispatcher } from '../../src/opentok/handlers.js';

class Source extends EventDispatcher {
  fire(name: string, event: unknown = name): void {
    this.dispatch(name, event);
  }
}

test('on takes one name, several names, or an object, and returns the object', () => {
  const source = new Source();
  const seen: unknown[] = [];
  const note = (event: unknown) => seen.push(event);
  assert.equal(source.on('a', note), source);
  assert.equal(source.on(' b  c ', note), source);
  assert.equal(source.on({ d: note, 'signal:e': note }), source);
  for (const name of ['a', 'b', 'c', 'd', 'signal:e', 'f']) source.fire(name);
  assert.deepEqual(seen, ['a', 'b', 'c', 'd', 'signal:e']);
});

test('the context is the this of the handler', () => {
  const source = new Source();
  const seen: unknown[] = [];
  function note(this: unknown): void {
    seen.push(this);
  }
  source.on('a', note, 'first').once({ a: note }, 'second');
  source.on('a', note);
  source.fire('a');
  assert.deepEqual(seen, ['first', 'second', undefined]);
});

test('once calls a handler once for each name', () => {
  const source = new Source();
  const seen: unknown[] = [];
  source.once('a b', (event: unknown) => {
    seen.push(event);
    source.fire('a');
  });
  source.fire('a');
  source.fire('b');
  source.fire('b');
  assert.deepEqual(seen, ['a', 'b']);
});

test('off removes by name, handler and context', () => {
  const source = new Source();
  const seen: unknown[] = [];
  const first = () => seen.push('first');
  const second = () => seen.push('second');
  const context = {};
  source.on('a b', first).on('a', second).on('a', first, context);
  source.off('a', first, context);
  source.fire('a');
  assert.deepEqual(seen.splice(0), ['first', 'second']);
  source.off('a', first);
  source.fire('a');
  assert.deepEqual(seen.splice(0), ['second']);
  source.on('a', first).off('a');
  source.fire('a');
  assert.deepEqual(seen.splice(0), []);
  source.fire('b');
  source.off({ b: first });
  source.fire('b');
  assert.deepEqual(seen.splice(0), ['first']);
  source.on('c d', first);
  assert.equal(source.off(), source);
  source.fire('c');
  source.fire('d');
  source.off('never registered', first);
  assert.deepEqual(seen, []);
});

test('handlers that are registered or removed during an event', () => {
  const source = new Source();
  const seen: unknown[] = [];
  const late = () => seen.push('late');
  source.on('a', () => {
    seen.push('first');
    source.on('a', late);
  });
  source.once('a', () => seen.push('once'));
  source.fire('a');
  assert.deepEqual(seen, ['first', 'once']);
});

test('the older names', () => {
  const source = new Source();
  const seen: unknown[] = [];
  const note = (event: unknown) => seen.push(event);
  source.addEventListener('a', note);
  source.fire('a');
  source.removeEventListener('a', note);
  source.fire('a');
  assert.deepEqual(seen, ['a']);
});

test('a handler that is no function is refused', () => {
  const source = new Source();
  assert.throws(() => source.on('a', undefined as never), /the handler of the event 'a'/);
});
