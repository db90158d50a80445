/** A link without a network, whose gateway is the test. */

import { type Disconnection, Link } from '../src/link/link.js';
import type { Transport } from '../src/options.js';
import type { ClientCloseReason } from '../src/protocol/close.js';
import type { ClientMessage, GatewayMessage, Welcome } from '../src/protocol/messages.js';

export class FakeLink extends Link {
  readonly written: ClientMessage[] = [];
  probes = 0;
  closedWith: ClientCloseReason | undefined;

  constructor(readonly transport: Transport = 'websocket') {
    super();
  }

  override write(messages: ClientMessage[]): void {
    this.written.push(...messages);
  }

  override probe(): void {
    this.probes++;
  }

  override ready(): undefined {
    return undefined;
  }

  protected override bye(message: Disconnection): void {
    this.finish(message, 'networkDisconnected');
  }

  protected override closeTransport(reason: ClientCloseReason): void {
    this.closedWith = reason;
  }

  /** Something arrives. */
  receive(message: GatewayMessage): void {
    this.heard();
    this.take(message);
  }

  /** The gateway or the network ends it. */
  end(end: Disconnection): void {
    this.finish(end, 'networkDisconnected');
  }
}

export const OWN_ID = '0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10';

export function welcome(fields: Partial<Welcome> = {}): Welcome {
  return {
    kind: 'welcome',
    connection: { id: OWN_ID, createdAt: 1, data: '' },
    session: '1_session',
    role: 'publisher',
    limits: { typeBytes: 128, dataBytes: 8192, signalsPerSecond: 0, idleTimeoutMs: 30_000 },
    features: ['presence', 'resume'],
    present: 0,
    gateways: [],
    ...fields,
  };
}
