// Events that leave together with the outcome. Needs `emit = ["…"]` under [capabilities] in
// plugin.toml.

import * as host from 'sluicegate:plugin/outbox@0.1.0';
import { stringify } from './event.js';

/**
 * Stages an event. `subject` is where it goes in the broker,
 * d365.<origin>.<environment>.<kind>.<name>.<action>. `data` is bytes, or anything that JSON has a
 * form for. `about` is the CloudEvent's subject, `key` what it is kept in order by (the key of the
 * event being handled when left out). What is left out the host fills: id (the same when the call
 * is repeated), source, time.
 */
export function emit(subject, { type, data, id = '', about, key, attributes = {} }) {
  const extensions = key === undefined ? attributes : { ...attributes, partitionkey: key };
  host.emit(subject, {
    id,
    source: '',
    type,
    subject: about,
    datacontenttype: data === undefined ? undefined : 'application/json',
    extensions: Object.entries(extensions).map(([name, value]) => [
      name,
      { tag: 'text', val: String(value) },
    ]),
    data:
      data === undefined || data instanceof Uint8Array
        ? data
        : new TextEncoder().encode(stringify(data)),
  });
}
