/**
 * etcd v3 over its JSON gateway: POST requests over plain HTTP, answers and streams of JSON, 64-bit numbers as strings,
 * keys and values in base64. This file knows how to reach one of several members and what an error proves; what is
 * asked stands in etcd.ts, etcd-lease.ts and etcd-watch.ts.
 *
 * Calls go to the member that answered last. A call that it refuses or leaves unanswered is made at the next one, if
 * making it twice does no harm or it provably never left; each try has its deadline, and each member is tried once.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { z } from 'zod';

/** How long one member may take to answer; a linearizable read takes a round among them, an election a second. */
const TRY_MS_MAX = 2_000;
/** Records are small; an answer of this size is none of ours. */
const ANSWER_BYTES_MAX = 64 * 2 ** 20;
/** A single member is tried twice: the connection kept from the call before may have been closed meanwhile. */
const TRIES_MIN = 2;

/** gRPC status codes of an answer that may be another a moment later, or from another member. */
const TRANSIENT_CODES: readonly number[] = [1, 4, 14];
const NOT_FOUND_CODE = 5;

const ErrorAnswer = z.object({
  error: z.union([z.string(), z.object({ message: z.string() })]),
  code: z.int().optional(),
});

export class EtcdError extends Error {
  override readonly name = 'EtcdError';

  /** `code`: the gRPC status code where etcd answered. `isUnsent`: the call provably was never made. */
  constructor(
    message: string,
    readonly code?: number,
    readonly isUnsent = false,
  ) {
    super(message);
  }

  get isNotFound(): boolean {
    return this.code === NOT_FOUND_CODE;
  }

  /** Worth another try elsewhere: etcd did not decide about the call. */
  get isTransient(): boolean {
    return this.code === undefined || TRANSIENT_CODES.includes(this.code);
  }
}

export interface CallOptions<T> {
  readonly path: string;
  readonly body: unknown;
  readonly answer: z.ZodType<T>;
  /** Making the call twice is as good as making it once. */
  readonly isRepeatable: boolean;
  readonly tryMsMax?: number;
}

export interface StreamOptions<T> {
  readonly path: string;
  readonly body: unknown;
  readonly message: z.ZodType<T>;
  readonly onMessage: (message: T) => void;
}

export interface EtcdStream {
  /** Resolves when the stream is over, however it ended. */
  readonly ended: Promise<void>;
  close(): void;
}

export class EtcdGateway {
  readonly #endpoints: readonly string[];
  readonly #agent = new Agent({ keepAlive: true });
  /** The member that is asked first. */
  #preferred = 0;

  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** @throws EtcdError */
  async call<T>(options: CallOptions<T>): Promise<T> {
    const triesMax = Math.max(this.#endpoints.length, TRIES_MIN);
    for (let tries = 1; ; tries++) {
      const place = this.#preferred;
      try {
        return await this.#callAt(place, options);
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error;
        if (error.isTransient) this.#avoid(place);
        const mayRepeat = error.isUnsent || (options.isRepeatable && error.isTransient);
        if (tries >= triesMax || !mayRepeat) throw error;
      }
    }
  }

  /** Opens a stream of messages, one a line, at the preferred member; when it ends, another one is preferred. */
  stream<T>({ path, body, message, onMessage }: StreamOptions<T>): EtcdStream {
    const place = this.#preferred;
    // With this a member that lost the others ends its streams, instead of staying silent.
    const request = this.#post(place, path, body, { 'grpc-metadata-hasleader': 'true' });
    // The first message says that the stream is open, and comes at once.
    const opening = setTimeout(() => request.destroy(), TRY_MS_MAX).unref();
    const lines = new LineReader((line) => {
      clearTimeout(opening);
      const parsed = message.safeParse(parseJson(line));
      if (parsed.success) onMessage(parsed.data);
      else request.destroy();
    });
    request.on('socket', (socket) => socket.unref());
    request.on('response', (response) => {
      response.setEncoding('utf8').on('data', (text: string) => {
        if (!lines.push(text)) request.destroy();
      });
      response.on('error', () => request.destroy());
    });
    // Why it ended does not matter: whoever follows reads everything again, and meets what is wrong.
    request.on('error', () => request.destroy());
    const ended = new Promise<void>((resolve) => {
      request.on('close', () => {
        clearTimeout(opening);
        this.#avoid(place);
        resolve();
      });
    });
    return { ended, close: () => request.destroy() };
  }

  async #callAt<T>(place: number, { path, body, answer, tryMsMax = TRY_MS_MAX }: CallOptions<T>): Promise<T> {
    const { status, text } = await this.#exchange(place, path, body, tryMsMax);
    const content = parseJson(text);
    if (status !== 200) {
      const refusal = ErrorAnswer.safeParse(content).data;
      const reason = typeof refusal?.error === 'string' ? refusal.error : refusal?.error.message;
      throw new EtcdError(`${this.#endpoints[place]}${path}: ${reason ?? `HTTP status ${status}`}`, refusal?.code);
    }
    const parsed = answer.safeParse(content);
    if (parsed.success) return parsed.data;
    throw new EtcdError(`${this.#endpoints[place]}${path} answered what is not understood: ${text.slice(0, 200)}`);
  }

  #exchange(place: number, path: string, body: unknown, tryMsMax: number): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const request = this.#post(place, path, body);
      let isConnected = false;
      const fail = (reason: string): void => {
        clearTimeout(deadline);
        request.destroy();
        reject(new EtcdError(`${this.#endpoints[place]}${path}: ${reason}`, undefined, !isConnected));
      };
      const deadline = setTimeout(() => fail(`no answer within ${tryMsMax} ms`), tryMsMax).unref();
      request.on('socket', (socket) => {
        isConnected = !socket.connecting;
        // A connection that is used again would gather listeners that are never called.
        if (socket.connecting) {
          socket.once('connect', () => {
            isConnected = true;
          });
        }
      });
      request.on('error', (error) => fail(error.message));
      request.on('response', (response) => {
        readWhole(response).then(
          (text) => {
            clearTimeout(deadline);
            resolve({ status: response.statusCode ?? 0, text });
          },
          (error: Error) => fail(error.message),
        );
      });
    });
  }

  #post(place: number, path: string, body: unknown, headers: Record<string, string> = {}): ClientRequest {
    const bytes = Buffer.from(JSON.stringify(body));
    const request = httpRequest(`${this.#endpoints[place]}${path}`, {
      method: 'POST',
      agent: this.#agent,
      headers: { ...headers, 'content-type': 'application/json', 'content-length': bytes.length },
    });
    request.end(bytes);
    return request;
  }

  /** Calls from now on begin at the next member, unless another call moved on before. */
  #avoid(place: number): void {
    if (this.#preferred === place) this.#preferred = (place + 1) % this.#endpoints.length;
  }
}

/** Cuts text into lines. */
class LineReader {
  readonly #onLine: (line: string) => void;
  #partial = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** False when a line grows beyond its bound. */
  push(text: string): boolean {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) if (line !== '') this.#onLine(line);
    return this.#partial.length <= ANSWER_BYTES_MAX;
  }
}

async function readWhole(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // No schema of an answer takes that.
  }
}
