/** Connections as OpenTok.js describes them. */

/** A client in the session. */
export class Connection {
  readonly connectionId: string;
  /** Unix milliseconds by the gateway's clock; 0 if only the id is known. */
  readonly creationTime: number;
  /** The connection data of the client's token. */
  readonly data: string;

  constructor(connectionId: string, creationTime = 0, data = '') {
    this.connectionId = connectionId;
    this.creationTime = creationTime;
    this.data = data;
  }
}

/** The connections in the session, the client's own included, oldest first. */
export class ConnectionCollection implements Iterable<Connection> {
  readonly #connections: ReadonlyMap<string, Connection>;

  /** @internal A view of `connections`, by connection id. */
  constructor(connections: ReadonlyMap<string, Connection>) {
    this.#connections = connections;
  }

  /** How many there are. */
  length(): number {
    return this.#connections.size;
  }

  /** The connection with this id. */
  get(connectionId: string): Connection | undefined {
    return this.#connections.get(connectionId);
  }

  /** The first connection for which `test` is true. */
  find(test: (connection: Connection) => boolean): Connection | undefined {
    return [...this].find((connection) => test(connection));
  }

  /** The connections for which `test` is true. */
  filter(test: (connection: Connection) => boolean): Connection[] {
    return [...this].filter((connection) => test(connection));
  }

  /** The result of `convert` for each connection. */
  map<T>(convert: (connection: Connection) => T): T[] {
    return [...this].map((connection) => convert(connection));
  }

  /** Calls `visit` for each connection. */
  forEach(visit: (connection: Connection) => void): void {
    [...this].forEach((connection) => visit(connection));
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.#connections.values();
  }
}
