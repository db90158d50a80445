/** Draws panels of a dashboard for Grafana as a page of plain HTML and SVG. */

/** Pixels of a row of the grid, of which 24 columns fill the page. */
const ROW = 33;
const PAGE = 1400;
const MARGIN = 4;
const COLOURS = ['#3f8f29', '#d08a00', '#2f6fd0', '#b8383d', '#7d4fc0', '#0f8a8a', '#a0522d', '#667085'];

const BINARY = new Set(['bytes', 'Bps']);

const STYLE = `
  :root { color-scheme: light dark; }
  body { margin: 0; font: 12px/1.3 system-ui, sans-serif; background: light-dark(#f4f5f5, #111217); color: light-dark(#24292e, #d0d3da); }
  header { display: flex; justify-content: space-between; padding: 10px 12px 2px; }
  header b { font-size: 16px; }
  main { position: relative; }
  section { position: absolute; box-sizing: border-box; padding: 5px 8px; overflow: hidden; background: light-dark(#fff, #181b1f);
    border: 1px solid light-dark(#dcdfe3, #2c3037); border-radius: 2px; }
  section.row { background: none; border: none; font-weight: 600; font-size: 14px; }
  .stat p { margin: 14px 0 0; text-align: center; font-size: 30px; color: light-dark(#2b7a1b, #73bf69); }
  svg { display: block; }
  text { font-size: 10px; fill: light-dark(#5b6370, #9aa0ab); }
  .grid { stroke: light-dark(#e7e9ec, #2a2e35); }
  ul { display: flex; flex-wrap: wrap; gap: 0 10px; list-style: none; margin: 0; padding: 0; font-size: 11px; }
  li i { display: inline-block; width: 12px; height: 3px; margin-right: 4px; vertical-align: middle; }
`;

/**
 * A page with these panels over this time. Each panel has its `series`, with a name and points: time and
 * value, a second apart.
 */
export function draw(title, panels, time) {
  const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * ROW;
  return `<!doctype html><meta charset="utf-8"><style>${STYLE}</style>
    <header><b>${escape(title)}</b><span>drawn from the dashboard's JSON and the answers of Prometheus, not by Grafana</span></header>
    <main style="height:${height + MARGIN}px">${panels.map((panel) => panelOf(panel, time)).join('')}</main>`;
}

function panelOf(panel, time) {
  const { x, y, w, h } = panel.gridPos;
  const column = PAGE / 24;
  const width = w * column - MARGIN;
  const height = h * ROW - MARGIN;
  const place = `left:${x * column + MARGIN / 2}px;top:${y * ROW + MARGIN / 2}px;width:${width}px;height:${height}px`;
  const body = { row: () => '', stat: statOf, timeseries: chartOf }[panel.type](panel, { width: width - 18, height: height - 12 }, time);
  return `<section class="${panel.type}" style="${place}">${escape(panel.title)}${body}</section>`;
}

function statOf({ series, fieldConfig }) {
  const last = series[0]?.points.at(-1)?.[1];
  return `<p>${last === undefined ? 'No data' : inUnit(fieldConfig.defaults.unit, last)}</p>`;
}

function chartOf({ series, fieldConfig }, { width, height }, { start, end }) {
  const { unit } = fieldConfig.defaults;
  const points = series.flatMap((one) => one.points);
  if (points.length === 0) return '<p>No data</p>';
  const plot = { left: 54, top: 8, width: width - 58, height: height - 84 };
  const step = niceStep(Math.max(...points.map(([, value]) => value), 0), BINARY.has(unit) ? 1024 : 1000);
  const top = step * 4;
  const x = (time) => plot.left + ((time - start) / (end - start)) * plot.width;
  const y = (value) => plot.top + (1 - value / top) * plot.height;
  const lines = [0, 1, 2, 3, 4].map((number) => {
    const at = y(number * step);
    const label = inUnit(unit, number * step);
    return `<line class="grid" x1="${plot.left}" x2="${plot.left + plot.width}" y1="${at}" y2="${at}"/>
      <text x="${plot.left - 4}" y="${at + 3}" text-anchor="end">${label}</text>`;
  });
  const clock = [0.1, 0.5, 0.9].map((part) => {
    const time = start + (end - start) * part;
    const text = new Date(time * 1000).toISOString().slice(11, 19);
    return `<text x="${x(time)}" y="${plot.top + plot.height + 14}" text-anchor="middle">${text}</text>`;
  });
  const curves = series.map(({ points: own }, index) => {
    // A line ends where a second has no value.
    const path = own.map(([time, value], at) => {
      const follows = at > 0 && time - own[at - 1][0] < 1.5;
      return `${follows ? 'L' : 'M'}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    return `<path d="${path.join('')}" fill="none" stroke="${colour(index)}" stroke-width="1.5"/>`;
  });
  const legend = series.map(({ name }, index) => `<li><i style="background:${colour(index)}"></i>${escape(name)}</li>`);
  return `<svg width="${width}" height="${plot.height + 26}">${[...lines, ...clock, ...curves].join('')}</svg>
    <ul>${legend.join('')}</ul>`;
}

function colour(index) {
  return COLOURS[index % COLOURS.length];
}

/** A number that is round in a unit with this base, and four of which are at least `greatest`. */
function niceStep(greatest, base) {
  if (greatest <= 0) return 0.25;
  const scale = base ** Math.max(0, Math.floor(Math.log(greatest / 4) / Math.log(base)));
  const power = scale * 10 ** Math.floor(Math.log10(greatest / 4 / scale));
  return [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it * 4 >= greatest);
}

/** A number as Grafana writes it in this unit. */
function inUnit(unit, value) {
  switch (unit) {
    case 'percentunit':
      return `${short(value * 100)}%`;
    case 's':
      return seconds(value);
    case 'bytes':
    case 'Bps':
      return `${scaled(value, 1024, ['', 'Ki', 'Mi', 'Gi'])}B${unit === 'Bps' ? '/s' : ''}`;
    case 'cps':
      return `${short(value)} c/s`;
    case 'cpm':
      return `${short(value)} c/m`;
    default:
      return short(value);
  }
}

function seconds(value) {
  if (value === 0) return '0 s';
  const [size, name] = [[86_400, 'day'], [3600, 'hour'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs']].find(
    ([size]) => Math.abs(value) >= size,
  ) ?? [1e-9, 'ns'];
  return `${trimmed(value / size)} ${name}`;
}

function short(value) {
  return scaled(value, 1000, ['', 'K', 'Mil', 'Bil']).replace(/ $/, '');
}

function scaled(value, base, names) {
  const power = value === 0 ? 0 : Math.min(names.length - 1, Math.max(0, Math.floor(Math.log(Math.abs(value)) / Math.log(base))));
  return `${trimmed(value / base ** power)} ${names[power]}`;
}

function trimmed(value) {
  return String(Number(value.toPrecision(3)));
}

function escape(text) {
  return text.replace(/[&<>"]/g, (it) => `&#${it.charCodeAt(0)};`);
}
