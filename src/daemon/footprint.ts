/**
 * What a node leaves on its machine for the daemon that comes after it: a small file that says which processes serve,
 * on which port, with what memory. Kept next to the registry's records, or, where the registry is no folder, in one of
 * the user's own for temporary files.
 *
 * Written whole under another name and then renamed. Its reader believes nothing of it but what /proc confirms.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { type Config, ConfigError } from './config.js';
import { ProcessMark } from './processes.js';
import { parseRegistryLocation } from './registry/location.js';

const Footprint = z.object({
  name: z.string(),
  incarnation: z.string(),
  bootId: z.string(),
  /** The data port, as it was bound. */
  port: z.int(),
  /** What the memory was made for; a daemon with other settings cannot use it. */
  memory: z.int(),
  maxValue: z.int(),
  rf: z.int(),
  arena: z.string().optional(),
  primary: ProcessMark,
  workers: z.array(ProcessMark),
});
export type Footprint = Readonly<z.infer<typeof Footprint>>;

export class FootprintFile {
  readonly path: string;

  constructor({ name, registry }: Pick<Config, 'name' | 'registry'>) {
    this.path = join(folderFor(registry), `${name}.json`);
  }

  /** Undefined when there is none, or none that this release can read. */
  read(): Footprint | undefined {
    try {
      return Footprint.safeParse(JSON.parse(readFileSync(this.path, 'utf8'))).data;
    } catch {
      // Missing, or cut off by a crash of the machine, which no process outlived.
      return undefined;
    }
  }

  write(footprint: Footprint): void {
    const staged = `${this.path}.new`;
    writeFileSync(staged, `${JSON.stringify(footprint, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(staged, this.path);
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }
}

function folderFor(registry: string): string {
  const location = parseRegistryLocation(registry);
  if (location.kind === 'directory') return made(join(location.path, '.nodes'));
  const user = process.getuid?.() ?? 0;
  const digest = createHash('sha256').update(registry).digest('hex').slice(0, 16);
  return made(join(made(join(process.env.XDG_RUNTIME_DIR ?? tmpdir(), `henge-${user}`)), digest));
}

/** In a folder that everybody may write to, somebody else may have been there first. */
function made(folder: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(folder);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new ConfigError(`${folder} is to hold what this node leaves behind, but others may write there`);
  }
  return folder;
}
