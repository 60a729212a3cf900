// Keel in the benchmark: filled by its own command line, asked in its own process (keel_bench).
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from './engine.mjs';

const shell = (script) => execFileSync('bash', ['-o', 'pipefail', '-c', script],
  { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', maxBuffer: 1 << 26 });

export class Keel {
  constructor(place, tools, threads) {
    this.name = 'Keel';
    this.tools = tools;
    this.place = place;
    this.threads = threads;
    this.version = execFileSync(tools.keel, ['version'], { encoding: 'utf8' }).trim();
  }

  dir(fresh) {
    return join(this.place, fresh ? 'keel-fresh' : 'keel');
  }

  async start(values, fresh = false) {
    this.engine = new Engine(fresh ? 'Keel, fresh' : 'Keel', join(this.tools.bin, 'keel_bench'),
      [this.dir(fresh), String(this.threads)]);
    await this.engine.call('at', String(values.asked_ts * 1000));
    return this;
  }

  /** `source` | keel import, measured, without the compaction behind it; what the command said goes to `log`. */
  import(dir, source) {
    const cost = join(this.place, 'import.json');
    const said = shell(`${source} | ${this.tools.bin}/bench_timed ${cost} ${this.tools.keel} import --quiet --no-compact --data ${dir} --segment -`);
    return { ...JSON.parse(readFileSync(cost, 'utf8')), said: said.trim() };
  }

  importFile(dir, file) {
    rmSync(dir, { recursive: true, force: true });
    this.init(dir);
    const cost = join(this.place, 'import.json');
    shell(`${this.tools.bin}/bench_timed ${cost} ${this.tools.keel} import --quiet --data ${dir} --segment ${file}`);
    return JSON.parse(readFileSync(cost, 'utf8'));
  }

  init(dir) {
    execFileSync(this.tools.keel, ['init', dir, '--time-zone', 'UTC', '--currency', 'EUR']);
  }

  /** All events imported and every month merged, as idle time would. */
  load(sources) {
    const dir = this.dir(false);
    rmSync(dir, { recursive: true, force: true });
    this.init(dir);
    const cost = this.import(dir, sources.all), merge = this.compact(dir);
    return { ...cost, merge_wall_ms: merge.wall_ms, merge_cpu_ms: merge.cpu_ms };
  }

  compact(dir) {
    const cost = join(this.place, 'compact.json');
    shell(`${this.tools.bin}/bench_timed ${cost} ${this.tools.keel} compact --data ${dir}`);
    return JSON.parse(readFileSync(cost, 'utf8'));
  }

  /** The same, but what came last is left as the import left it, and the late logins are not rewritten. */
  loadFresh(sources) {
    const dir = this.dir(true);
    rmSync(dir, { recursive: true, force: true });
    this.init(dir);
    this.import(dir, sources.base);
    this.compact(dir);
    this.import(dir, sources.fresh);
    this.import(dir, sources.links);
  }

  /** Bytes by column as `keel doctor --sizes` counts them: {"every event.times": bytes, …}; what it finds
   * wrong goes to `faults`. */
  sizes() {
    const regions = {};
    const { stdout } = spawnSync(this.tools.keel, ['doctor', this.dir(false), '--sizes'], { encoding: 'utf8', maxBuffer: 1 << 26 });
    this.faults = stdout.split('\n').filter((line) => line.startsWith('FAULT'));
    for (const line of stdout.split('\n')) {
      const m = /^\s*(\d+)\s+[\d.]+\s+(.*)$/.exec(line);
      if (m) regions[m[2]] = Number(m[1]);
    }
    return regions;
  }

  bytes() {
    const below = (path) => (!existsSync(path) ? 0 : statSync(path).isDirectory()
      ? readdirSync(path).reduce((sum, n) => sum + below(join(path, n)), 0) : statSync(path).size);
    return { parts: below(join(this.dir(false), 'parts')), journal: below(join(this.dir(false), 'journal')),
      total: below(this.dir(false)) };
  }

  /** A question by the command line: a process that opens the store, answers, ends. */
  ask(text, values) {
    const cost = join(this.place, 'query.json');
    const at = new Date(values.asked_ts * 1000).toISOString();
    execFileSync(join(this.tools.bin, 'bench_timed'), [cost, this.tools.keel, 'query', '--data', this.dir(false),
      '--at', at, '--format', 'json', text.replace(/\s+/g, ' ').trim()], { stdio: ['ignore', 'ignore', 'inherit'] });
    return JSON.parse(readFileSync(cost, 'utf8'));
  }

  files() {
    return [this.dir(false)];
  }
}

/** Rows as objects by the names of the columns, which the reply's first row holds. */
export const named = (rows) => {
  const [names, ...rest] = rows;
  return rest.map((row) => Object.fromEntries(names.map((n, i) => [n, row[i]])));
};
