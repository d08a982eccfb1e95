// Run with: npm test

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { consumer } from './plugin.js';
import { Host, choice, money, record } from './sluicegate/testing.js';

const host = () => new Host({ config: { large: '100000' } });

async function score(one, columns, options) {
  const called = await one.call(consumer, record('lead', columns, options));
  assert.equal(called.outcome, 'done', called.message);
  assert.equal(called.emitted[0].subject, 'd365.custom.contoso.business.lead.scored');
  return [called.emitted[0].data.revision, called.emitted[0].data.score];
}

test('what a lead has adds up, from one message to the next', async () => {
  const one = host();
  assert.deepEqual(await score(one, { companyname: 'Contoso' }, { message: 'Create' }), [1, 15]);
  assert.deepEqual(await score(one, { telephone1: '+45 55 01 02 03' }), [2, 25]);
  assert.deepEqual(await score(one, { leadqualitycode: choice(1) }), [3, 45]);
  assert.deepEqual(await score(one, { companyname: null }), [4, 30]);
});

test('an amount counts by its digits', async () => {
  const one = host();
  assert.deepEqual(await score(one, { estimatedamount: money('99999.9999999999999999') }), [1, 0]);
  assert.deepEqual(await score(one, { estimatedamount: money('100000.0000') }), [2, 40]);
});

test('a lead without an id is rejected, and nothing is kept', async () => {
  const one = host();
  const nobody = '00000000-0000-0000-0000-000000000000';
  const called = await one.call(consumer, record('lead', {}, { id: nobody }));
  assert.equal(called.outcome, 'reject');
  assert.match(called.message, /has no id/);
  assert.equal(one.state.size, 0);
});
