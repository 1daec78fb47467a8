/** The primary process of a simulated node: the real control plane, on the model of a registry. */
import { type ControlEnv, type ControlLease, ControlPlane } from '../../../src/cluster/control/index.js';
import {
  type ClusterReport,
  installationOf,
  MemberRecord,
  memberKey,
  type RecordKey,
  type RegistryAbsence,
  type RegistryRecord,
  rowsOf,
  TopologyRecord,
  type TopologyView,
} from '../../../src/cluster/index.js';
import type { NativeArena } from '../../../src/store/index.js';
import { type InstallOptions, install, mutatedPut, mutatedView } from './mutations.js';
import type { SimWorld } from './parts.js';
import type { Stored } from './registry.js';
import type { Event } from './schedule.js';

const KEEP_ALIVE_PARTS = 3;

/** The node that the process runs on. */
interface Host {
  readonly world: SimWorld;
  readonly name: string;
  readonly arena: NativeArena;
  readonly monoMs: number;
  readonly installOptions: InstallOptions;
  setClock(): void;
  setFence(deadlineMs: number): void;
  startWorkers(view: TopologyView): void;
  adoptAll(view: TopologyView): void;
  log(event: string, details: Readonly<Record<string, unknown>>): void;
}

export class ControlProcess {
  readonly #node: Host;
  readonly #timers = new Set<Event>();
  readonly #watches: { close(): void }[] = [];
  #plane: ControlPlane | undefined;
  #isDead = false;
  #isPaused = false;
  /** What was due while it was paused. */
  #held: (() => void)[] = [];

  constructor(node: Host) {
    this.#node = node;
  }

  start(): void {
    this.#readTopology();
  }

  kill(): void {
    this.#isDead = true;
    for (const timer of this.#timers) timer.isCancelled = true;
    for (const watch of this.#watches) watch.close();
  }

  /** Gives its lease up. */
  close(): void {
    this.#plane?.close(() => {});
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** What was due meanwhile comes in the order in which it was: a watch tells nothing in another one. */
  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    this.#later(0, () => {
      for (const run of held) if (!this.#isDead) run();
    });
  }

  reported(report: ClusterReport): void {
    this.#later(0.1, () => this.#plane?.onReport(report));
  }

  learned(view: TopologyView): void {
    this.#later(0.1, () => this.#plane?.onPeerView(view));
  }

  replaceWorkers(): void {
    if (this.#plane !== undefined) this.#node.startWorkers(this.#plane.view);
  }

  get #registry(): SimWorld['registry'] {
    return this.#node.world.registry;
  }

  #later(delayMs: number, run: () => void): Event {
    const event = this.#node.world.schedule.after(delayMs, () => {
      this.#timers.delete(event);
      if (this.#isDead) return;
      if (this.#isPaused) this.#held.push(run);
      else run();
    });
    this.#timers.add(event);
    return event;
  }

  /** Wraps an answer of the registry: it comes when the process runs, and not to a dead one. */
  #guarded<T>(done: (answer: T) => void): (answer: T) => void {
    return (answer) => void this.#later(0, () => done(answer));
  }

  #readTopology(): void {
    const { name } = this.#node;
    this.#registry.get(
      name,
      'topology',
      this.#guarded((topology) => {
        if (topology === 'unreachable' || topology === undefined) {
          this.#later(200, () => this.#readTopology());
          return;
        }
        this.#registry.list(
          name,
          'members/',
          this.#guarded((members) => {
            if (members === 'unreachable') this.#later(200, () => this.#readTopology());
            else this.#begin(topology, members);
          }),
        );
      }),
    );
  }

  #begin(topology: Stored, members: [string, Stored][]): void {
    const node = this.#node;
    const own = MemberRecord.parse(members.find(([key]) => key === memberKey(node.name))?.[1].value);
    this.#plane = new ControlPlane(
      this.#env(),
      {
        name: node.name,
        incarnation: node.arena.incarnation,
        rf: node.world.options.rf,
        isFencing: node.world.options.onPartition === 'fence',
        ttlMs: node.world.options.ttlMs,
        graceMs: node.world.options.graceMs,
        rejoinWindowMs: node.world.options.graceMs,
      },
      { value: TopologyRecord.parse(topology.value), revision: topology.revision },
    );
    for (const [key, stored] of members) this.#plane.onRecord(recordOf(key, stored));
    const isFounding =
      (own.incarnation === '' && this.#plane.view.epoch === 1) || node.world.mutations.has('coldIsWarm');
    node.setClock();
    const view = mutatedView(this.#plane.view, node.world.mutations);
    install(installationOf(view, isFounding, rowsOf(view, this.#node.arena.slots)), node.installOptions);
    if (own.incarnation === '') this.#nameMemory(own, members);
    for (const prefix of ['topology', 'coordinator', 'members/', 'alive/']) {
      this.#watches.push(
        this.#registry.watch(
          node.name,
          prefix,
          (key, stored) => void this.#later(0, () => this.#plane?.onRecord(recordOf(key, stored))),
        ),
      );
    }
    this.#plane.start();
    node.startWorkers(this.#plane.view);
  }

  /** The first start of a member says which memory is its. */
  #nameMemory(own: MemberRecord, members: [string, Stored][]): void {
    const revision = members.find(([key]) => key === memberKey(own.name))?.[1].revision ?? 0;
    const value = { ...own, incarnation: this.#node.arena.incarnation };
    this.#registry.put(this.#node.name, { key: memberKey(own.name), value, revision }, () => {});
  }

  #env(): ControlEnv {
    const node = this.#node;
    return {
      monoMs: () => node.monoMs,
      setTimer: (delayMs, run) => this.#later(delayMs, run),
      clearTimer: (timer) => {
        (timer as Event).isCancelled = true;
      },
      get: (key, done) =>
        this.#registry.get(
          node.name,
          key,
          this.#guarded((stored) => {
            if (stored === 'unreachable') done(undefined);
            else done(stored === undefined ? {} : { record: recordOf(key, stored) as RegistryRecord });
          }),
        ),
      put: (request, done) =>
        this.#registry.put(
          node.name,
          mutatedPut(request, node.world.mutations),
          this.#guarded((outcome) =>
            done(outcome.kind === 'put' ? { kind: 'done', revision: outcome.revision } : outcome),
          ),
        ),
      openLease: (ttlMs, lost, done) => this.#openLease(ttlMs, lost, done),
      probe: (member, timeoutMs, done) => node.world.probe(node.name, member, timeoutMs, this.#guarded(done)),
      setFence: (deadlineMs) => node.setFence(deadlineMs),
      adopt: (view) => node.adoptAll(view),
      log: (event, details) => node.log(`control.${event}`, details),
    };
  }

  #openLease(ttlMs: number, lost: () => void, done: (lease: ControlLease | undefined) => void): void {
    const node = this.#node;
    const sentAtMs = node.monoMs;
    this.#registry.openLease(
      node.name,
      ttlMs,
      this.#guarded((id) => {
        if (id === 'unreachable') return done(undefined);
        const held = new Map<RecordKey, number>();
        let validUntilMs = sentAtMs + ttlMs;
        let isOver = false;
        const end = (): void => {
          if (isOver) return;
          isOver = true;
          lost();
        };
        const keepAlive = (): void => {
          if (isOver) return;
          const atMs = node.monoMs;
          this.#registry.keepAlive(
            node.name,
            id,
            this.#guarded((isKept) => {
              if (isKept === true) validUntilMs = Math.max(validUntilMs, atMs + ttlMs);
              if (isKept === false || node.monoMs > validUntilMs) end();
              else this.#later(ttlMs / KEEP_ALIVE_PARTS, keepAlive);
            }),
          );
        };
        this.#later(ttlMs / KEEP_ALIVE_PARTS, keepAlive);
        done({
          hold: (key, value, then) =>
            this.#registry.hold(
              node.name,
              { lease: id, key, value: value as { incarnation?: string } },
              this.#guarded((revision) => {
                if (typeof revision === 'number') held.set(key, revision);
                then(revision === 'unreachable' ? undefined : revision !== false);
              }),
            ),
          heldRevision: (key) => (isOver ? undefined : held.get(key)),
          get validUntilMs() {
            return validUntilMs;
          },
          close: (then) => {
            isOver = true;
            this.#registry.revoke(id);
            then();
          },
        });
      }),
    );
  }
}

function recordOf(key: string, stored: Stored | undefined): RegistryRecord | RegistryAbsence {
  if (stored === undefined) return { key: key as RecordKey, revision: 0, value: undefined };
  return { key: key as RecordKey, revision: stored.revision, value: stored.value };
}
