// What the author of a Sluicegate plug-in in JavaScript imports.
//
//     import { handler, log } from './sluicegate/index.js';
//
//     export const consumer = handler((event, delivery) => {
//       const account = event.record();
//       if (account.changed('creditlimit')) log.info(`${account.id}: ${account.amount('creditlimit')}`);
//     });
//
// What the function does to the state and what it emits takes effect together, once, when it (or
// the promise that it returns) ends well. When it throws, nothing does, and what is thrown says
// what comes next:
//
//     Retry                             called again, by [retry] in plugin.toml
//     Reject, and every other error     the event is dead-lettered at once
//
// state and outbox are in files of their own, since a plug-in may import only what its manifest
// grants. testing.js runs the function without a host.

import * as host from 'sluicegate:plugin/log@0.1.0';
import { get } from 'sluicegate:plugin/config@0.1.0';
import { Event } from './event.js';

export { Amount, Event, Record, Reference, Row } from './event.js';

/** No later call can help: the event becomes a dead letter, with this text. */
export class Reject extends Error {}

/** A later call may help; `afterMs` is the least to wait. */
export class Retry extends Error {
  constructor(message, { afterMs } = {}) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** Makes a function of (event, delivery) what the plug-in exports as `consumer`. */
export function handler(handle) {
  return {
    async handle(event, delivery) {
      try {
        await handle(event instanceof Event ? event : new Event(event), delivery);
      } catch (error) {
        throw failure(error);
      }
    },
  };
}

function failure(error) {
  if (error instanceof Retry) {
    const afterMs = error.afterMs === undefined ? undefined : BigInt(Math.ceil(error.afterMs));
    return { tag: 'retry', val: { afterMs, message: error.message } };
  }
  if (error instanceof Reject) return { tag: 'reject', val: error.message };
  if (!(error instanceof Error)) return { tag: 'reject', val: `thrown: ${JSON.stringify(error)}` };
  const lines = (error.stack ?? '').split('\n').filter((line) => !line.includes('sluicegate/'));
  const place = lines.map((line) => line.match(/[\w.-]+\.js:\d+/)?.[0]).find(Boolean);
  return { tag: 'reject', val: `${error.name}: ${error.message}${place ? ` (${place})` : ''}` };
}

/** Lines for the operator. */
export const log = {
  debug: (text) => host.log('debug', String(text)),
  info: (text) => host.log('info', String(text)),
  warn: (text) => host.log('warn', String(text)),
  error: (text) => host.log('error', String(text)),
};

/** The [config] table of plugin.toml, with the operator's values over it: texts. */
export const config = {
  get: (key, otherwise) => get(key) ?? otherwise,
};

/** A name as a part of a subject: lower case, `_` for what has no place there. */
export const token = (text) => text.toLowerCase().replace(/[^a-z0-9_-]/g, '_');
