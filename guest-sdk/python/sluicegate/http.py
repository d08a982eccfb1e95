"""Requests to the origins that `http = ["https://…"]` under [capabilities] in plugin.toml grants.

    from sluicegate import http

    answer = http.post("https://api.contoso.com/orders", json={"id": 7},
                       headers={"idempotency-key": delivery.idempotency_key})
    log.info(answer.json()["status"])

The host adds the credential that the operator has set for the origin; a plug-in never sees it.
Redirects are not followed. What is no success is raised, and says what comes next:

    429, 503                       Retry, after what Retry-After says
    401, 408, every other 5xx      Retry
    no answer                      Retry: whether the request was heard is not known
    every other status from 300    Reject
    an origin that is not granted  Reject

`error.answer` is the answer, where there is one.
"""

import json as _json
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import sluicegate
from sluicegate import Reject, Retry

_READ = 64 << 10
_WRITE = 4096
_SHOWN = 500


class Answer:
    """An answer: status, headers by name in lower case, body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        """The body. Numbers with a point are Decimal."""
        return _json.loads(self.body, parse_float=sluicegate.Decimal)

    @property
    def retry_after(self):
        """What Retry-After asks for, in seconds, or None."""
        value = self.headers.get("retry-after", "").strip()
        if value.isdigit():
            return int(value)
        try:
            until = parsedate_to_datetime(value)
            now = parsedate_to_datetime(self.headers.get("date", ""))
        except (TypeError, ValueError):
            return None
        return max(0, (until - now).total_seconds())


def get(url, **options):
    return request("GET", url, **options)


def post(url, **options):
    return request("POST", url, **options)


def put(url, **options):
    return request("PUT", url, **options)


def patch(url, **options):
    return request("PATCH", url, **options)


def delete(url, **options):
    return request("DELETE", url, **options)


def request(method, url, *, headers=None, body=b"", json=None):
    """Sends a request and waits for the whole answer. `json` is anything that JSON has a form
    for."""
    headers = {name.lower(): str(value) for name, value in (headers or {}).items()}
    if json is not None:
        body = sluicegate.dumps(json)
        headers.setdefault("content-type", "application/json")
    if sluicegate._granted:
        answer = _send(method, url, headers, body)
    else:
        from sluicegate import testing

        answer = testing.current("answer")(method, url, headers, body)
    if answer.status < 300:
        return answer
    shown = answer.body[:_SHOWN].decode(errors="replace").strip()
    message = f"{method} {url} answered {answer.status}: {shown}"
    if answer.status in (429, 503):
        error = Retry(message, after=answer.retry_after)
    elif answer.status in (401, 408) or answer.status >= 500:
        error = Retry(message)
    else:
        error = Reject(message)
    error.answer = answer
    raise error


try:
    from componentize_py_types import Err, Ok
    from wit_world.imports import outgoing_handler
    from wit_world.imports import wasi_http_types as types
except ImportError:
    outgoing_handler = None


def _send(method, url, headers, body):
    if outgoing_handler is None:
        raise RuntimeError('set http = ["https://…"] under [capabilities] in plugin.toml')
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Reject(f"{url!r} is no address; expected https://<host>[:<port>]/<path>")
    if body:
        headers.setdefault("content-length", str(len(body)))
    fields = types.Fields.from_list([(name, value.encode()) for name, value in headers.items()])
    outgoing = types.OutgoingRequest(fields)
    known = getattr(types, f"Method_{method.capitalize()}", None)
    outgoing.set_method(known() if known else types.Method_Other(method))
    outgoing.set_scheme(
        types.Scheme_Https() if parts.scheme == "https" else types.Scheme_Http()
    )
    outgoing.set_authority(parts.netloc)
    path = parts.path or "/"
    outgoing.set_path_with_query(f"{path}?{parts.query}" if parts.query else path)
    sending = outgoing.body()
    try:
        coming = outgoing_handler.handle(outgoing, None)
        if body:
            with sending.write() as stream:
                for at in range(0, len(body), _WRITE):
                    stream.blocking_write_and_flush(body[at : at + _WRITE])
        types.OutgoingBody.finish(sending, None)
        with coming.subscribe() as ready:
            ready.block()
        answered = coming.get()
        for _ in range(2):
            if not isinstance(answered, Ok):
                raise answered
            answered = answered.value
    except Err as error:
        raise _no_answer(parts, error.value) from error
    return _read(parts, answered)


def _read(parts, incoming):
    headers = {name.lower(): value.decode(errors="replace")
               for name, value in incoming.headers().entries()}
    content = bytearray()
    with incoming.consume() as body, body.stream() as stream:
        while True:
            try:
                content += stream.blocking_read(_READ)
            except Err as error:
                if type(error.value).__name__ == "StreamError_Closed":
                    break
                raise _no_answer(parts, error.value) from error
    return Answer(incoming.status(), headers, bytes(content))


def _no_answer(parts, code):
    name = type(code).__name__.removeprefix("ErrorCode_")
    origin = f"{parts.scheme}://{parts.netloc}"
    if name in ("HttpRequestDenied", "DestinationIpProhibited"):
        return Reject(
            f"{origin} may not be asked ({name}); `http` under [capabilities] in plugin.toml, and "
            "the operator's file, say which origins may"
        )
    return Retry(f"no answer from {origin}: {name}")
