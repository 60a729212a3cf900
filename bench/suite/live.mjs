// Runs bench_live, then the same segments as SQL in ClickHouse, and writes bench/LIVE.md.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { Engine } from './engine.mjs';

const [data, peer, ...options] = process.argv.slice(2);
const { bin, command } = process.env;
const LIBRARY = 'build/bench/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so';
const THREADS = 2;

const loadBefore = loadavg()[0];
const own = JSON.parse(execFileSync(join(bin, 'bench_live'), [join(data, 'keel'), ...options, '--peer', peer === 'yes' ? '1' : '0']));

/** Sizes and CPU of all segments, computed once. */
async function recompute() {
  const engine = new Engine('ClickHouse', join(bin, 'bench_peer'), ['clickhouse', LIBRARY, join(data, 'clickhouse'), THREADS]);
  await engine.query(`CREATE TABLE events (customer UInt32 CODEC(Delta, ZSTD(1)), t Int64 CODEC(Delta, ZSTD(1)),
    event LowCardinality(String), category LowCardinality(String), revenue UInt32 CODEC(ZSTD(1)))
    ENGINE = MergeTree ORDER BY (event, customer, t)`);
  await engine.query(`INSERT INTO events SELECT * FROM file('${join(process.cwd(), data, 'keel.csv')}', CSV,
    'customer UInt32, t Int64, event String, category String, revenue UInt32')`);
  await engine.query('OPTIMIZE TABLE events FINAL');
  const segments = readFileSync(join(data, 'keel.sql'), 'utf8').trim().split('\n').map((line) => line.split('\t'));
  const sum = { segments: segments.length, cpu_ms: 0, wall_ms: 0 };
  for (const [size, sql] of segments) {
    const r = await engine.query(sql);
    if (Number(r.rows[0][0]) !== Number(size)) throw new Error(`Keel has ${size}, ClickHouse ${r.rows[0][0]}: ${sql}`);
    sum.cpu_ms += r.cpu_ms;
    sum.wall_ms += r.wall_ms;
  }
  await engine.stop();
  return sum;
}

const other = peer === 'yes' ? await recompute() : null;
const n = (value, digits = 0) => value.toLocaleString('en', { maximumFractionDigits: digits });
const perSecond = own.live_cpu_s / own.seconds;
const priority = own.realtime ? '; at real-time priority, before what else ran' : '';
const lines = [
  '# Live segments',
  '',
  'Written by `bench/live`; what is measured is described in [live.c](live.c).',
  '',
  `\`${command.trim()}\` on ${cpus().length} × ${cpus()[0].model.trim()}; load before: ${loadBefore.toFixed(1)} (from 1 on a core, times of the clock say little)${priority}`,
  '',
  '| | |',
  '|---|---|',
  `| segments, different conditions in them | ${n(own.segments)}, ${n(own.leaves)} |`,
  `| history, customers | ${n(own.history)} events, ${n(own.customers)} |`,
  `| first scan, all segments | ${n(own.first_scan_ms)} ms |`,
  `| events a second, for | ${n(own.rate)}, ${own.seconds} s |`,
  `| from commit to membership | p50 ${n(own.p50_ms, 1)} ms, p99 ${n(own.p99_ms, 1)} ms, most ${n(own.max_ms, 1)} ms |`,
  `| CPU of following, filing and telling | ${n(own.live_cpu_s, 2)} s: ${n(perSecond * 100, 0)} % of one core, ${n(own.live_cpu_s / (own.rate * own.seconds) * 1e6, 1)} µs an event |`,
  `| changes told | ${n(own.changes)} |`,
  `| timelines asked | ${n(own.asked)} |`,
  `| memory of the conditions and members | ${n(own.live_bytes / 2 ** 20)} MiB |`,
  `| a segment saved in between has its members of all of it after | ${n(own.backfill_ms)} ms; meanwhile from commit to membership p99 ${n(own.backfill_p99_ms, 1)} ms, most ${n(own.backfill_max_ms, 1)} ms |`,
  `| preview of an unsaved condition of five, over ${n(own.history + own.rate * own.seconds)} events | ${n(own.preview_ms, 1)} ms, CPU ${n(own.preview_cpu_ms, 1)} ms |`,
];
if (other) {
  lines.push(`| ClickHouse (chDB), all ${n(other.segments)} segments once over the history alone | CPU ${n(other.cpu_ms / 1e3, 2)} s, ${n(other.wall_ms / 1e3, 2)} s |`,
    `| so CPU of recomputing once is that of following for | ${n(other.cpu_ms / 1e3 / perSecond, 1)} s |`, '',
    `All sizes are equal. The goal is a p99 of 50 ms: ${own.p99_ms < 50 ? 'met' : 'not met in this run'}. Recomputing every minute would take ` +
    `${n(other.cpu_ms / 1e3 / (perSecond * 60), 2)} times the CPU of following, every ten seconds ${n(other.cpu_ms / 1e3 / (perSecond * 10), 2)} times.`);
}
writeFileSync('bench/LIVE.md', `${lines.join('\n')}\n`);
console.log(lines.join('\n'));
