// The plug-in's own keyspace. Needs `state = true` under [capabilities] in plugin.toml.

import * as host from 'sluicegate:plugin/state@0.1.0';
import { parse, stringify } from './event.js';

/** The bytes under the key, or undefined. */
export const get = (key) => host.get(key) ?? undefined;

/** Stages bytes, or a text, under the key. */
export const put = (key, value) =>
  host.put(key, typeof value === 'string' ? new TextEncoder().encode(value) : value);

/** Stages that the key has no value. */
export const remove = (key) => host.delete(key);

/** The JSON under the key, or what is to be taken otherwise. */
export function getJson(key, otherwise) {
  const value = get(key);
  return value === undefined ? otherwise : parse(new TextDecoder().decode(value));
}

/** Stages a value as JSON. */
export const putJson = (key, value) => put(key, stringify(value));
