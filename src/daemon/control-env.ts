/**
 * The control plane's world in a daemon: a registry's promises made callbacks, real time, real sockets, real workers.
 */
import type { ControlEnv, ControlLease, Lease, Registry, TopologyView } from '../cluster/index.js';
import type { NativeArena } from '../store/index.js';
import type { Logger } from './log.js';
import { type Prober, probeMember } from './probe.js';
import { monotonicMs } from './registry/clock.js';

export interface ControlEnvParts {
  readonly registry: Registry;
  readonly arena: NativeArena;
  readonly log: Logger;
  readonly prober: Prober;
  readonly adopt: (view: TopologyView) => void;
}

export function daemonControlEnv({ registry, arena, log, prober, adopt }: ControlEnvParts): ControlEnv {
  return {
    monoMs: monotonicMs,
    setTimer: (delayMs, run) => setTimeout(run, delayMs),
    clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
    get: (key, done) => {
      registry.get(key).then(
        (record) => done(record === undefined ? {} : { record }),
        (error: unknown) => {
          log.warn({ event: 'registry-failed', key, err: error }, 'the registry did not answer');
          done(undefined);
        },
      );
    },
    put: ({ key, value, revision, guard }, done) => {
      registry.put(key, value, revision, guard).then(
        (published) => done(published === undefined ? { kind: 'refused' } : { kind: 'done', revision: published }),
        (error: unknown) => {
          log.warn({ event: 'registry-failed', key, err: error }, 'the registry did not answer');
          done({ kind: 'unknown' });
        },
      );
    },
    openLease: (ttlMs, lost, done) => {
      registry.openLease(ttlMs).then(
        (lease) => {
          void lease.lost.then(lost);
          done(controlLease(lease, log));
        },
        (error: unknown) => {
          log.warn({ event: 'registry-failed', err: error }, 'no lease: the registry did not answer');
          done(undefined);
        },
      );
    },
    probe: (member, timeoutMs, done) => {
      void probeMember(prober, member, timeoutMs).then((result) => {
        const answer = typeof result === 'string' ? result : 'answered';
        log.debug({ event: 'probe', of: member.name, address: member.address, answer }, 'a member was probed');
        done(result);
      });
    },
    setFence: (deadlineMs) => arena.setFence(Math.floor(deadlineMs)),
    adopt,
    log: (event, details) => log.info({ event, ...details }, sentenceFor(event)),
  };
}

export function controlLease(lease: Lease, log: Logger): ControlLease {
  return {
    hold: (key, value, done) => {
      lease.hold(key, value).then(done, (error: unknown) => {
        log.warn({ event: 'registry-failed', key, err: error }, 'a leased record could not be written');
        done(undefined);
      });
    },
    heldRevision: (key) => (lease.isLost ? undefined : lease.heldRevision(key)),
    get validUntilMs() {
      return lease.validUntilMs;
    },
    close: (done) => {
      lease.close().then(done, (error: unknown) => {
        log.warn({ event: 'registry-failed', err: error }, 'the lease could not be given back, and will lapse');
        done();
      });
    },
  };
}

const SENTENCES: Readonly<Record<string, string>> = {
  lease: 'the node has a lease',
  'no-lease': 'the node has no lease',
  'lease-lost': 'the lease is lost: the registry is out of reach, or took it away',
  'name-held': "another process holds this node's name",
  coordinator: 'this node coordinates the cluster',
  publish: 'a new epoch',
};

const sentenceFor = (event: string): string => SENTENCES[event] ?? event;
