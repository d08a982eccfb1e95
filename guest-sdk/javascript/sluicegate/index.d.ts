import type { Event } from './event.js';

export { Amount, Event, Record, Reference, Row } from './event.js';

/** What the host says about a call. */
export interface Delivery {
  /** 1 for the first. */
  readonly attempt: number;
  /** The same for every attempt: give it to systems outside. */
  readonly idempotencyKey: string;
  /** Events of one key are handled one at a time, in order. */
  readonly partitionKey: string;
  /** Of the event in the event store. */
  readonly sequence: bigint;
  /** Milliseconds that this call may take. */
  readonly deadlineMs: number;
  /** An operator sent it again. */
  readonly isReplay: boolean;
  /** W3C trace context of this attempt. */
  readonly traceparent: string | undefined;
}

/** What a plug-in exports as `consumer`. */
export interface Consumer {
  handle(event: Event, delivery: Delivery): Promise<void>;
}

/** No later call can help: the event becomes a dead letter, with this text. */
export class Reject extends Error {}

/** A later call may help; `afterMs` is the least to wait. */
export class Retry extends Error {
  constructor(message: string, options?: { afterMs?: number });
  readonly afterMs: number | undefined;
}

/** Makes a function of (event, delivery) what the plug-in exports as `consumer`. */
export function handler(
  handle: (event: Event, delivery: Delivery) => void | Promise<void>,
): Consumer;

/** Lines for the operator. */
export const log: {
  debug(text: unknown): void;
  info(text: unknown): void;
  warn(text: unknown): void;
  error(text: unknown): void;
};

/** The [config] table of plugin.toml, with the operator's values over it: texts. */
export const config: {
  get(key: string): string | undefined;
  get(key: string, otherwise: string): string;
};

/** A name as a part of a subject: lower case, `_` for what has no place there. */
export function token(text: string): string;
