// `node consumer.mjs loop|callback URL STREAM FILTER COUNT`: reads COUNT messages, gives its rate.
//
// As the documentation of nats.js advises: a pull consumer that keeps a buffer of messages, and
// an acknowledgement of each that waits for no answer. It names two ways to handle them: a loop
// over an iterator, the usual one, and a callback, which is twice as fast, and serves as long as
// no handler waits.

import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

// Messages that the server may send ahead.
const BATCH = 1000;
// More than which no account may have.
const LIMIT = 1e9;

// What `handler` does: says who is over the limit, if the account is.
function decide(body, limit) {
  const attributes = body.InputParameters?.[0]?.value?.Attributes;
  const [who, credit] = attributes
    ? [body.PrimaryEntityId, attributes.find((one) => one.key === "creditlimit")?.value?.Value]
    : [body.accountnumber, body.creditlimit];
  if (typeof who !== "string" || typeof credit !== "number") {
    throw new Error("the body is no account with a credit limit");
  }
  return limit < credit ? `${who} is over its limit` : undefined;
}

async function consume(connection, mode, stream, filter, count) {
  const { consumers } = await jetstreamManager(connection);
  const { name, num_pending: there } = await consumers.add(stream, {
    filter_subject: filter,
    deliver_policy: DeliverPolicy.All,
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 2 * BATCH,
  });
  if (there < count) {
    throw new Error(`${filter} has ${there} messages and not ${count}`);
  }
  const consumer = await jetstream(connection).consumers.get(stream, name);
  const warm = Math.floor(count / 10);
  let since;
  let done = 0;
  const handle = (message) => {
    if (decide(message.json(), LIMIT)) {
      message.term();
    } else {
      message.ack();
    }
    done += 1;
    if (done === warm) {
      since = performance.now();
    }
  };
  if (mode === "loop") {
    const messages = await consumer.consume({ max_messages: BATCH });
    for await (const message of messages) {
      handle(message);
      if (done === count) {
        break;
      }
    }
  } else {
    const messages = await consumer.consume({
      max_messages: BATCH,
      callback: (message) => {
        handle(message);
        if (done === count) {
          messages.stop();
        }
      },
    });
    const error = await messages.closed();
    if (error) {
      throw error;
    }
  }
  if (done < count) {
    throw new Error(`the messages ended after ${done}`);
  }
  if (since === undefined) {
    throw new Error("too few messages");
  }
  await connection.flush();
  return { events: count - warm, seconds: (performance.now() - since) / 1000 };
}

const [mode, url, stream, filter, ...rest] = process.argv.slice(2);
const count = Number(rest[0]);
if (!["loop", "callback"].includes(mode) || rest.length !== 1 || !Number.isSafeInteger(count)) {
  console.error("usage: node consumer.mjs loop|callback URL STREAM FILTER COUNT");
  process.exit(2);
}
try {
  // A broker that goes away ends the run.
  const connection = await connect({ servers: url, reconnect: false });
  console.log(JSON.stringify(await consume(connection, mode, stream, filter, count)));
  await connection.close();
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
