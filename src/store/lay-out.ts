/** Makes the rows of an epoch in native code (native/ring/). */
import { loadAddon } from './addon.js';
import type { EpochRows, RowsOrder } from './rows.js';

/** A pure function, of a millisecond or two. @throws TypeError or RangeError for arrays that do not fit */
export const layOut = (order: RowsOrder): EpochRows => loadAddon().layOut(order);
