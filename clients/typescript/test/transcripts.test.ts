import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventDispatcher, confirms } from '../src/link/dispatcher.js';
import { type HandshakeReply, ReplyAssembler } from '../src/link/reply.js';
import { ConnectError } from '../src/error.js';
import { hello, resume } from '../src/opening.js';
import { resolveOptions } from '../src/options.js';
import type { ResumePosition } from '../src/order.js';
import type { CloseReason, Streams } from '../src/protocol/messages.js';
import { afterRefusedResume, shouldReconnect } from '../src/reconnect-policy.js';
import { SendQueue } from '../src/send-queue.js';
import type { ResumeTicket } from '../src/ticket.js';
import { type Json, eventJson, jsonOf, messageOf } from './players.js';
import { vectors } from './vectors.js';

type Arrival = { message: Json } | 'end' | 'reset';

/**
 * A client whose links are the steps of a transcript. The player repeats what links do: they neither
 * read senders' streams nor write before the gateway's reply.
 */
class Player {
  at = '';
  readonly #presence: boolean;
  readonly #streams: Streams;
  #client: { dispatcher: EventDispatcher; queue: SendQueue } | undefined;
  #assembler: ReplyAssembler | undefined;
  #early: [number, Arrival][] = [];
  #headed = new Set<number>();
  #ignored = new Set<number>();
  #bye: CloseReason | undefined;
  #then: string | undefined;
  #resume: { ticket: ResumeTicket; position: ResumePosition } | undefined;
  #sent: Json[] = [];
  #surfaced: Json[] = [];

  constructor(presence: boolean, carrier: string) {
    this.#presence = presence;
    this.#streams = carrier === 'perSender' ? 'perSender' : 'single';
    this.#open();
  }

  #open(): void {
    const options = resolveOptions({ presence: this.#presence });
    const opening = this.#resume
      ? resume(options, this.#resume.ticket, this.#resume.position)
      : hello(options, 'abc.def.ghi');
    this.#sent = opening.messages(this.#streams).map(jsonOf);
    this.#assembler = new ReplyAssembler();
    this.#early = [];
    this.#headed.clear();
    this.#ignored.clear();
  }

  step(step: Json): void {
    if ('receives' in step) {
      const message = messageOf(step.receives);
      if (typeof step.on === 'number') this.#arrive(step.on, { message });
      else if (message) this.#control(message);
    } else if ('streamEnds' in step) this.#arrive(step.streamEnds, 'end');
    else if ('streamReset' in step) this.#arrive(step.streamReset, 'reset');
    else if ('linkLost' in step) this.#linkOver('networkDisconnected');
    else if ('application' in step) this.#asked(step.application);
    else if ('sends' in step) {
      const sent = this.#nextSent();
      assert.ok(sent && matches(step.sends, sent), `sent ${JSON.stringify(sent)} at ${this.at}`);
    } else if ('sendsNothing' in step) assert.equal(this.#nextSent(), undefined, this.at);
    else if ('surfaces' in step) this.#surfaces(step.surfaces);
    else if ('then' in step) {
      this.#followBye();
      assert.equal(this.#then, step.then, this.at);
      this.#then = undefined;
      if (step.then !== 'rest') this.#open();
    } else assert.fail(`no such step: ${this.at}`);
  }

  finish(): void {
    assert.equal(this.#nextSent(), undefined, `sent behind ${this.at}`);
    this.#surfaces([]);
    assert.equal(this.#bye ?? this.#then, undefined, this.at);
  }

  #control(message: Json): void {
    if (this.#assembler) {
      try {
        const reply = this.#assembler.push(message);
        if (reply) this.#answered(reply);
      } catch (error) {
        if (!(error instanceof ConnectError) || !error.reason) throw error;
        this.#refused(error.reason);
      }
    } else if (message.kind === 'bye') this.#bye = message.reason;
    else this.#client!.dispatcher.control(message);
  }

  #answered(reply: HandshakeReply): void {
    this.#assembler = undefined;
    if (reply.kind === 'resumed') {
      this.#client!.dispatcher.resumed(reply);
    } else if (this.#client) {
      this.#client.dispatcher.joined(reply, true);
    } else {
      const queue = new SendQueue(confirms(reply));
      const dispatcher = new EventDispatcher(this.#presence, queue, (event) => this.#surfaced.push(eventJson(event)));
      dispatcher.joined(reply, false);
      this.#client = { dispatcher, queue };
    }
    for (const [stream, arrival] of this.#early.splice(0)) this.#arrive(stream, arrival);
  }

  #refused(reason: CloseReason): void {
    const step = this.#resume ? afterRefusedResume(reason) : 'giveUp';
    this.#assembler = undefined;
    this.#then = { retry: 'resume', rejoin: 'join', giveUp: 'rest' }[step];
    if (step === 'rejoin') this.#resume = undefined;
    if (step === 'giveUp') this.#surfaced.push({ ended: { reason } });
  }

  #arrive(stream: number, arrival: Arrival): void {
    if (this.#assembler) {
      this.#early.push([stream, arrival]);
      return;
    }
    const { order } = this.#client!.dispatcher;
    if (this.#ignored.has(stream)) return;
    if (typeof arrival === 'string') order.end(stream, arrival === 'reset');
    else if (arrival.message?.kind === 'signal') {
      order.signal(stream, arrival.message.seq, arrival.message);
    } else if (arrival.message) {
      this.#headed.add(stream);
      order.open(stream, arrival.message.from, arrival.message.after);
    } else if (!this.#headed.has(stream)) this.#ignored.add(stream);
  }

  #asked(what: Json): void {
    const online = !this.#assembler && !this.#then;
    const fields = { to: null, type: null, data: null, ...what.signal };
    const message = { kind: 'signal' as const, ...fields };
    this.#client!.queue.enqueue(
      what.signal ? { kind: 'signal', message, retry: true, completion: undefined } : { kind: 'goodbye' },
      online,
    );
  }

  #nextSent(): Json | undefined {
    if (this.#sent.length === 0 && !this.#assembler && !this.#then && this.#client) {
      this.#sent = this.#client.queue.write(64).map(jsonOf);
    }
    return this.#sent.shift();
  }

  #surfaces(expected: Json[]): void {
    if (expected.some((it) => 'ended' in it)) this.#followBye();
    for (const event of expected) {
      const awaited = event.inAnyOrder ? [...event.inAnyOrder] : [event];
      while (awaited.length > 0) {
        const surfaced = this.#surfaced.shift();
        const index = awaited.findIndex((it) => isSame(it, surfaced));
        assert.ok(index >= 0, `surfaced ${JSON.stringify(surfaced)} at ${this.at}`);
        awaited.splice(index, 1);
      }
    }
    assert.deepEqual(this.#surfaced, [], this.at);
  }

  #followBye(): void {
    const reason = this.#bye;
    this.#bye = undefined;
    if (reason) this.#linkOver(reason);
  }

  #linkOver(reason: CloseReason): void {
    if (this.#assembler) {
      this.#assembler = undefined;
      this.#then = this.#resume ? 'resume' : 'join';
      return;
    }
    this.#resume = undefined;
    this.#then = 'rest';
    if (!shouldReconnect(reason)) {
      this.#surfaced.push({ ended: { reason } });
      return;
    }
    const { dispatcher, queue } = this.#client!;
    const position = dispatcher.linkLost();
    queue.linkLost();
    const { ticket } = dispatcher;
    dispatcher.ticket = undefined;
    this.#resume = ticket && position && { ticket, position };
    this.#then = this.#resume ? 'resume' : 'join';
  }
}

function isSame(one: Json, other: Json): boolean {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

/** Whether a message has all expected members. */
function matches(expected: Json, sent: Json): boolean {
  if (typeof expected !== 'object' || expected === null || Array.isArray(expected)) return isSame(expected, sent);
  return Object.entries(expected).every(([name, value]) => {
    if (sent === null || !(name in sent)) return false;
    if (name !== 'cursors') return matches(value, sent[name]);
    const bySender = (cursors: Json) =>
      new Map<string, number>(cursors.map((it: Json) => [JSON.stringify(it.from), it.seq]));
    const [wanted, cursors] = [bySender(value), bySender(sent[name])];
    for (const [from, seq] of cursors) if (seq === 0 && !wanted.has(from)) cursors.delete(from);
    return isSame(wanted, cursors);
  });
}

for (const { name, carriers, presence, steps } of vectors('transcripts.json').transcripts) {
  for (const carrier of carriers) {
    test(`transcript: ${name} (${carrier})`, () => {
      const player = new Player(presence, carrier);
      for (const [index, step] of steps.entries()) {
        player.at = `${name}, step ${index}, ${JSON.stringify(step)}`;
        player.step(step);
      }
      player.finish();
    });
  }
}
