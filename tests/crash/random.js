// Chance from a seed. The same seed plans the same requests, faults and kills; how they interleave is the machine's.
'use strict';

class Random {
  constructor(seed) { this.state = seed >>> 0; }

  // 32 bits (mulberry32)
  bits() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  next() { return this.bits() / 4294967296; }
  below(n) { return Math.floor(this.next() * n); }
  between(from, to) { return from + this.below(to - from + 1); }
  chance(p) { return this.next() < p; }
  of(list) { return list[this.below(list.length)]; }
  fork() { return new Random(this.bits()); }

  // {name: weight} -> name
  weighted(table) {
    let at = this.next() * Object.values(table).reduce((a, b) => a + b, 0);
    for (const [name, weight] of Object.entries(table)) if ((at -= weight) < 0) return name;
    return Object.keys(table)[0];
  }
}

module.exports = { Random };
