/** Numbers, times and names as the page shows them. */

import type { Transport } from '../../typescript/src/index.js';

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short', hour12: false });

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
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
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
export function transportName(transport: Transport | 'quic' | undefined): string {
  if (transport === 'webtransport') return 'WebTransport';
  if (transport === 'quic') return 'QUIC';
  return transport === 'websocket' ? 'WebSocket' : '–';
}

/** A whole number. */
export function number(value: number): string {
  return value.toLocaleString('en');
}

/** A number of bytes, in the largest unit of which there is one. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${units[power]}`;
}

/** A date and a time of day. */
export function date(ms: number): string {
  return DATE.format(ms);
}
