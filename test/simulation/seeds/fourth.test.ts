/** The fourth quarter of the seeds: see seeds.ts. */
import { describeSeeds } from '../seeds.js';

describeSeeds(3);
