/** A number with every digit that it was written with. */
export class Amount {
  constructor(digits: string);
  readonly digits: string;
  /** The nearest number of JavaScript. */
  valueOf(): number;
  toString(): string;
  /** Less than 0, 0, or more than 0, as this is less, the same or more than another: exactly. */
  compare(other: Amount | string | number): number;
}

/** Reads JSON; a number that JavaScript would not give back digit by digit is an Amount. */
export function parse(text: string): any;
/** Writes JSON; an Amount becomes a number with all its digits. */
export function stringify(value: unknown): string;

/** A CloudEvent: its attributes, and the body of its source byte for byte. */
export class Event {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | undefined;
  /** RFC 3339. */
  readonly time: string | undefined;
  readonly contentType: string | undefined;
  readonly schema: string | undefined;
  readonly data: Uint8Array;
  /** Every extension attribute by name. */
  readonly attributes: { [name: string]: string | number | boolean };
  /** The Dynamics 365 environment. */
  get environment(): string | undefined;
  /** The legal entity of Finance and Operations. */
  get legalEntity(): string | undefined;
  /** The body. A number that JavaScript cannot hold exactly is an Amount. */
  json<T = any>(): T;
  /** The body as a change of a Dataverse record, or a call of a custom API. */
  record(): Record;
  /** The body as a business event of Finance and Operations. */
  businessEvent<T = { [member: string]: any }>(): T & { BusinessEventId: string };
}

/** Columns of a record by their logical names; undefined for what is not there, or was cleared. */
export class Row {
  has(column: string): boolean;
  columns(): string[];
  /** The value as it came. */
  get(column: string): any;
  /** A text, or a GUID. */
  text(column: string): string | undefined;
  /** A two-option column. */
  flag(column: string): boolean | undefined;
  /** A whole number. */
  integer(column: string): number | undefined;
  /** A decimal, a whole number or money, with its digits. */
  amount(column: string): Amount | undefined;
  /** The same as amount. */
  money(column: string): Amount | undefined;
  /** The same as amount. */
  decimal(column: string): Amount | undefined;
  /** The number of a choice. */
  choice(column: string): number | undefined;
  /** The numbers of a multi-select choice. */
  choices(column: string): number[] | undefined;
  /** A lookup. */
  lookup(column: string): Reference | undefined;
  /** A date. */
  when(column: string): Date | undefined;
}

/** A reference to a record. */
export class Reference {
  readonly table: string;
  readonly id: string;
  readonly name: string | undefined;
}

/**
 * A message about a record, with the columns that it carries: all that were submitted in a create,
 * the changed ones in an update, none in a delete.
 */
export class Record extends Row {
  /** The body as it came. */
  readonly body: any;
  /** Create, Update, Delete, Assign, … */
  readonly message: string;
  readonly table: string | undefined;
  readonly id: string | undefined;
  /** Whether the message carries this column, be it cleared. */
  changed(column: string): boolean;
  /** A parameter of the message, as it came. */
  input(name: string): any;
  /** The record before the operation, from the image of this name. */
  preImage(name: string): Row | undefined;
  /** The record after the operation, from the image of this name. */
  postImage(name: string): Row | undefined;
}
