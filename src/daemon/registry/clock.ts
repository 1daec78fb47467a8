/** The monotonic clock on which leases are judged: the same for all processes of a machine, unmoved by wall time. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
