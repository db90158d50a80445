// The vendor's SDKs for node, driven by the tests in Python: one call as a line of JSON in, its outcome as one line out.
//
// The SDKs are as npm installs them, and no exception is caught here that an application could not
// catch: an SDK that throws outside of a call ends this process, and the test reports it.
'use strict';

const readline = require('node:readline');

const OpenTok = require('opentok');
const openTokErrors = require('opentok/lib/errors');
const { Auth } = require('@vonage/auth');
const { Vonage } = require('@vonage/server-sdk');
const { Video, MediaMode } = require('@vonage/video');

class Client {
  // The names of all methods of the SDK.
  calls() {
    const own = Object.getOwnPropertyNames(this.sdk);
    return [...own, ...Object.getOwnPropertyNames(Object.getPrototypeOf(this.sdk))];
  }
}

class OpenTokClient extends Client {
  constructor({ key, secret, url }) {
    super();
    this.sdk = new OpenTok(key, secret, url);
  }

  async create_session(options) {
    const { media, archive, location } = options;
    const session = await this.#call('createSession', defined({ mediaMode: media, archiveMode: archive, location }));
    return session.sessionId;
  }

  token({ session, t1, role, data, layout, expires }) {
    // `expireTime` is documented, but in Vonage mode it reads `expire_time`.
    const options = defined({ role, data, initialLayoutClassList: layout, expireTime: expires, expire_time: expires });
    return this.sdk.generateToken(session, options, t1);
  }

  signal({ session, to, payload }) {
    return this.#call('signal', session, to, payload);
  }

  force_disconnect({ session, connection }) {
    return this.#call('forceDisconnect', session, connection);
  }

  list_streams({ session }) {
    return this.#call('listStreams', session);
  }

  #call(method, ...args) {
    return new Promise((resolve, reject) => {
      this.sdk[method](...args, (error, result) => (error ? reject(error) : resolve(result ?? null)));
    });
  }

  // Its errors are functions, whose names are only those of their exports.
  failure(error) {
    const named = Object.entries(openTokErrors).find(([, type]) => error instanceof type);
    const kind = named?.[0] ?? error.constructor.name;
    return { kind, status: null, message: error.message, shown: error.message };
  }
}

class VonageClient extends Client {
  constructor({ key, secret, url }) {
    super();
    this.sdk = new Video(new Auth({ applicationId: key, privateKey: secret }), { videoHost: url });
  }

  async create_session({ media, archive, location }) {
    const mediaMode = media && { routed: MediaMode.ROUTED, relayed: MediaMode.RELAYED }[media];
    const options = defined({ mediaMode, archiveMode: archive, location });
    const asked = Object.keys(options).length > 0 ? [options] : [];
    return (await this.sdk.createSession(...asked)).sessionId;
  }

  token({ session, role, data, layout, expires }) {
    const options = defined({ role, data, initialLayoutClassList: layout, expireTime: expires });
    return this.sdk.generateClientToken(session, options);
  }

  async signal({ session, to, payload }) {
    await this.sdk.sendSignal(payload, session, to ?? undefined);
    return null;
  }

  async force_disconnect({ session, connection }) {
    await this.sdk.disconnectClient(session, connection);
    return null;
  }

  list_streams({ session }) {
    return this.sdk.getStreamInfo(session);
  }

  // The error carries the response, whose body has not been read yet.
  async failure(error) {
    const said = error.response ? await error.response.json() : {};
    return {
      kind: error.constructor.name,
      status: error.response?.status ?? null,
      message: said.message ?? error.message,
      shown: error.message,
    };
  }
}

// The same SDK in the package with all of the vendor's products.
class WholeVonageClient extends VonageClient {
  constructor({ key, secret, url }) {
    super({ key, secret, url });
    this.sdk = new Vonage(new Auth({ applicationId: key, privateKey: secret }), { videoHost: url }).video;
  }
}

const SDKS = { opentok: OpenTokClient, vonage: VonageClient, 'whole vonage': WholeVonageClient };

function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value != null));
}

async function main() {
  const clients = new Map();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { sdk, credentials, call, args } = JSON.parse(line);
    const name = JSON.stringify([sdk, credentials]);
    if (!clients.has(name)) clients.set(name, new SDKS[sdk](credentials));
    const client = clients.get(name);
    let outcome;
    try {
      outcome = { result: await client[call](args) };
    } catch (error) {
      outcome = { failure: await client.failure(error) };
    }
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}

main();
