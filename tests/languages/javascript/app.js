// Does what the data says, as the Rust guest fail_by_data does, and counts in its state:
// {"n": 1, "do": "raise" | "reject" | "retry" | "sleep" | "print" | "look", "until": 1}

import { log } from 'sluicegate:plugin/log@0.1.0';
import { emit } from 'sluicegate:plugin/outbox@0.1.0';
import { get, put } from 'sluicegate:plugin/state@0.1.0';

const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (text) => new TextEncoder().encode(text);

// What stays in a warm instance from one call to the next.
let calls = 0;

export const consumer = {
  async handle(event, delivery) {
    calls += 1;
    const told = JSON.parse(text(event.data));
    const key = delivery.partitionKey;
    const seen = Number(text(get(key) ?? bytes('0'))) + 1;
    put(key, bytes(String(seen)));
    echo({ input: event.id, key, n: told.n, seen, calls });
    switch (told.do) {
      case 'raise':
        throw new Error(`no such thing: ${told.n}`);
      case 'reject':
        throw { tag: 'reject', val: `no customer ${told.n}` };
      case 'retry':
        if (delivery.attempt <= told.until) {
          throw { tag: 'retry', val: { message: 'the ERP is busy' } };
        }
        break;
      case 'sleep':
        await new Promise((wake) => setTimeout(wake, 3_600_000));
        break;
      case 'print':
        console.log('printed by', event.id);
        console.error('complained by', event.id);
        log('info', `logged by ${event.id}`);
        break;
      case 'look':
        console.log('found environment', JSON.stringify(globalThis.process?.env ?? {}));
        break;
    }
  },
};

function echo(body) {
  emit('d365.custom.test.business.echo.raised', {
    id: '',
    source: '',
    type: 'd365.custom.echo.raised',
    datacontenttype: 'application/json',
    extensions: [],
    data: bytes(JSON.stringify(body)),
  });
}
