/** The parts we use of packages that bring no types. */
declare module 'autocannon' {
  export interface Options {
    readonly url: string;
    readonly connections: number;
    /** Seconds. */
    readonly duration: number;
    /** Requests a second over all connections; as fast as they go when missing. */
    readonly overallRate?: number;
  }
  export interface Result {
    readonly requests: { readonly average: number; readonly total: number };
    /** Milliseconds. */
    readonly latency: { readonly p50: number; readonly p99: number; readonly max: number };
    readonly errors: number;
    readonly non2xx: number;
  }
  export default function autocannon(options: Options): Promise<Result>;
}

declare module 'memjs' {
  export class Client {
    static create(servers: string): Client;
    get(key: string): Promise<{ readonly value: Buffer | null }>;
    set(key: string, value: string, options: { readonly expires?: number }): Promise<boolean>;
    close(): void;
  }
}
