// bench/INGEST.md and bench/SOAK.md from what bench/ingest measured.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, getPriority, release, totalmem } from 'node:os';

/** By events of a request: the goal on two processors shared with the load generator. */
export const GOALS = { 1: { events: 40e3, connections: [256] }, 100: { events: 400e3, connections: null } };
const P99_MS = 20;

const big = (v) => Math.round(v).toLocaleString('en');
const ms = (us) => (us < 9950 ? (us / 1000).toFixed(2) : (us / 1000).toFixed(1));
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((r) => `| ${r.join(' | ')} |`).join('\n');
const rate = (f) => f.events / f.seconds;
const shape = (batch) => (batch === 1 ? 'single events' : `batches of ${batch}`);
const perEvent = (f) => (f.events ? ((1e6 * f.server_cpu_s) / f.events).toFixed(2) : '–');

function figureTable(figures) {
  return table(['connections', 'server', 'events/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'µs of its CPU an event', 'processors: it, load', 'peak MB', 'disk: syncs/s, p50 ms', 'failed'],
    figures.map((f) => [f.connections, f.name, f.name === 'Keel' ? `**${big(rate(f))}**` : big(rate(f)), ms(f.p50_us), ms(f.p99_us), ms(f.p999_us), perEvent(f),
      `${(f.server_cpu_s / f.seconds).toFixed(2)}, ${(f.own_cpu_s / f.seconds).toFixed(2)}`, f.memory.peak.toFixed(0),
      `${big(f.floor.syncs_per_s)}, ${ms(f.floor.p50_us)}`, f.failed + f.unanswered || '']));
}

/** One line a place: Keel's rate over each other's, and its CPU. */
function ratioTable(figures) {
  const others = [...new Set(figures.map((f) => f.name))].filter((n) => n !== 'Keel');
  const rows = figures.filter((f) => f.name === 'Keel').map((keel) => [shape(keel.batch), keel.connections, ...others.map((name) => {
    const other = figures.find((f) => f.name === name && f.batch === keel.batch && f.connections === keel.connections);
    if (!other.events || !keel.events) return '–';
    const cpu = (keel.server_cpu_s / keel.events) / (other.server_cpu_s / other.events);
    return `${(rate(keel) / rate(other)).toFixed(2)} × (CPU ${cpu.toFixed(2)} ×)`;
  }), `${(rate(keel) / keel.batch / keel.floor.syncs_per_s).toFixed(2)} ×`]);
  return table(['', 'connections', ...others.map((n) => `Keel ÷ ${n}`), 'requests ÷ syncs of the disk'], rows);
}

/** What was asked for, what came of it; missed goals bear the word. */
function goals(figures, rated) {
  const rows = [];
  const row = (goal, found, met) => rows.push([goal, found, met ? 'met' : '**missed**']);
  for (const [batch, goal] of Object.entries(GOALS)) {
    const mine = figures.filter((f) => f.name === 'Keel' && f.batch === Number(batch) && (!goal.connections || goal.connections.includes(f.connections)));
    if (!mine.length) continue;
    const best = mine.reduce((a, b) => (rate(a) > rate(b) ? a : b));
    row(`≥ ${big(goal.events)} events/s, ${shape(best.batch)}${goal.connections ? `, ${goal.connections} connections` : ''}`,
      `${big(rate(best))} at ${best.connections} connections`, rate(best) >= goal.events);
  }
  for (const f of rated) {
    const kept = rate(f) >= 0.99 * f.rate;
    row(`p99 < ${P99_MS} ms at ${big(f.rate)} events/s, ${shape(f.batch)}, ${f.connections} connections`,
      `p50 ${ms(f.p50_us)}, p99 ${ms(f.p99_us)}, p99.9 ${ms(f.p999_us)}, longest ${ms(f.max_us)} ms; ${big(rate(f))} events/s; ${perEvent(f)} µs of CPU an event; disk ${big(f.floor.syncs_per_s)} syncs/s`,
      kept && f.p99_us < P99_MS * 1000 && !f.failed && !f.unanswered);
  }
  return table(['goal', 'found', ''], rows);
}

function losses(figures) {
  const out = [];
  for (const keel of figures.filter((f) => f.name === 'Keel')) {
    for (const other of figures.filter((f) => f.name.startsWith('ClickHouse') && f.batch === keel.batch && f.connections === keel.connections)) {
      const where = `${shape(keel.batch)}, ${keel.connections} connections: ${other.name}`;
      if (rate(other) > rate(keel)) out.push(`- ${where} takes ${(rate(other) / rate(keel)).toFixed(2)} × as many events`);
      if (other.p99_us < keel.p99_us) out.push(`- ${where} has a p99 of ${ms(other.p99_us)} ms, Keel ${ms(keel.p99_us)} ms`);
      if (other.events && other.server_cpu_s / other.events < keel.server_cpu_s / keel.events) out.push(`- ${where} takes ${perEvent(other)} µs of CPU an event, Keel ${perEvent(keel)}`);
    }
  }
  return out.length ? out.join('\n') : 'None against ClickHouse in this run.';
}

export const revisionOf = (root) => execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const processor = () => /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';

const machine = () => `${cpus().length} × ${processor()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`;

export function report(path, { root, began, loadBefore, loadAfter, figures, rated, options, clickhouse }) {
  const loads = [...figures, ...rated].map((f) => f.load);
  const failures = [...figures, ...rated].filter((f) => f.failed).map((f) => `- ${f.name}, ${shape(f.batch)}, ${f.connections} connections: ${f.failed} requests failed, first: \`${f.failure.replace(/\s+/g, ' ').slice(0, 160)}\``);
  const bytes = (batch) => figures.find((f) => f.batch === batch)?.request_bytes;
  writeFileSync(path, `# Events a second over HTTP

Written by \`bench/ingest ${process.argv.slice(2).join(" ")}\`; what is measured and how: [README.md](README.md#events-over-http).

${began.toISOString().slice(0, 16).replace('T', ' ')} UTC, revision ${revisionOf(root)}. ${machine()};
the load generator runs on the same processors. Load average ${loadBefore.map((v) => v.toFixed(2)).join(', ')} before, ${loadAfter.map((v) => v.toFixed(2)).join(', ')} after,
${Math.min(...loads).toFixed(2)} to ${Math.max(...loads).toFixed(2)} (of a minute) in between. ${options.seconds} s a figure behind ${options.warm} s to warm up. A request is ${big(bytes(1))} bytes with one
event, ${big(bytes(100))} with 100.${clickhouse ? ` ClickHouse ${clickhouse}.` : ' Without ClickHouse (`--clickhouse-server`).'}

## Goals

${goals(figures, rated)}

An hour's soak is a run of its own: \`bench/ingest --soak 1h\`, [SOAK.md](SOAK.md).

## Single events

${figureTable(figures.filter((f) => f.batch === 1))}

## Batches of 100

${figureTable(figures.filter((f) => f.batch === 100))}

## Ratios

Above 1: Keel takes more events; of CPU an event, below 1: it needs less.

${ratioTable(figures)}

## Losses

${losses(figures)}
${failures.length ? `\n## Failed requests\n\n${failures.join('\n')}\n` : ''}`);
}

/** lines: one a minute or so; growth in %, of the median of memory without files, from the second quarter to the last. */
export function soakReport(path, { revision, began, options, form, floor, lines, acknowledged, stored, peak, second, last, growth, flat }) {
  const loads = lines.map((l) => l.load), p99 = lines.map((l) => l.result.p99_us).sort((a, b) => a - b);
  const sum = (of) => lines.reduce((total, l) => total + of(l.result), 0);
  const events = sum((r) => r.events), seconds = sum((r) => r.seconds), cpu_s = sum((r) => r.server_cpu_s);
  const quarter = lines.length / 4, meanOf = (i) => (lines.slice(i * quarter, (i + 1) * quarter).reduce((total, l) => total + l.anon, 0) / quarter).toFixed(1);
  const late = p99.filter((us) => us >= P99_MS * 1000).length;
  const rows = [
    ['events a second', big(form.rate), `${big(events / seconds)} over ${big(seconds)} s`, events / seconds >= 0.99 * form.rate],
    ['answered and lost', 'none', `${big(acknowledged)} events answered 200, ${big(stored)} stored, ${sum((r) => r.failed)} requests failed, ${sum((r) => r.unanswered)} unanswered`, stored >= acknowledged],
    ['memory', 'flat', `${second.toFixed(1)} MB in the second quarter, ${last.toFixed(1)} MB in the last (${growth.toFixed(1)} %), medians; means ${meanOf(1)} and ${meanOf(3)}; peak with files ${peak.toFixed(0)} MB`, flat],
    ['p99 of each line below', `< ${P99_MS} ms`, `median ${ms(p99[p99.length >> 1])}, lowest ${ms(p99[0])}, highest ${ms(p99.at(-1))} ms; ${late} of ${lines.length} above`, late === 0],
    ['CPU of the server', '', `${((1e6 * cpu_s) / events).toFixed(2)} µs an event, ${(cpu_s / seconds).toFixed(2)} processors`, null],
  ].map(([what, asked, found, met]) => [what, asked, found, met === null ? '' : met ? 'met' : '**missed**']);
  writeFileSync(path, `# Events over HTTP, for long

Written by \`bench/ingest ${process.argv.slice(2).join(' ')}\`; what is measured and how: [README.md](README.md#events-over-http).

${began.toISOString().slice(0, 16).replace('T', ' ')} UTC, revision ${revision}. ${machine()};
the load generator runs on the same processors, both at nice ${getPriority()}. Load average ${Math.min(...loads).toFixed(2)} to ${Math.max(...loads).toFixed(2)} (of a minute), mean
${(loads.reduce((a, b) => a + b, 0) / loads.length).toFixed(2)}: what is above 1 or so is other programs, which the latencies waited for.
Batches of ${form.batch} over ${form.connections} connections, each at its time, whether those before it were answered or not.
The disk synced ${big(floor.syncs_per_s)} times a second at the start, asked for nothing else.

${table(['', 'asked', 'found', ''], rows)}

Memory is resident, without the pages of files that are mapped: the system takes those back when it needs them. Where it is
twice the usual, parts were merged at that moment, or a second head was filled while the first was written.

${table(['s', 'events/s', 'p50 ms', 'p99 ms', 'longest ms', 'memory MB', 'of files MB', 'events stored', 'µs of CPU an event', 'load average'],
    lines.map((l) => [l.seconds.toFixed(0), big(rate(l.result)), ms(l.result.p50_us), ms(l.result.p99_us), ms(l.result.max_us), l.anon.toFixed(1), l.file.toFixed(1),
      big(l.stored), l.cpu_us.toFixed(2), l.load.toFixed(2)]))}
`);
}
