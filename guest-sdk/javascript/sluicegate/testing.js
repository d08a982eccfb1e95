// A host for unit tests: runs the handler in Node, with state, configuration, and events as
// Dynamics 365 sends them.
//
//     node --import ./sluicegate/testing.js --test
//
//     import { Host, money, record } from './sluicegate/testing.js';
//     import { consumer } from './plugin.js';
//
//     const host = new Host({ config: { limit: '50000' } });
//     const called = await host.call(consumer, record('account', { creditlimit: money('75000.0000') }));
//     assert.equal(called.outcome, 'done');
//
// The limits, the grants of the manifest, and what the real host fills into emitted events are not
// here: `sluice test` runs the built plug-in with all of them.

import { register } from 'node:module';
import { Amount, Event, parse, stringify } from './event.js';

// What the plug-in imports of the host comes from here.
const MODULES = {
  log: ['log'],
  config: ['get'],
  state: ['get', 'put', 'delete'],
  outbox: ['emit'],
};
const source = (name, functions) =>
  functions
    .map((fn) => `const ${fn}_ = (...args) => globalThis[Symbol.for('sluicegate')]('${name}').${fn}(...args); export { ${fn}_ as ${fn} };`)
    .join('\n');
const sources = Object.fromEntries(
  Object.entries(MODULES).map(([name, functions]) => [
    `sluicegate:plugin/${name}@0.1.0`,
    `data:text/javascript,${encodeURIComponent(source(name, functions))}`,
  ]),
);
const hooks = `const sources = ${JSON.stringify(sources)};
export const resolve = (name, context, next) =>
  sources[name] ? { url: sources[name], shortCircuit: true } : next(name, context);`;

// On the global object: a bundle has this file twice, once before it and once in it.
const CURRENT = Symbol.for('sluicegate.current');

globalThis[Symbol.for('sluicegate')] ??= (name) => {
  if (!globalThis[CURRENT]) {
    throw new Error(
      `${name} needs a host: call the handler by Host of sluicegate/testing.js, or test the built ` +
        'plug-in with `sluice test`',
    );
  }
  return globalThis[CURRENT][name];
};
if (!globalThis[Symbol.for('sluicegate.registered')]) {
  globalThis[Symbol.for('sluicegate.registered')] = true;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}

/**
 * Keeps the state from call to call, as the real host does: `state` is a Map of bytes. `answers` is
 * called with { url, method, headers, body } of each request, and gives a Response; without it the
 * request is really sent.
 */
export class Host {
  constructor({ config = {}, state = {}, answers } = {}) {
    this.config = config;
    this.answers = answers;
    this.state = new Map(Object.entries(state).map(([key, value]) => [key, bytes(value)]));
  }

  /** Calls the handler; `delivery` sets members of the delivery, such as { attempt: 2 }. */
  async call(consumer, event, delivery = {}) {
    const staged = new Map(this.state);
    const called = { outcome: 'done', message: undefined, emitted: [], logs: [], requests: [] };
    globalThis[CURRENT] = {
      log: { log: (level, text) => called.logs.push([level, text]) },
      config: { get: (key) => this.config[key] },
      state: {
        get: (key) => staged.get(key),
        put: (key, value) => staged.set(key, value),
        delete: (key) => staged.delete(key),
      },
      outbox: {
        emit: (subject, event) =>
          called.emitted.push({
            subject,
            type: event.type,
            data: event.data && parse(new TextDecoder().decode(event.data)),
            event,
          }),
      },
    };
    const { fetch } = globalThis;
    globalThis.fetch = async (url, options = {}) => {
      const { method = 'GET', headers = {}, body } = options;
      const request = { url: String(url), method, headers: { ...headers }, body };
      called.requests.push(request);
      return this.answers ? this.answers(request) : fetch(url, options);
    };
    try {
      await consumer.handle(event, { ...DELIVERY, partitionKey: event.attributes.partitionkey ?? '', ...delivery });
      this.state = staged;
    } catch (failure) {
      if (!failure?.tag) throw failure;
      called.outcome = failure.tag;
      called.message = failure.val.message ?? failure.val;
      called.retryAfterMs = failure.val.afterMs === undefined ? undefined : Number(failure.val.afterMs);
    } finally {
      globalThis[CURRENT] = undefined;
      globalThis.fetch = fetch;
    }
    return called;
  }

  /** The value of a key after the calls so far, read as JSON; undefined where there is none. */
  json(key) {
    const value = this.state.get(key);
    return value === undefined ? undefined : parse(new TextDecoder().decode(value));
  }
}

const DELIVERY = {
  attempt: 1,
  idempotencyKey: '0f3c9d2b7a5e4186b0d1c2e3f4a59687',
  sequence: 1n,
  deadlineMs: 5000,
  isReplay: false,
  traceparent: undefined,
};
const RECORD = '7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05';
const CONTRACTS = 'http://schemas.microsoft.com/xrm/2011/Contracts';

const bytes = (value) => (typeof value === 'string' ? new TextEncoder().encode(value) : value);

/** An event of any kind; `data` is bytes, or anything that JSON has a form for. */
export function event(type, data, { id = '1', source = '/dataverse/contoso', subject, attributes = {} } = {}) {
  return new Event({
    id,
    source,
    type,
    subject,
    datacontenttype: 'application/json',
    extensions: Object.entries(attributes).map(([name, val]) => [name, { tag: 'text', val }]),
    data: data instanceof Uint8Array ? data : bytes(stringify(data)),
  });
}

/**
 * A message of Dataverse about a record of this table, as the gateway gives it. `columns` is what
 * the message carries; images are { name: columns }.
 */
export function record(
  table,
  columns = {},
  { message = 'Update', id = RECORD, environment = 'contoso', preImages = {}, postImages = {} } = {},
) {
  const row = (columns) => ({
    __type: `Entity:${CONTRACTS}`,
    Attributes: Object.entries(columns).map(([key, value]) => ({ key, value })),
    Id: id,
    LogicalName: table,
  });
  const images = (of) => Object.entries(of).map(([key, columns]) => ({ key, value: row(columns) }));
  const about = `${table}/${id}`;
  const body = {
    MessageName: message,
    PrimaryEntityName: table,
    PrimaryEntityId: id,
    Depth: 1,
    InputParameters: [{ key: 'Target', value: message === 'Delete' ? lookup(table, id) : row(columns) }],
    PreEntityImages: images(preImages),
    PostEntityImages: images(postImages),
  };
  return event(`d365.dataverse.${table}.${message.toLowerCase()}`, body, {
    source: `/dataverse/${environment}`,
    subject: about,
    attributes: { partitionkey: about, d365depth: '1' },
  });
}

/** A business event of Finance and Operations, as the gateway gives it. */
export function businessEvent(id, members = {}, { legalEntity = 'usmf', environment = 'contoso' } = {}) {
  const body = {
    BusinessEventId: id,
    BusinessEventLegalEntity: legalEntity,
    ContextRecordSubject: '',
    ControlNumber: 5637611083,
    EventId: '8AE4B1F0-6B0D-4A3E-9C52-77D0E1F2A3B4',
    EventTime: '/Date(1700000000000)/',
    MajorVersion: 0,
    MinorVersion: 0,
    ...members,
  };
  return event(`d365.fno.${id}`, body, {
    id: '8ae4b1f0-6b0d-4a3e-9c52-77d0e1f2a3b4',
    source: `/fno/${environment}/${legalEntity}`,
    attributes: { partitionkey: `${legalEntity}/${id}/` },
  });
}

/** The event that the gateway makes of a body (bytes or text), a captured one say; its id is 1. */
export function eventOf(environment, body) {
  const { MessageName, PrimaryEntityName, PrimaryEntityId, BusinessEventId, BusinessEventLegalEntity } =
    parse(typeof body === 'string' ? body : new TextDecoder().decode(body));
  const [type, source, key] = BusinessEventId
    ? [
        `d365.fno.${BusinessEventId}`,
        `/fno/${environment}/${BusinessEventLegalEntity}`,
        `${BusinessEventLegalEntity}/${BusinessEventId}/`,
      ]
    : [
        `d365.dataverse.${PrimaryEntityName}.${MessageName.toLowerCase()}`,
        `/dataverse/${environment}`,
        `${PrimaryEntityName}/${PrimaryEntityId}`,
      ];
  const subject = BusinessEventId ? undefined : key;
  return event(type, bytes(body), { source, subject, attributes: { partitionkey: key } });
}

/** A currency column's value. */
export const money = (digits) => ({ __type: `Money:${CONTRACTS}`, Value: new Amount(String(digits)) });

/** A choice column's value. */
export const choice = (option) => ({ __type: `OptionSetValue:${CONTRACTS}`, Value: option });

/** A date column's value, from RFC 3339. */
export const date = (text) => `/Date(${Date.parse(text)})/`;

/** A lookup column's value. */
export const lookup = (table, id, name = null) => ({
  __type: `EntityReference:${CONTRACTS}`,
  Id: id,
  LogicalName: table,
  Name: name,
});
