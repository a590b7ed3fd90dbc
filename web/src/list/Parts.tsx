import { Button, Group } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import type { Session, StudyPage } from '../lib/api';
import { Logo, Preferences } from './Header';
import type { LiveState } from './live';
import { PAGE, type Question } from './query';
import { hasNext } from './StudyList';

export function Top({ session, live, help, signOut }: { session: Session; live: LiveState; help: () => void; signOut: () => void }) {
  const { t } = useTranslation();
  const role = session.role as keyof typeof roles;
  const roles = t('roles', { returnObjects: true });
  return (
    <header className="top">
      <Logo />
      <h1>{t('title')}</h1>
      <span className={`live ${live}`} role="status">
        {live === 'live' ? t('live') : t('offline')}
      </span>
      <span className="who">
        <strong>{session.tenantName}</strong>
        <span className="dim">{roles[role] ?? session.role}</span>
      </span>
      <Preferences />
      <Button size="compact-sm" variant="subtle" color="gray" className="quiet" onClick={help} aria-label={t('help')} title={t('help')}>
        ?
      </Button>
      <Button size="compact-sm" variant="default" onClick={signOut}>
        {t('signOut')}
      </Button>
    </header>
  );
}

export function Foot({ data, question, go, busy }: { data: StudyPage | undefined; question: Question; go: (page: number) => void; busy: boolean }) {
  const { t, i18n } = useTranslation();
  if (!data) return <footer className="foot" />;
  const from = question.page * PAGE + 1;
  const to = question.page * PAGE + data.studies.length;
  const n = (v: number) => v.toLocaleString(i18n.language);
  return (
    <footer className="foot" data-busy={busy}>
      <span className="numbers" role="status">
        {data.studies.length > 0 && `${t('page', { from: n(from), to: n(to) })} · `}
        {data.more ? t('foundMore', { count: Math.max(data.found - 1, to) }) : t('found', { count: data.found })}
        {data.more && question.sort !== '-date' && ` · ${t('sortedNewest', { count: data.found })}`}
      </span>
      <Group gap="xs">
        <Button size="compact-sm" variant="default" disabled={question.page === 0} onClick={() => go(question.page - 1)} aria-label={t('previous')}>
          ‹
        </Button>
        <Button size="compact-sm" variant="default" disabled={!hasNext(data, question)} onClick={() => go(question.page + 1)} aria-label={t('next')}>
          ›
        </Button>
      </Group>
    </footer>
  );
}
