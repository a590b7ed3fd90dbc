import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, getInstances, getStudies, type Session, type Study, type StudyPage, signOut } from '../lib/api';
import { handOver, LIST_PLACE } from '../lib/handover';
import { fetchReaderAhead } from './ahead';
import { Filters } from './Filters';
import { KeysHelp } from './KeysHelp';
import { useLive } from './live';
import { Foot, Top } from './Parts';
import { Problem } from './Problem';
import { EVERYTHING, fromAddress, isFiltered, type Question, toAddress, toApi } from './query';
import { Table } from './Table';

interface PlaceInList {
  search: string;
  uid: string;
  scroll: number;
}

function lastPlace(): PlaceInList | undefined {
  try {
    const p = JSON.parse(sessionStorage.getItem(LIST_PLACE) ?? 'null') as PlaceInList | null;
    return p?.search === location.search ? p : undefined;
  } catch {
    return undefined;
  }
}

export function StudyList({ session, ended }: { session: Session; ended: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const place = useRef(lastPlace());
  const [question, setQuestion] = useState<Question>(() => fromAddress(location.search));
  const [selected, setSelected] = useState<string | undefined>(place.current?.uid);
  const [help, setHelp] = useState(false);
  const [growing, setGrowing] = useState<ReadonlyMap<string, number>>(new Map());
  const [waiting, setWaiting] = useState<StudyPage | undefined>(); // a newer list, not shown yet
  const search = useRef<HTMLInputElement>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const engaged = useRef(false); // the pointer is over the table, or a row has the focus

  const api = toApi(question);
  const key = useMemo(() => ['studies', api], [api]);
  const list = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => getStudies(api, signal),
    placeholderData: keepPreviousData,
  });
  const studies = useMemo(() => list.data?.studies ?? [], [list.data]);

  const change = useCallback((part: Partial<Question>) => {
    setQuestion((q) => ({ ...q, page: 0, ...part }));
    setWaiting(undefined);
  }, []);

  useEffect(() => {
    history.replaceState(null, '', location.pathname + toAddress(question));
  }, [question]);

  useEffect(() => {
    if (list.error instanceof ApiError && list.error.status === 401) ended();
  }, [list.error, ended]);

  useEffect(() => {
    if (list.data === undefined) return;
    fetchReaderAhead();
    if (place.current && scroller.current) {
      scroller.current.scrollTop = place.current.scroll;
      focusRow(place.current.uid);
    }
    place.current = undefined;
  }, [list.data]);

  /* -- live -- */

  const lookAgain = useRef(0);
  const live = useLive((c) => {
    setGrowing((g) => new Map(g).set(c.uid, Date.now()));
    const known = client.getQueryData<StudyPage>(key)?.studies.some((s) => s.uid === c.uid);
    if (known) {
      client.setQueryData<StudyPage>(key, (old) =>
        old ? { ...old, studies: old.studies.map((s) => (s.uid === c.uid ? { ...s, series: c.series, images: c.images } : s)) } : old,
      );
      void client.invalidateQueries({ queryKey: ['instances', c.uid] });
      return;
    }
    clearTimeout(lookAgain.current);
    lookAgain.current = window.setTimeout(() => void compare(), 250);
  });

  /** What the list would be now; shown at once when nobody is at it, offered otherwise. */
  const compare = async () => {
    const now = await getStudies(api).catch(() => undefined);
    const shown = new Set(client.getQueryData<StudyPage>(key)?.studies.map((s) => s.uid));
    if (now === undefined || now.studies.every((s) => shown.has(s.uid))) return;
    if (engaged.current) setWaiting(now);
    else client.setQueryData(key, now);
  };

  const showWaiting = useCallback(() => {
    if (waiting) client.setQueryData(key, waiting);
    setWaiting(undefined);
  }, [client, key, waiting]);

  useEffect(() => {
    const timer = window.setInterval(() => {
      setGrowing((g) => {
        const kept = [...g].filter(([, at]) => Date.now() - at < 15_000);
        return kept.length === g.size ? g : new Map(kept);
      });
    }, 3000);
    return () => clearInterval(timer);
  }, []);

  const fresh = useMemo(() => {
    const shown = new Set(studies.map((s) => s.uid));
    return waiting?.studies.filter((s) => !shown.has(s.uid)).length ?? 0;
  }, [waiting, studies]);

  /* -- opening -- */

  const ahead = useCallback(
    (uid: string) =>
      void client.prefetchQuery({ queryKey: ['instances', uid], queryFn: () => getInstances(uid), staleTime: 60_000 }),
    [client],
  );

  useEffect(() => {
    if (selected === undefined) return;
    const timer = setTimeout(() => ahead(selected), 80);
    return () => clearTimeout(timer);
  }, [selected, ahead]);

  const leave = useCallback((uid: string) => {
    const p: PlaceInList = { search: location.search, uid, scroll: scroller.current?.scrollTop ?? 0 };
    sessionStorage.setItem(LIST_PLACE, JSON.stringify(p));
  }, []);

  const open = useCallback(
    (s: Study) => {
      const index = client.getQueryData<string>(['instances', s.uid]);
      if (index !== undefined) handOver(s.uid, index);
      leave(s.uid);
      location.assign(`/read/${encodeURIComponent(s.uid)}`);
    },
    [client, leave],
  );

  const openFull = useCallback(
    (s: Study) => {
      leave(s.uid);
      location.assign(`/viewer/viewer?StudyInstanceUIDs=${encodeURIComponent(s.uid)}`);
    },
    [leave],
  );

  /* -- keys -- */

  const move = useCallback(
    (by: number) => {
      const i = studies.findIndex((s) => s.uid === selected);
      const next = studies[Math.min(studies.length - 1, Math.max(0, i < 0 ? 0 : i + by))];
      if (!next) return;
      setSelected(next.uid);
      focusRow(next.uid);
    },
    [studies, selected],
  );

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || help) return;
      const target = e.target as HTMLElement;
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
      const current = studies.find((s) => s.uid === selected);
      const acts: Record<string, (() => void) | undefined> = {
        ArrowDown: () => move(1),
        ArrowUp: () => move(-1),
        PageDown: list.data && hasNext(list.data, question) ? () => change({ page: question.page + 1 }) : undefined,
        PageUp: question.page > 0 ? () => change({ page: question.page - 1 }) : undefined,
        '/': () => search.current?.focus(),
        '?': () => setHelp(true),
        n: fresh > 0 ? showWaiting : undefined,
        v: current ? () => openFull(current) : undefined,
      };
      if (typing && !(e.key === 'ArrowDown' && target === search.current)) {
        if (e.key === 'Escape') target.blur();
        if (e.key === 'Enter' && target === search.current && studies.length === 1) open(studies[0]!);
        return;
      }
      const act = acts[e.key.length === 1 ? e.key.toLowerCase() : e.key];
      if (!act) return;
      e.preventDefault();
      act();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [change, fresh, help, list.data, move, open, openFull, question, selected, showWaiting, studies]);

  const leaveSession = () => void signOut().finally(ended);

  return (
    <div className="page">
      <a className="skip" href="#list">
        {t('skip')}
      </a>
      <Top session={session} live={live} help={() => setHelp(true)} signOut={leaveSession} />
      <Filters question={question} change={change} search={search} />
      <main id="list" className="list" tabIndex={-1}>
        {fresh > 0 && (
          <button type="button" className="fresh" onClick={showWaiting}>
            {t('fresh', { count: fresh })}
          </button>
        )}
        {list.isError && !list.data ? (
          <Problem error={list.error} retry={() => void list.refetch()} />
        ) : (
          <div
            className="scroller"
            ref={scroller}
            onPointerEnter={() => (engaged.current = true)}
            onPointerLeave={() => (engaged.current = false)}
            onFocus={() => (engaged.current = true)}
            onBlur={() => (engaged.current = false)}
          >
            <Table
              studies={list.isPending ? undefined : studies}
              selected={selected}
              growing={growing}
              sort={question.sort}
              setSort={(sort) => change({ sort })}
              select={setSelected}
              ahead={ahead}
              open={open}
              filtered={isFiltered(question)}
              clear={() => change({ ...EVERYTHING, sort: question.sort })}
            />
          </div>
        )}
      </main>
      <Foot data={list.data} question={question} go={(page) => change({ page })} busy={list.isFetching} />
      <KeysHelp opened={help} close={() => setHelp(false)} />
    </div>
  );
}

export function hasNext(data: StudyPage, x: Question): boolean {
  return data.more || data.found > (x.page + 1) * 50;
}

function focusRow(uid: string): void {
  requestAnimationFrame(() => {
    document.querySelector<HTMLElement>(`tr[data-uid="${CSS.escape(uid)}"] a`)?.focus();
  });
}
