/* Studies that change, as the server tells them. */
import { useEffect, useRef, useState } from 'react';
import { getSession, type StudyChange } from '../lib/api';

export type LiveState = 'live' | 'offline';

export function useLive(onChange: (c: StudyChange) => void): LiveState {
  const [state, setState] = useState<LiveState>('live');
  const handler = useRef(onChange);
  handler.current = onChange;
  useEffect(() => {
    let source: EventSource | undefined;
    let timer = 0;
    const open = () => {
      source = new EventSource('/api/v1/events');
      source.onopen = () => setState('live');
      source.addEventListener('study', (e: MessageEvent<string>) => handler.current(JSON.parse(e.data) as StudyChange));
      source.onerror = () => {
        if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
        setState('offline');
        timer = window.setTimeout(() => {
          void getSession()
            .then((s) => (s === null ? void window.dispatchEvent(new Event('garonne-session-ended')) : open()))
            .catch(open);
        }, 3000);
      };
    };
    open();
    const close = () => source?.close();
    // A page kept for "back" must not keep its stream; it is opened anew when it is shown.
    const reopen = (e: PageTransitionEvent) => {
      if (e.persisted) open();
    };
    window.addEventListener('pagehide', close);
    window.addEventListener('pageshow', reopen);
    return () => {
      clearTimeout(timer);
      close();
      window.removeEventListener('pagehide', close);
      window.removeEventListener('pageshow', reopen);
    };
  }, []);
  return state;
}
