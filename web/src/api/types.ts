// What the API answers, as far as pages use it (docs/api.md).

export type Status = 'STARTING' | 'RUNNING' | 'STOPPING' | 'STOPPED' | 'ERROR' | 'DELETING' | 'DELETED';

export interface Machine {
  id: string;
  short: string;
  name: string;
  owner: string;
  provider: string;
  image: string;
  type: string;
  location: string | null;
  plan: string | null;
  status: Status;
  desired: Status;
  status_at: string;
  created_at: string;
  updated_at: string;
  deadline_at: string | null;
  expires_at: string | null;
  last_activity_at: string;
  suspended_at?: string | null;
  stale_since?: string | null;
  reason?: string | null;
  error?: string | null;
  version: number;
  labels: Record<string, string>;
  ports: number[];
  volumes: { id: string; path: string }[];
  resources: { vcpu: number; memory_mib: number; disk_gib: number };
  ssh: null | { why: string } | { host: string; port: number; user: string; host_key?: string; fingerprint?: string };
  idle?: { verdict: string; reason: string; stops_at: string | null; text: string; generation: number };
  health?: { status: 'healthy' | 'failing' | 'unknown'; failures: number; since: string | null; error: string | null; text: string | null; restarted_at: string | null };
  prepaid?: null | { hours: number; begun_at: string | null };
}

export interface Me {
  id: string;
  number: number;
  email: string;
  name: string;
  plan: string;
  role: 'user' | 'admin';
  created_at: string;
  last_sign_in_at: string | null;
  has_anthropic_key: boolean;
  has_oauth_token: boolean;
  subscription_status: string;
  usage_hours: number;
  version: number;
}

/** An entry of the log. `data.changes` is what of the record is otherwise now. */
export interface LogEvent {
  seq: number;
  at: string;
  kind: string;
  id: string;
  type: string;
  by: string;
  data: null | { changes?: Record<string, unknown>; status?: string; from?: string; [key: string]: unknown };
}

export interface Plan {
  name: string;
  month_micro: number;
  /** 0: any number. */
  machines: number;
  volumes_gib: number;
  idle_seconds: number;
  included_hours: number;
  trial_hours: number;
  overage: boolean;
  /** null: all. */
  types: string[] | null;
}

/** GET /plans. */
export interface Offers {
  currency: string;
  default: string;
  plans: Plan[];
  types: { name: string; vcpu: number; memory_mib: number; disk_gib: number; prepaid: boolean; hour_micro: number; block_micro: number }[];
  storage_micro: number;
  /** Whether one pays here. */
  checkout: boolean;
  for_sale: string[];
}

/** GET /types, as far as GET /plans does not tell it. */
export interface MachineType {
  name: string;
  /** Absent: its provider knows no places, or does not answer. */
  locations?: string[];
}

export interface Volume {
  id: string;
  name: string;
  owner: string;
  provider: string;
  size_gib: number;
  status: 'CREATING' | 'AVAILABLE' | 'SNAPSHOTTING' | 'RESTORING' | 'DELETING' | 'DELETED' | 'ERROR';
  /** A machine's id. */
  attached_to: string | null;
  path: string | null;
}

/** GET /billing/usage: how the account stands. Amounts are exact decimals. */
export interface Standing {
  plan: string;
  currency: string;
  cost: string;
  credit: string;
  owed: string;
  rate: string;
  usage_hours: number;
  included_hours_left: number;
  bonus_hours_left: number;
  runs_out: string | null;
  runs_out_at: string | null;
  subscription_status: string;
  machines: { id: string; type: string; state: string; rate: string; paid_by: string; since: string }[];
}
