/* Requests to the interface of docs/http.md. Errors arrive as Problem: what the server's problem
 * document says, or that it could not be reached. */
import { credentials, signedOut } from './session';

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export interface Options {
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

export async function send(method: string, path: string, body?: unknown, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers, ...credentials(method) };
  let content: string | undefined;
  if (typeof body === 'string') content = body;
  else if (body !== undefined) {
    content = JSON.stringify(body);
    headers['Content-Type'] = 'application/json';
  }
  let response: Response;
  try {
    response = await fetch(path, { method, headers, body: content ?? null, signal: options.signal ?? null, credentials: 'same-origin' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, 'unreachable', 'The server does not answer. Is it running, and is the network there?');
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

async function problemOf(response: Response): Promise<Problem> {
  const said = (await response.json().catch(() => null)) as { code?: string; detail?: string; title?: string } | null;
  if (response.status === 401) signedOut();
  const detail = said?.detail ?? said?.title ?? `The server answered ${response.status}.`;
  return new Problem(response.status, said?.code ?? 'unknown', detail);
}

export async function call<T>(method: string, path: string, body?: unknown, options?: Options): Promise<T> {
  const response = await send(method, path, body, options);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', path, undefined, signal ? { signal } : {});
export const post = <T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> => call<T>('POST', path, body, signal ? { signal } : {});
