// What the API answers to an admin (docs/api.md).

export interface User {
  id: string;
  number: number;
  email: string;
  name: string;
  plan: string;
  role: 'user' | 'admin';
  status: 'active' | 'suspended' | 'deleted';
  created_at: string;
  last_sign_in_at: string | null;
  subscription_status: string;
  usage_hours: number;
  granted?: { reason?: string | null; by?: string } | null;
  version: number;
}

export interface Provider {
  name: string;
  ok: boolean;
  stale_since: string | null;
  error?: string | null;
  orphans: Record<string, { since: string; count?: number }>;
  calls: null | Record<string, unknown>;
}

export interface Providers {
  providers: Provider[];
  reconcile: Record<string, number>;
}

export interface Finding {
  state: 'ok' | 'warn' | 'bad';
  what: string;
  sentence: string;
}

export interface Fault {
  file: string;
  line: number | null;
  text: string;
}

/** GET /policies. */
export interface Policies {
  generation: number;
  hash: string;
  at: string;
  author: string;
  note?: string | null;
  files: Record<string, string>;
  folder: string | null;
  saved: string | null;
  pending: boolean;
  faults: Fault[];
  warnings: Fault[];
}

/** GET /policies/{file}. */
export interface PolicyFile {
  name: string;
  version: string;
  generation: number;
  source: string;
  saved: string | null;
  diff: string;
}

interface Sums { ms: number; micro: number; stops: number; at_work: number; agents: number; wakes: number; early: number }
interface Pair { before: Sums; after: Sums }

/** The last line of POST /policies/{file}/whatif. */
export interface WhatIf {
  machines: number;
  recorded_ms: number;
  decisions: number;
  undone: number;
  from: string;
  to: string;
  generation: number;
  total: Pair;
  plans: (Pair & { plan: string })[];
  days: { day: string; before: number; after: number }[];
  users: (Pair & { owner: string })[];
  failed: { before: number; after: number };
  model: { text: string };
}
