import { describe, expect, it } from 'vitest';
import { Breaker, Latencies } from '../../../src/client/health.js';

const half = (): number => 0.5;

describe('a breaker', () => {
  const vitals = (timeouts: number) => ({ timeouts, timeoutsSince: 0 });

  it('opens after many timeouts in a row, over some time', () => {
    const breaker = new Breaker();
    breaker.observe(vitals(19), 10_000, half);
    expect(breaker.isOpen).toBe(false);
    breaker.observe(vitals(1_000), 100, half);
    expect(breaker.isOpen).toBe(false);
    breaker.observe(vitals(20), 300, half);
    expect(breaker.isOpen).toBe(true);
  });

  it('sends a probe now and then while it is open, and closes at the first answer in time', () => {
    const breaker = new Breaker();
    expect(breaker.takeProbe(0, half)).toBe(false);
    breaker.observe(vitals(20), 1_000, half);
    const probes = Array.from({ length: 300 }, (_, i) => breaker.takeProbe(1_000 + i * 10, half));
    expect(probes.filter(Boolean).length).toBe(5);
    expect(probes[0]).toBe(false);
    breaker.observe(vitals(0), 4_000, half);
    expect(breaker.isOpen).toBe(false);
    expect(breaker.takeProbe(9_000, half)).toBe(false);
  });
});

describe('latencies', () => {
  it('say nothing until there are some', () => {
    const latencies = new Latencies(95);
    for (let i = 0; i < 19; i++) latencies.record(1);
    expect(latencies.percentileMs).toBeUndefined();
    latencies.record(1);
    expect(latencies.percentileMs).toBe(1);
  });

  it('give the percentile, whatever the order', () => {
    const latencies = new Latencies(95);
    for (let i = 0; i < 1_000; i++) latencies.record((i * 37) % 100);
    expect(latencies.percentileMs).toBe(94);
  });

  it('follow a node that becomes slow, and count what is beyond their range as its end', () => {
    const latencies = new Latencies(95);
    for (let i = 0; i < 10_000; i++) latencies.record(1);
    for (let i = 0; i < 500; i++) latencies.record(40);
    expect(latencies.percentileMs).toBe(40);
    for (let i = 0; i < 10_000; i++) latencies.record(5_000);
    expect(latencies.percentileMs).toBe(255);
  });
});
