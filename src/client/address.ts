/** Where a node listens: 'HOST:PORT', '[IPv6]:PORT', or 'unix:/path'. */

import { HengeError } from './errors.js';

/** @throws HengeError INVALID_ARGUMENT */
export function endpointOf(address: string): { path: string } | { host: string; port: number } {
  if (address.startsWith('unix:')) return { path: address.slice('unix:'.length) };
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(address.slice(colon + 1));
  if (colon > 0 && Number.isInteger(port) && port > 0 && port <= 65_535) return { host, port };
  throw new HengeError('INVALID_ARGUMENT', `a node's address is HOST:PORT or unix:/path, not '${address}'`);
}
