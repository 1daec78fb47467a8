/**
 * What `--registry` may say: `dir:PATH`, or `etcd:URL[,URL...][/PREFIX]` with the addresses of one etcd cluster's
 * members.
 */

export type RegistryLocation =
  | { readonly kind: 'directory'; readonly path: string }
  | {
      readonly kind: 'etcd';
      /** Without a path, for instance `http://10.0.0.1:2379`. */
      readonly endpoints: readonly string[];
      /** Begins all keys; begins with a slash and does not end with one. */
      readonly prefix: string;
    };

const PREFIX_DEFAULT = '/henge';

/** @throws RangeError with a sentence for whoever typed it */
export function parseRegistryLocation(location: string): RegistryLocation {
  const [, kind, rest] = /^(dir|etcd):(.+)$/.exec(location) ?? [];
  if (kind === undefined || rest === undefined) {
    throw new RangeError(`registry ${JSON.stringify(location)} is not understood; write dir:PATH or etcd:URL[,URL]`);
  }
  if (kind === 'dir') return { kind: 'directory', path: rest };

  const urls = rest.split(',').map(parseEndpoint);
  const path = urls.at(-1)?.pathname.replace(/\/+$/, '') ?? '';
  const early = urls.slice(0, -1).find(({ pathname }) => pathname !== '/');
  if (early !== undefined) {
    throw new RangeError(`registry ${location}: the prefix ${early.pathname} stands once, after the last address`);
  }
  return { kind: 'etcd', endpoints: urls.map(({ origin }) => origin), prefix: path === '' ? PREFIX_DEFAULT : path };
}

function parseEndpoint(text: string): URL {
  const url = URL.parse(text);
  if (url?.protocol !== 'http:') throw new RangeError(`registry address ${text} is not http://HOST:PORT`);
  if (url.username !== '' || url.password !== '') {
    throw new RangeError(
      `registry address ${url.origin}: signing in to etcd is not offered; leave name and password out`,
    );
  }
  if (url.search !== '' || url.hash !== '') throw new RangeError(`registry address ${text} ends with what is no path`);
  return url;
}
