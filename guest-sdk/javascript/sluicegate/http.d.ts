/** An answer. */
export interface Answer {
  readonly status: number;
  header(name: string): string | undefined;
  readonly text: string;
  json<T = any>(): T;
}

/** Sends a request and waits for the whole answer; what is no success is thrown. */
export function send(
  url: string,
  options?: {
    method?: string;
    headers?: { [name: string]: string };
    body?: string | Uint8Array;
    /** Anything that JSON has a form for. */
    json?: unknown;
  },
): Promise<Answer>;
