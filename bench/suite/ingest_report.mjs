// bench/INGEST.md from what bench/ingest measured.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

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

const processor = () => /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';

export function report(path, { root, began, loadBefore, loadAfter, figures, rated, options, clickhouse }) {
  const loads = [...figures, ...rated].map((f) => f.load);
  const revision = execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const failures = [...figures, ...rated].filter((f) => f.failed).map((f) => `- ${f.name}, ${shape(f.batch)}, ${f.connections} connections: ${f.failed} requests failed, first: \`${f.failure.replace(/\s+/g, ' ').slice(0, 160)}\``);
  const bytes = (batch) => figures.find((f) => f.batch === batch)?.request_bytes;
  writeFileSync(path, `# Events a second over HTTP

Written by \`bench/ingest ${process.argv.slice(2).join(" ")}\`; what is measured and how: [README.md](README.md#events-over-http).

${began.toISOString().slice(0, 16).replace('T', ' ')} UTC, revision ${revision}. ${cpus().length} × ${processor()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()};
the load generator runs on the same processors. Load average ${loadBefore.map((v) => v.toFixed(2)).join(', ')} before, ${loadAfter.map((v) => v.toFixed(2)).join(', ')} after,
${Math.min(...loads).toFixed(2)} to ${Math.max(...loads).toFixed(2)} (of a minute) in between. ${options.seconds} s a figure behind ${options.warm} s to warm up. A request is ${big(bytes(1))} bytes with one
event, ${big(bytes(100))} with 100.${clickhouse ? ` ClickHouse ${clickhouse}.` : ' Without ClickHouse (`--clickhouse-server`).'}

## Goals

${goals(figures, rated)}

An hour's soak is a run of its own: \`bench/ingest --soak 1h\`.

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
