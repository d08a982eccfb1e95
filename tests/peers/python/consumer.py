"""`python3 consumer.py URL STREAM FILTER COUNT`: reads COUNT messages, gives its rate.

As the documentation of nats-py advises: a pull subscription, messages fetched in batches, and an
acknowledgement of each that waits for no answer.
"""

import asyncio
import json
import sys
import time

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

# Messages of one fetch.
BATCH = 500
# More than which no account may have.
LIMIT = 1e9


def decide(body, limit):
    """What `handler` does: says who is over the limit, if the account is."""
    body = json.loads(body)
    posted = body.get("InputParameters")
    if posted:
        who = body.get("PrimaryEntityId")
        attributes = posted[0]["value"]["Attributes"]
        limits = (one["value"]["Value"] for one in attributes if one["key"] == "creditlimit")
        credit = next(limits, None)
    else:
        who, credit = body.get("accountnumber"), body.get("creditlimit")
    if not isinstance(who, str) or not isinstance(credit, (int, float)):
        raise ValueError("the body is no account with a credit limit")
    return f"{who} is over its limit" if limit < credit else None


async def consume(client, stream, filter_subject, count):
    messages = await client.jetstream().pull_subscribe(
        filter_subject,
        stream=stream,
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            max_ack_pending=2000,
        ),
    )
    there = (await messages.consumer_info()).num_pending
    if there < count:
        raise ValueError(f"{filter_subject} has {there} messages and not {count}")
    warm = count // 10
    since = None
    done = 0
    while done < count:
        for message in await messages.fetch(min(BATCH, count - done), timeout=30):
            if decide(message.data, LIMIT):
                await message.term()
            else:
                await message.ack()
            done += 1
            if done == warm:
                since = time.perf_counter()
    await client.flush()
    if since is None:
        raise ValueError("too few messages")
    return {"events": count - warm, "seconds": time.perf_counter() - since}


async def main(url, stream, filter_subject, count):
    # A broker that is not there or goes away ends the run.
    client = await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=1)
    try:
        return await consume(client, stream, filter_subject, count)
    finally:
        await client.close()


if __name__ == "__main__":
    if len(sys.argv) != 5 or not sys.argv[4].isdecimal():
        sys.exit("usage: python3 consumer.py URL STREAM FILTER COUNT")
    try:
        measured = asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(measured, separators=(",", ":")))
