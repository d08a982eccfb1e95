"""What the author of a Sluicegate plug-in in Python imports.

    from sluicegate import Reject, consumer, log

    @consumer
    def handle(event, delivery):
        account = event.record()
        if account.changed("creditlimit"):
            log.info(f"{account.id}: {account.decimal('creditlimit')}")

What the function does to the state and what it emits takes effect together, once, when it
returns. When it raises, nothing does, and the exception says what comes next:

    Retry                                 called again, by [retry] in plugin.toml
    OSError, such as TimeoutError         the same: what was asked may answer later
    Reject, and every other exception     the event is dead-lettered at once

`sluicegate.testing` runs the function without a host.
"""

import importlib
import json
import re
import sys
import traceback
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import unquote

try:
    # How a component says that a call has failed.
    from componentize_py_types import Err as _Err
except ImportError:
    _Err = None

__all__ = ["Event", "Record", "Reject", "Retry", "config", "consumer", "log", "outbox", "state"]


class Reject(Exception):
    """No later call can help: the event becomes a dead letter, with this text."""


class Retry(Exception):
    """A later call may help; `after` (seconds, or a timedelta) is the least to wait."""

    def __init__(self, message, after=None):
        super().__init__(message)
        self.after = after.total_seconds() if isinstance(after, timedelta) else after


def consumer(function):
    """Makes a function of (event, delivery) the plug-in's handler of events."""

    class Consumer:
        def handle(self, event, delivery):
            try:
                function(Event(event), delivery)
            except Exception as error:
                raise _failure(error) from error

    # componentize-py looks for a class of the interface's name in the plug-in's module.
    sys.modules[function.__module__].Consumer = Consumer
    return function


def _failure(error):
    types = _import("types")
    after, message = describe(error)
    if after is _NEVER:
        return _Err(types.Failure_Reject(message))
    after_ms = None if after is None else max(0, round(after * 1000))
    return _Err(types.Failure_Retry(types.RetryRequest(after_ms=after_ms, message=message)))


_NEVER = object()


def describe(error):
    """How long to wait (None: as the policy says; never), and what the operator reads."""
    if isinstance(error, Retry):
        return error.after, str(error)
    if isinstance(error, Reject):
        return _NEVER, str(error)
    message = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "sluicegate" not in frame.filename]
    if own:
        message += f" ({own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].lineno})"
    return (None if isinstance(error, OSError) else _NEVER), message


class Event:
    """A CloudEvent: its attributes, and the body of its source byte for byte."""

    def __init__(self, raw):
        self.id = raw.id
        self.source = raw.source
        self.type = raw.type
        self.subject = raw.subject
        self.time = raw.time
        self.content_type = raw.datacontenttype
        self.schema = raw.dataschema
        self.data = bytes(raw.data or b"")
        #: Every extension attribute by name: text, or a number or a flag of a JSON event.
        self.attributes = {name: getattr(value, "value", value) for name, value in raw.extensions}

    @property
    def environment(self):
        """The Dynamics 365 environment, or None."""
        return self._source_part(2)

    @property
    def legal_entity(self):
        """The legal entity of Finance and Operations, or None."""
        return self._source_part(3)

    def _source_part(self, index):
        parts = self.source.split("/")
        if parts[0] or len(parts) <= index or not parts[index]:
            return None
        return unquote(parts[index])

    def json(self):
        """The body. Numbers with a point are Decimal, so that amounts keep their digits."""
        try:
            # A byte-order mark before it is no part of the JSON.
            text = self.data.removeprefix(b"\xef\xbb\xbf").decode()
            return json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise Reject(f"the data of the event is not JSON: {error}") from error

    def record(self):
        """The body as a change of a Dataverse record, or a call of a custom API."""
        body = self.json()
        if not isinstance(body, dict) or not isinstance(body.get("MessageName"), str):
            raise Reject("the data of the event is no Dataverse message: it has no MessageName")
        return Record(body)

    def business_event(self):
        """The body as a business event of Finance and Operations: a dict."""
        body = self.json()
        if not isinstance(body, dict) or "BusinessEventId" not in body:
            raise Reject("the data of the event is no business event: it has no BusinessEventId")
        return body


class Row:
    """Columns of a record by their logical names."""

    def __init__(self, pairs):
        self._columns = pairs

    def __contains__(self, column):
        return column in self._columns

    def __iter__(self):
        return iter(self._columns)

    def get(self, column):
        """The value as it came, or None: a column that is not there, or that was cleared."""
        value = self._columns.get(column)
        return value.get("__value") if isinstance(value, dict) and "__value" in value else value

    def text(self, column):
        """A text, or a GUID."""
        return _of(str, self.get(column))

    def flag(self, column):
        """A two-option column."""
        return _of(bool, self.get(column))

    def integer(self, column):
        """A whole number."""
        value = self.get(column)
        return value if type(value) is int else None

    def decimal(self, column):
        """A decimal, a whole number or money, exactly: a Decimal."""
        value = self.get(column)
        value = value.get("Value") if isinstance(value, dict) else value
        return Decimal(value) if type(value) in (int, Decimal) else None

    def money(self, column):
        """Money, exactly: the same as decimal."""
        return self.decimal(column)

    def choice(self, column):
        """The number of a choice."""
        return _of(int, _member(self.get(column), "Value"))

    def choices(self, column):
        """The numbers of a multi-select choice."""
        value = self.get(column)
        return [choice["Value"] for choice in value] if isinstance(value, list) else None

    def lookup(self, column):
        """A lookup: a Reference with table, id and name."""
        value = self.get(column)
        is_reference = isinstance(value, dict) and "LogicalName" in value
        return Reference(value) if is_reference else None

    def when(self, column):
        """A date: an aware datetime in UTC."""
        return _date(self.get(column))


class Reference:
    """A reference to a record."""

    def __init__(self, value):
        self.table = value.get("LogicalName")
        self.id = value.get("Id")
        self.name = value.get("Name")


class Record(Row):
    """A message about a record, with the columns that it carries: all that were submitted in a
    create, the changed ones in an update, none in a delete."""

    def __init__(self, body):
        self.body = body
        self.message = body["MessageName"]
        self._input = _pairs(body.get("InputParameters"))
        target = self._input.get("Target")
        target = target if isinstance(target, dict) else {}
        super().__init__(_pairs(target.get("Attributes")))
        table = body.get("PrimaryEntityName")
        self.table = table if table and table != "none" else target.get("LogicalName")
        self.id = _known(body.get("PrimaryEntityId")) or _known(target.get("Id"))

    def changed(self, column):
        """Whether the message carries this column, be it cleared."""
        return column in self

    def input(self, name):
        """A parameter of the message, as it came."""
        return self._input.get(name)

    def pre_image(self, name):
        """The record before the operation, from the image of this name: a Row, or None."""
        return self._image("PreEntityImages", name)

    def post_image(self, name):
        """The record after the operation, from the image of this name: a Row, or None."""
        return self._image("PostEntityImages", name)

    def _image(self, kind, name):
        image = _pairs(self.body.get(kind)).get(name)
        return Row(_pairs(image.get("Attributes"))) if isinstance(image, dict) else None


def _pairs(items):
    items = items if isinstance(items, list) else []
    return {item["key"]: item.get("value") for item in items if "key" in item}


def _member(value, name):
    return value.get(name) if isinstance(value, dict) else None


def _of(kind, value):
    return value if type(value) is kind else None


def _known(guid):
    known = isinstance(guid, str) and guid.strip("{}0-")
    return guid.strip("{}") if known else None


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _date(value):
    if not isinstance(value, str):
        return None
    if value.startswith("/Date("):
        # The milliseconds count from 1970 in UTC, whatever offset follows them.
        digits = value[len("/Date(") :].rstrip(")/")
        sign = max(digits.rfind("+"), digits.rfind("-"))
        digits = digits[:sign] if sign > 0 else digits
        return _EPOCH + timedelta(milliseconds=int(digits))
    try:
        date = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _modules():
    """What the host gives, by name: at once, for a component can import nothing later."""
    found = {}
    # `types` has its whole name beside other interfaces of that name.
    for module in ("log", "config", "state", "outbox", "types", "sluicegate_plugin_types"):
        try:
            found[module.removeprefix("sluicegate_plugin_")] = importlib.import_module(
                f"wit_world.imports.{module}"
            )
        except ImportError:
            pass
    return found


_granted = _modules()
_GRANTS = {"state": "state = true", "outbox": 'emit = ["<subjects>"]'}


def _import(name):
    """The host's side, or, natively, the one of `sluicegate.testing`."""
    if name in _granted:
        return _granted[name]
    if _granted:
        raise RuntimeError(
            f"the plug-in has no {name}: set {_GRANTS.get(name, name)} under [capabilities] in "
            "plugin.toml"
        )
    from sluicegate import testing

    return testing.current(name)


class log:
    """Lines for the operator."""

    @staticmethod
    def _write(level, message):
        log_module = _import("log")
        log_module.log(getattr(log_module.Level, level), str(message))

    @staticmethod
    def debug(message):
        log._write("DEBUG", message)

    @staticmethod
    def info(message):
        log._write("INFO", message)

    @staticmethod
    def warn(message):
        log._write("WARN", message)

    @staticmethod
    def error(message):
        log._write("ERROR", message)


class config:
    """The [config] table of plugin.toml, with the operator's values over it: texts."""

    @staticmethod
    def get(key, default=None):
        value = _import("config").get(key)
        return default if value is None else value


class state:
    """The plug-in's own keyspace. Needs `state = true` under [capabilities]."""

    @staticmethod
    def get(key):
        """The bytes under the key, or None."""
        return _import("state").get(key)

    @staticmethod
    def put(key, value):
        """Stages bytes under the key."""
        _import("state").put(key, bytes(value))

    @staticmethod
    def delete(key):
        """Stages that the key has no value."""
        _import("state").delete(key)

    @staticmethod
    def get_json(key, default=None):
        """The JSON under the key, or the default. Numbers with a point are Decimal."""
        value = state.get(key)
        return default if value is None else json.loads(value, parse_float=Decimal)

    @staticmethod
    def put_json(key, value):
        """Stages a value as JSON."""
        state.put(key, dumps(value))


class outbox:
    """Events that leave together with the outcome. Needs `emit` under [capabilities]."""

    @staticmethod
    def emit(subject, type, data=None, *, id="", about=None, key=None, attributes=None):
        """Stages an event.

        `subject` is where it goes in the broker: d365.<origin>.<environment>.<kind>.<name>.<action>.
        `data` is bytes, or anything that JSON has a form for. `about` is the CloudEvent's subject,
        `key` what it is kept in order by (the key of the event being handled when left out).
        What is left out the host fills: id (the same when the call is repeated), source, time.
        """
        extensions = dict(attributes or {})
        if key is not None:
            extensions["partitionkey"] = key
        outbox_module = _import("outbox")
        types = _import("types")
        outbox_module.emit(
            subject,
            types.Event(
                id=id,
                source="",
                type=type,
                subject=about,
                time=None,
                datacontenttype=None if data is None else "application/json",
                dataschema=None,
                extensions=[
                    (name, types.AttributeValue_Text(str(value)))
                    for name, value in extensions.items()
                ],
                data=data if data is None or isinstance(data, bytes) else dumps(data),
            ),
        )


def token(text):
    """A name as a part of a subject: lower case, `_` for what has no place there."""
    return "".join(c if c in "abcdefghijklmnopqrstuvwxyz0123456789_-" else "_" for c in text.lower())


# Stands around the digits of a Decimal until the JSON is written: json has no way to write one.
_MARK = "decimal-6f1d0c5e-9b0e-4f57-8d0b-3c2f6f4b1a77:"
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def dumps(value):
    """JSON as bytes; a Decimal becomes a number with all its digits."""
    text = json.dumps(_exact(value), separators=(",", ":"), ensure_ascii=False)
    return _MARKED.sub(r"\1", text).encode()


def _exact(value):
    if isinstance(value, Decimal):
        return f"{_MARK}{value:f}"
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
