// What the API answers about money (docs/ledger.md). Amounts are exact decimals in text.

/** GET /billing/days. */
export interface UsageDay {
  day: string;
  hours: number;
  ms: number;
  storage_hours: number;
  amount: string;
  waived?: string;
}

/** GET /billing/ledger. */
export interface Entry {
  seq: number;
  id: string;
  type: string;
  at: string;
  by: string;
  machine?: string;
  machine_type?: string;
  state?: string;
  how?: string;
  plan?: string;
  hours?: number;
  reason?: string;
  from?: string;
  to?: string;
  rate?: string;
  postings: { account: string; amount?: string; ms?: number }[];
}

/** GET /billing/invoices/preview. */
export interface Invoice {
  period_start: string;
  period_end: string;
  running: boolean;
  plan: string;
  currency: string;
  lines: { kind: string; text: string; amount: string; waived?: string }[];
  total: string;
  waived: string;
  paid: string;
  adjusted: string;
  refunded: string;
  opening_balance: string;
  closing_balance: string;
}
