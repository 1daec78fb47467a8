import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const BUILD = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url));

it('a missing compiler is one sentence, with the command that mends it', () => {
  const env = { ...process.env, CXX: 'no-such-compiler' };
  const { status, stdout, stderr } = spawnSync(process.execPath, [BUILD], { env, encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({
    status: 1,
    stdout: '',
    stderr:
      'The native store needs a C++ compiler, and no-such-compiler was not found; ' +
      'on Debian: apt-get install g++ make\n',
  });
});
