// bench/RESULTS.md and results.csv from what was measured.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FRESH_PERCENT, MERGED_PERCENT } from './data.mjs';

const readme = fileURLToPath(new URL('../README.md', import.meta.url));
const sorted = (runs, what) => runs.map((r) => r[what]).sort((a, b) => a - b);
const at = (list, p) => list[Math.min(list.length - 1, Math.max(0, Math.ceil(list.length * p) - 1))];
export const stats = (runs) => (runs?.length ? {
  cpu: at(sorted(runs, 'cpu_ms'), 0.5), cpuMin: sorted(runs, 'cpu_ms')[0], cpu95: at(sorted(runs, 'cpu_ms'), 0.95),
  wall: at(sorted(runs, 'wall_ms'), 0.5), wallMin: sorted(runs, 'wall_ms')[0], wall95: at(sorted(runs, 'wall_ms'), 0.95),
  peak: Math.max(...runs.map((r) => r.peak_kb)) / 1024,
  extra: Math.max(...runs.map((r) => r.peak_kb - r.before_kb)) / 1024,
} : null);

const n1 = (v) => (v === undefined || v === null ? '–' : v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2));
const big = (v) => Math.round(v).toLocaleString('en');
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((r) => `| ${r.join(' | ')} |`).join('\n');
const geomean = (list) => Math.exp(list.reduce((s, v) => s + Math.log(v), 0) / list.length);

/** The finalist of a peer with the lowest median CPU. */
const bestOf = (q, name) => q.finalists.filter((f) => (!name || f.peer.name === name) && f.runs)
  .sort((a, b) => stats(a.runs).cpu - stats(b.runs).cpu)[0];

function queryTable(queries, peers) {
  const rows = [], ratios = [], lost = [];
  for (const q of queries) {
    const mine = stats(q.keelRuns), best = bestOf(q), rival = best && stats(best.runs);
    const ratio = rival ? rival.cpu / mine.cpu : null;
    if (ratio) ratios.push(ratio);
    if (ratio && ratio < 1) lost.push(`${q.id} (${n1(ratio)} ×)`);
    const cell = (s) => (s ? `${n1(s.wall)} / ${n1(s.cpu)}` : '–');
    rows.push([`${q.id} ${q.title}`, cell(mine), ...peers.map((p) => {
      const f = bestOf(q, p.name);
      return f ? `${cell(stats(f.runs))}<br>${f.form}; ${f.layout}` : '–';
    }), ratio ? `**${n1(ratio)} ×** ${best.peer.name}` : '–',
    [q.keelCold, ...peers.map((p) => q.finalists.find((f) => f.peer === p && f.cold)?.cold)]
      .map((runs) => (runs ? stats(runs).extra.toFixed(0) : '–')).join(' / ')]);
  }
  return { text: table(['query', 'Keel', ...peers.map((p) => p.name), 'CPU, best peer ÷ Keel', 'memory, MB'], rows),
    mean: geomean(ratios), lost };
}

const IN_TEN = [/\.customers$/, /\.times$/, /\.events$/, /\.posting/, /context\.channel$/, /every event\.channel$/,
  /device\.type$/, /location\.country$/, /campaign\.name$/, /^Product .*product_id$/, /^Product .*category$/,
  /^Order Completed.*\.revenue$/, /^\$?(page|screen)\.name$/];

function sizeSection({ keel, sizes: regions, loads, data, peers }) {
  const disk = keel.bytes(), events = data.values.events;
  const ten = Object.entries(regions).filter(([name]) => IN_TEN.some((r) => r.test(name)));
  const tenBytes = ten.reduce((s, [, b]) => s + b, 0);
  const rows = [['Keel, the ten columns (of all it keeps)', n1(tenBytes / events), ''],
    ['Keel, parts with everything that was sent', n1(disk.parts / events), ''],
    ['Keel, whole folder with journal and identity log', n1(disk.total / events), '']];
  for (const peer of peers) {
    for (const [layout, cost] of Object.entries(loads[peer.name])) rows.push([`${peer.name}, ten columns, ${layout}`, n1(cost.bytes / events), '']);
  }
  const largestTen = ten.sort((a, b) => b[1] - a[1]).slice(0, 14).map(([name, b]) => [name, big(b), n1(b / events)]);
  const largest = Object.entries(regions).sort((a, b) => b[1] - a[1]).slice(0, 14)
    .map(([name, b]) => [name, big(b), n1(b / events), IN_TEN.some((r) => r.test(name)) ? 'yes' : '']);
  return `${table(['on disk', 'bytes / event', ''], rows)}\n\nWhat takes most in Keel:\n\n${
    table(['region', 'bytes', 'bytes / event', 'of the ten'], largest)}\n\nOf the ten columns:\n\n${
    table(['region', 'bytes', 'bytes / event'], largestTen)}`;
}

function loadSection({ loads, data, peers }) {
  const events = data.values.events;
  const per = (cpu) => big(events / (cpu / 1000));
  const k = loads.Keel;
  const rows = [
    ['Keel, Segment NDJSON, everything kept, journal on', n1(k.wall_ms / 1000), n1(k.cpu_ms / 1000), per(k.cpu_ms), n1(k.peak_kb / 1024)],
    ['… and merging every month at once', n1(k.merge_wall_ms / 1000), n1(k.merge_cpu_ms / 1000), per(k.merge_cpu_ms), ''],
  ];
  for (const peer of peers) {
    for (const [layout, c] of Object.entries(loads[peer.name])) {
      rows.push([`${peer.name}, CSV of the ten columns, resolved beforehand, ${layout}`, n1(c.wall_ms / 1000),
        n1(c.cpu_ms / 1000), per(c.cpu_ms), n1(c.peak_kb / 1024)]);
    }
  }
  return table(['load', 'wall s', 'CPU s', 'events / CPU-second', 'peak MB'], rows);
}

function ingestSection({ ingest }) {
  return table(['NDJSON to table', 'wall s', 'CPU s', 'events / CPU-second', 'MB / CPU-second'], ingest.rows.map((r) => {
    const s = stats(r.runs);
    return [`${r.engine}: ${r.form}`, n1(s.wall / 1000), n1(s.cpu / 1000), big(ingest.lines / (s.cpu / 1000)),
      n1(ingest.bytes / 1e6 / (s.cpu / 1000))];
  }));
}

function smallSection({ small }) {
  const row = (name, runs, q = (p) => at(sorted(runs, 'wall_ms'), p) * 1000) =>
    [name, big(q(0.5)), big(q(0.95)), big(q(0.99)), big(at(sorted(runs, 'cpu_ms'), 0.5) * 1000)];
  return table(['µs', 'p50', 'p95', 'p99', 'CPU p50'], [
    ...Object.entries(small.nothing).map(([n, runs]) => row(`${n}: ${n === 'Keel' ? 'a question about no event' : 'SELECT 1'}`, runs)),
    ...Object.entries(small.timeline).map(([n, runs]) => row(`Q15 ${n}: newest 100 events of a customer`, runs))]);
}

function coldSection({ agreed, peers }) {
  const med = (runs) => (runs ? n1(stats(runs).wall) : '–');
  return table(['query', 'Keel', 'Keel, command line', ...peers.map((p) => p.name)], agreed.map((q) =>
    [q.id, med(q.keelCold), n1(q.cli?.wall_ms), ...peers.map((p) => med(q.finalists.find((f) => f.peer === p && f.cold)?.cold))]));
}

function freshSection({ freshAgreed, peers }) {
  const fresh = queryTable(freshAgreed, peers.filter((p) => p.loadFresh));
  return `## The same with fresh data

${FRESH_PERCENT} % of the events have just come in and are not merged; ${MERGED_PERCENT} % of the customers have just turned out to be
somebody else, and nothing is rewritten. The peers got the same rows in 20 inserts, and the final customer numbers for
nothing.

${fresh.text}

Geometric mean of the ratios: **${n1(fresh.mean)} ×**. Lost: ${fresh.lost.join(', ') || 'none'}.
`;
}

function machine() {
  const read = (path, name) => (readFileSync(path, 'utf8').match(new RegExp(`^${name}[^:]*:\\s*(.*)$`, 'm')) ?? [])[1];
  const os = (readFileSync('/etc/os-release', 'utf8').match(/PRETTY_NAME="(.*)"/) ?? [])[1];
  const kernel = execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim();
  return `${cpus().length} × ${read('/proc/cpuinfo', 'model name')}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${os}, Linux ${kernel}`;
}

function csvRows(r) {
  const out = [['data', 'query', 'engine', 'form', 'layout', 'rounds', 'wall_median_ms', 'wall_min_ms', 'wall_p95_ms',
    'cpu_median_ms', 'cpu_min_ms', 'cpu_p95_ms', 'peak_mb', 'extra_mb']];
  const put = (data, id, engine, form, layout, runs) => {
    const s = stats(runs);
    if (s) out.push([data, id, engine, form, layout, runs.length, s.wall, s.wallMin, s.wall95, s.cpu, s.cpuMin, s.cpu95, s.peak, s.extra]);
  };
  for (const [data, queries] of [['merged', r.agreed], ['fresh', r.freshAgreed]]) {
    for (const q of queries) {
      put(data, q.id, 'Keel', '', '', q.keelRuns);
      put(data, q.id, 'Keel', 'cold', '', q.keelCold);
      for (const f of q.tried) {
        if (!f.runs) put(data, q.id, f.peer.name, `${f.form} (probe)`, f.layout, [{ ...f.probe, peak_kb: 0, before_kb: 0 }]);
        put(data, q.id, f.peer.name, f.form, f.layout, f.runs);
        put(data, q.id, f.peer.name, `${f.form}, cold`, f.layout, f.cold);
      }
    }
  }
  for (const [what, by] of Object.entries(r.small)) for (const [name, runs] of Object.entries(by)) put('merged', what, name, '', '', runs);
  for (const i of r.ingest.rows) put('sample', 'ingest', i.engine, i.form, '', i.runs);
  return out.map((row) => row.map((v) => (typeof v === 'number' ? Number(v.toPrecision(5)) : /[",]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v)).join(','));
}

export function report(r) {
  const { options, data, peers } = r, v = data.values;
  const merged = queryTable(r.agreed, peers);
  const missing = r.failures.map((f) => `- ${f.query} ${f.engine}${f.form ? `, ${f.form}` : ''}: ${f.why.split('\n')[0].slice(0, 300)}`);
  const text = `# Results of the benchmark

Written by \`bench/run --events ${options.events}\`, ${r.began.toISOString().slice(0, 10)}. Every figure is in
[results.csv](results.csv) too. Rules, and what is fair about them: [README.md](${relative(options.results, readme)}).

**Machine**: ${machine()}. ${options.threads} threads for every engine. Load average at the beginning, after the hot and
cold rounds${r.freshAgreed.length ? ', at the end' : ''}: ${r.load.map((l) => l.toFixed(1)).join(', ')}. Where it is above ${options.threads}, other work ran beside:
compare CPU, not wall.
**Engines**: ${[r.keel.version, ...peers.map((p) => `${p.name} ${p.version}`)].join(', ')}, each as a library in a process of its own.
**Data**: ${big(v.events)} events of ${big(v.customers)} customers (${big(v.identifiers)} identifiers), 366 days,
\`keel simulate --clean --seed ${options.seed}\`; ${v.moved} events moved by a second so that no customer has two at once.

## Questions

Median of ${options.rounds} rounds, **wall / CPU in milliseconds** of all threads; a peer's cell is its best form and layout.
${options.forms ? `Of each peer's forms only the two that were its best in a smaller run are tried here.
` : ''}The ratio is the CPU of the best peer over Keel's; the last column is what the first answer of a fresh process adds to its
resident memory at its peak, mapped files included, in the order of the columns.

${merged.text}

Geometric mean of the ratios: **${n1(merged.mean)} ×**. Lost: ${merged.lost.join(', ') || 'none'}.

${r.freshAgreed.length ? freshSection(r) : ''}${missing.length ? `\n## Not measured\n\n${missing.join('\n')}\n` : ''}
## One customer, and nothing

${smallSection(r)}

Keel's timeline carries every property of every event, the peers' rows the ten columns. Keel finds the customer by the
identifier that a client knows, the peers by their dense number.

## Cold

Wall milliseconds, median of ${options.cold}: a new process, the engine's files dropped from the page cache (the libraries' code is
not). "Command line" is \`keel query\` as a whole, from exec to exit, once, warm.

${coldSection(r)}

## Loading

${loadSection(r)}

Keel resolves identity, removes duplicates, keeps every property and its journal; the peers load ten columns that were
prepared for them.

## Reading NDJSON

The same file for all, ${big(r.ingest.lines)} events, ${big(r.ingest.bytes / 1e6)} MB, median of ${r.ingest.rows[0].runs.length}.

${ingestSection(r)}

## On disk

${sizeSection(r)}
`;
  mkdirSync(options.results, { recursive: true });
  writeFileSync(join(options.results, 'RESULTS.md'), text);
  writeFileSync(join(options.results, 'results.csv'), `${csvRows(r).join('\n')}\n`);
}
