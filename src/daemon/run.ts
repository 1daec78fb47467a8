/**
 * Runs a node as this process: from its configuration to its exit status, with the signals in between.
 *
 * SIGTERM and SIGINT have others lead what the node leads, drain and exit with 0; SIGHUP reads the log level again.
 * With `--drain-on-stop` the node leaves its cluster before that. A signal that comes meanwhile ends the waiting;
 * another one exits at once with 1. A process that was started with a channel to its parent (`henge dev`,
 * tests) says over it when it is ready, and drains when the parent is gone. After a fatal error the status is never 0.
 */
import { optimizeLater } from './compiler.js';
import { ConfigError, type ConfigInput, type LoadedConfig, loadConfig } from './config.js';
import { Daemon } from './daemon.js';
import { createLog, type Logger } from './log.js';

/** What a parent with a channel is told once. */
export interface ReadyMessage {
  readonly kind: 'ready';
}

/**
 * Resolves when the node serves; the process then lives until it is told to end. Throws ConfigError for wrong settings.
 */
export async function runNode(loaded: LoadedConfig, input: ConfigInput): Promise<void> {
  optimizeLater();
  const log = createLog({ node: loaded.config.name, pid: process.pid }, loaded.config.logLevel);
  const die = (error: unknown): void => {
    log.fatal({ event: 'fatal', err: error }, 'the node ends');
    process.exit(1);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);

  const lifetime = new Lifetime(log);
  try {
    const daemon = await Daemon.start(loaded, log);
    lifetime.daemon = daemon;
    void daemon.left.then(() => lifetime.end('it has left the cluster'));
  } catch (error) {
    if (!(error instanceof ConfigError)) return die(error);
    // Anything that was opened so far must not keep the process.
    process.exitCode = 2;
    throw error;
  }
  process.on('SIGHUP', () => reloadLogLevel(lifetime.daemon, input, log));
  process.send?.({ kind: 'ready' } satisfies ReadyMessage);
}

class Lifetime {
  daemon: Daemon | undefined;
  /** While the node leaves its cluster before it stops. */
  #leaving: AbortController | undefined;
  #isEnding = false;

  constructor(private readonly log: Logger) {
    process.on('SIGTERM', () => void this.#onSignal('SIGTERM'));
    process.on('SIGINT', () => void this.#onSignal('SIGINT'));
    if (process.send) process.once('disconnect', () => this.end('end of the parent'));
  }

  async #onSignal(signal: string): Promise<void> {
    if (this.daemon === undefined || this.#isEnding || this.#leaving?.signal.aborted) process.exit(1);
    if (this.#leaving !== undefined) return this.#leaving.abort();
    this.#leaving = new AbortController();
    await this.daemon.prepareToStop(this.#leaving.signal);
    this.end(signal);
  }

  end(why: string): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.log.info({ event: 'ending', why }, `ending: ${why}`);
    if (this.daemon === undefined) process.exit(1);
    this.daemon.drain().then(
      () => process.exit(0),
      (error: unknown) => {
        this.log.fatal({ event: 'fatal', err: error }, 'draining failed');
        process.exit(1);
      },
    );
  }
}

function reloadLogLevel(daemon: Daemon | undefined, input: ConfigInput, log: Logger): void {
  try {
    daemon?.setLogLevel(loadConfig(input).config.logLevel);
  } catch (error) {
    log.error({ event: 'reload-failed', err: error }, 'the configuration cannot be read again; nothing changed');
  }
}
