/** What the rows of an epoch are made from, and the rows: the words of native/ring/. */

/** A list of members, sorted by name: by index, what tables are made from (ring/table.ts). */
export interface RingOrder {
  readonly numbers: Uint16Array;
  readonly zones: Uint16Array;
  readonly bounds: Float64Array;
  readonly yieldSteps: Float64Array;
  /** RowRole of who is away or returning; NOT_STRUCK of others. */
  readonly struck: Uint8Array;
  readonly names: readonly string[];
  /** Virtual nodes, four points each (ring/points.ts). */
  readonly vnodes: Uint32Array;
}

export interface RowsOrder {
  readonly rf: number;
  /** A power of two, at most 16,384. */
  readonly slots: number;
  readonly current: RingOrder;
  /** While the list of members changes. */
  readonly next?: RingOrder;
  readonly isCancelled: boolean;
}

export interface EpochRows {
  /** ROW_MAX node numbers a slot, leader first, 0 where there is none. */
  readonly rows: Uint16Array;
  /** RowRole and RowMark of each entry of `rows`. */
  readonly roles: Uint8Array;
  /** RF node numbers a slot: who would hold it if nobody were away. */
  readonly bases: Uint16Array;
  /** By slot, the node number of who leads it, 0: nobody who is here. */
  readonly leaders: Uint16Array;
  /**
   * While the list of members changes: by slot, who is to lead it in the end if it gets another leader or other copies,
   * else 0.
   */
  readonly goals?: Uint16Array;
  /** While it changes, a bit a slot: it stays with its leader and changes other copies. None when it is called off. */
  readonly settling?: Uint8Array;
}

/** An epoch, who leads in the next one, and what is known of the epochs before: ROW_MAX numbers a slot. */
export interface VotersOrder extends Pick<EpochRows, 'rows' | 'roles' | 'leaders'> {
  readonly known: Uint16Array;
  readonly nextLeaders: Uint16Array;
}

export const NOT_STRUCK = 0xff;
