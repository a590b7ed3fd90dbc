import { NativeSelect, TextInput } from '@mantine/core';
import { type RefObject, useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { type Period, PERIODS, type Question } from './query';

const MODALITIES = ['CR', 'CT', 'DX', 'ECG', 'ES', 'MG', 'MR', 'NM', 'OT', 'PT', 'RF', 'RTSTRUCT', 'SR', 'US', 'XA'];

interface Props {
  question: Question;
  change: (part: Partial<Question>) => void;
  search: RefObject<HTMLInputElement | null>;
}

export function Filters({ question, change, search }: Props) {
  const { t } = useTranslation();
  const [text, setText] = useState(question.q);

  useEffect(() => setText(question.q), [question.q]);
  useEffect(() => {
    if (text === question.q) return;
    const timer = setTimeout(() => change({ q: text }), 180);
    return () => clearTimeout(timer);
  }, [text, question.q, change]);

  return (
    <search className="filters">
      <TextInput
        ref={search}
        className="search"
        type="search"
        size="sm"
        aria-label={t('search')}
        placeholder={`${t('search')}   [ / ]`}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
      />
      <NativeSelect
        size="sm"
        aria-label={t('period')}
        value={question.period}
        onChange={(e) => change({ period: e.currentTarget.value as Period })}
        data={PERIODS.map((p) => ({ value: p, label: p === 'all' ? `${t('period')} : ${t('periods.all').toLowerCase()}` : t(`periods.${p}`) }))}
      />
      {question.period === 'range' && (
        <>
          <TextInput
            type="date"
            size="sm"
            aria-label={t('from')}
            value={question.from}
            onChange={(e) => change({ from: e.currentTarget.value })}
          />
          <TextInput
            type="date"
            size="sm"
            aria-label={t('to')}
            value={question.to}
            onChange={(e) => change({ to: e.currentTarget.value })}
          />
        </>
      )}
      <NativeSelect
        size="sm"
        aria-label={t('modality')}
        value={question.modality}
        onChange={(e) => change({ modality: e.currentTarget.value })}
        data={[
          { value: '', label: `${t('modality')} : ${t('anyModality').toLowerCase()}` },
          ...MODALITIES.map((m) => ({ value: m, label: m })),
        ]}
      />
    </search>
  );
}
