/** The files of protocol/vectors. */

import { readFileSync } from 'node:fs';

// Compiled tests are in build/test.
const directory = new URL('../../../../protocol/vectors/', import.meta.url);

// eslint-disable-next-line -- vectors are data of many shapes
export function vectors(file: string): any {
  return JSON.parse(readFileSync(new URL(file, directory), 'utf8'));
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
