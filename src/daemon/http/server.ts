/**
 * The HTTP face of a node, in the primary process: health, metrics, topology, single keys, and the dashboard.
 *
 * It is a door for people, probes and scripts, not the fast way to the data: a key goes through our own client and the
 * data port, so that the primary process never touches the store's data.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../log.js';
import type { Metrics } from '../metrics.js';
import type { HostPort } from '../units.js';
import { serveCache } from './cache.js';
import { ClusterFigures } from './figures.js';
import { changeMembers, MEMBERS_PATH } from './members.js';
import type { NodeState } from './node-state.js';
import { directRebalance, REBALANCE_PATH } from './rebalance.js';
import { HttpError, respond, respondJson } from './respond.js';

/** Probes, scrapes, some dashboards, an application or two; the data port is for more. */
const CONNECTIONS_MAX = 1_000;
const HEADERS_MS_MAX = 10_000;
/** A value of 16 MiB over a slow line. */
const REQUEST_MS_MAX = 60_000;
const KEEPALIVE_MS = 30_000;
const CACHE_PATH = '/v1/cache/';

export interface HttpServerOptions {
  readonly node: NodeState;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export class HttpServer {
  readonly #server: Server;
  readonly #node: NodeState;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #figures: ClusterFigures;
  readonly #dashboard = readFileSync(new URL('./dashboard.html', import.meta.url));

  constructor({ node, metrics, log }: HttpServerOptions) {
    this.#node = node;
    this.#metrics = metrics;
    this.#log = log;
    this.#figures = new ClusterFigures(node);
    const limits = { headersTimeout: HEADERS_MS_MAX, requestTimeout: REQUEST_MS_MAX, keepAliveTimeout: KEEPALIVE_MS };
    this.#server = createServer(limits, (request, response) => void this.#serve(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Resolves to the address bound. */
  listen({ host, port }: HostPort): Promise<HostPort> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.off('error', reject);
        resolve({ host, port: (this.#server.address() as AddressInfo).port });
      });
    });
  }

  /** Requests under way end; keep-alive connections are closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      if (response.headersSent) {
        response.destroy();
      } else if (error instanceof HttpError) {
        // What was not read of a refused body would be taken for the next request.
        if (!request.complete) response.setHeader('connection', 'close');
        respondJson(response, error.status, { error: error.message, ...(error.code && { code: error.code }) });
      } else {
        this.#log.error({ event: 'http-failed', method: request.method, err: error }, 'HTTP request failed');
        respondJson(response, 500, { error: 'internal error' });
      }
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.url ?? '/';
    const path = target.split('?', 1)[0] ?? '/';
    const query = new URLSearchParams(target.slice(path.length));
    if (path.startsWith(CACHE_PATH)) {
      return serveCache({ request, response, rawKey: path.slice(CACHE_PATH.length), query, node: this.#node });
    }
    if (path.startsWith(MEMBERS_PATH)) {
      const words = path.slice(MEMBERS_PATH.length).split('/');
      return changeMembers({ request, response, words, query, node: this.#node });
    }
    if (path.startsWith(REBALANCE_PATH)) {
      const action = path.slice(REBALANCE_PATH.length);
      return directRebalance({ request, response, action, query, node: this.#node });
    }
    const answer = this.#pages[path];
    if (answer === undefined) throw new HttpError(404, `there is nothing at ${path}`);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      throw new HttpError(405, `${request.method} is not offered at ${path}`);
    }
    return answer(response);
  }

  readonly #pages: Readonly<Record<string, (response: ServerResponse) => void | Promise<void>>> = {
    // The event loop turns, or this would not be answered.
    '/livez': (response) => respond(response, 200, 'text/plain; charset=utf-8', 'ok\n'),
    '/readyz': (response) => {
      const reasons = this.#node.reasonsNotReady();
      respondJson(response, reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons });
    },
    '/metrics': async (response) => respond(response, 200, this.#metrics.contentType, await this.#metrics.text()),
    '/v1/topology': (response) => respondJson(response, 200, this.#node.topology),
    '/v1/rebalance': (response) => respondJson(response, 200, this.#node.rebalance),
    '/v1/cluster': async (response) => respondJson(response, 200, await this.#figures.read()),
    '/': (response) => respond(response, 200, 'text/html; charset=utf-8', this.#dashboard),
  };
}
