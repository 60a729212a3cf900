// Durable events a second over HTTP; bench/ingest calls this. Order: every figure with the disk's
// floor just before it, the servers in turn; at half the goals' load; the report. Or a soak.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { GOALS, report, revisionOf, soakReport } from './ingest_report.mjs';
import { BareServer, ClickHouseInsert, KeelServer } from './targets.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const BATCHES = [1, 100], FLOOR_SECONDS = 0.3, RATED_CONNECTIONS = 256, SOAK_CONNECTIONS = 16, SOAK_LINES = 60;
const FLAT_PERCENT = 5; // what memory may grow by from a soak's second quarter to its last
const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const TELLING_EVENTS = 8e6; // a dozen flushes of the head: shorter soaks see it fill
const execute = promisify(execFile);
const say = (text) => console.log(`${new Date().toISOString().slice(11, 19)}  ${text}`);

const secondsOf = (text) => {
  const m = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text);
  if (!m) throw new Error(`${text} is no duration such as 90s, 10m or 1h`);
  return Number(m[1]) * { s: 1, m: 60, h: 3600 }[m[2] ?? 's'];
};

function readOptions(argv) {
  const o = { seconds: '3', warm: '1', connections: '1,16,256', dir: join(root, 'build/bench/ingest'),
    'soak-rate': '20000' };
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].replace(/^--/, '');
    if (name === 'clickhouse-server') o[name] = true;
    else if (['seconds', 'warm', 'connections', 'dir', 'results', 'soak', 'soak-rate'].includes(name) && i + 1 < argv.length) o[name] = argv[++i];
    else throw new Error(`what is ${argv[i]}, or where is its value? See the head of bench/ingest`);
  }
  for (const n of ['seconds', 'warm', 'soak-rate']) o[n] = Number(o[n]);
  o.connections = o.connections.split(',').map(Number);
  if (o.soak) o.soak = secondsOf(o.soak);
  o.results ??= join(root, o.soak ? 'bench/SOAK.md' : 'bench/INGEST.md');
  return o;
}

/** {anon, file, peak} in MB of a process's resident memory. */
function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)[1]) / 1024;
  return { anon: mb('RssAnon'), file: mb('RssFile'), peak: mb('VmHWM') };
}

let first = 0; // message ids never repeat within a run

async function load(bench, target, { batch, connections, seconds, warm, rate }) {
  const { stdout } = await execute(join(bench.bin, 'bench_load'), [String(target.port), ...target.form(batch),
    '--batch', String(batch), '--connections', String(connections), '--seconds', String(seconds), '--warm', String(warm),
    '--rate', String(rate ?? 0), '--first', String(first), '--pid', String(target.pid)]);
  const result = JSON.parse(stdout);
  first += result.sent;
  return result;
}

const floorOf = (bench) => JSON.parse(execFileSync(join(bench.bin, 'bench_sync_floor'),
  [join(bench.place, 'floor'), String(FLOOR_SECONDS)], { encoding: 'utf8' }));

/** One figure. What was answered 200 must be stored, and nothing that was not sent. */
async function figure(bench, target, form) {
  const floor = floorOf(bench);
  await target.begin();
  const result = await load(bench, target, form);
  const stored = await target.stored();
  const figure = { ...form, ...result, name: target.name, floor, stored, memory: memory(target.pid), load: loadavg()[0] };
  await target.end();
  if (stored !== null && (stored < result.acknowledged || stored > result.sent)) {
    throw new Error(`${target.name}: ${result.acknowledged} events were answered 200, ${result.sent} were sent, ${stored} are stored`);
  }
  say(`${form.batch === 1 ? 'single events' : `batches of ${form.batch}`}, ${form.connections} connections${form.rate ? `, ${form.rate}/s asked` : ''}: `
    + `${target.name} ${Math.round(result.events / result.seconds)}/s, p99 ${(result.p99_us / 1000).toFixed(1)} ms, `
    + `floor ${floor.syncs_per_s}/s${result.failed ? `, ${result.failed} FAILED: ${result.failure.slice(0, 80)}` : ''}`);
  return figure;
}

async function compare(bench, options) {
  const peers = options['clickhouse-server'] ? await ClickHouseInsert.both(bench.place, bench, cpus().length) : [];
  const keel = new KeelServer(bench.place, bench);
  const targets = [keel, new BareServer(bench, cpus().length), ...peers];
  const began = new Date(), loadBefore = loadavg(), figures = [], rated = [];
  try {
    for (const batch of BATCHES) {
      for (const connections of options.connections) {
        for (const target of targets) figures.push(await figure(bench, target, { batch, connections, seconds: options.seconds, warm: options.warm }));
      }
    }
    for (const batch of BATCHES) {
      rated.push(await figure(bench, keel, { batch, connections: RATED_CONNECTIONS, rate: GOALS[batch].events / 2, seconds: 2 * options.seconds, warm: options.warm }));
    }
  } finally {
    await peers[0]?.stop();
  }
  report(options.results, { root, began, loadBefore, loadAfter: loadavg(), figures, rated, options, clickhouse: peers[0]?.server.version });
  say(`written: ${options.results}`);
}

/** Not the mean: a line that falls into a merge of parts has its memory, too. */
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Seconds of CPU that a process has used. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** A minute or so of a soak: latencies of it alone, and what the server holds then. */
async function stretch(bench, keel, form, before) {
  const cpu = cpuOf(keel.pid), result = await load(bench, keel, form);
  const line = { seconds: before.seconds + result.seconds, ...memory(keel.pid), stored: await keel.stored(), load: loadavg()[0], result };
  line.cpu_us = (1e6 * (cpuOf(keel.pid) - cpu)) / (line.stored - before.stored);
  console.log([line.seconds.toFixed(0), (result.events / result.seconds).toFixed(0), (result.p50_us / 1000).toFixed(2), (result.p99_us / 1000).toFixed(2),
    (result.max_us / 1000).toFixed(1), line.anon.toFixed(1), line.file.toFixed(1), line.stored, line.cpu_us.toFixed(2), line.load.toFixed(2)].join('\t'));
  return line;
}

async function soak(bench, options) {
  const keel = new KeelServer(bench.place, bench);
  await keel.begin();
  const began = new Date(), revision = revisionOf(root), floor = floorOf(bench), lines = [], quarter = SOAK_LINES / 4;
  const form = { batch: 100, connections: SOAK_CONNECTIONS, seconds: options.soak / SOAK_LINES, warm: 0, rate: options['soak-rate'] };
  say(`${form.rate} events/s in batches of ${form.batch} for ${options.soak} s; the disk: ${floor.syncs_per_s} syncs/s`);
  console.log('seconds\tevents_s\tp50_ms\tp99_ms\tmax_ms\tresident_mb\tof_files_mb\tstored\tcpu_us_an_event\tload');
  while (lines.length < SOAK_LINES) lines.push(await stretch(bench, keel, form, lines.at(-1) ?? { seconds: 0, stored: 0 }));
  const peak = memory(keel.pid).peak, stored = await keel.stored();
  await keel.end();
  const anon = lines.map((l) => l.anon), second = median(anon.slice(quarter, 2 * quarter)), last = median(anon.slice(-quarter));
  const growth = 100 * (last / second - 1), flat = stored < TELLING_EVENTS ? null : growth <= FLAT_PERCENT;
  const acknowledged = lines.reduce((sum, l) => sum + l.result.acknowledged, 0);
  say(`${acknowledged} events acknowledged, ${stored} stored; resident memory without files: ${second.toFixed(1)} MB in the second quarter (median), `
    + `${last.toFixed(1)} MB in the last (${growth.toFixed(1)} %): ${{ null: 'too few events to say more', true: 'flat', false: 'NOT FLAT' }[flat]}`);
  soakReport(options.results, { revision, began, options, form, floor, lines, acknowledged, stored, peak, second, last, growth, flat });
  say(`written: ${options.results}`);
  if (stored < acknowledged || flat === false) process.exitCode = 1;
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  const place = join(resolve(options.dir), 'keel-ingest');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  const bench = { place, bin: join(root, 'build/release/bench'), keel: join(root, 'build/keel') };
  try {
    await (options.soak ? soak : compare)(bench, options);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

await main().catch((error) => {
  console.error(`bench/ingest: ${error.message}`);
  process.exitCode = 1;
});
process.exit(); // ends what an error left running
