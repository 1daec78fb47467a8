/**
 * A second host for tests: a network namespace joined to this one by a pair of veth devices, whose link can be cut.
 * Both ends' addresses stand on loopback devices, so that a cut link costs no host its own address. Cut, packets
 * vanish, as they do in a partition; nobody is told.
 *
 * Addresses are of 198.18.0.0/15, which is set aside for tests of this kind.
 */
import { spawnSync } from 'node:child_process';

const ip = (...words: readonly string[]): boolean => spawnSync('ip', words, { stdio: 'ignore' }).status === 0;

const TRIAL = `henge-trial-${process.pid}`;
export const mayPartition = ip('netns', 'add', TRIAL) && ip('netns', 'del', TRIAL);
if (!mayPartition) console.warn('skipped: partitions, for this process may not make network namespaces (ip netns add)');

export class TestNetwork implements Disposable {
  /** To be given to `ip netns exec`. */
  readonly namespace = `henge-${process.pid}`;
  readonly nearAddress = `198.18.${process.pid % 256}.1`;
  readonly farAddress = `198.18.${process.pid % 256}.2`;
  readonly #nearDevice = `hn${process.pid}`;
  readonly #farDevice = `hf${process.pid}`;
  readonly #remove = (): void => {
    // Devices go with their namespace too, but a while later, and the next network of this process has the same names.
    ip('link', 'del', this.#nearDevice);
    ip('netns', 'del', this.namespace);
    ip('address', 'del', `${this.nearAddress}/32`, 'dev', 'lo');
  };

  constructor() {
    process.once('exit', this.#remove);
    const [near, far] = [this.#nearDevice, this.#farDevice];
    this.#must('netns', 'add', this.namespace);
    this.#must('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', this.namespace);
    this.#must('address', 'add', `${this.nearAddress}/32`, 'dev', 'lo');
    this.#must('link', 'set', near, 'up');
    this.#must('route', 'add', `${this.farAddress}/32`, 'dev', near, 'src', this.nearAddress);
    this.#must('-n', this.namespace, 'link', 'set', 'lo', 'up');
    this.#must('-n', this.namespace, 'address', 'add', `${this.farAddress}/32`, 'dev', 'lo');
    this.mend();
  }

  /** At the far end: at the near one packets would take another way. */
  cut(): void {
    this.#must('-n', this.namespace, 'link', 'set', this.#farDevice, 'down');
  }

  mend(): void {
    const [device, source] = [this.#farDevice, this.farAddress];
    this.#must('-n', this.namespace, 'link', 'set', device, 'up');
    this.#must('-n', this.namespace, 'route', 'add', `${this.nearAddress}/32`, 'dev', device, 'src', source);
  }

  [Symbol.dispose](): void {
    this.#remove();
    process.off('exit', this.#remove);
  }

  #must(...words: readonly string[]): void {
    const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
  }
}
