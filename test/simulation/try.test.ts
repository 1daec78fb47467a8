import { it } from 'vitest';
import { simulate } from './run.js';
it('tries', () => {
  const seeds = Number(process.env.N ?? 1), start = Number(process.env.S ?? 1);
  const faults = process.env.F === undefined ? undefined : process.env.F === '' ? [] : process.env.F.split(',');
  for (let seed = start; seed < start + seeds; seed++) {
    const t = performance.now();
    const r = simulate({ seed, ...(faults && { faults }) });
    console.log(seed, r.problems.length, r.operations, r.steps, r.traceHash, r.faults.join(','), Math.round(performance.now() - t), 'ms');
    if (r.problems.length > 0) { console.log(r.problems.slice(0, 6).join('\n')); if (process.env.V) console.log(r.notes.slice(-Number(process.env.V)).join('\n')); }
  }
}, 600000);
