/** Numbers, times and names as the page shows them. */

import type { Transport } from '../../typescript/src/index.js';

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

/** A time of day. */
export function timeOfDay(ms: number): string {
  return TIME.format(ms);
}

/** A duration in milliseconds, with the digits that mean something. */
export function milliseconds(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (Number.isInteger(ms)) return `${ms} ms`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

/** A longer duration. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A number of things. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** The beginning of a connection's id, as the command line shows it. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** The name of a transport. */
export function transportName(transport: Transport | undefined): string {
  if (transport === 'webtransport') return 'WebTransport';
  return transport === 'websocket' ? 'WebSocket' : '–';
}
