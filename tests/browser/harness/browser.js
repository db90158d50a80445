/** A real browser, and clients in its pages that use the SDK. */

import { EventLog } from './event-log.js';
import { launch } from './launch.js';
import { Site } from './site.js';

export class Browser {
  site;
  #browser;

  /** It ends with the test. */
  static async start(context, name) {
    const browser = new Browser();
    browser.site = await Site.start(context);
    browser.#browser = await launch(name);
    context.after(() => browser.#browser.close());
    return browser;
  }

  /** A page in a profile of its own. `expected` are messages that its console may show. */
  async page(context, { url = this.site.url, expected } = {}) {
    const profile = await this.profile(context);
    return profile.page({ url, expected });
  }

  /**
   * Stops processes of Chromium while a function runs: those of this type, or all, as in a machine that
   * sleeps.
   */
  async stopWhile(run, type) {
    const protocol = await this.#browser.newBrowserCDPSession();
    const { processInfo } = await protocol.send('SystemInfo.getProcessInfo');
    await protocol.detach();
    const stopped = processInfo.filter((it) => !type || it.type === type).map(({ id }) => id);
    try {
      for (const id of stopped) process.kill(id, 'SIGSTOP');
      await run();
    } finally {
      for (const id of stopped) process.kill(id, 'SIGCONT');
    }
  }

  /** A profile: pages that share their storage. */
  async profile(context) {
    // The development authority is not one that a browser trusts over TCP.
    const profile = await this.#browser.newContext({ ignoreHTTPSErrors: true });
    return new Profile(context, profile, this.site);
  }
}

class Profile {
  #context;
  #profile;
  #site;

  constructor(context, profile, site) {
    this.#context = context;
    this.#profile = profile;
    this.#site = site;
    context.after(() => profile.close());
  }

  async page({ url = this.#site.url, expected } = {}) {
    const page = new Page(await this.#profile.newPage(), expected);
    await page.open(url);
    this.#context.after(() => page.check());
    return page;
  }

  /** Takes the browser's network away, and gives it back. */
  setOffline(isOffline) {
    return this.#profile.setOffline(isOffline);
  }
}

/** A page, whose console must stay clean. */
export class Page {
  /** The page as the automation library sees it. */
  raw;
  #clients = new Map();
  #errors = [];
  #expected;

  constructor(raw, expected = /^$/) {
    this.raw = raw;
    this.#expected = expected;
    // An unhandled rejection is a page error, too.
    raw.on('pageerror', (error) => this.#note(String(error.stack ?? error)));
    raw.on('console', (message) => {
      if (message.type() === 'error') this.#note(message.text());
    });
  }

  #note(error) {
    if (!this.#expected.test(error)) this.#errors.push(error);
  }

  async open(url) {
    await this.raw.exposeFunction('reportEvents', (events) => {
      for (const { client, event } of events) this.#clients.get(client)?.events.push(event);
    });
    await this.raw.goto(url);
  }

  /** Runs a function in the page. */
  run(what, argument) {
    return this.raw.evaluate(what, argument);
  }

  /** Joins a session with the SDK. `options` are those of `connect`. */
  async join(gateway, { session, role, data, url, token, ...options }) {
    const client = new PageClient(this, data);
    this.#clients.set(data, client);
    const joined = await this.raw.evaluate(
      async ([name, at, tokenText, all]) => (await import('/page/clients.js')).join(name, at, tokenText, all),
      [data, url ?? `https://${gateway.https}`, token ?? gateway.token({ session, role, data }), this.options(gateway, options)],
    );
    client.id = joined.id;
    client.transport = joined.transport;
    return client;
  }

  /** Options of `connect`, for `connectOptions` in the page. */
  options(gateway, options = {}) {
    return { webTransportUrl: `https://${gateway.quic}`, certificateHash: gateway.certificateHash, ...options };
  }

  /** Goes back in its history. Waits until the page is shown, which the cache does without loading. */
  async back() {
    await this.raw.goBack({ waitUntil: 'commit' });
  }

  /** Throws if there were errors in the page. */
  check() {
    if (this.#errors.length > 0) throw new Error(`errors in the page:\n${this.#errors.join('\n')}`);
  }
}

/** A client in a page. */
export class PageClient {
  /** Its connection's id. */
  id;
  /** The transport with which it joined. */
  transport;
  events;
  #page;
  #name;

  constructor(page, name) {
    this.#page = page;
    this.#name = name;
    this.events = new EventLog(name);
  }

  /** Runs a function in the page with this client's session and an argument. */
  run(what, argument) {
    return this.#page.raw.evaluate(
      async ([name, text, value]) => {
        const { sessions } = await import('/page/clients.js');
        return (0, eval)(`(${text})`)(sessions.get(name), value);
      },
      [this.#name, String(what), argument],
    );
  }

  /** Sends signals to all. Resolves when the gateway has accepted them. */
  sendAll(texts) {
    return this.run((session, all) => Promise.all(all.map((data) => session.signal({ data }))), texts);
  }

  sendTo(id, data) {
    return this.run((session, signal) => session.signal(signal), { to: id, data });
  }

  kick(id) {
    return this.run((session, connection) => session.forceDisconnect(connection), id);
  }

  disconnect() {
    return this.run((session) => session.disconnect());
  }

  currentTransport() {
    return this.run((session) => session.transport);
  }
}
