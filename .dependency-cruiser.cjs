/**
 * Who may import whom. The folders of src/ are layers: imports go downward only, never sideways, never in a circle, and
 * through a folder's public face. bench/ and test/ stand above all layers and may look inside.
 */

/** From the ground up; folders of one layer do not know each other. */
const LAYERS = [['protocol', 'ring'], ['store'], ['cluster'], ['client'], ['daemon'], ['cli']];

/** The files of a folder that other folders may import. */
const FACES = {
  ring: 'index\\.ts',
};

const downwardOnly = LAYERS.flatMap((folders, layer) =>
  folders.map((folder) => {
    const below = LAYERS.slice(0, layer).flat();
    return {
      name: `${folder}-imports-downward-only`,
      comment: `src/${folder} may import ${below.length > 0 ? below.join(', ') : 'no other folder'}.`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: { path: '^src/', pathNot: `^src/(${[folder, ...below].join('|')})/` },
    };
  }),
);

const publicFaces = Object.entries(FACES).map(([folder, face]) => ({
  name: `${folder}-by-its-face`,
  comment: `Other folders import src/${folder} by its public face only.`,
  severity: 'error',
  from: { path: '^src/', pathNot: `^src/${folder}/` },
  to: { path: `^src/${folder}/`, pathNot: `^src/${folder}/(${face})$` },
}));

module.exports = {
  forbidden: [
    ...downwardOnly,
    ...publicFaces,
    {
      name: 'no-circles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'source-stands-alone',
      comment: 'What is shipped does not import tests, benchmarks or scripts.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|scripts)/' },
    },
    {
      name: 'client-without-native-code',
      comment: 'The client runs where nothing was compiled.',
      severity: 'error',
      from: { path: '^src/(client/|index\\.ts)' },
      to: { path: '^src/(store|daemon)/' },
    },
    {
      name: 'cluster-without-the-world',
      comment: 'Time, sockets, files and processes are passed in: the same code runs under a simulator.',
      severity: 'error',
      from: { path: '^src/cluster/' },
      to: {
        path: '^(node:)?(net|tls|dgram|http|https|http2|fs|fs/promises|child_process|cluster|timers|timers/promises)$',
      },
    },
    {
      name: 'hashring-behind-points',
      comment: "hashring's traps are known in one place.",
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/ring/points\\.ts$' },
      to: { path: 'node_modules/(@types/)?hashring/' },
    },
    {
      name: 'only-declared-packages',
      comment: 'What is shipped imports packages of "dependencies" only, by names that resolve.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|native)/' },
  },
};
