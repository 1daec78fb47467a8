/**
 * Shows the demonstration while it runs: takes the figures a few times a second, and draws a panel in a terminal, or
 * writes a line a second where there is none. What it looks like stands in view.ts.
 */

import { readProgress } from '../src/cli/operator.js';
import { type ClusterReport, type NodeReport, readCluster } from '../src/cli/report.js';
import { duration, type Paint, Panel, type Screen } from '../src/cli/terminal.js';
import type { RebalanceStatus } from '../src/cluster/index.js';
import type { Henge } from '../src/index.js';
import { SLOTS } from '../src/ring/index.js';
import type { Origin } from './origin.js';
import type { Traffic } from './traffic.js';
import { type Frame, type NodeView, panel, plainLine, type Sample } from './view.js';

const FRAME_MS = 250;
/** Without a terminal, a line is written every so many frames. */
const FRAMES_PER_LINE = 4;
const SAMPLES_MAX = 60;

export interface Stage {
  readonly client: Henge;
  readonly traffic: Traffic;
  readonly origin: Origin;
  readonly durationMs: number;
  readonly screen: Screen;
  readonly paint: Paint;
}

export class Show {
  nodeNames: readonly string[] = [];
  private readonly stage: Stage;
  private readonly panel: Panel | undefined;
  private readonly events: string[] = [];
  private readonly samples: Sample[] = [];
  private nodes: readonly NodeView[] = [];
  private move: RebalanceStatus | undefined;
  private nodesReadAt = performance.now();
  private reportBefore: ClusterReport | undefined;
  private readonly before = { at: 0, requests: 0, hits: 0, lookups: 0 };
  private beganAt = 0;
  private framesShown = 0;
  private isOver = false;
  private showing: Promise<void> = Promise.resolve();
  private reading: Promise<void> | undefined;

  constructor(stage: Stage) {
    this.stage = stage;
    this.panel = stage.screen.isTerminal ? new Panel(process.stdout) : undefined;
  }

  begin(): void {
    this.beganAt = performance.now();
    this.before.at = this.beganAt;
    this.showing = this.run();
  }

  /** The last frame, once the traffic has ended. */
  async end(): Promise<Frame> {
    const elapsedMs = performance.now() - this.beganAt;
    this.isOver = true;
    await this.showing;
    await this.reading;
    await this.readNodes();
    const frame = this.frame(elapsedMs);
    this.panel?.draw([]);
    this.panel?.close();
    // All of it, however small the screen: it may scroll now.
    if (this.panel !== undefined) for (const line of panel(frame, this.stage.paint)) process.stdout.write(`${line}\n`);
    return frame;
  }

  tell(event: string): void {
    this.events.push(event);
    if (this.panel === undefined) this.say(event);
  }

  /** Since the beginning, for events. */
  time(): string {
    return duration(performance.now() - this.beganAt);
  }

  private say(line: string): void {
    process.stdout.write(`  ${line}\n`);
  }

  private async run(): Promise<void> {
    while (!this.isOver) {
      // A node that does not answer is waited for; the show goes on.
      this.reading ??= this.readNodes().finally(() => {
        this.reading = undefined;
      });
      await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
      if (this.isOver) return;
      this.sample();
      const frame = this.frame(performance.now() - this.beganAt);
      const { screen, paint } = this.stage;
      if (this.panel !== undefined) this.panel.draw(panel(frame, paint, screen.rows - 1));
      else if (++this.framesShown % FRAMES_PER_LINE === 0) this.say(plainLine(frame));
    }
  }

  private sample(): void {
    const now = performance.now();
    const { requests, hits } = this.stage.traffic.tally;
    const { lookups } = this.stage.origin;
    const seconds = (now - this.before.at) / 1000;
    this.samples.push({
      perSecond: (requests - this.before.requests) / seconds,
      hitRatio: (hits - this.before.hits) / Math.max(1, requests - this.before.requests),
      originPerSecond: (lookups - this.before.lookups) / seconds,
    });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    Object.assign(this.before, { at: now, requests, hits, lookups });
  }

  /** A node that does not answer just now keeps its last figures. */
  private async readNodes(): Promise<void> {
    const report = await readCluster(this.stage.client).catch(() => undefined);
    if (report === undefined) return;
    const takenAt = performance.now();
    const seconds = (takenAt - this.nodesReadAt) / 1000;
    const last = new Map(this.nodes.map((node) => [node.name, node]));
    const earlier = new Map(this.reportBefore?.nodes.map((node) => [node.name, node]));
    this.nodes = report.nodes.map((node) => nodeView(node, earlier.get(node.name), last.get(node.name), seconds));
    this.nodeNames = report.nodes.map((node) => node.name);
    this.reportBefore = report;
    this.nodesReadAt = takenAt;
    const topology = await this.stage.client.topology().catch(() => undefined);
    this.move = topology?.next && (await readProgress(topology).catch(() => undefined));
  }

  private frame(elapsedMs: number): Frame {
    const { tally, latencies, hitLatencies, missLatencies } = this.stage.traffic;
    const of = (measured: typeof latencies) => ({ p50: measured.percentile(50), p99: measured.percentile(99) });
    return {
      elapsedMs,
      durationMs: this.stage.durationMs,
      tally,
      all: of(latencies),
      hits: of(hitLatencies),
      misses: of(missLatencies),
      samples: this.samples,
      nodes: this.nodes,
      move: this.move,
      events: this.events,
    };
  }
}

function nodeView(
  now: NodeReport,
  earlier: NodeReport | undefined,
  last: NodeView | undefined,
  seconds: number,
): NodeView {
  const share = now.slots / SLOTS;
  if (!now.isAnswering)
    return { ...(last ?? { items: 0, bytes: 0 }), name: now.name, state: now.state, share, perSecond: 0 };
  const operations = earlier === undefined || !earlier.isAnswering ? now.operations : earlier.operations;
  return {
    name: now.name,
    state: now.state,
    share,
    items: now.items,
    bytes: now.bytes,
    perSecond: Math.max(0, (now.operations - operations) / seconds),
  };
}
