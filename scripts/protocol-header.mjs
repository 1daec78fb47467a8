/**
 * Writes native/wire/protocol.h from src/protocol/spec.ts, so that the wire's numbers have one source.
 *
 * spec.ts is transpiled and imported, not parsed by hand: what C++ gets is what TypeScript sees. The header is
 * committed, so that building the addon needs no TypeScript.
 *
 *   node scripts/protocol-header.mjs           write the header if it differs
 *   node scripts/protocol-header.mjs --check   exit 1 if it differs
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const SPEC = new URL('../src/protocol/spec.ts', import.meta.url);
const HEADER = new URL('../native/wire/protocol.h', import.meta.url);

/** Closed sets of numbers: the compiler is to notice when a switch forgets one. */
const ENUM_CLASSES = new Set(['Opcode', 'Status']);

const spec = await importTypeScript(SPEC);
const wanted = render(spec);
const present = await readFile(HEADER, 'utf8').catch(() => '');

if (process.argv.includes('--check')) {
  if (present !== wanted) {
    console.error(`${fileURLToPath(HEADER)} is stale. Run: node scripts/protocol-header.mjs`);
    process.exitCode = 1;
  }
} else if (present !== wanted) {
  await writeFile(HEADER, wanted);
  console.log(`wrote ${fileURLToPath(HEADER)}`);
}

async function importTypeScript(url) {
  const { outputText } = ts.transpileModule(await readFile(url, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputText).toString('base64')}`);
}

function render(spec) {
  const entries = Object.entries(spec).sort(([a], [b]) => (a < b ? -1 : 1));
  const scalars = entries.filter(([, value]) => typeof value === 'number');
  const groups = entries.filter(([, value]) => typeof value === 'object');
  return `${[
    '// The wire protocol in numbers. Generated from src/protocol/spec.ts by scripts/protocol-header.mjs; do not edit.',
    '#pragma once',
    '',
    '#include <cstdint>',
    '',
    'namespace henge::protocol {',
    '',
    ...scalars.map(([name, value]) => size(name, value)),
    ...groups.flatMap(([name, members]) => ['', ...group(name, Object.entries(members))]),
    '',
    '}  // namespace henge::protocol',
  ].join('\n')}\n`;
}

function group(name, members) {
  const areBytes = members.every(([, value]) => value < 2 ** 8);
  if (ENUM_CLASSES.has(name)) {
    return [
      `enum class ${name} : uint8_t {`,
      ...members.map(([member, value]) => `  ${member} = ${hex(value)},`),
      '};',
    ];
  }
  return [
    `namespace ${name} {`,
    ...members.map(([member, value]) =>
      areBytes ? `constexpr uint8_t ${member} = ${hex(value)};` : size(member, value),
    ),
    `}  // namespace ${name}`,
  ];
}

/** A size, a limit or a magic number: decimal, as wide as it must be. */
function size(name, value) {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${name} = ${value} cannot be carried by the wire`);
  return `constexpr ${value < 2 ** 32 ? 'uint32_t' : 'uint64_t'} ${name} = ${value};`;
}

function hex(value) {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
