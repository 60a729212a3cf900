/* Server-sent events over fetch: EventSource can carry no token, and tells no error's text. */
import { send, type Problem } from './client';

export interface Message {
  event: string;
  data: string;
}

/* Calls back for each message until `signal` is aborted; the promise ends with the stream. */
export async function listen(path: string, signal: AbortSignal, onMessage: (message: Message) => void): Promise<void> {
  const response = await send('GET', path, undefined, { signal, headers: { Accept: 'text/event-stream' } });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let waiting = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value.replaceAll('\r', '');
    for (let end = waiting.indexOf('\n\n'); end >= 0; end = waiting.indexOf('\n\n')) {
      const message = read(waiting.slice(0, end));
      waiting = waiting.slice(end + 2);
      if (message.data) onMessage(message);
    }
  }
}

function read(text: string): Message {
  const message: Message = { event: 'message', data: '' };
  for (const line of text.split('\n')) {
    if (line.startsWith('event:')) message.event = line.slice(6).trim();
    if (line.startsWith('data:')) message.data += (message.data && '\n') + line.slice(5).trimStart();
  }
  return message;
}

export type { Problem };
