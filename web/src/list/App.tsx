import { Skeleton } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { ApiError, getSession, type Session, signIn } from '../lib/api';
import { Problem } from './Problem';
import { SignIn } from './SignIn';
import { StudyList } from './StudyList';

/** A link with #token= signs in at once; the token leaves the address before anything else happens. */
function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
  if (token !== undefined) history.replaceState(null, '', location.pathname + location.search);
  return token;
}

const linked = takeToken();

export function App() {
  const client = useQueryClient();
  const [refused, setRefused] = useState(false);
  const session = useQuery<Session | null>({
    queryKey: ['session'],
    staleTime: Infinity,
    queryFn: async () => {
      if (linked !== undefined) {
        try {
          return await signIn(linked);
        } catch (e) {
          if (!(e instanceof ApiError) || e.status !== 401) throw e;
          setRefused(true);
        }
      }
      return getSession();
    },
  });

  useEffect(() => {
    const ended = () => client.setQueryData(['session'], null);
    // Such a link followed while the page is open changes the address alone.
    const follow = () => {
      const token = takeToken();
      if (token === undefined) return;
      signIn(token)
        .then((s) => client.setQueryData(['session'], s))
        .catch(() => setRefused(true));
    };
    window.addEventListener('garonne-session-ended', ended);
    window.addEventListener('hashchange', follow);
    return () => {
      window.removeEventListener('garonne-session-ended', ended);
      window.removeEventListener('hashchange', follow);
    };
  }, [client]);

  if (session.isPending) return <Waiting />;
  if (session.isError) return <Problem error={session.error} retry={() => void session.refetch()} />;
  if (session.data === null) {
    return <SignIn refused={refused} done={(s) => client.setQueryData(['session'], s)} />;
  }
  return <StudyList session={session.data} ended={() => client.setQueryData(['session'], null)} />;
}

function Waiting() {
  return (
    <main className="waiting" aria-busy="true">
      <Skeleton height={44} mb="md" />
      {Array.from({ length: 12 }, (_, i) => (
        <Skeleton key={i} height={26} mb={8} />
      ))}
    </main>
  );
}
