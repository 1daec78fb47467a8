/**
 * Changes of the member list as they are typed (`--add d:2:east`), and the list that they lead to. What does not fit
 * the members there are is wrong usage, said in a sentence.
 */
import { InvalidArgumentError } from 'commander';
import { type RingMember, WEIGHT_MAX } from '../../ring/index.js';
import { UsageError } from '../usage.js';

export type Wish =
  | { readonly kind: 'add'; readonly name: string; readonly weight: number; readonly zone: string }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'weight'; readonly name: string; readonly weight: number }
  | { readonly kind: 'zone'; readonly name: string; readonly zone: string };

/** A node that is started without --zone is in this one. */
const ZONE_DEFAULT = 'default';

/** `NAME[:WEIGHT[:ZONE]]` */
export function parseAdd(text: string): Wish {
  const [name = '', weight = '', zone = '', ...rest] = text.split(':');
  if (rest.length > 0) throw new InvalidArgumentError('Give NAME, NAME:WEIGHT or NAME:WEIGHT:ZONE.');
  return {
    kind: 'add',
    name: checkedName(name),
    weight: weight === '' ? 1 : parseWeight(weight),
    zone: zone === '' ? ZONE_DEFAULT : zone,
  };
}

export function parseRemove(text: string): Wish {
  return { kind: 'remove', name: checkedName(text) };
}

/** `NODE=W` */
export function parseReweight(text: string): Wish {
  const [name = '', weight, ...rest] = text.split('=');
  if (weight === undefined || rest.length > 0) throw new InvalidArgumentError('Give NODE=WEIGHT.');
  return { kind: 'weight', name: checkedName(name), weight: parseWeight(weight) };
}

/** `NODE=ZONE` */
export function parseRezone(text: string): Wish {
  const [name = '', zone = '', ...rest] = text.split('=');
  if (zone === '' || rest.length > 0) throw new InvalidArgumentError('Give NODE=ZONE.');
  return { kind: 'zone', name: checkedName(name), zone };
}

/** The names that `henge serve` takes (cluster/records.ts). */
function checkedName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name;
  throw new InvalidArgumentError(`'${name}' is no name of a node: 1 to 63 letters, digits, dots, dashes, underscores.`);
}

function parseWeight(text: string): number {
  const weight = Number(text);
  if (text.trim() === '' || !(weight > 0) || weight > WEIGHT_MAX) {
    throw new InvalidArgumentError(`A weight is a number above 0 and at most ${WEIGHT_MAX}, not '${text}'.`);
  }
  return weight;
}

/**
 * The members after all wishes, which may come in any order: each names another node, save that one may get another
 * weight and another zone.
 */
export function membersAfter<Member extends RingMember>(
  members: readonly Member[],
  wishes: readonly Wish[],
): readonly (Member | RingMember)[] {
  if (wishes.length === 0) throw new UsageError('Say what is to change: --add, --remove, --weight or --zone.');
  const after = new Map<string, Member | RingMember>(members.map((member) => [member.name, member]));
  const named = new Map<string, Wish['kind']>();
  for (const wish of wishes) {
    const { name } = wish;
    if (!areOfOneNode(named.get(name), wish.kind)) throw new UsageError(`'${name}' is named twice.`);
    named.set(name, wish.kind);
    const member = after.get(name);
    if (wish.kind === 'add') {
      if (member !== undefined) throw new UsageError(`'${name}' is a member already.`);
      after.set(name, { name, weight: wish.weight, zone: wish.zone });
      continue;
    }
    if (member === undefined) throw new UsageError(`There is no node '${name}'; there are ${namesOf(members)}.`);
    if (wish.kind === 'remove') after.delete(name);
    else if (wish.kind === 'weight') after.set(name, { ...member, weight: wish.weight });
    else after.set(name, { ...member, zone: wish.zone });
  }
  if (after.size === 0) throw new UsageError('No node would be left.');
  return [...after.values()];
}

/** Whether a node that was named for one thing may be named for another. */
function areOfOneNode(before: Wish['kind'] | undefined, kind: Wish['kind']): boolean {
  if (before === undefined) return true;
  return (before === 'weight' && kind === 'zone') || (before === 'zone' && kind === 'weight');
}

function namesOf(members: readonly RingMember[]): string {
  return members.map(({ name }) => name).join(', ');
}
