// Takes changes of accounts, gives an event when a credit limit goes over the configured one.

import { Reject, config, handler, log, token, type Amount } from './sluicegate/index.js';
import { emit } from './sluicegate/outbox.js';
import { getJson, putJson } from './sluicegate/state.js';

/** What is kept of each account. */
interface Seen {
  raised: number;
}

/** What is told. */
interface Raised {
  name: string | null;
  limit: Amount;
  times: number;
}

export const consumer = handler((event, delivery) => {
  const account = event.record();
  const limit = account.amount('creditlimit');
  if (limit === undefined) return;
  if (limit.compare(config.get('limit', '0')) <= 0) {
    log.info(`${account.id} is within the limit`);
    return;
  }
  if (event.environment === undefined) throw new Reject('the source names no environment');
  const key = `${event.environment}/${delivery.partitionKey}`;
  const seen = getJson<Seen>(key, { raised: 0 });
  seen.raised += 1;
  putJson(key, seen);
  const data: Raised = { name: account.text('name') ?? null, limit, times: seen.raised };
  emit(`d365.custom.${token(event.environment)}.business.{{name}}.raised`, {
    type: 'd365.custom.{{name}}.raised',
    about: event.subject,
    data,
  });
});
