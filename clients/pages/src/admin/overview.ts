/** The overview: numbers, transports, ends, certificate and cluster. */

import { avatar, idText } from '../avatar.js';
import { byId, element, setText, svg } from '../dom.js';
import { bytes, count, date, duration, milliseconds, number, timeOfDay, transportName } from '../format.js';
import { type ClusterReport, type EndedLink, type Overview, change } from './api.js';
import { confirmed } from './messages.js';
import { type Row, Rows, textRow } from './rows.js';

const DAY_MS = 24 * 3600 * 1000;
/** Time before its end from which a certificate should have been renewed, as the gateway warns: two weeks, or a fifth of a short life. */
const SOON_MS = 14 * DAY_MS;
const SOON_PART = 5;
/** Samples in the chart: five minutes. */
const SAMPLES = 150;
const CHART_HEIGHT = 34;

type TransportRow = Overview['byTransport'][number] & Overview['traffic']['transports'][number];

/** Shows the overview. */
export class OverviewView {
  readonly #transports = new Rows<TransportRow>(
    byId('transports'),
    (it) => it.transport,
    () => transportRow(),
  );
  readonly #ends = new Rows<Overview['traffic']['ends'][number]>(
    byId('ends'),
    (it) => it.reason,
    () =>
      textRow([
        { text: (it) => it.reason },
        { className: 'number', text: (it) => number(it.recent) },
        { className: 'number', text: (it) => number(it.total) },
      ]),
  );
  readonly #projects = new Rows<Overview['projects'][number]>(
    byId('projects'),
    (it) => it.key,
    () =>
      textRow([
        { text: (it) => it.key },
        { className: 'number', text: (it) => number(it.sessions) },
        { className: 'number', text: (it) => number(it.connections) },
      ]),
  );
  readonly #members = new Rows<ClusterReport['peers'][number]>(
    byId('members'),
    (it) => `${it.name} ${it.epoch}`,
    () =>
      textRow([
        { text: (it) => it.name },
        { text: (it) => it.epoch },
        { className: 'number', text: (it) => `${milliseconds(it.leaseAgeMs)} ago` },
        { className: 'number', text: (it) => number(it.unconfirmed) },
      ]),
  );
  readonly #ended = new Rows<EndedLink>(byId('ended'), (it) => `${it.at} ${it.connection}`, endedRow);

  constructor() {
    byId('drain').addEventListener('click', () => {
      void confirmed(
        {
          title: 'Drain this gateway?',
          text: ['Every client is asked to leave, and the process ends. Nothing here can start it again.'],
          action: 'Drain',
        },
        async () => {
          await change('POST', 'drain');
          return 'The gateway drains.';
        },
      );
    });
  }

  show(overview: Overview): void {
    const { connections, traffic, gateway } = overview;
    setText(byId('connections'), number(connections.attached + connections.detached));
    setText(byId('connections-detail'), connections.detached === 0 ? 'all have a link' : `${number(connections.detached)} detached`);
    setText(byId('sessions'), number(overview.sessions));
    setText(byId('joins'), `${rate(traffic.rates.joins)} joins, ${rate(traffic.rates.resumes)} resumes per second`);
    setText(byId('signals'), rate(traffic.rates.signals));
    setText(byId('deliveries'), `${rate(traffic.rates.deliveries)} deliveries`);
    setText(byId('uptime'), duration(gateway.uptimeMs));
    setText(byId('bytes'), `${bytes(traffic.rates.receivedBytes)}/s in, ${bytes(traffic.rates.sentBytes)}/s out`);
    drawChart(traffic.series);
    const transports = overview.byTransport.flatMap((counts) => {
      const traffics = traffic.transports.find((it) => it.transport === counts.transport);
      return traffics ? [{ ...counts, ...traffics }] : [];
    });
    this.#transports.show(transports);
    this.#ends.show(traffic.ends);
    byId('ends-table').hidden = traffic.ends.length === 0;
    byId('no-ends').hidden = traffic.ends.length > 0;
    this.#projects.show(overview.projects);
    this.#ended.show(overview.endedLinks);
    byId('ended-scroll').hidden = overview.endedLinks.length === 0;
    byId('no-ended').hidden = overview.endedLinks.length > 0;
    this.#showCluster(overview.cluster);
    showCertificate(overview);
    byId<HTMLButtonElement>('drain').disabled = gateway.draining;
  }

  #showCluster(cluster: ClusterReport | null): void {
    const state = byId('cluster-state');
    state.className = cluster && !cluster.healthy ? 'bad' : '';
    setText(state, clusterState(cluster));
    const peers = cluster?.peers ?? [];
    byId('members-scroll').hidden = peers.length === 0;
    this.#members.show(peers);
  }
}

function clusterState(cluster: ClusterReport | null): string {
  if (!cluster) return 'This gateway is not in a cluster.';
  if (!cluster.healthy) return cluster.problems.join('; ');
  return `Healthy: ${count(cluster.peers.length, 'other gateway')}, ${count(cluster.sessions.shared, 'shared session')}.`;
}

function transportRow(): Row<TransportRow> {
  const name = element('td');
  const numbers = textRow<TransportRow>([
    { className: 'number', text: (it) => number(it.links) },
    { className: 'number', text: (it) => number(it.attached) },
    { className: 'number', text: (it) => number(it.detached) },
    { className: 'number', text: (it) => number(it.signals) },
    { className: 'number', text: (it) => bytes(it.receivedBytes) },
    { className: 'number', text: (it) => bytes(it.sentBytes) },
    { className: 'number', text: (it) => number(it.queued) },
    { className: 'number', text: (it) => `${(100 * it.fullest).toFixed(0)} %` },
  ]);
  numbers.element.prepend(name);
  return {
    element: numbers.element,
    update: (item) => {
      name.className = item.transport;
      setText(name, transportName(item.transport));
      numbers.update(item);
    },
  };
}

function endedRow(): Row<EndedLink> {
  const row = element('tr');
  return {
    element: row,
    // An ended link does not change.
    update: (link) => {
      if (row.hasChildNodes()) return;
      const time = element('time', { datetime: new Date(link.at).toISOString() }, timeOfDay(link.at));
      row.append(
        element('td', {}, time),
        element('td', {}, link.reason),
        element('td', { class: link.transport }, transportName(link.transport)),
        element('td', {}, avatar(link.connection), idText(link.connection)),
        element('td', {}, sessionLink(link.session)),
        element('td', {}, element('code', {}, link.address)),
      );
    },
  };
}

/** A link to a session, by the end of its id: ids of a project begin alike. */
export function sessionLink(id: string): HTMLElement {
  return element('a', { href: `#/sessions/${encodeURIComponent(id)}`, class: 'short' }, element('code', {}, `…${id.slice(-16)}`));
}

function showCertificate({ certificate, gateway }: Overview): void {
  setText(byId('certificate-file'), certificate.file);
  setText(byId('certificate-hash'), certificate.sha256 ?? '–');
  const state = byId('certificate-state');
  if (certificate.notAfter === null) {
    state.className = '';
    return setText(state, 'Its end is not known.');
  }
  const left = certificate.notAfter - gateway.time;
  const life = certificate.notAfter - (certificate.notBefore ?? 0);
  const days = Math.floor(left / DAY_MS);
  setText(byId('certificate-end'), date(certificate.notAfter));
  state.className = left < Math.min(SOON_MS, life / SOON_PART) ? 'bad' : 'good';
  setText(state, days < 0 ? 'It has expired.' : `${count(days, 'day')} left.`);
}

function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : number(Math.round(perSecond));
}

function drawChart({ signals, deliveries, intervalMs }: Overview['traffic']['series']): void {
  const chart = byId<SVGElement>('signals-chart');
  const highest = Math.max(1, ...deliveries, ...signals);
  const start = SAMPLES - signals.length;
  const bars = (kind: string, values: readonly number[]): SVGElement[] =>
    values.flatMap((value, index) => {
      if (value <= 0) return [];
      const height = Math.max(1, (CHART_HEIGHT * value) / highest);
      const place = { x: String(start + index), y: String(CHART_HEIGHT - height), width: '0.8', height: String(height) };
      return [svg('rect', { class: kind, ...place })];
    });
  chart.replaceChildren(...bars('deliveries', deliveries), ...bars('signals', signals));
  const span = duration(signals.length * intervalMs);
  chart.setAttribute('aria-label', `Signals and deliveries per second over ${span}; at most ${rate(highest)} deliveries`);
}
