/** Stages an event; what is left out the host fills. */
export function emit(
  subject: string,
  event: {
    type: string;
    /** Bytes, or anything that JSON has a form for. */
    data?: unknown;
    id?: string;
    /** The CloudEvent's subject. */
    about?: string;
    /** What it is kept in order by; the key of the event being handled when left out. */
    key?: string;
    attributes?: { [name: string]: string | number | boolean };
  },
): void;
