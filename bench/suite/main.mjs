// The whole benchmark; bench/run calls it. Order: data, loading, answers compared, measuring, report.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { difference, normalise } from './answers.mjs';
import { makeData } from './data.mjs';
import { Keel, named } from './keel.mjs';
import { ClickHouse, DuckDB } from './peers.mjs';
import { report } from './report.mjs';
import { ClickHouseServer } from './server.mjs';

const bench = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const root = resolve(bench, '..');
const DAY = 86400, WEEK = 7 * DAY;
const FINALISTS = 2; // candidates of a peer that go into the rounds

// ---- options ----

const scaled = (text) => {
  const m = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text);
  if (!m) throw new Error(`${text} is no number such as 20M`);
  return Math.round(Number(m[1]) * { '': 1, k: 1e3, M: 1e6 }[m[2]]);
};

function readOptions(argv) {
  const o = { events: '20M', rounds: '7', cold: '3', threads: '2', peers: 'clickhouse,duckdb', seed: '1',
    results: bench };
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].replace(/^--/, '');
    if (['keep-going', 'clickhouse-server', 'merged-only'].includes(name)) o[name] = true;
    else if (['events', 'customers', 'rounds', 'cold', 'threads', 'peers', 'queries', 'data', 'results',
      'seed', 'sample', 'forms'].includes(name) && i + 1 < argv.length) o[name] = argv[++i];
    else throw new Error(`bench/run: what is ${argv[i]}? See the head of bench/run`);
  }
  o.events = scaled(o.events);
  o.customers = o.customers ? scaled(o.customers) : Math.round(o.events / 16);
  o.sample = o.sample ? scaled(o.sample) : Math.min(o.events, 1e6);
  for (const n of ['rounds', 'cold', 'threads']) o[n] = Number(o[n]);
  if (o.forms) o.finalists = readFinalists(o.forms);
  return o;
}

const say = (text) => console.log(`${new Date().toISOString().slice(11, 19)}  ${text}`);

// ---- steps ----

async function readQueries(options, values) {
  const names = readdirSync(join(bench, 'queries')).filter((n) => n.endsWith('.mjs')).sort();
  const wanted = options.queries?.split(',');
  const out = [];
  for (const file of names) {
    const id = file.slice(0, 3);
    if (wanted && !wanted.includes(id)) continue;
    const make = (await import(join(bench, 'queries', file))).default;
    out.push({ id, ...make({ start: values.start_ts, end: values.asked_ts, DAY, WEEK }) });
  }
  return out;
}

/** Loads what a --data folder does not have yet; the costs are kept beside it. */
async function once(place, name, load) {
  const path = join(place, `${name}.json`);
  if (!existsSync(path)) {
    say(`loading: ${name}`);
    writeFileSync(path, JSON.stringify((await load()) ?? {}));
  }
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** What went into the rounds of the run that wrote this results.csv: Set of "data,query,engine,form,layout". */
function readFinalists(path) {
  const rows = readFileSync(path, 'utf8').trim().split('\n').map((line) => line.match(/("[^"]*"|[^,]*)(?:,|$)/g)
    .map((cell) => cell.replace(/,$/, '').replace(/^"|"$/g, '')));
  return new Set(rows.map((row) => row.slice(0, 5).join()));
}

async function run(engine, what, options) {
  try {
    return await engine.query(what, options);
  } catch (error) {
    return { error: error.message };
  }
}

/** Every candidate of every peer, or those of `wanted`: are the answers Keel's? Which are the fastest? */
async function compare(queries, keel, peers, fresh, wanted) {
  const tries = wanted ? 1 : 2;
  const failures = [];
  for (const q of queries) {
    const mine = await run(keel.engine, q.keel);
    q.answer = mine.error ? null : normalise(q.keelRows(named(mine.rows)), q);
    if (mine.error) failures.push({ query: q.id, engine: 'Keel', why: mine.error });
    q.finalists = [];
    for (const peer of peers) {
      const tried = [];
      for (const candidate of peer.candidates(q, fresh)) {
        const name = [fresh ? 'fresh' : 'merged', q.id, peer.name, candidate.form, candidate.layout].join();
        if (wanted && !wanted.has(name)) continue;
        let best = null;
        for (let i = 0; i < tries; i++) {
          const r = await run(peer.engine, candidate.sql);
          if (r.error && peer.lenient) break;
          if (r.error) {
            failures.push({ query: q.id, engine: peer.name, form: candidate.form, why: r.error });
            best = null;
            break;
          }
          const theirs = normalise(q.peerRows ? q.peerRows(r.rows) : r.rows, q);
          // Without Keel's answer the peers are still compared with each other.
          if (q.answer === null) q.answer = theirs;
          const why = q.compare === false ? null : difference(q.answer, theirs, q);
          if (why) {
            failures.push({ query: q.id, engine: peer.name, form: `${candidate.form} (${candidate.layout})`, why });
            best = null;
            break;
          }
          if (!best || r.cpu_ms < best.cpu_ms) best = r;
        }
        if (best) tried.push({ peer, ...candidate, probe: { wall_ms: best.wall_ms, cpu_ms: best.cpu_ms } });
      }
      tried.sort((a, b) => a.probe.cpu_ms - b.probe.cpu_ms);
      (q.tried ??= []).push(...tried);
      q.finalists.push(...tried.slice(0, FINALISTS));
    }
    q.agrees = !failures.some((f) => f.query === q.id);
    say(`${q.id}  ${q.agrees ? 'answers agree' : 'DIFFERS'}  (${q.answer?.length ?? 0} rows)  ${q.title}`);
  }
  for (const f of failures) say(`${f.query}  ${f.engine}${f.form ? `, ${f.form}` : ''}: ${f.why}`);
  return failures;
}

const keep = (list, r) => list.push({ wall_ms: r.wall_ms, cpu_ms: r.cpu_ms, peak_kb: r.peak_kb, before_kb: r.before_kb });

/** A, B, C, A, B, C …: every round asks every engine every question; who begins changes. */
async function measure(queries, keel, rounds) {
  for (let round = 0; round < rounds; round++) {
    for (const q of queries) {
      const turns = [
        () => keel.engine.query(q.keel).then((r) => keep(q.keelRuns ??= [], r)),
        ...q.finalists.map((f) => () => f.peer.engine.query(f.sql).then((r) => keep(f.runs ??= [], r))),
      ];
      for (let i = 0; i < turns.length; i++) await turns[(i + round) % turns.length]();
    }
    say(`round ${round + 1} of ${rounds}, load ${loadavg()[0].toFixed(1)}`);
  }
}

/** Drops the page cache of an engine's own files: dd tells the kernel that it needs them no more. */
function forget(paths) {
  for (const path of paths) {
    if (!existsSync(path)) continue;
    if (statSync(path).isDirectory()) {
      forget(readdirSync(path).map((n) => join(path, n)));
    } else {
      execFileSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'],
        { stdio: ['ignore', 'ignore', 'ignore'] });
    }
  }
}

/** Each question by a process that has just started, with the engine's files out of the page cache.
 * Not for servers, which take seconds to stop and start. */
async function measureCold(queries, keel, peers, values, rounds) {
  for (let round = 0; round < rounds; round++) {
    for (const q of queries) {
      for (const engine of [keel, ...peers.filter((p) => !p.lenient)]) {
        await engine.engine.stop();
        forget(engine.files());
        await engine.start(values);
        const best = q.finalists.filter((f) => f.peer === engine).sort((a, b) => a.median - b.median)[0];
        if (engine !== keel && !best) continue;
        const r = await engine.engine.query(engine === keel ? q.keel : best.sql);
        keep(engine === keel ? (q.keelCold ??= []) : (best.cold ??= []), r);
      }
    }
    say(`cold round ${round + 1} of ${rounds}`);
  }
}

async function measureSmall(keel, peers, values) {
  const out = { nothing: {}, timeline: {} };
  const engines = [[keel.name, keel.engine], ...peers.map((p) => [p.name, p.engine])];
  for (const [name] of engines) { out.nothing[name] = []; out.timeline[name] = []; }
  for (let i = 0; i < 101; i++) {
    for (const [name, engine] of engines) {
      const r = await engine.query(name === keel.name ? 'total of events on 1999-01-01' : 'SELECT 1');
      if (i > 0) keep(out.nothing[name], r);
    }
  }
  for (let round = 0; round < 2; round++) {
    for (const [customer, id] of values.people) {
      const mine = await keel.engine.call('timeline', id);
      if (round) keep(out.timeline[keel.name], mine);
      for (const peer of peers) {
        const whole = await peer.engine.query(peer.timelineWhole(customer));
        if (round) keep(out.timeline[peer.name], whole);
        if (!round && whole.rows.length !== mine.rows.length) {
          throw new Error(`Q15: customer ${customer} (${id}) has ${mine.rows.length} events in Keel, ${whole.rows.length} in ${peer.name}`);
        }
      }
    }
  }
  return out;
}

async function measureIngest(keel, peers, place, csv, rounds) {
  const file = join(csv, 'sample.ndjson'), out = [];
  const lines = Number(execFileSync('wc', ['-l', file], { encoding: 'utf8' }).split(' ')[0]);
  const bytes = statSync(file).size;
  for (let round = 0; round < rounds; round++) {
    keep((out[0] ??= { engine: 'Keel', form: 'import, all kept, identity resolved, journal on', runs: [] }).runs,
      keel.importFile(join(place, 'keel-ingest'), file));
    let at = 1;
    for (const peer of peers.filter((p) => p.ingest)) {
      const { setup, forms, check } = peer.ingest(file);
      for (const [form, sql] of Object.entries(forms)) {
        for (const s of setup) await peer.engine.query(s);
        keep((out[at++] ??= { engine: peer.name, form, runs: [] }).runs, await peer.engine.query(sql));
        const [[rows]] = (await peer.engine.query(check)).rows;
        if (Number(rows) !== lines) throw new Error(`${peer.name}, ${form}: ${rows} rows of ${lines}`);
      }
      await peer.engine.query('DROP TABLE ingest');
    }
  }
  rmSync(join(place, 'keel-ingest'), { recursive: true, force: true });
  return { lines, bytes, rows: out };
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  const place = resolve(options.data ?? join(root, 'build/bench/data'));
  const tools = { keel: join(root, 'build/keel'), bin: join(root, 'build/release/bench'),
    modules: join(root, 'build/bench/node_modules') };
  mkdirSync(place, { recursive: true });
  const began = new Date(), load = [loadavg()[0]];

  say(`simulating ${options.events} events of ${options.customers} people`);
  const data = makeData(place, tools, options);
  data.values.fresh_from_ts = await freshFrom(data);
  const queries = await readQueries(options, data.values);
  const keel = new Keel(place, tools, options.threads);
  const peers = [];
  if (options.peers.includes('clickhouse')) peers.push(new ClickHouse(place, tools, options.threads));
  if (options.peers.includes('duckdb')) peers.push(new DuckDB(place, tools, options.threads));
  if (options['clickhouse-server']) peers.push(new ClickHouseServer(place, tools, options.threads));
  for (const peer of peers) await peer.start(data.values);

  const loads = { Keel: await once(place, 'load-Keel', () => keel.load(data.sources)) };
  for (const peer of peers) loads[peer.name] = await once(place, `load-${peer.name}`, () => peer.loadAll(data.csv, data.values));
  await keel.start(data.values);

  let failures = await compare(queries, keel, peers, false, options.finalists);
  if (failures.length && !options['keep-going']) return finish(1);
  const agreed = queries.filter((q) => q.agrees);
  await measure(agreed, keel, options.rounds);
  const small = await measureSmall(keel, peers, data.values);
  for (const q of agreed) for (const f of q.finalists) f.median = f.runs?.map((r) => r.cpu_ms).sort((a, b) => a - b)[Math.floor((f.runs.length - 1) / 2)];
  await measureCold(agreed, keel, peers, data.values, options.cold);
  await keel.engine.stop();
  for (const q of agreed) q.cli = keel.ask(q.keel, data.values);
  load.push(loadavg()[0]);

  const sizes = keel.sizes();
  failures.push(...keel.faults.map((why) => ({ query: 'doctor', engine: 'Keel', why })));
  const ingest = await measureIngest(keel, peers, place, data.csv, 3);

  const freshAgreed = [];
  if (!options['merged-only']) {
    // The same once more, with 5 % fresh unmerged rows and 1 % merged customers.
    await once(place, 'fresh-Keel', () => keel.loadFresh(data.sources));
    for (const peer of peers.filter((p) => p.loadFresh)) await once(place, `fresh-${peer.name}`, () => peer.loadFresh(data.csv, data.values));
    await keel.start(data.values, true);
    const freshQueries = await readQueries(options, data.values);
    const freshFailures = await compare(freshQueries, keel, peers, true, options.finalists);
    failures = [...failures, ...freshFailures.map((f) => ({ ...f, query: `${f.query} fresh` }))];
    if (freshFailures.length && !options['keep-going']) return finish(1);
    freshAgreed.push(...freshQueries.filter((q) => q.agrees));
    await measure(freshAgreed, keel, options.rounds);
    load.push(loadavg()[0]);
  }

  report({ options, began, load, data, queries, agreed, freshAgreed, failures, loads, small, sizes, ingest, keel, peers });
  say(`written: ${join(options.results, 'RESULTS.md')}, results.csv`);
  return finish(failures.length ? 1 : 0);

  async function finish(code) {
    for (const e of [keel, ...peers]) await e.engine?.stop();
    if (!options.data) rmSync(place, { recursive: true, force: true });
    if (code) say('FAILED: answers differ, see above');
    process.exitCode = code;
  }
}

/** The time of the first fresh event: bounds of the small inserts. */
async function freshFrom(data) {
  const text = execFileSync('bash', ['-c', `head -1 ${join(data.csv, 'fresh.csv')} | cut -d, -f2`], { encoding: 'utf8' });
  return Number(text);
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
await main();
