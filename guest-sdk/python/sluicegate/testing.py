"""A host for unit tests: runs the handler natively, with state, configuration, and events as
Dynamics 365 sends them.

    from decimal import Decimal
    from sluicegate import testing
    import plugin

    host = testing.Host(config={"limit": "50000"})
    event = testing.record("account", {"creditlimit": testing.money("75000.0000")})
    called = host.call(plugin.handle, event)
    assert called.outcome == "done"
    assert called.emitted[0].data == {"limit": Decimal("75000.0000")}

The limits, the grants of the manifest, and what the real host fills into emitted events are not
here: `sluice test` runs the built plug-in with all of them.
"""

import enum
import json
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace

import sluicegate

_RECORD = "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05"
_CONTRACTS = "http://schemas.microsoft.com/xrm/2011/Contracts"
_host = None


class Called:
    """What one call did: outcome ("done", "retry", "reject"), message, retry_after (seconds),
    emitted (subject, type, data, event), logs (level, text), requests (method, url, headers,
    body)."""

    def __init__(self):
        self.outcome = "done"
        self.message = None
        self.retry_after = None
        self.emitted = []
        self.logs = []
        self.requests = []


class Host:
    """Keeps the state from call to call, as the real host does: `state` is a dict of bytes."""

    def __init__(self, config=None, state=None, answers=None):
        """`answers` is called with method, url, headers and body of each request that the handler
        sends, and gives an `answer(…)`; without it there is none."""
        self.answers = answers
        self.config = {key: str(value) for key, value in (config or {}).items()}
        self.state = dict(state or {})

    def call(self, handler, event, **delivery):
        """Calls the handler; `delivery` sets members of the delivery, such as attempt=2."""
        global _host
        staged, called = dict(self.state), Called()
        _host = _Modules(self, staged, called)
        try:
            handler(event, _delivery(event, delivery))
        except Exception as error:
            after, called.message = sluicegate.describe(error)
            called.outcome = "reject" if after is sluicegate._NEVER else "retry"
            called.retry_after = None if after is sluicegate._NEVER else after
        else:
            self.state = staged
        finally:
            _host = None
        return called


def current(name):
    """The module of the host that runs the call."""
    if _host is None:
        raise RuntimeError(
            f"sluicegate.{name} needs a host: call the handler by sluicegate.testing.Host, "
            "or test the built plug-in with `sluice test`"
        )
    return getattr(_host, name)


class _Modules:
    def __init__(self, host, staged, called):
        self.config = SimpleNamespace(get=host.config.get)
        self.state = SimpleNamespace(
            get=staged.get, put=staged.__setitem__, delete=lambda key: staged.pop(key, None)
        )
        self.log = SimpleNamespace(
            Level=enum.Enum("Level", "TRACE DEBUG INFO WARN ERROR"),
            log=lambda level, text: called.logs.append((level.name.lower(), text)),
        )
        self.types = SimpleNamespace(Event=SimpleNamespace, AttributeValue_Text=_Text)

        def answer(method, url, headers, body):
            called.requests.append(
                SimpleNamespace(method=method, url=url, headers=headers, body=body)
            )
            if host.answers is None:
                raise sluicegate.Retry(f"no answer from {url}: the test has no answers")
            return host.answers(method, url, headers, body)

        self.answer = answer

        def emit(subject, event):
            data = None if event.data is None else json.loads(event.data, parse_float=Decimal)
            called.emitted.append(
                SimpleNamespace(subject=subject, type=event.type, data=data, event=event)
            )

        self.outbox = SimpleNamespace(emit=emit)


class _Text:
    def __init__(self, value):
        self.value = value


def _delivery(event, changes):
    members = {
        "attempt": 1,
        "idempotency_key": f"{abs(hash((event.source, event.id))):032x}"[:32],
        "partition_key": event.attributes.get("partitionkey", ""),
        "sequence": 1,
        "deadline_ms": 5000,
        "is_replay": False,
        "traceparent": None,
    }
    return SimpleNamespace(**{**members, **changes})


def event(type, data, *, id="1", source="/dataverse/contoso", subject=None, attributes=None):
    """An event of any kind; `data` is bytes, or anything that JSON has a form for."""
    raw = SimpleNamespace(
        id=id,
        source=source,
        type=type,
        subject=subject,
        time=None,
        datacontenttype="application/json",
        dataschema=None,
        extensions=[(name, _Text(value)) for name, value in (attributes or {}).items()],
        data=data if isinstance(data, bytes) else sluicegate.dumps(data),
    )
    return sluicegate.Event(raw)


def record(table, columns=None, *, message="Update", id=_RECORD, environment="contoso",
           pre_images=None, post_images=None):
    """A message of Dataverse about a record of this table, as the gateway gives it.

    `columns` is what the message carries; images are {name: columns}.
    """
    def row(columns):
        pairs = [{"key": key, "value": value} for key, value in (columns or {}).items()]
        return {"__type": f"Entity:{_CONTRACTS}", "Attributes": pairs, "Id": id,
                "LogicalName": table}

    def images(of):
        return [{"key": name, "value": row(columns)} for name, columns in (of or {}).items()]

    target = row(columns)
    if message == "Delete":
        target = {"__type": f"EntityReference:{_CONTRACTS}", "Id": id, "LogicalName": table}
    body = {
        "MessageName": message,
        "PrimaryEntityName": table,
        "PrimaryEntityId": id,
        "Depth": 1,
        "InputParameters": [{"key": "Target", "value": target}],
        "PreEntityImages": images(pre_images),
        "PostEntityImages": images(post_images),
    }
    about = f"{table}/{id}"
    return event(
        f"d365.dataverse.{table}.{message.lower()}",
        body,
        source=f"/dataverse/{environment}",
        subject=about,
        attributes={"partitionkey": about, "d365depth": "1"},
    )


def business_event(event_id, members=None, *, legal_entity="usmf", environment="contoso"):
    """A business event of Finance and Operations, as the gateway gives it."""
    body = {
        "BusinessEventId": event_id,
        "BusinessEventLegalEntity": legal_entity,
        "ContextRecordSubject": "",
        "ControlNumber": 5637611083,
        "EventId": "8AE4B1F0-6B0D-4A3E-9C52-77D0E1F2A3B4",
        "EventTime": "/Date(1700000000000)/",
        "MajorVersion": 0,
        "MinorVersion": 0,
        **(members or {}),
    }
    return event(
        f"d365.fno.{event_id}",
        body,
        id="8ae4b1f0-6b0d-4a3e-9c52-77d0e1f2a3b4",
        source=f"/fno/{environment}/{legal_entity}",
        attributes={"partitionkey": f"{legal_entity}/{event_id}/"},
    )


def event_of(environment, body):
    """The event that the gateway makes of a body (bytes or text), a captured one say; its id is 1."""
    body = body.encode() if isinstance(body, str) else body
    parsed = json.loads(body)
    business = parsed.get("BusinessEventId")
    if business:
        legal_entity = parsed.get("BusinessEventLegalEntity")
        type, about = f"d365.fno.{business}", None
        source, key = f"/fno/{environment}/{legal_entity}", f"{legal_entity}/{business}/"
    else:
        table = parsed["PrimaryEntityName"]
        type = f"d365.dataverse.{table}.{parsed['MessageName'].lower()}"
        source, key = f"/dataverse/{environment}", f"{table}/{parsed['PrimaryEntityId']}"
        about = key
    return event(type, body, source=source, subject=about, attributes={"partitionkey": key})


def date(text):
    """A date column's value, from RFC 3339."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return f"/Date({round(moment.timestamp() * 1000)})/"


def answer(status, body=b"", headers=None):
    """An answer to a request; `body` is bytes, or anything that JSON has a form for."""
    from sluicegate import http

    body = body if isinstance(body, bytes) else sluicegate.dumps(body)
    headers = {name.lower(): str(value) for name, value in (headers or {}).items()}
    return http.Answer(status, headers, body)


def money(digits):
    """A currency column's value."""
    return {"__type": f"Money:{_CONTRACTS}", "Value": Decimal(digits)}


def choice(option):
    """A choice column's value."""
    return {"__type": f"OptionSetValue:{_CONTRACTS}", "Value": option}


def lookup(table, id, name=None):
    """A lookup column's value."""
    return {"__type": f"EntityReference:{_CONTRACTS}", "Id": id, "LogicalName": table,
            "Name": name}
