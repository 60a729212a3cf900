// Debian's ClickHouse (18.16), as a server that this script starts on a loopback port and stops.
//
// It has no codecs, window functions, ASOF joins or bitmaps: forms of SQL that it refuses are left
// out, forms that it takes must give the right answer. Its loopback HTTP is part of what is measured.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Engine } from './engine.mjs';

const LAYOUTS = {
  'by customer': { table: 'by_customer', order: '(customer_id, ts)', partition: '' },
  'by event': { table: 'by_event', order: '(event, toDate(ts), customer_id)', partition: 'PARTITION BY toYYYYMM(ts)' },
};
const START_SECONDS = 60;

const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

export class ClickHouseServer {
  constructor(place, tools, threads) {
    this.name = 'ClickHouse 18';
    this.dir = join(place, 'clickhouse-server');
    this.program = join(tools.bin, 'bench_peer');
    this.threads = threads;
    this.lenient = true;
    process.on('exit', () => this.server?.kill()); // also after an error or a signal
  }

  async configure() {
    this.port = await freePort();
    const tcp = await freePort();
    mkdirSync(join(this.dir, 'data'), { recursive: true });
    writeFileSync(join(this.dir, 'config.xml'), `<yandex><logger><level>warning</level><log>${this.dir}/log</log>
      <errorlog>${this.dir}/errors</errorlog></logger><http_port>${this.port}</http_port><tcp_port>${tcp}</tcp_port>
      <listen_host>127.0.0.1</listen_host><path>${this.dir}/data/</path><tmp_path>${this.dir}/tmp/</tmp_path>
      <users_config>users.xml</users_config><default_profile>default</default_profile>
      <default_database>default</default_database><mark_cache_size>1073741824</mark_cache_size>
      <max_connections>1024</max_connections><max_concurrent_queries>1024</max_concurrent_queries>
      <keep_alive_timeout>60</keep_alive_timeout></yandex>`);
    writeFileSync(join(this.dir, 'users.xml'), `<yandex><profiles><default><max_threads>${this.threads}</max_threads>
      <max_memory_usage>16000000000</max_memory_usage></default></profiles><users><default><password></password>
      <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
      <quotas><default></default></quotas></yandex>`);
  }

  async start() {
    await this.configure();
    this.server = spawn('clickhouse-server', [`--config-file=${join(this.dir, 'config.xml')}`],
      { stdio: 'ignore', env: { ...process.env, TZ: 'UTC' } });
    const ended = new Promise((resolve) => this.server.on('exit', resolve));
    for (let i = 0; ; i++) {
      const up = await fetch(`http://127.0.0.1:${this.port}/ping`).catch(() => null);
      if (up?.ok) break;
      if (i > START_SECONDS * 10 || this.server.exitCode !== null) throw new Error(`clickhouse-server does not start: see ${this.dir}/errors`);
      await sleep(100);
    }
    const client = new Engine(this.name, this.program, ['server', String(this.port), String(this.server.pid), '0']);
    this.engine = client;
    const stopClient = client.stop.bind(client);
    client.stop = async () => {
      await stopClient();
      this.server.kill();
      await ended;
    };
    this.version = (await client.query('SELECT version()')).rows[0][0];
  }

  async load(csv, values, files, layout, table) {
    const text = (v) => v.map((x, i) => `'${x.replaceAll("'", "\\'")}' = ${i - 120}`).join(', ');
    const name = (n) => `${n} Enum8(${text(values[n])})`;
    const sum = { wall_ms: 0, cpu_ms: 0, peak_kb: 0 };
    const add = (r) => {
      sum.wall_ms += r.wall_ms;
      sum.cpu_ms += r.cpu_ms;
      sum.peak_kb = Math.max(sum.peak_kb, r.peak_kb);
    };
    await this.engine.query(`DROP TABLE IF EXISTS ${table}`);
    await this.engine.query(`CREATE TABLE ${table} (customer_id UInt32, ts DateTime, ${name('event')}, ${name('channel')},
      ${name('device')}, ${name('country')}, ${name('campaign')}, product UInt32, ${name('category')}, revenue UInt32)
      ENGINE = MergeTree ${layout.partition} ORDER BY ${layout.order}`);
    for (const file of files) add(await this.engine.insert(`INSERT INTO ${table} FORMAT CSV`, join(csv, file)));
    add(await this.engine.query(`OPTIMIZE TABLE ${table} FINAL`));
    return sum;
  }

  async loadAll(csv, values) {
    const cost = {};
    for (const [name, layout] of Object.entries(LAYOUTS)) {
      cost[name] = await this.load(csv, values, ['base.csv', 'fresh.csv'], layout, layout.table);
      const [[bytes, rows]] = (await this.engine.query(`SELECT sum(bytes_on_disk), sum(rows) FROM system.parts
        WHERE active AND table = '${layout.table}'`)).rows;
      cost[name].bytes = Number(bytes);
      cost[name].rows = Number(rows);
    }
    return cost;
  }

  candidates(query, fresh) {
    if (fresh) return [];
    return Object.entries(query.clickhouse).flatMap(([form, sql]) =>
      Object.entries(LAYOUTS).map(([layout, { table }]) => ({ form, layout,
        sql: sql.replaceAll(/\bEV\b/g, table).replaceAll(/(toDateTime\([^()]*), 'UTC'\)/g, '$1)') })));
  }

  timelineWhole(customer) {
    return `SELECT * FROM by_customer WHERE customer_id = ${customer} ORDER BY ts DESC LIMIT 100`;
  }

  files() {
    return [join(this.dir, 'data')];
  }
}
