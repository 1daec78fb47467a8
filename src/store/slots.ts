/** What slots do on a node, and what is known of other nodes' copies: the words of native/store/replication.h. */

/** What a slot does on this node; the numbers are those of the state word in the segment. */
export const SlotState = {
  NONE: 0,
  /** Leads: serves reads and writes. */
  PRIMARY: 1,
  /** A copy in sync. */
  REPLICA: 2,
  /** A copy that may lack something. */
  JOINING: 3,
  /** Leads, but does not know yet that it has everything: serves nothing. */
  TAKING_OVER: 4,
} as const;
export type SlotState = (typeof SlotState)[keyof typeof SlotState];

/** Bits beside a slot's state. */
export const SlotFlag = {
  /** Acknowledged writes may be missing: too few copies could be asked when it was taken over. */
  POSSIBLE_LOSS: 1,
  /**
   * A REPLICA whose primary is not heard any more: good for degraded reads and for promotion, not for `nearest`. Of a
   * slot that is TAKING_OVER, JOINING or NONE: it was in sync, or led, when the leader before ended, so it holds all
   * that was acknowledged until then; gone with the next change of leader, with a missed epoch, and with the memory.
   */
  DETACHED: 2,
  /** Taken over, but what was merged is not on a majority yet: no quorum level (clusters of four copies and more). */
  MERGING: 4,
  /** A peer answered STALE: leads again only with the next epoch. */
  DEPOSED: 8,
  /** Led here, and about to be handed over: takes no writes, but may again. */
  SEALED: 16,
  /** Led here, and offered to the next leader: it, or another epoch, says whose it is. */
  GIVEN: 32,
  /** Of a copy: the node that is to lead next was heard in this epoch. */
  GOAL_HEARD: 64,
  /** Led here, by both lists of members: acknowledgements count by the list that comes. */
  SETTLED: 128,
} as const;

/** Entries of a slot's row in shared memory. */
export const ROW_MAX = 15;

/** An epoch, as every slot of this node is to know it. */
export interface Installation {
  readonly epoch: number;
  readonly rf: number;
  /** ROW_MAX node numbers a slot, leader first, 0 where there is none. */
  readonly rows: Uint16Array;
  /** RowRole (src/ring/overlay.ts) of each entry of `rows`. */
  readonly roles: Uint8Array;
  /** This memory may lead at once: the cluster begins with this epoch. */
  readonly isFounding: boolean;
}

/** Slots as bits: slot s is bit s & 7 of byte s >> 3. */
export type SlotBits = Uint8Array;

/** What this node knows of what another has. */
export interface PeerBits {
  /** It lacks something that this node, leading the slot, wrote. */
  readonly missed: SlotBits;
  /** Nothing is known: everything must be sent. A subset of `missed`. */
  readonly whole: SlotBits;
  /** It was told that it is in sync. */
  readonly synced: SlotBits;
  /** Nothing older than this is missed: milliseconds of a version; Infinity when nothing is. */
  readonly sinceMs: number;
}

/** Of every slot, what is known of who led it before the present leader did. */
export interface Reigns {
  /** Its number; 0: not known. */
  readonly leaders: Uint16Array;
  /** Whatever it wrote before this is here. Milliseconds of a version; VERSION_MS_MAX: all of it. */
  readonly heldUntilMs: Float64Array;
}

/** The highest milliseconds a version can have. */
export const VERSION_MS_MAX = 2 ** 48 - 1;

export interface PeerNews {
  /** On the monotonic clock; 0: never. */
  readonly heardAtMs: number;
  /**
   * All that the peer leads and wrote before is here, in slots for which this node was in sync. Milliseconds of a
   * version.
   */
  readonly watermarkMs: number;
}
