/**
 * The transport that worked last with each gateway, kept in the browser's storage: where UDP is
 * blocked, later connections wait less for WebTransport.
 */

import type { Transport } from './options.js';

/** After this time nothing is known any more: the network may be another one. */
const VALID_MS = 60 * 60 * 1000;

const inMemory = new Map<string, string>();

/** Gateways to remember in a place without storage. */
const IN_MEMORY_ENTRIES = 64;

interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

const memory: Store = {
  getItem: (key) => inMemory.get(key) ?? null,
  setItem(key, value) {
    if (inMemory.size >= IN_MEMORY_ENTRIES) inMemory.clear();
    inMemory.set(key, value);
  },
};

/** Storage may be missing, full, or forbidden even to be looked at. */
function stores(): Store[] {
  const found: Store[] = [];
  for (const name of ['localStorage', 'sessionStorage'] as const) {
    try {
      // Node has these without a page, and warns about them.
      if (typeof document !== 'undefined' && globalThis[name]) found.push(globalThis[name]);
    } catch {
      // The next one may be allowed.
    }
  }
  return [...found, memory];
}

const keyOf = (gateway: string) => `signalbox:transport:${gateway}`;

/** The transport that worked last with this gateway, if that is not long ago. */
export function rememberedTransport(gateway: string): Transport | undefined {
  for (const store of stores()) {
    try {
      const [transport, at] = (store.getItem(keyOf(gateway)) ?? '').split(' ');
      const age = Date.now() - Number(at);
      const known = transport === 'webtransport' || transport === 'websocket';
      if (known && age >= 0 && age < VALID_MS) return transport;
    } catch {
      // As if nothing were remembered.
    }
  }
  return undefined;
}

/** Remembers the transport that has worked. */
export function rememberTransport(gateway: string, transport: Transport): void {
  for (const store of stores()) {
    try {
      store.setItem(keyOf(gateway), `${transport} ${Date.now()}`);
      return;
    } catch {
      // The next one may have room.
    }
  }
}
