/**
 * A process that holds a leased record, to be killed or stopped by a test: `registry-holder.mjs LOCATION KEY VALUE
 * TTL_MS`. It says `held` or `refused`, and `lost` with the lease's last deadline, one JSON a line; it ends when its
 * input does.
 */
import { openRegistry } from '../../dist/daemon/registry/index.js';

const [location, key, value, ttlMs] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

process.stdin.on('end', () => process.exit()).resume();
const registry = await openRegistry(location);
const lease = await registry.openLease(Number(ttlMs));
lease.lost.then(() => say({ event: 'lost', validUntilMs: lease.validUntilMs }));
say({ event: (await lease.hold(key, JSON.parse(value))) ? 'held' : 'refused' });
