/** A page with the vendor's SDK: a jsdom window that evaluates the file as npm installs it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { JSDOM, VirtualConsole } from 'jsdom';

const require = createRequire(import.meta.url);

/** Packages with the SDK: the current one under both names, and old ones. */
export const CURRENT = '@opentok/client';
export const PACKAGES = [
  CURRENT,
  '@vonage/client-sdk-video',
  '@opentok/client-2.30',
  '@opentok/client-2.25',
  '@opentok/client-2.20',
];

/** Far more than anything here takes. */
const DEADLINE_MS = 20_000;

const sources = new Map();

function source(name) {
  if (!sources.has(name)) sources.set(name, readFileSync(require.resolve(`${name}/dist/js/opentok.js`), 'utf8'));
  return sources.get(name);
}

export class Page {
  OT;
  window;
  /** Requests of the page: the URL of each. */
  requests = [];
  /** Messages that it has sent over WebSockets. */
  sent = 0;
  /** Time between two runs of its timers; 0 if each runs when it is due. */
  #wakeEveryMs = 0;

  /** Opens a page whose only new line is the URL of the gateway, or of a proxy before it. */
  static open(context, gateway, { sdk = CURRENT, address = gateway.https } = {}) {
    const page = new Page();
    // The SDK reports each refusal in the console.
    const dom = new JSDOM('<!doctype html><title>app</title>', {
      url: 'http://app.example/',
      runScripts: 'outside-only',
      pretendToBeVisual: true,
      virtualConsole: new VirtualConsole(),
    });
    page.window = dom.window;
    Object.assign(dom.window, { TextEncoder, TextDecoder });
    page.#record();
    page.#controlTimers();
    dom.window.eval(source(sdk));
    page.OT = dom.window.OT;
    page.OT.setLogLevel?.(0);
    page.OT.setProxyUrl(`http://${address}/opentok`);
    context.after(() => {
      page.close();
      // Nothing is left for the vendor's hosts.
      const others = page.requests.filter((url) => !url.replace(/^ws:/, 'http:').startsWith(`http://${address}/opentok/`));
      assert.deepEqual(others, []);
    });
    return page;
  }

  /** Records where the page asks. */
  #record() {
    const { requests, window } = this;
    const open = window.XMLHttpRequest.prototype.open;
    window.XMLHttpRequest.prototype.open = function (method, url, ...rest) {
      requests.push(String(url));
      return open.call(this, method, url, ...rest);
    };
    const { WebSocket } = window;
    const count = () => (this.sent += 1);
    window.WebSocket = class extends WebSocket {
      constructor(url, ...rest) {
        super(url, ...rest);
        requests.push(String(url));
      }

      send(data) {
        count();
        super.send(data);
      }
    };
  }

  #controlTimers() {
    const { window } = this;
    const { setTimeout, setInterval } = window;
    const started = Date.now();
    const delay = (ms = 0) => {
      const every = this.#wakeEveryMs;
      if (every === 0) return ms;
      const due = Date.now() - started + ms;
      return ms + (every - (due % every));
    };
    window.setTimeout = (run, ms, ...rest) => setTimeout(run, delay(ms), ...rest);
    window.setInterval = (run, ms, ...rest) => setInterval(run, Math.max(ms, this.#wakeEveryMs), ...rest);
  }

  /**
   * Goes into the background: from now on its timers run together, once in this time. What comes from
   * the network is handled at once, as in a browser.
   */
  hide(wakeEveryMs) {
    this.#wakeEveryMs = wakeEveryMs;
  }

  /** A session that has not been joined. */
  client(gateway, { session, options }) {
    return new Client(this, this.OT.initSession(gateway.projectKey, session, options));
  }

  /** Joins a session. */
  async join(gateway, { session, role = 'publisher', data = '', options, token }) {
    const client = this.client(gateway, { session, options });
    await client.connect(token ?? gateway.token({ session, role, data }));
    return client;
  }

  close() {
    this.window.close();
  }
}

/** An SDK's session, and the events that it has raised. */
export class Client {
  session;
  #events = [];
  #waiting = [];

  constructor(page, session) {
    this.page = page;
    this.session = session;
    const record = (kind, describe) => session.on(kind, (event) => this.#push([kind, describe(event)]));
    record('connectionCreated', ({ connection }) => connection.data);
    record('connectionDestroyed', ({ connection, reason }) => [connection.data, reason]);
    record('signal', ({ type, data, from }) => [type, data, from && (from.data ?? from.connectionId)]);
    for (const kind of ['sessionConnected', 'sessionReconnecting', 'sessionReconnected']) record(kind, () => null);
    record('sessionDisconnected', ({ reason }) => reason);
  }

  get id() {
    return this.session.connection.connectionId;
  }

  get connection() {
    return this.session.connection;
  }

  connect(token) {
    return settled((done) => this.session.connect(token, done), 'connect');
  }

  signal(signal) {
    return settled((done) => this.session.signal(signal, done), 'signal');
  }

  forceDisconnect(connection) {
    return settled((done) => this.session.forceDisconnect(connection, done), 'forceDisconnect');
  }

  /** The connection object of another client, by its data. */
  other(data) {
    return this.session.connections.find((connection) => connection.data === data);
  }

  #push(event) {
    this.#events.push(event);
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  /** The next event of one of these kinds, as `[kind, description]`. */
  async next(...kinds) {
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    for (;;) {
      const at = this.#events.findIndex(([kind]) => kinds.includes(kind));
      if (at >= 0) return this.#events.splice(at, 1)[0];
      await new Promise((resolve, reject) => {
        this.#waiting.push(resolve);
        deadline.onabort = () => reject(new Error(`no ${kinds} in time; there are ${JSON.stringify(this.#events)}`));
      });
    }
  }

  /** The descriptions of the next events of one kind. */
  async take(kind, count) {
    const taken = [];
    while (taken.length < count) taken.push((await this.next(kind))[1]);
    return taken;
  }

  /** The events of these kinds that have not been taken. */
  pending(...kinds) {
    return this.#events.filter(([kind]) => kinds.includes(kind));
  }
}

/** The outcome of a call with a callback: nothing, or the error, thrown. */
function settled(call, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} has not ended in time`)), DEADLINE_MS);
    call((error) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    });
  });
}
