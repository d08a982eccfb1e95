"""Does what the data says, as the Rust guest fail_by_data does, and counts in its state.

{"n": 1, "do": "raise" | "reject" | "retry" | "sleep" | "print" | "look", "until": 1}
"""

import json
import os
import sys
import time

from componentize_py_types import Err
from wit_world.imports import log, outbox, state
from wit_world.imports.types import Event, Failure_Reject, Failure_Retry, RetryRequest

ECHO = "d365.custom.test.business.echo.raised"

# What stays in a warm instance from one call to the next.
calls = 0


class Consumer:
    def handle(self, event, delivery):
        global calls
        calls += 1
        told = json.loads(event.data)
        key = delivery.partition_key
        seen = int(state.get(key) or b"0") + 1
        state.put(key, str(seen).encode())
        emit(event, delivery, told, seen)
        match told.get("do"):
            case "raise":
                blame(told)
            case "reject":
                raise Err(Failure_Reject(f"no customer {told['n']}"))
            case "retry" if delivery.attempt <= told["until"]:
                raise Err(Failure_Retry(RetryRequest(after_ms=None, message="the ERP is busy")))
            case "sleep":
                time.sleep(3600)
            case "print":
                print("printed by", event.id)
                print("complained by", event.id, file=sys.stderr)
                log.log(log.Level.INFO, f"logged by {event.id}")
            case "look":
                look()


def emit(event, delivery, told, seen):
    body = {
        "input": event.id,
        "key": delivery.partition_key,
        "n": told.get("n"),
        "seen": seen,
        "calls": calls,
    }
    outbox.emit(
        ECHO,
        Event(
            id="",
            source="",
            type="d365.custom.echo.raised",
            subject=None,
            time=None,
            datacontenttype="application/json",
            dataschema=None,
            extensions=[],
            data=json.dumps(body).encode(),
        ),
    )


def blame(told):
    raise ValueError(f"no such thing: {told['n']}")


def look():
    for what, way in {
        "environment": lambda: dict(os.environ),
        "file": lambda: open("/etc/passwd").read(),
        "folder": lambda: os.listdir("/"),
    }.items():
        try:
            print("found", what, way())
        except OSError as error:
            print("refused", what, error)
