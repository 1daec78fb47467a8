/**
 * Where copies are once everything has come to rest: in sync where the table of the newest list of members says, one of
 * them leading, equal, and nowhere else once what was left behind is dropped.
 */
import { RowRole } from '../../../src/ring/index.js';
import { SlotState } from '../../../src/store/index.js';
import { SLOTS } from '../world/node.js';
import type { World } from '../world/world.js';
import type { Complaint } from './history.js';

interface Copy {
  readonly name: string;
  readonly state: number;
  readonly digest: string;
}

export function checkPlacement(world: World): Complaint[] {
  const nodes = world.nodes.filter(({ isUp }) => isUp).map((node) => ({ node, states: node.states() }));
  return Array.from({ length: SLOTS }, (_, slot) => {
    const held = nodes.flatMap(({ node, states }): Copy[] => {
      const digest = node.workers.find(({ isDead }) => !isDead)?.native.digest(slot);
      const text = digest === undefined ? '' : `${digest.items} items, ${digest.sum.toString(16)}`;
      const isHeld = states[slot] !== SlotState.NONE || (digest?.items ?? 0) > 0;
      return isHeld ? [{ name: node.name, state: states[slot] as number, digest: text }] : [];
    });
    return checkSlot(world, slot, held);
  }).flat();
}

function checkSlot({ layout }: World, slot: number, held: readonly Copy[]): Complaint[] {
  const show = (list: readonly string[]): string => [...list].sort().join(', ');
  const wanted = layout.view.members.filter(({ number }) => layout.roleOf(slot, number) === RowRole.MEMBER);
  const [wantedNames, heldNames] = [wanted.map(({ name }) => name), held.map(({ name }) => name)];
  if (show(wantedNames) !== show(heldNames)) {
    return [`slot ${slot} is held by ${show(heldNames)}, and is to be held by ${show(wantedNames)}`];
  }
  const complaints: Complaint[] = [];
  const leaders = held.filter(({ state }) => state === SlotState.PRIMARY).map(({ name }) => name);
  const leader = layout.view.members.find(({ number }) => number === layout.leaders[slot])?.name;
  if (leaders.length !== 1) complaints.push(`slot ${slot} is led by ${leaders.join(' and ')}`);
  else if (leaders[0] !== leader) complaints.push(`slot ${slot} is led by ${leaders[0]}, and is to be by ${leader}`);
  if (new Set(held.map(({ digest }) => digest)).size > 1) {
    complaints.push(`copies of slot ${slot} differ: ${held.map(({ name, digest }) => `${name} ${digest}`).join('; ')}`);
  }
  return complaints;
}
