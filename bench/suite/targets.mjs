// The servers of bench/ingest. Each: name; form(batch) → arguments of bench_load; begin(), end()
// around one figure; pid; stored() → events that it holds, or null where it keeps none.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClickHouseServer } from './server.mjs';

const START_SECONDS = 60, KEY = 'bench_write_key';

/** Waits until found() gives something; what: for the message. */
async function until(what, child, found) {
  for (let i = 0; i < START_SECONDS * 50; i++) {
    const value = found();
    if (value) return value;
    if (child.exitCode !== null) break;
    await sleep(20);
  }
  throw new Error(`${what} does not start`);
}

async function stop(child, signal) {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.on('exit', resolve));
  child.kill(signal);
  await ended;
}

/** `keel serve` as it is configured without a file: durability = "commit". */
export class KeelServer {
  constructor(place, tools) {
    this.name = 'Keel';
    this.dir = join(place, 'keel');
    this.log = join(place, 'keel.log');
    this.program = tools.keel;
    process.on('exit', () => this.child?.kill('SIGKILL')); // also after an error or a signal
  }

  form(batch) {
    return [batch === 1 ? '/v1/track' : '/v1/batch', '--key', KEY];
  }

  /** A new directory each time: a figure does not pay for what the one before it left behind. */
  async begin() {
    rmSync(this.dir, { recursive: true, force: true });
    execFileSync(this.program, ['init', this.dir], { stdio: 'ignore' });
    execFileSync(this.program, ['source', 'add', 'bench', '--data', this.dir, '--key', KEY], { stdio: 'ignore' });
    const log = openSync(this.log, 'w');
    this.child = spawn(this.program, ['serve', '--data', this.dir, '--listen', '127.0.0.1:0'],
      { stdio: ['ignore', 'ignore', log], env: { ...process.env, KEEL_SERVER_PUBLIC_METRICS: 'true', KEEL_LOG_FORMAT: 'json' } });
    closeSync(log);
    this.pid = this.child.pid;
    const at = /"the server listens".*"port":(\d+)/;
    this.port = Number(await until(`keel serve (${this.log})`, this.child, () => at.exec(readFileSync(this.log, 'utf8'))?.[1]));
  }

  async metric(name) {
    const text = await (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)[1]);
  }

  async stored() {
    return this.metric('keel_store_events');
  }

  async end() {
    await stop(this.child, 'SIGTERM');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** bench/bare.c: HTTP and nothing else. */
export class BareServer {
  constructor(tools, threads) {
    this.name = 'bare HTTP';
    this.program = join(tools.bin, 'bench_bare');
    this.threads = threads;
    process.on('exit', () => this.child?.kill('SIGKILL'));
  }

  form(batch) {
    return [batch === 1 ? '/v1/track' : '/v1/batch'];
  }

  async begin() {
    this.child = spawn(this.program, [String(this.threads)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    this.child.stdout.on('data', (text) => { said += text; });
    this.pid = this.child.pid;
    this.port = Number(await until('bench_bare', this.child, () => said.trim()));
  }

  async stored() {
    return null;
  }

  async end() {
    await stop(this.child, 'SIGKILL');
  }
}

const COLUMNS = 'messageId String, userId String, type String, event String, timestamp DateTime';
const NO_LIMIT = 1e9; // of parts: it refuses inserts beyond 300 of them, which small inserts reach at once

/** Debian's ClickHouse; into its table, or into a Buffer table before it, which is memory. */
export class ClickHouseInsert {
  static async both(place, tools, threads) {
    mkdirSync(place, { recursive: true });
    const server = new ClickHouseServer(place, tools, threads);
    await server.start();
    return [new ClickHouseInsert(server, 'ClickHouse 18', 'events'), new ClickHouseInsert(server, 'ClickHouse 18, Buffer', 'buffered')];
  }

  constructor(server, name, table) {
    Object.assign(this, { server, name, table });
    this.pid = server.server.pid;
    this.port = server.port;
    this.program = 'clickhouse-server';
  }

  form() {
    const query = `INSERT INTO ${this.table} FORMAT JSONEachRow`;
    const how = new URLSearchParams({ query, input_format_skip_unknown_fields: 1, date_time_input_format: 'best_effort' });
    return [`/?${how}`, '--format', 'lines'];
  }

  async begin() {
    const ask = (sql) => this.server.engine.query(sql);
    await ask('DROP TABLE IF EXISTS buffered');
    await ask('DROP TABLE IF EXISTS events');
    await ask(`CREATE TABLE events (${COLUMNS}) ENGINE = MergeTree PARTITION BY toYYYYMM(timestamp)
      ORDER BY (userId, timestamp) SETTINGS parts_to_delay_insert = ${NO_LIMIT}, parts_to_throw_insert = ${NO_LIMIT}`);
    await ask(`CREATE TABLE buffered (${COLUMNS}) ENGINE = Buffer(default, events, 16, 10, 100, 10000, 1000000, 10000000, 100000000)`);
  }

  async stored() {
    return Number((await this.server.engine.query(`SELECT count() FROM ${this.table}`)).rows[0][0]);
  }

  async end() {
    await this.server.engine.query('DROP TABLE buffered'); // writes into the other
    await this.server.engine.query('DROP TABLE events');
  }

  async stop() {
    await this.server.engine.stop();
  }
}
