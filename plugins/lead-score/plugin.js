// Takes creates and updates of leads, gives each a score, and each score a number.

import { Reject, config, handler, log, token } from './sluicegate/index.js';
import { emit } from './sluicegate/outbox.js';
import { getJson, putJson } from './sluicegate/state.js';

// What a lead has, and how much that is worth.
const POINTS = { emailaddress1: 10, telephone1: 10, companyname: 15, jobtitle: 5 };
const LARGE = 40;
const WARM = 2; // of the choice leadqualitycode: 1 hot, 2 warm, 3 cold
const QUALITY = 20;

export const consumer = handler((event) => {
  const lead = event.record();
  if (lead.id === undefined) {
    throw new Reject('the lead has no id: PrimaryEntityId and Target.Id are missing or zero');
  }
  const { environment } = event;
  if (environment === undefined) throw new Reject(`no environment in the source ${event.source}`);
  // Environments that were copied from one another share their records' ids.
  const key = `${environment}/lead/${lead.id.toLowerCase()}`;
  const { revision, has } = getJson(key, { revision: 0, has: {} });

  for (const column of Object.keys(POINTS)) {
    if (lead.changed(column)) has[column] = Boolean(lead.text(column));
  }
  if (lead.changed('estimatedamount')) {
    const amount = lead.amount('estimatedamount');
    has.large = amount !== undefined && amount.compare(config.get('large')) >= 0;
  }
  if (lead.changed('leadqualitycode')) has.quality = lead.choice('leadqualitycode') <= WARM;

  const points = { ...POINTS, large: LARGE, quality: QUALITY };
  const score = Object.keys(points).reduce((sum, name) => sum + (has[name] ? points[name] : 0), 0);
  putJson(key, { revision: revision + 1, has });
  if (score === 100) log.info(`lead ${lead.id} has everything`);
  emit(`d365.custom.${token(environment)}.business.lead.scored`, {
    type: 'd365.custom.lead.scored',
    about: `lead/${lead.id.toLowerCase()}`,
    data: { lead: lead.id, revision: revision + 1, score },
  });
});
