// An engine in a process of its own, spoken to as bench/engine.h says.
import { spawn } from 'node:child_process';

export class Engine {
  constructor(name, program, args) {
    this.name = name;
    this.start = () => {
      this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      this.held = Buffer.alloc(0);
      this.waiting = null;
      this.child.stdout.on('data', (chunk) => {
        this.held = this.held.length ? Buffer.concat([this.held, chunk]) : chunk;
        this.take();
      });
      this.ended = new Promise((resolve) => this.child.on('exit', (code, signal) => {
        this.waiting?.reject(new Error(`${name} ended (${signal ?? code})`));
        this.waiting = null;
        resolve(code);
      }));
    };
    this.start();
  }

  take() {
    const end = this.held.indexOf(10);
    if (end < 0 || !this.waiting) return;
    this.waiting.head ??= JSON.parse(this.held.subarray(0, end).toString());
    const { head, resolve, reject, text } = this.waiting;
    if (this.held.length < end + 1 + head.bytes) return;
    const body = this.held.subarray(end + 1, end + 1 + head.bytes).toString();
    this.held = this.held.subarray(end + 1 + head.bytes);
    this.waiting = null;
    if (head.error) reject(new Error(`${this.name}: ${head.error}\n  in: ${text}`));
    else resolve({ ...head, rows: body.split('\n').filter(Boolean).map((line) => JSON.parse(line)) });
  }

  /** {wall_ms, cpu_ms, before_kb, peak_kb, rows}; one call at a time. */
  call(command, text) {
    return this.send(command, text.replace(/\s+/g, ' ').trim());
  }

  /** A statement with the file that goes with it: for a server. */
  insert(text, file) {
    return this.send('insert', `${text}\n${file}`);
  }

  send(command, oneLine) {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject, text: oneLine, head: null };
      this.child.stdin.write(`${command} ${Buffer.byteLength(oneLine)}\n${oneLine}`);
    });
  }

  query(text) {
    return this.call('query', text);
  }

  async stop() {
    this.child.stdin.end();
    return this.ended;
  }
}
