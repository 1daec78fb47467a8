import { expect, test } from 'vitest';
import { parseRegistryLocation } from '../../../src/daemon/registry/location.js';

test('a folder is taken as it is', () => {
  expect(parseRegistryLocation('dir:/var/lib/henge')).toEqual({ kind: 'directory', path: '/var/lib/henge' });
});

test.each([
  ['etcd:http://10.0.0.1:2379', ['http://10.0.0.1:2379'], '/henge'],
  ['etcd:http://10.0.0.1:2379/', ['http://10.0.0.1:2379'], '/henge'],
  ['etcd:http://a:2379,http://b:2379', ['http://a:2379', 'http://b:2379'], '/henge'],
  ['etcd:http://a:2379,http://[::1]:2379/caches/eu', ['http://a:2379', 'http://[::1]:2379'], '/caches/eu'],
])('%s names its members and its prefix', (location, endpoints, prefix) => {
  expect(parseRegistryLocation(location)).toEqual({ kind: 'etcd', endpoints, prefix });
});

test.each([
  ['zookeeper:here', 'is not understood; write dir:PATH or etcd:URL'],
  ['dir:', 'is not understood'],
  ['etcd:10.0.0.1:2379', 'is not http://HOST:PORT'],
  ['etcd:https://a:2379', 'is not http://HOST:PORT'],
  ['etcd:http://a:2379/x,http://b:2379', 'the prefix /x stands once, after the last address'],
  ['etcd:http://me:secret@a:2379', 'http://a:2379: signing in to etcd is not offered'],
  ['etcd:http://a:2379/x?y', 'ends with what is no path'],
])('%s is refused with a reason', (location, reason) => {
  expect(() => parseRegistryLocation(location)).toThrow(reason);
});
