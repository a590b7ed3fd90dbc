import { Badge, Button, Skeleton, Stack, Text } from '@mantine/core';
import { memo, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import type { Study } from '../lib/api';
import { age, dateText, personName, timeText } from '../lib/dicom';
import { nextSort } from './query';

const COLUMNS = ['date', 'name', 'birth', 'sex', 'pid', 'accession', 'modality', 'description', 'referring', 'images'] as const;
type Column = (typeof COLUMNS)[number];
const SORTED: readonly Column[] = ['date', 'name', 'pid', 'accession', 'modality', 'description', 'images'];

interface Props {
  studies: Study[] | undefined; // undefined: not known yet
  selected: string | undefined;
  growing: ReadonlyMap<string, number>;
  sort: string;
  setSort: (sort: string) => void;
  select: (uid: string) => void;
  ahead: (uid: string) => void;
  open: (s: Study) => void;
  filtered: boolean;
  clear: () => void;
}

export function Table(p: Props) {
  const { t } = useTranslation();
  const tabStop = p.studies?.some((s) => s.uid === p.selected) ? p.selected : p.studies?.[0]?.uid;
  return (
    <>
      <table role="grid" aria-label={t('title')} aria-busy={p.studies === undefined}>
        <thead>
          <tr>
            {COLUMNS.map((c) => (
              <Head key={c} column={c} sort={p.sort} setSort={p.setSort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {p.studies === undefined
            ? Array.from({ length: 16 }, (_, i) => (
                <tr key={i} className="waiting-row">
                  <td colSpan={COLUMNS.length}>
                    <Skeleton height={14} />
                  </td>
                </tr>
              ))
            : p.studies.map((s) => (
                <Row
                  key={s.uid}
                  study={s}
                  selected={s.uid === p.selected}
                  tabStop={s.uid === tabStop}
                  growing={p.growing.has(s.uid)}
                  select={p.select}
                  ahead={p.ahead}
                  open={p.open}
                />
              ))}
        </tbody>
      </table>
      {p.studies?.length === 0 && (
        <Stack align="center" gap="xs" p="xl" role="status">
          <Text fw={600}>{p.filtered ? t('empty') : t('emptyAll')}</Text>
          <Text c="dimmed" size="sm">
            {p.filtered ? t('emptyHint') : t('emptyAllHint')}
          </Text>
          {p.filtered && (
            <Button variant="default" size="xs" onClick={p.clear}>
              {t('clear')}
            </Button>
          )}
        </Stack>
      )}
    </>
  );
}

function Head({ column, sort, setSort }: { column: Column; sort: string; setSort: (s: string) => void }) {
  const { t } = useTranslation();
  const name = t(`columns.${column}`);
  const sorted = sort.replace('-', '') === column ? (sort.startsWith('-') ? 'descending' : 'ascending') : undefined;
  if (!SORTED.includes(column)) return <th className={`c-${column}`}>{name}</th>;
  return (
    <th className={`c-${column}`} aria-sort={sorted ?? 'none'}>
      <button type="button" title={t('sortBy', { column: name })} onClick={() => setSort(nextSort(sort, column))}>
        {name}
        <span aria-hidden="true" className="arrow">
          {sorted === 'ascending' ? '▲' : sorted === 'descending' ? '▼' : ''}
        </span>
      </button>
    </th>
  );
}

interface RowProps {
  study: Study;
  selected: boolean;
  tabStop: boolean;
  growing: boolean;
  select: (uid: string) => void;
  ahead: (uid: string) => void;
  open: (s: Study) => void;
}

const Row = memo(function Row({ study: s, selected, tabStop, growing, select, ahead, open }: RowProps) {
  const { t, i18n } = useTranslation();
  const hover = useRef(0);
  const name = personName(s.name) || t('unnamed');
  const sex = s.sex === 'M' || s.sex === 'F' || s.sex === 'O' ? s.sex : undefined;
  const a = age(s.birth, s.date);
  return (
    <tr
      data-uid={s.uid}
      aria-selected={selected}
      onClick={() => select(s.uid)}
      onDoubleClick={() => open(s)}
      onPointerEnter={() => (hover.current = window.setTimeout(() => ahead(s.uid), 120))}
      onPointerLeave={() => clearTimeout(hover.current)}
    >
      <td className="c-date numbers">
        {dateText(s.date, i18n.language)} <span className="dim">{timeText(s.time)}</span>
      </td>
      <td className="c-name">
        <a
          href={`/read/${encodeURIComponent(s.uid)}`}
          tabIndex={tabStop ? 0 : -1}
          aria-label={t('openRead', { name })}
          onFocus={() => select(s.uid)}
          onClick={(e) => {
            if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
            e.preventDefault();
            open(s);
          }}
        >
          {name}
        </a>
      </td>
      <td className="c-birth numbers">
        {dateText(s.birth, i18n.language)} {a && a.unit === 'y' && <span className="dim">{a.n}</span>}
      </td>
      <td className="c-sex">{sex && <abbr title={t(`sexNames.${sex}`)}>{t(`sexes.${sex}`)}</abbr>}</td>
      <td className="c-pid numbers">{s.pid}</td>
      <td className="c-accession numbers">{s.accession}</td>
      <td className="c-modality">
        {(s.modalities ?? '').split('\\').filter(Boolean).map((m) => (
          <Badge key={m} size="sm" radius="sm" variant="default">
            {m}
          </Badge>
        ))}
      </td>
      <td className="c-description" title={s.description}>
        {s.description}
      </td>
      <td className="c-referring">{personName(s.referring)}</td>
      <td className="c-images numbers" title={`${t('columns.series')} : ${s.series}`}>
        {growing && (
          <span className="growing" role="img" aria-label={t('growing')} title={t('growing')}>
            ●
          </span>
        )}
        {s.images.toLocaleString(i18n.language)}
      </td>
    </tr>
  );
});
