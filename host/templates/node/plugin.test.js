// Run with: npm test

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { consumer } from './{{source}}';
import { Host, event, money, record } from './sluicegate/testing.js';

const host = () => new Host({ config: { limit: '50000' } });

test('a limit over the bound is told once for each change', async () => {
  const one = host();
  for (const times of [1, 2]) {
    const called = await one.call(consumer, record('account', { creditlimit: money('50000.0001') }));
    assert.equal(called.outcome, 'done');
    const [told] = called.emitted;
    assert.equal(told.subject, 'd365.custom.contoso.business.{{name}}.raised');
    assert.deepEqual({ ...told.data, limit: String(told.data.limit) }, { name: null, limit: '50000.0001', times });
  }
});

test('nothing is told of a limit within the bound, or of another column', async () => {
  for (const change of [
    record('account', { creditlimit: money('50000.0000') }),
    record('account', { name: 'Contoso' }),
    record('account', {}, { message: 'Delete' }),
  ]) {
    const called = await host().call(consumer, change);
    assert.equal(called.outcome, 'done');
    assert.deepEqual(called.emitted, []);
  }
});

test('what cannot be read is rejected', async () => {
  const called = await host().call(consumer, event('t', new TextEncoder().encode('no JSON')));
  assert.equal(called.outcome, 'reject');
});
