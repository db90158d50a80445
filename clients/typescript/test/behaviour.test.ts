import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SignalError } from '../src/error.js';
import { type HandshakeReply, ReplyAssembler } from '../src/link/reply.js';
import { Order } from '../src/order.js';
import type { Sender } from '../src/protocol/messages.js';
import { Malformed } from '../src/protocol/postcard.js';
import { SendQueue } from '../src/send-queue.js';
import { type Json, eventJson, jsonOf, messageOf } from './players.js';
import { vectors } from './vectors.js';

function playOrder({ name, presence, steps }: Json): void {
  let events: Json[] = [];
  let assembler: ReplyAssembler | undefined = new ReplyAssembler();
  let joined = false;
  const order = new Order(presence, (event) => events.push(eventJson(event)));
  const apply = (reply: HandshakeReply) => {
    if (reply.kind === 'welcome') order.join(reply, joined);
    else order.resume(reply.missed, reply.gap, reply.present);
    joined = true;
  };
  for (const [index, step] of steps.entries()) {
    const at = `${name}, step ${index}`;
    events = [];
    if (step.linkLost) {
      const position = order.linkLost(0) ?? null;
      assembler = new ReplyAssembler();
      const bySender = (cursors: Json[]) =>
        Object.fromEntries(cursors.map((it: { from: Sender; seq: number }) => [JSON.stringify(it.from), it.seq]));
      const expected = step.resumesFrom;
      assert.equal(position === null, expected === null, at);
      if (position && expected) {
        assert.equal(position.events, expected.events, at);
        const [sent, wanted] = [bySender(position.cursors), bySender(expected.cursors)];
        for (const [from, seq] of Object.entries(sent)) if (seq === 0 && !(from in wanted)) delete sent[from];
        assert.deepEqual(sent, wanted, at);
      }
    } else if ('streamEnds' in step) {
      order.end(step.streamEnds, false);
    } else if ('streamReset' in step) {
      order.end(step.streamReset, true);
    } else if (step.on === 'control') {
      const message = messageOf(step.receives);
      if (assembler) {
        const reply: HandshakeReply | undefined = assembler.push(message);
        if (reply) {
          assembler = undefined;
          apply(reply);
        }
      } else if (step.ends === 'protocolError') {
        assert.throws(() => order.control(message), Malformed, at);
      } else {
        order.control(message);
      }
    } else {
      assert.equal(typeof step.on, 'number', at);
      const message = messageOf(step.receives);
      if (message.kind === 'signal') {
        order.signal(step.on, message.seq, message);
      } else {
        order.open(step.on, message.from, message.after);
      }
    }
    assert.deepEqual(events, step.surfaces ?? [], at);
  }
}

test('events surface in the order of the vectors', () => {
  const { cases } = vectors('order.json');
  assert.ok(cases.length >= 23);
  for (const it of cases) playOrder(it);
});

test('the client resumes from where the vectors say', () => {
  const { cases } = vectors('resume.json');
  assert.ok(cases.length >= 20);
  for (const it of cases) playOrder(it);
});

test('the send queue writes and reports what the vectors say', () => {
  const { cases } = vectors('send_queue.json');
  assert.ok(cases.length >= 17);
  for (const { name, steps } of cases) {
    const queue = new SendQueue(true);
    let online = true;
    let outcomes: Json[] = [];
    let surfaces: Json[] = [];
    const refused = (signal: number, told: boolean) => {
      if (!told) surfaces.push({ refused: { signal, code: 'notFound' } });
    };
    const send = (number: number, retry: boolean) =>
      queue.enqueue(
        {
          kind: 'signal',
          message: { kind: 'signal', to: null, type: null, data: String(number) },
          retry,
          completion: {
            accepted: (seq) => outcomes.push({ number, accepted: seq }),
            failed(error) {
              assert.ok(error instanceof SignalError);
              outcomes.push(error.code === 'notSent' ? { number, notSent: true } : { number, rejected: error.code });
            },
          },
        },
        online,
      );
    for (const [index, step] of steps.entries()) {
      const at = `${name}, step ${index}`;
      outcomes = [];
      surfaces = [];
      if (step.application?.leave) queue.enqueue({ kind: 'goodbye' }, online);
      else if (step.application) send(step.application.send, step.application.retry);
      else if ('write' in step) assert.deepEqual(queue.write(step.write).map(jsonOf), step.writes, at);
      else if (step.receives?.accepted) queue.accepted(step.receives.accepted.signals);
      else if (step.receives?.error) {
        const { signal, code, message } = step.receives.error;
        refused(signal, queue.rejected(signal, code, message));
      } else if (step.linkLost) {
        online = false;
        queue.linkLost();
        assert.deepEqual({ accepted: queue.acceptedSignals }, step.resumesFrom, at);
      } else if (step.resumed) {
        for (const signal of step.resumed.rejected) {
          refused(signal, queue.rejectedOnEarlierLink(signal, 'notFound', 'not found'));
        }
        queue.resumed(step.resumed.signals);
        online = true;
      } else if (step.rejoined) {
        queue.rejoined(true);
        online = true;
      } else {
        assert.fail(`unknown step at ${at}`);
      }
      const byNumber = (list: Json[]) => [...list].sort((one, other) => one.number - other.number);
      assert.deepEqual(byNumber(outcomes), byNumber(step.outcomes), at);
      assert.deepEqual(surfaces, step.surfaces ?? [], at);
    }
  }
});
