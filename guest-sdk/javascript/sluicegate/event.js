// An event by its parts: attributes, and the Dynamics 365 body in it.

const UTF8 = new TextDecoder();

/**
 * A number with every digit that it was written with. `digits` is the text; in arithmetic it is
 * the nearest number of JavaScript, which for most amounts of money is not the same.
 */
export class Amount {
  constructor(digits) {
    this.digits = digits;
  }
  valueOf() {
    return Number(this.digits);
  }
  toString() {
    return this.digits;
  }
  /** Less than 0, 0, or more than 0, as this is less, the same or more than another: exactly. */
  compare(other) {
    const [left, right] = [scaled(this.digits), scaled(String(other))];
    const places = Math.max(left.places, right.places);
    const a = left.units * 10n ** BigInt(places - left.places);
    const b = right.units * 10n ** BigInt(places - right.places);
    return a < b ? -1 : a > b ? 1 : 0;
  }
}

function scaled(digits) {
  const found = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(digits.trim());
  if (!found) throw new Error(`"${digits}" is no number`);
  const [, sign, whole, part = '', exponent = '0'] = found;
  let units = BigInt(`${sign}${whole}${part}`);
  let places = part.length - Number(exponent);
  if (places < 0) {
    units *= 10n ** BigInt(-places);
    places = 0;
  }
  return { units, places };
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARK = 'amount-6f1d0c5e-9b0e-4f57-8d0b-3c2f6f4b1a77:';

/** Reads JSON; a number that JavaScript would not give back digit by digit is an Amount. */
export function parse(text) {
  const marked = text.replace(TOKEN, (token) => {
    if (token[0] === '"' || String(Number(token)) === token) return token;
    return `"${MARK}${token}"`;
  });
  if (marked === text) return JSON.parse(text);
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value.startsWith(MARK) ? new Amount(value.slice(MARK.length)) : value,
  );
}

const MARKED = new RegExp(`"${MARK}([^"]*)"`, 'g');

/** Writes JSON; an Amount becomes a number with all its digits. */
export function stringify(value) {
  const marking = (_, item) => (item instanceof Amount ? `${MARK}${item.digits}` : item);
  return JSON.stringify(value, marking).replace(MARKED, '$1');
}

/** A CloudEvent: its attributes, and the body of its source byte for byte. */
export class Event {
  constructor(raw) {
    this.id = raw.id;
    this.source = raw.source;
    this.type = raw.type;
    this.subject = raw.subject;
    this.time = raw.time;
    this.contentType = raw.datacontenttype;
    this.schema = raw.dataschema;
    this.data = raw.data ?? new Uint8Array();
    /** Every extension attribute by name. */
    this.attributes = Object.fromEntries(raw.extensions.map(([name, value]) => [name, value.val]));
  }

  /** The Dynamics 365 environment, or undefined. */
  get environment() {
    return this.#sourcePart(2);
  }

  /** The legal entity of Finance and Operations, or undefined. */
  get legalEntity() {
    return this.#sourcePart(3);
  }

  #sourcePart(index) {
    const parts = this.source.split('/');
    return parts[0] === '' && parts[index] ? decodeURIComponent(parts[index]) : undefined;
  }

  /** The body. A number that JavaScript cannot hold exactly is an Amount. */
  json() {
    return parse(UTF8.decode(this.data));
  }

  /** The body as a change of a Dataverse record, or a call of a custom API. */
  record() {
    const body = this.json();
    if (typeof body?.MessageName !== 'string') {
      throw new Error('the data of the event is no Dataverse message: it has no MessageName');
    }
    return new Record(body);
  }

  /** The body as a business event of Finance and Operations. */
  businessEvent() {
    const body = this.json();
    if (body?.BusinessEventId === undefined) {
      throw new Error('the data of the event is no business event: it has no BusinessEventId');
    }
    return body;
  }
}

/** Columns of a record by their logical names. */
export class Row {
  #columns;

  constructor(pairs) {
    this.#columns = pairs;
  }

  has(column) {
    return this.#columns.has(column);
  }

  columns() {
    return [...this.#columns.keys()];
  }

  /** The value as it came, or undefined: a column that is not there, or that was cleared. */
  get(column) {
    const value = this.#columns.get(column);
    return (value?.__value ?? value) ?? undefined;
  }

  /** A text, or a GUID. */
  text(column) {
    return only('string', this.get(column));
  }

  /** A two-option column. */
  flag(column) {
    return only('boolean', this.get(column));
  }

  /** A whole number. */
  integer(column) {
    const value = this.get(column);
    return Number.isInteger(value) ? value : undefined;
  }

  /** A decimal, a whole number or money, with its digits: an Amount. */
  amount(column) {
    const value = this.get(column);
    const number = value instanceof Amount ? value : (value?.Value ?? value);
    if (number instanceof Amount) return number;
    return typeof number === 'number' ? new Amount(String(number)) : undefined;
  }

  /** Money, with its digits: the same as amount. */
  money(column) {
    return this.amount(column);
  }

  /** A decimal, with its digits: the same as amount. */
  decimal(column) {
    return this.amount(column);
  }

  /** The number of a choice. */
  choice(column) {
    return only('number', this.get(column)?.Value);
  }

  /** The numbers of a multi-select choice. */
  choices(column) {
    const value = this.get(column);
    return Array.isArray(value) ? value.map((choice) => choice.Value) : undefined;
  }

  /** A lookup: a Reference with table, id and name. */
  lookup(column) {
    const value = this.get(column);
    return value?.LogicalName === undefined ? undefined : new Reference(value);
  }

  /** A date, as Date. */
  when(column) {
    const value = this.text(column);
    // The milliseconds count from 1970 in UTC, whatever offset follows them.
    const wire = /^\/Date\((-?\d+)(?:[+-]\d{4})?\)\/$/.exec(value ?? '');
    const date = new Date(wire ? Number(wire[1]) : (value ?? NaN));
    return Number.isNaN(date.valueOf()) ? undefined : date;
  }
}

/** A reference to a record. */
export class Reference {
  constructor(value) {
    this.table = value.LogicalName;
    this.id = value.Id;
    this.name = value.Name ?? undefined;
  }
}

/**
 * A message about a record, with the columns that it carries: all that were submitted in a create,
 * the changed ones in an update, none in a delete.
 */
export class Record extends Row {
  #input;

  constructor(body) {
    const input = pairs(body.InputParameters);
    const target = input.get('Target');
    super(pairs(target?.Attributes));
    this.#input = input;
    this.body = body;
    this.message = body.MessageName;
    const table = body.PrimaryEntityName;
    this.table = table && table !== 'none' ? table : target?.LogicalName;
    this.id = known(body.PrimaryEntityId) ?? known(target?.Id);
  }

  /** Whether the message carries this column, be it cleared. */
  changed(column) {
    return this.has(column);
  }

  /** A parameter of the message, as it came. */
  input(name) {
    return this.#input.get(name);
  }

  /** The record before the operation, from the image of this name: a Row, or undefined. */
  preImage(name) {
    return image(this.body.PreEntityImages, name);
  }

  /** The record after the operation, from the image of this name: a Row, or undefined. */
  postImage(name) {
    return image(this.body.PostEntityImages, name);
  }
}

function pairs(items) {
  return new Map(Array.isArray(items) ? items.map(({ key, value }) => [key, value]) : []);
}

function image(images, name) {
  const found = pairs(images).get(name);
  return found ? new Row(pairs(found.Attributes)) : undefined;
}

function only(kind, value) {
  return typeof value === kind ? value : undefined;
}

function known(guid) {
  const plain = typeof guid === 'string' ? guid.replace(/[{}]/g, '') : '';
  return /[^0-]/.test(plain) ? plain : undefined;
}
