/**
 * What a fresh clone lacks: the npm packages of the lock file, and the servers and the browser that some tests run
 * against. Plain Node without dependencies, since it runs before there are any. Quick when nothing is missing.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Debian packages that tests use, with the command each gives and what is left out without it. */
const DEBIAN_PACKAGES = [
  { name: 'redis-server', command: 'redis-server', uses: 'slots compared with Redis Cluster' },
  { name: 'etcd-server', command: 'etcd', uses: 'registries in etcd' },
  { name: 'iproute2', command: 'ip', uses: 'partitions of the network' },
  { name: 'memcached', command: 'memcached', uses: 'comparisons with memcached' },
  { name: 'chromium', command: 'chromium', uses: 'the dashboard in a browser' },
];

/**
 * Installs the packages of package-lock.json where node_modules is missing or is not what it says. Returns whether all
 * of them are there.
 */
export function installNpmPackages() {
  if (isInstalledAsLocked()) return true;
  console.log('installing npm packages (npm ci) ...');
  return run('npm', ['ci', '--loglevel=error']);
}

/** Installs missing Debian packages when that is allowed; else says in one sentence what will be skipped. */
export function installDebianPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  if (process.getuid?.() === 0 && isOnPath('apt-get')) aptInstall(names);

  const left = missingPackages();
  if (left.length === 0) return;
  console.log(
    `Not installed, so these tests are skipped: ${left.map(({ name, uses }) => `${uses} (${name})`).join(', ')}; ` +
      `on Debian: apt-get install ${left.map(({ name }) => name).join(' ')}`,
  );
}

function isInstalledAsLocked() {
  const locked = packagesOf('package-lock.json');
  const installed = packagesOf('node_modules/.package-lock.json');
  return Object.entries(locked).every(([path, { version, optional, devOptional }]) => {
    // The root itself has no path; optional packages of other platforms are rightly absent.
    if (path === '' || (installed[path] === undefined && (optional || devOptional))) return true;
    return installed[path]?.version === version;
  });
}

/** The packages of a lock file by path, none if there is no such file. */
function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(join(ROOT, lockFile), 'utf8')).packages;
  } catch {
    return {}; // Not installed yet, or interrupted half-way: both are mended by npm ci.
  }
}

function aptInstall(names) {
  console.log(`installing Debian packages (apt-get install ${names.join(' ')}) ...`);
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...names];
  // A fresh container has no package lists, and lists that are old name files that are gone.
  if (!run('apt-get', install)) run('apt-get', ['update', '-qq']) && run('apt-get', install);
}

function missingPackages() {
  return DEBIAN_PACKAGES.filter(({ command }) => !isOnPath(command));
}

/** Whether a command can be run by its name. */
export function isOnPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function run(command, commandArguments) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync(command, commandArguments, { cwd: ROOT, env, stdio: 'inherit' }).status === 0;
}
