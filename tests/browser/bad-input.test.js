/** Pages that the gateway refuses or ends: each is told why, and the others notice nothing. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { Gateway } from './harness/gateway.js';
import { QuicClient } from './harness/quic-client.js';

/** What the browser says about a gateway that refuses. */
const EXPECTED = /^(Failed to establish a connection to|WebSocket connection to) /;

const shared = fixture({ gateway: { SIGNALBOX_TIMEOUTS__HELLO_MS: '1000' } });

/** The outcome of connecting in the page. */
function outcome(page, url, token, options) {
  return page.run(
    async ([at, text, all]) => {
      const { connect } = await import('/sdk/index.js');
      const { connectOptions } = await import('/page/clients.js');
      try {
        const session = await connect(at, text, connectOptions(all));
        const { transport } = session;
        await session.disconnect();
        return transport;
      } catch ({ name, code, reason }) {
        return { name, code, reason };
      }
    },
    [url, token, options],
  );
}

for (const transport of ['webtransport', 'websocket']) {
  test(`pages of another origin over ${transport}`, { timeout: 60_000 }, async (context) => {
    const { browser } = shared;
    const { origin } = new URL(browser.site.url);
    const gateway = await Gateway.start(context, { SIGNALBOX_AUTH__ALLOWED_ORIGINS: JSON.stringify([origin]) });
    const token = gateway.token({ session: gateway.newSession() });
    const connect = async (url) => {
      const page = await browser.page(context, { url, expected: EXPECTED });
      return outcome(page, `https://${gateway.https}`, token, page.options(gateway, { transports: [transport] }));
    };
    assert.equal(await connect(browser.site.url), transport);
    const refused = await connect(browser.site.otherUrl);
    assert.deepEqual(refused, { name: 'ConnectError', code: 'unreachable', reason: undefined });
  });

  test(`bad tokens over ${transport}`, { timeout: 60_000 }, async (context) => {
    const { browser, gateway } = shared;
    const page = await browser.page(context);
    const connect = (token) =>
      outcome(page, `https://${gateway.https}`, token, page.options(gateway, { transports: [transport] }));
    assert.deepEqual(await connect(''), { name: 'ConnectError', code: 'token', reason: undefined });
    const refused = { name: 'ConnectError', code: 'refused', reason: 'invalidToken' };
    assert.deepEqual(await connect('abc.def.ghi'), refused);
    const token = gateway.token({ session: gateway.newSession() });
    assert.deepEqual(await connect(`${token.slice(0, -8)}AAAAAAAA`), refused);
  });
}

/** In the page: what each does to the gateway, and how its session ends. */
const breaches = {
  'no hello': [async () => {}, 'helloTimeout'],
  'half a hello': [(raw, { hello }, token) => raw.control.write(hello(token).slice(0, 9)), 'helloTimeout'],
  'signals before hello': [
    async (raw, { SIGNALS, PING }) => {
      await raw.uni(SIGNALS);
      await raw.control.write(PING);
    },
    'protocolError',
  ],
  'a token that is none': [(raw, { hello }) => raw.control.write(hello('none')), 'invalidToken'],
  // A reset may overtake the header of the stream, which then never existed.
  'a control stream that is reset before hello': [(raw) => raw.control.abort(), /protocolError|helloTimeout/],
  'a control stream that is reset inside hello': [
    async (raw, { hello }, token) => {
      await raw.control.write(hello(token).slice(0, 9));
      await raw.control.abort();
    },
    /protocolError|helloTimeout/,
  ],
  'a control stream that is reset': [
    async (raw, _, token) => {
      await raw.join(token);
      await raw.control.abort();
    },
    'protocolError',
  ],
  'a stream that is reset before its header': [
    async (raw, _, token) => {
      await raw.join(token);
      await (await raw.uni(new Uint8Array(0))).abort();
      // If the reset has overtaken the prefix of the stream, the gateway has seen no stream.
      raw.session.close({ closeCode: 77, reason: 'closed by the page' });
    },
    /protocolError|closed by the page/,
  ],
  'a stream that is reset inside a signal': [
    async (raw, { SIGNALS, PING }, token) => {
      await raw.join(token);
      const signals = await raw.uni(SIGNALS);
      await signals.write(PING);
      await raw.next('accepted');
      await signals.write(PING.slice(0, 2));
      await signals.abort();
    },
    'protocolError',
  ],
  'a stream that ends inside a signal': [
    async (raw, { SIGNALS, PING }, token) => {
      await raw.join(token);
      const signals = await raw.uni(SIGNALS);
      await signals.write(PING.slice(0, 2));
      await signals.close();
    },
    'protocolError',
  ],
  'a second stream of signals': [
    async (raw, { SIGNALS }, token) => {
      await raw.join(token);
      await raw.uni(SIGNALS);
      await raw.uni(SIGNALS);
    },
    'protocolError',
  ],
  'a second bidirectional stream': [
    async (raw, { PING }, token) => {
      await raw.join(token);
      const { writable } = await raw.session.createBidirectionalStream();
      const writer = writable.getWriter();
      writer.closed.catch(() => {});
      await writer.write(PING);
    },
    'protocolError',
  ],
  'a second hello': [
    async (raw, { hello }, token) => {
      await raw.join(token);
      await raw.control.write(hello(token));
    },
    'protocolError',
  ],
  'a control stream that is not read': [
    async (raw, _, token) => {
      await raw.join(token);
      await raw.cancel();
    },
    'protocolError',
  ],
  'a frame over the limit': [
    async (raw, _, token) => {
      await raw.join(token);
      await raw.control.write(Uint8Array.of(0x81, 0xa0, 0x01));
    },
    'frameTooLarge',
  ],
};

describe('raw sessions', () => {
  let page, session, witness, token;
  const ends = [];

  before(async () => {
    const context = { after: (end) => ends.push(end) };
    const { browser, gateway } = shared;
    session = gateway.newSession();
    token = gateway.token({ session });
    witness = await QuicClient.join(context, gateway, { session, data: 'witness' });
    page = await browser.page(context, { expected: EXPECTED });
  });

  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  /** Runs a function in the page with a session, and returns its result. */
  const withSession = (what, path = '/v1/connect') => {
    const { gateway } = shared;
    return page.run(
      async ([url, hash, text, source]) => {
        const raw = await import('/page/raw.js');
        return (0, eval)(`(${source})`)(await raw.RawSession.open(url, hash), raw, text);
      },
      [`https://${gateway.quic}${path}`, gateway.certificateHash, token, String(what)],
    );
  };

  for (const [name, [commit, reason]] of Object.entries(breaches)) {
    test(name, { timeout: 30_000 }, async () => {
      const end = await withSession(`async (session, raw, token) => {
        // What the gateway ends may fail while it is still being done.
        const failed = await (${commit})(session, raw, token).then(() => undefined, (error) => String(error));
        return { failed, ...(await session.end()) };
      }`);
      assert.match(end.reason, new RegExp(reason), JSON.stringify(end));
    });
  }

  test('another path', { timeout: 30_000 }, async () => {
    await assert.rejects(withSession(() => {}, '/v1/other'), /WebTransportError/);
  });

  test('an unknown message is answered, and the link goes on', { timeout: 30_000 }, async () => {
    const { code, signal } = await withSession(async (session, { UNKNOWN, SIGNALS, PING }, text) => {
      await session.join(text);
      await session.control.write(UNKNOWN);
      const error = await session.next('error');
      await (await session.uni(SIGNALS)).write(PING);
      await session.next('accepted');
      session.session.close({ closeCode: 0 });
      return error;
    });
    assert.deepEqual([code, signal], ['unsupported', null]);
  });

  test('closing with code 0 is a goodbye, and with another code it is not', { timeout: 30_000 }, async () => {
    for (const [closeCode, reason] of [[0, 'clientDisconnected'], [6, undefined]]) {
      const { id } = await withSession(`async (session, _, text) => {
        await session.control.write(_.hello(text));
        const { connection } = await session.next('welcome');
        session.session.close({ closeCode: ${closeCode} });
        return connection;
      }`);
      if (reason) assert.equal((await witness.events.destroyed(id)).reason, reason);
      else await witness.events.created(id);
    }
  });

  test('the others noticed nothing but their connections', { timeout: 30_000 }, async () => {
    witness.sendAll(['still here']);
    assert.deepEqual(await witness.events.dataOf(witness.id, 1), ['still here']);
    const other = await page.join(shared.gateway, { session, data: 'other' });
    await witness.events.created(other.id);
    witness.sendTo(other.id, 'welcome');
    assert.deepEqual(await other.events.dataOf(witness.id, 1), ['welcome']);
    const kinds = new Set(witness.events.all.map(({ kind }) => kind));
    assert.deepEqual([...kinds], ['sessionConnected', 'connectionCreated', 'connectionDestroyed', 'signal']);
  });
});
