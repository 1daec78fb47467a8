/** Registries by what `--registry` says. */
import type { Registry } from '../../cluster/index.js';
import { DirectoryRegistry } from './directory.js';
import { EtcdRegistry } from './etcd.js';
import { parseRegistryLocation } from './location.js';

/** @throws RangeError when `location` is not understood; an etcd that is out of reach shows at the first call */
export async function openRegistry(location: string): Promise<Registry> {
  const parsed = parseRegistryLocation(location);
  return parsed.kind === 'directory' ? DirectoryRegistry.open(parsed.path) : new EtcdRegistry(location, parsed);
}
