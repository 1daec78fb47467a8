/** A real etcd of one or three members for tests: on loopback, its data in a temporary folder that goes with it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const isEtcdInstalled = spawnSync('etcd', ['--version']).status === 0;
if (!isEtcdInstalled && process.env.CI === 'true') throw new Error('CI needs etcd: apt-get install etcd-server');
if (!isEtcdInstalled) console.warn('skipped: registries in etcd, which is not installed (etcd-server)');

const READY_MS_MAX = 30_000;
/**
 * Short elections, so that a test of losing the leader is short; leases of a second are the shortest etcd then grants.
 */
const TIMES = ['--heartbeat-interval=50', '--election-timeout=500'];

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  process: ChildProcess;
}

export class TestEtcd implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'henge-etcd-'));
  readonly #members: Member[] = [];

  /** A run that was broken off must not leave servers behind. */
  readonly #killAll = () => {
    for (const { process } of this.#members) process.kill('SIGKILL');
  };

  private constructor() {
    process.once('exit', this.#killAll);
  }

  static async start(size: 1 | 3 = 1, host = '127.0.0.1'): Promise<TestEtcd> {
    const etcd = new TestEtcd();
    const ports = await freePorts(2 * size, host);
    const plans = Array.from({ length: size }, (_, index) => ({
      name: `m${index}`,
      clientUrl: `http://${host}:${ports[2 * index]}`,
      peerUrl: `http://${host}:${ports[2 * index + 1]}`,
    }));
    const all = plans.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
    for (const plan of plans) etcd.#members.push({ ...plan, process: etcd.#spawn(plan, all) });
    await etcd.ready();
    return etcd;
  }

  get urls(): readonly string[] {
    return this.#members.map(({ clientUrl }) => clientUrl);
  }

  get url(): string {
    return this.#member(0).clientUrl;
  }

  /** Resolves when every member that was not killed serves. */
  async ready(): Promise<void> {
    for (const { clientUrl, process } of this.#members) {
      if (process.killed) continue;
      const untilMs = performance.now() + READY_MS_MAX;
      while (!(await isHealthy(clientUrl))) {
        if (performance.now() > untilMs) throw new Error(`etcd at ${clientUrl} does not serve`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Stops a member, and resolves when none of its threads runs any more. */
  async pause(index = 0): Promise<void> {
    const { process } = this.#member(index);
    process.kill('SIGSTOP');
    const tasks = `/proc/${process.pid}/task`;
    const isStopped = (task: string): boolean => /\) T /.test(readFileSync(join(tasks, task, 'stat'), 'utf8'));
    while (!readdirSync(tasks).every(isStopped)) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  resume(index = 0): void {
    this.#member(index).process.kill('SIGCONT');
  }

  async kill(index = 0): Promise<void> {
    const { process } = this.#member(index);
    process.kill('SIGKILL');
    if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
  }

  /** Starts a single killed member again, over its data or, `afresh`, without any. */
  async restart({ isAfresh = false } = {}): Promise<void> {
    const member = this.#member(0);
    if (isAfresh) rmSync(join(this.#folder, member.name), { recursive: true });
    member.process = this.#spawn(member, `${member.name}=${member.peerUrl}`);
    await this.ready();
  }

  /** Asks the gateway of a member that is not killed; for what a test does behind the registry's back. */
  async ask(path: string, body: unknown): Promise<Record<string, unknown>> {
    const url = this.#members.find(({ process }) => !process.killed)?.clientUrl ?? '';
    return ask(url, path, body);
  }

  /** The place of the member that leads. */
  async leader(): Promise<number> {
    const status = await this.ask('/v3/maintenance/status', {});
    const ids = await Promise.all(this.urls.map(async (url) => memberId(await ask(url, '/v3/maintenance/status', {}))));
    return ids.indexOf(String(status.leader));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map((_, index) => this.kill(index)));
    rmSync(this.#folder, { recursive: true, force: true });
    process.off('exit', this.#killAll);
  }

  #member(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new RangeError(`etcd has no member ${index}`);
    return member;
  }

  #spawn({ name, clientUrl, peerUrl }: Omit<Member, 'process'>, all: string): ChildProcess {
    const options = {
      name,
      'data-dir': join(this.#folder, name),
      'listen-client-urls': clientUrl,
      'advertise-client-urls': clientUrl,
      'listen-peer-urls': peerUrl,
      'initial-advertise-peer-urls': peerUrl,
      'initial-cluster': all,
      logger: 'zap',
      'log-level': 'fatal',
    };
    const words = Object.entries(options).map(([option, value]) => `--${option}=${value}`);
    return spawn('etcd', [...words, ...TIMES], { stdio: 'ignore' });
  }
}

const memberId = (status: Record<string, unknown>): string => (status.header as { member_id: string }).member_id;

async function ask(url: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  return (await response.json()) as Record<string, unknown>;
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) });
    return ((await response.json()) as { health?: string }).health === 'true';
  } catch {
    return false; // Not up yet.
  }
}

/** Ports that were free a moment ago; all bound at once, so that they differ. */
async function freePorts(count: number, host: string): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, host));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
