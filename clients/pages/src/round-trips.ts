/**
 * Round trips: the client sends a signal to itself each second, and measures the time until it
 * arrives. While there is no link the chart has a hole.
 */

import type { Session, SignalReceived, Transport } from '../../typescript/src/index.js';
import { byId, setText, svg } from './dom.js';
import { count, milliseconds } from './format.js';

/** The type of these signals. Nobody else receives them. */
const TYPE = 'page-round-trip';
const INTERVAL_MS = 1000;
/** Samples in the chart. */
const SAMPLES = 60;
/** The top of the chart is this many times the median. A rare high one is cut off there. */
const TOP = 4;
/** The lowest top of the chart: below a millisecond all of it is noise. */
const LOWEST_TOP_MS = 1;

const WIDTH = 240;
const HEIGHT = 44;

/** One second of the chart. */
interface Sample {
  ms: number | undefined;
  transport: Transport | undefined;
}

/** The round trips of this client. */
export class RoundTrips {
  #session: Session | undefined;
  #samples: Sample[] = [];
  #sent = new Map<string, { at: number; sample: Sample }>();
  #number = 0;

  constructor() {
    setInterval(() => this.#tick(), INTERVAL_MS);
  }

  /** Measures in this session from now on. */
  start(session: Session): void {
    this.#session = session;
    this.#sent.clear();
    this.#tick();
  }

  /** Measures no more. */
  stop(): void {
    this.#session = undefined;
    this.#sent.clear();
  }

  /** Whether this is one of its signals. */
  received({ from, type, data }: SignalReceived, own: string): boolean {
    if (type !== TYPE || from.connectionId !== own || data === undefined) return false;
    const sent = this.#sent.get(data);
    this.#sent.delete(data);
    if (sent) {
      sent.sample.ms = performance.now() - sent.at;
      this.#draw();
    }
    return true;
  }

  #tick(): void {
    const session = this.#session;
    // Timers of hidden pages are late, and so would be the measurements.
    if (!session || document.visibilityState !== 'visible') return;
    const sample: Sample = { ms: undefined, transport: session.transport };
    this.#samples.push(sample);
    this.#samples.splice(0, this.#samples.length - SAMPLES);
    if (session.state === 'connected' && session.role !== 'subscriber') {
      const data = String(++this.#number);
      if (this.#sent.size > SAMPLES) this.#sent.clear();
      this.#sent.set(data, { at: performance.now(), sample });
      const signal = { to: session.connection.id, type: TYPE, data, retryAfterReconnect: false };
      session.signal(signal).catch(() => this.#sent.delete(data));
    }
    this.#draw();
  }

  #draw(): void {
    const known = this.#samples.flatMap(({ ms }) => (ms === undefined ? [] : [ms]));
    const last = known.at(-1);
    const highest = Math.max(...known);
    const show = (id: string, ms: number | undefined) => setText(byId(id), ms === undefined ? '–' : milliseconds(ms));
    show('rtt-median', median(known));
    show('rtt-last', last);
    show('rtt-highest', last === undefined ? undefined : highest);
    const chart = byId<SVGElement>('rtt-chart');
    chart.replaceChildren(...this.#bars(Math.max(LOWEST_TOP_MS, TOP * (median(known) ?? 0))));
    const label =
      last === undefined
        ? 'No round trips yet'
        : `Chart of ${count(known.length, 'round trip')}, from ${milliseconds(Math.min(...known))} to ${milliseconds(highest)}`;
    chart.setAttribute('aria-label', label);
  }

  *#bars(topMs: number): Iterable<SVGElement> {
    const step = WIDTH / SAMPLES;
    const first = SAMPLES - this.#samples.length;
    for (const [index, { ms, transport }] of this.#samples.entries()) {
      const x = String((first + index) * step + 0.5);
      const height = ms === undefined ? HEIGHT : Math.min(HEIGHT, Math.max(2, (ms / topMs) * HEIGHT));
      const kind = ms === undefined ? 'missing' : (transport ?? 'missing');
      yield svg('rect', { class: kind, x, y: String(HEIGHT - height), width: String(step - 1), height: String(height) });
    }
  }
}

/** The median; `undefined` of nothing. */
function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}
