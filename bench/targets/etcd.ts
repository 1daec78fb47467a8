/** An etcd of one member, on loopback, its data in a folder of its own: it may be killed and started again over it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from '../suite.js';
import { freePort, launch, type Target, versionOf } from './process.js';

export interface Etcd {
  /** For --registry. */
  readonly location: string;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startEtcd(context: Context): Promise<Etcd> {
  context.version('etcd', /\d+(\.\d+)+/.exec(versionOf('etcd', ['--version']) ?? '')?.[0] ?? 'unknown');
  const folder = await mkdtemp(join(tmpdir(), 'henge-bench-etcd-'));
  context.defer(() => rm(folder, { recursive: true, force: true }));
  const [port, peerPort] = [await freePort(), await freePort()];
  const [url, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  const settings = {
    name: 'bench',
    'data-dir': join(folder, 'data'),
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `bench=${peerUrl}`,
    logger: 'zap',
    'log-level': 'fatal',
  };
  const words = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const begin = () => launch({ name: 'etcd', command: 'etcd', words, port, readyUrl: `${url}/health` });
  let target: Target | undefined = await begin();
  const stop = async () => {
    await target?.stop();
    target = undefined;
  };
  context.defer(stop);
  return {
    location: `etcd:${url}`,
    kill: async () => {
      if (target !== undefined) process.kill(target.pid, 'SIGKILL');
      await stop();
    },
    restart: async () => {
      target = await begin();
    },
    stop,
  };
}
