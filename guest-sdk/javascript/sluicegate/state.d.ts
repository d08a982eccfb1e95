/** The bytes under the key. */
export function get(key: string): Uint8Array | undefined;
/** Stages bytes, or a text, under the key. */
export function put(key: string, value: Uint8Array | string): void;
/** Stages that the key has no value. */
export function remove(key: string): void;
/** The JSON under the key, or what is to be taken otherwise. */
export function getJson<T>(key: string, otherwise: T): T;
export function getJson<T>(key: string): T | undefined;
/** Stages a value as JSON. */
export function putJson(key: string, value: unknown): void;
