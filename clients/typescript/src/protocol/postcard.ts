/**
 * The postcard encoding, as far as the protocol uses it (section 3.1): codecs that are combined
 * into those of messages.
 */

/** The peer sent bytes that cannot be decoded. */
export class Malformed extends Error {
  override readonly name = 'Malformed';
}

const FIRST_CAPACITY = 128;

/** Bytes that are being written. */
export class Writer {
  #bytes = new Uint8Array(FIRST_CAPACITY);
  #length = 0;

  byte(value: number): void {
    this.#reserve(1)[this.#length++] = value;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length).set(value, this.#length);
    this.#length += value.length;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(more: number): Uint8Array {
    const needed = this.#length + more;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

/** Bytes that are being read. Every length is checked against them before anything is allocated. */
export class Reader {
  #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get rest(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Malformed('bytes are missing');
    return byte;
  }

  bytes(count: number): Uint8Array {
    if (count > this.rest) throw new Malformed('bytes are missing');
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
}

/** Writes and reads values of one type. */
export interface Codec<T> {
  write(out: Writer, value: T): void;
  read(from: Reader): T;
}

/** The type that a codec writes and reads. */
export type Value<C> = C extends Codec<infer T> ? T : never;

function varint(max: number, maxBytes: number): Codec<number> {
  return {
    write(out, value) {
      while (value >= 0x80) {
        // Not `&`, which is limited to 32 bits.
        out.byte((value % 0x80) + 0x80);
        value = Math.floor(value / 0x80);
      }
      out.byte(value);
    },
    read(from) {
      let value = 0;
      for (let index = 0; index < maxBytes; index++) {
        const byte = from.byte();
        value += (byte & 0x7f) * 2 ** (7 * index);
        if (value > max) break;
        if (byte < 0x80) return value;
      }
      throw new Malformed('a number exceeds its type');
    },
  };
}

export const u16 = varint(0xffff, 3);
export const u32 = varint(0xffff_ffff, 5);
/** Numbers above 2^53 - 1 are never sent in practice, and rejected. */
export const u64 = varint(Number.MAX_SAFE_INTEGER, 10);

export const bool: Codec<boolean> = {
  write: (out, value) => out.byte(Number(value)),
  read(from) {
    const byte = from.byte();
    if (byte > 1) throw new Malformed('a bool is neither true nor false');
    return byte === 1;
  },
};

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const text: Codec<string> = {
  write(out, value) {
    const bytes = utf8Encoder.encode(value);
    u32.write(out, bytes.length);
    out.bytes(bytes);
  },
  read(from) {
    const bytes = from.bytes(u32.read(from));
    try {
      return utf8Decoder.decode(bytes);
    } catch {
      throw new Malformed('text is not UTF-8');
    }
  },
};

/** How many bytes a text takes. */
export function utf8Length(value: string): number {
  return utf8Encoder.encode(value).length;
}

export function option<T>(codec: Codec<T>): Codec<T | null> {
  return {
    write(out, value) {
      bool.write(out, value !== null);
      if (value !== null) codec.write(out, value);
    },
    read: (from) => (bool.read(from) ? codec.read(from) : null),
  };
}

/** A list of elements that take at least `minBytes` each. */
export function list<T>(codec: Codec<T>, minBytes: number): Codec<T[]> {
  return {
    write(out, values) {
      u32.write(out, values.length);
      for (const value of values) codec.write(out, value);
    },
    read(from) {
      const length = u32.read(from);
      if (length * minBytes > from.rest) throw new Malformed('bytes are missing');
      return Array.from({ length }, () => codec.read(from));
    },
  };
}

// `any`, as a codec of one type is not one of another.
type Fields = Record<string, Codec<any>>;

/** Fields in the order of their declaration. */
export function struct<F extends Fields>(fields: F): Codec<{ [K in keyof F]: Value<F[K]> }> {
  const entries = Object.entries(fields);
  return {
    write(out, value) {
      for (const [name, codec] of entries) codec.write(out, value[name]);
    },
    read(from) {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) value[name] = codec.read(from);
      return value as { [K in keyof F]: Value<F[K]> };
    },
  };
}

/** A closed set of names, numbered from 0. */
export function enumeration<N extends string>(...names: N[]): Codec<N> {
  return {
    write: (out, value) => u32.write(out, names.indexOf(value)),
    read(from) {
      const name = names[u32.read(from)];
      if (name === undefined) throw new Malformed('an enum has a number that is not listed');
      return name;
    },
  };
}

/** An open set of names: a peer may use numbers that are not known here. */
export interface OpenSet<N extends string> extends Codec<N | 'unknown'> {
  name(number: number): N | 'unknown';
  number(name: N): number;
}

export function openSet<N extends string>(first: number, ...names: N[]): OpenSet<N> {
  const name = (number: number) => names[number - first] ?? 'unknown';
  const number = (of: N) => names.indexOf(of) + first;
  return {
    name,
    number,
    write: (out, value) => u16.write(out, number(value as N)),
    read: (from) => name(u16.read(from)),
  };
}

/** Messages of one table of kinds, which are numbered in the order of their declaration. */
export interface MessageCodec<M> {
  encode(message: M): Uint8Array<ArrayBuffer>;
  /** `undefined` if the kind is unknown. Throws {@link Malformed}. */
  decode(bytes: Uint8Array): M | undefined;
}

type MessageOf<K extends Fields> = { [N in keyof K]: { kind: N } & Value<K[N]> }[keyof K];

export function messages<K extends Fields>(kinds: K): MessageCodec<MessageOf<K>> {
  const names = Object.keys(kinds);
  return {
    encode(message) {
      const out = new Writer();
      const kind = message.kind as string;
      u32.write(out, names.indexOf(kind));
      kinds[kind]!.write(out, message);
      return out.finish();
    },
    decode(bytes) {
      const from = new Reader(bytes);
      const kind = names[u32.read(from)];
      if (kind === undefined) return undefined;
      const fields = kinds[kind]!.read(from);
      if (from.rest > 0) throw new Malformed('bytes are left over');
      return { kind, ...fields } as MessageOf<K>;
    },
  };
}
