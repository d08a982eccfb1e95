// Requests to the origins that `http = ["https://…"]` under [capabilities] in plugin.toml grants.
//
//     import { send } from './sluicegate/http.js';
//
//     const answer = await send('https://api.contoso.com/orders', {
//       method: 'POST',
//       headers: { 'idempotency-key': delivery.idempotencyKey },
//       json: { id: 7 },
//     });
//     log.info(answer.json().status);
//
// The host adds the credential that the operator has set for the origin; a plug-in never sees it.
// Redirects are not followed. What is no success is thrown, and says what comes next:
//
//     429, 503                       Retry, after what Retry-After says
//     401, 408, every other 5xx      Retry
//     no answer                      Retry: whether the request was heard is not known
//     every other status from 300    Reject
//
// `error.answer` is the answer, where there is one.

import { Reject, Retry } from './index.js';
import { parse, stringify } from './event.js';

const SHOWN = 500;

/** Sends a request and waits for the whole answer: { status, header(name), text, json() }. */
export async function send(url, { method = 'GET', headers = {}, body, json } = {}) {
  const sent = { ...headers };
  if (json !== undefined) sent['content-type'] ??= 'application/json';
  const content = json === undefined ? body : stringify(json);
  let response, text;
  try {
    response = await fetch(url, { method, headers: sent, body: content, redirect: 'manual' });
    text = await response.text();
  } catch (error) {
    throw new Retry(`no answer from ${url}: ${error.message}`);
  }
  const answer = {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    text,
    json: () => parse(text),
  };
  if (answer.status < 300) return answer;
  throw Object.assign(failure(`${method} ${url}`, answer), { answer });
}

function failure(request, answer) {
  const { status, text } = answer;
  const message = `${request} answered ${status}: ${text.slice(0, SHOWN).trim()}`;
  if (status === 429 || status === 503) return new Retry(message, { afterMs: afterMs(answer) });
  if (status === 401 || status === 408 || status >= 500) return new Retry(message);
  return new Reject(message);
}

function afterMs(answer) {
  const value = answer.header('retry-after')?.trim();
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const wait = Date.parse(value) - Date.parse(answer.header('date'));
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}
