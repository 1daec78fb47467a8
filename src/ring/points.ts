/**
 * Where each member stands on the 32-bit circle: the only place that knows the npm package `hashring`.
 *
 * A member of weight 1 has 256 virtual nodes of 4 points each; a point is four bytes of md5(`name-i`), as in ketama.
 * Ketama's usual 160 points would leave the fullest of 32 nodes 17 % above the mean; 1,024 leave the bounded loads of
 * table.ts little to correct. Every member's number of virtual nodes is given explicitly, for hashring's own weights
 * are relative: there, one member's weight would move the points of all the others.
 *
 * A member's name is its identity. Addresses do not come here, so a node that changes its address moves nothing.
 * hashring's `get` is never called: it caches keys in a plain object, which keys such as `__proto__` break.
 */

import assert from 'node:assert';
import HashRing from 'hashring';

export interface RingMember {
  /** Identity on the ring; unique in the member list. */
  readonly name: string;
  /** Where it may fail together with others. Members without a zone share one. */
  readonly zone?: string;
  /** Share of the data relative to the other members, above 0 and at most 64. Default 1. */
  readonly weight?: number;
}

/** The circle in walking order: point i stands at `positions[i]` (u32, ascending) and belongs to member `owners[i]`. */
export interface Points {
  readonly positions: Uint32Array;
  readonly owners: Uint16Array;
}

/** Virtual nodes of a member of weight 1; hashring places four points for each. */
const VNODES_PER_WEIGHT = 256;

/** A member of weight 64 has 65,536 points; more would make a table slow to build and no fairer. */
export const WEIGHT_MAX = 64;

/** An owner is 16 bits of a table's entry, and 0xFFFF says "none". */
const MEMBERS_MAX = 0xffff;

/**
 * A copy of the members in the order in which tables number them: by name, in UTF-16 code units, whatever the locale.
 * @throws AssertionError for a list that makes no ring: a name twice or unusable, a weight out of range.
 */
export function sortMembers(members: readonly RingMember[]): RingMember[] {
  assert(members.length <= MEMBERS_MAX, `a ring has at most ${MEMBERS_MAX} members, not ${members.length}`);
  const sorted = [...members].sort((left, right) => (left.name < right.name ? -1 : 1));
  for (const [index, { name, weight = 1 }] of sorted.entries()) {
    // hashring keeps names as properties of a plain object, where `__proto__` is not a name like others.
    assert(name !== '' && name !== '__proto__', `a member cannot be called '${name}'`);
    assert(name !== sorted[index - 1]?.name, `two members are called '${name}'`);
    assert(
      weight > 0 && weight <= WEIGHT_MAX,
      `weight of '${name}' must be above 0 and at most ${WEIGHT_MAX}: ${weight}`,
    );
  }
  return sorted;
}

/** Points of members that `sortMembers` has ordered; equal positions stand in the order of the members. */
export function pointsOf(sorted: readonly RingMember[], known = new KnownPoints()): Points {
  const placed = known.of(sorted);
  // Position and owner in one exact number (48 bits), so that one numeric sort puts both in order.
  const packed = new Float64Array(placed.reduce((sum, positions) => sum + positions.length, 0));
  let end = 0;
  for (let owner = 0; owner < placed.length; owner++) {
    for (const position of placed[owner] as readonly number[]) packed[end++] = position * 65_536 + owner;
  }
  packed.sort();
  return {
    positions: Uint32Array.from(packed, (point) => Math.floor(point / 65_536)),
    owners: Uint16Array.from(packed, (point) => point % 65_536),
  };
}

/**
 * Where members' points are: a list that grows by one member costs the hashes of that one. A member's points depend on
 * nothing but its name and weight.
 */
export class KnownPoints {
  #ofMember = new Map<string, readonly number[]>();
  /** Of the list before: a change of the list of members needs two. */
  #ofMemberBefore = new Map<string, readonly number[]>();

  of(sorted: readonly RingMember[]): readonly (readonly number[])[] {
    const now = new Map(
      sorted.map((member) => {
        const key = `${vnodesOf(member.weight ?? 1)} ${member.name}`;
        return [key, this.#ofMember.get(key) ?? this.#ofMemberBefore.get(key) ?? positionsOf(member)] as const;
      }),
    );
    this.#ofMemberBefore = this.#ofMember;
    this.#ofMember = now;
    return [...now.values()];
  }
}

function positionsOf(member: RingMember): readonly number[] {
  return (hashRingOf([member]).points([member.name]) as unknown as PositionsByName)[member.name] ?? [];
}

/** hashring's `points` gives this; its published type says otherwise. */
type PositionsByName = Readonly<Record<string, readonly number[]>>;

/** The ring itself, for those who compare ours with hashring's own look-up. */
export function hashRingOf(sorted: readonly RingMember[]): HashRing {
  const vnodes = sorted.map(({ name, weight = 1 }) => [name, { vnodes: vnodesOf(weight) }] as const);
  // hashring ignores explicit vnodes that equal its default count; no member has 0.
  return new HashRing(Object.fromEntries(vnodes), 'md5', { 'vnode count': 0 });
}

/** Virtual nodes of a member; four points each. */
export function vnodesOf(weight: number): number {
  return Math.max(1, Math.round(VNODES_PER_WEIGHT * weight));
}
