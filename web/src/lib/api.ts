/* The node's own interface, typed.  Errors carry the words and the reference that the server gave. */

export interface Session {
  tenant: string;
  tenantName: string;
  role: string;
  name: string;
}

export interface Study {
  uid: string;
  date?: string;
  time?: string;
  name?: string;
  pid?: string;
  birth?: string;
  sex?: string;
  accession?: string;
  description?: string;
  modalities?: string;
  referring?: string;
  series: number;
  images: number;
}

export interface StudyPage {
  studies: Study[];
  found: number;
  more: boolean;
}

export interface StudyChange {
  uid: string;
  series: number;
  images: number;
  changed: number;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly reference: string,
  ) {
    super(message);
  }
}

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let r: Response;
  try {
    r = await fetch(path, { credentials: 'same-origin', ...init });
  } catch {
    throw new ApiError(0, 'unreachable', '');
  }
  if (!r.ok) {
    const text = await r
      .json()
      .then((j: { message?: string }) => j.message ?? '')
      .catch(() => '');
    throw new ApiError(r.status, text, r.headers.get('X-Request-Id') ?? '');
  }
  return r;
}

export async function getSession(): Promise<Session | null> {
  try {
    return (await (await ask('/api/v1/session')).json()) as Session;
  } catch (e) {
    if (e instanceof ApiError && (e.status === 401 || e.status === 403)) return null;
    throw e;
  }
}

export async function signIn(token: string): Promise<Session> {
  const r = await ask('/api/v1/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  return (await r.json()) as Session;
}

export async function signOut(): Promise<void> {
  await ask('/api/v1/session', { method: 'DELETE' });
}

export async function getStudies(query: string, signal?: AbortSignal): Promise<StudyPage> {
  return (await (await ask(`/api/v1/studies?${query}`, signal ? { signal } : undefined)).json()) as StudyPage;
}

/** The lean instance index as text: it is handed over as it is. */
export async function getInstances(uid: string): Promise<string> {
  return (await ask(`/api/v1/studies/${encodeURIComponent(uid)}/instances`)).text();
}
