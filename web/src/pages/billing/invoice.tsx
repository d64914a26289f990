// What a month comes to, also under another plan, and its signed receipt.
import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import type { Invoice } from '../../api/money_types';
import type { Offers } from '../../api/types';
import { attempt } from '../../ui/act';
import { ErrorBox } from '../../ui/error';
import { amount } from '../../ui/format';
import { useRemote } from '../../ui/remote';

async function saveReceipt(month: string) {
  const text = await api<string>('GET', `/billing/receipts?month=${month}`);
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([text], { type: 'application/jose' }));
  a.download = `receipt-${month}.jws`;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10e3);
}

const zero = (text: string) => Number(text) === 0;

function Lines({ invoice: v }: { invoice: Invoice }) {
  const show = (text: string) => amount(text, v.currency);
  const balance: [string, string][] = [['Balance before', v.opening_balance], ['Paid', v.paid], ['Corrections', v.adjusted], ['Refunded', v.refunded]];
  return (
    <div class="scroll invoice" tabIndex={0} role="region" aria-label="The invoice">
      <table>
        <thead><tr><th scope="col">For</th><th scope="col" class="num">Amount</th></tr></thead>
        <tbody>
          {v.lines.map((l, i) => <tr key={i}><td class="wrap">{l.text}</td><td class="num">{show(l.amount)}</td></tr>)}
          {!v.lines.length && <tr><td colSpan={2}>Nothing was used.</td></tr>}
        </tbody>
        <tfoot>
          <tr><th scope="row">Total</th><td class="num"><strong>{show(v.total)}</strong></td></tr>
          {!zero(v.waived) && <tr><th scope="row">Not charged</th><td class="num">{show(v.waived)}</td></tr>}
          {balance.map(([name, text]) => !zero(text) && <tr key={name}><th scope="row">{name}</th><td class="num">{show(text)}</td></tr>)}
          <tr><th scope="row">{v.running ? 'Balance now' : 'Balance after'}</th><td class="num">{show(v.closing_balance)}</td></tr>
        </tfoot>
      </table>
    </div>
  );
}

export function InvoiceCard({ month, offers: o }: { month: string; offers: Offers }) {
  const [plan, setPlan] = useState('');
  const { value, error, load } = useRemote<Invoice>(`/billing/invoices/preview?month=${month}${plan && `&plan=${encodeURIComponent(plan)}`}`);
  return (
    <section class="card" aria-labelledby="invoice">
      <div class="line-head">
        <h2 id="invoice">{value?.running === false ? 'Invoice' : 'Invoice so far'}</h2>
        <select aria-label="Under which plan" value={plan} onChange={(e) => setPlan(e.currentTarget.value)}>
          <option value="">As it is</option>
          {o.plans.map((p) => <option key={p.name} value={p.name}>Under {p.name}</option>)}
        </select>
      </div>
      {plan && <p class="help">What the same use would have come to under {plan}.</p>}
      {error && <ErrorBox error={error} retry={load} />}
      {value ? <Lines invoice={value} /> : !error && <p class="loading" role="status">Loading…</p>}
      <button type="button" onClick={() => attempt(() => saveReceipt(month))}>Save the signed receipt</button>
    </section>
  );
}
