import type { Consumer, Delivery, Event } from './index.js';

/** What one call did. */
export interface Called {
  outcome: 'done' | 'retry' | 'reject';
  message: string | undefined;
  retryAfterMs?: number;
  emitted: { subject: string; type: string; data: any; event: any }[];
  logs: [level: string, text: string][];
  requests: Asked[];
}

/** A request that a call sent. */
export interface Asked {
  url: string;
  method: string;
  headers: { [name: string]: string };
  body: string | Uint8Array | undefined;
}

/** Keeps the state from call to call, as the real host does. */
export class Host {
  constructor(options?: {
    config?: { [key: string]: string };
    state?: { [key: string]: string | Uint8Array };
    /** Answers the requests of a call; without it they are really sent. */
    answers?: (request: Asked) => Response | Promise<Response>;
  });
  readonly state: Map<string, Uint8Array>;
  /** Calls the handler; `delivery` sets members of the delivery. */
  call(consumer: Consumer, event: Event, delivery?: Partial<Delivery>): Promise<Called>;
  /** The value of a key after the calls so far, read as JSON. */
  json(key: string): any;
}

type Columns = { [column: string]: unknown };

/** An event of any kind; `data` is bytes, or anything that JSON has a form for. */
export function event(
  type: string,
  data: unknown,
  options?: { id?: string; source?: string; subject?: string; attributes?: { [name: string]: string } },
): Event;
/** A message of Dataverse about a record of this table, as the gateway gives it. */
export function record(
  table: string,
  columns?: Columns,
  options?: {
    message?: string;
    id?: string;
    environment?: string;
    preImages?: { [name: string]: Columns };
    postImages?: { [name: string]: Columns };
  },
): Event;
/** A business event of Finance and Operations, as the gateway gives it. */
export function businessEvent(
  id: string,
  members?: Columns,
  options?: { legalEntity?: string; environment?: string },
): Event;
/** The event that the gateway makes of a body, a captured one say; its id is 1. */
export function eventOf(environment: string, body: string | Uint8Array): Event;
/** A currency column's value. */
export function money(digits: string | number): unknown;
/** A choice column's value. */
export function choice(option: number): unknown;
/** A date column's value, from RFC 3339. */
export function date(text: string): unknown;
/** A lookup column's value. */
export function lookup(table: string, id: string, name?: string | null): unknown;
