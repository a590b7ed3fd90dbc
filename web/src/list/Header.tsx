import { Button, Group, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useTranslation } from 'react-i18next';

export function Logo() {
  return (
    <span className="logo">
      <svg width="24" height="24" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="7" fill="#0b7285" />
        <path
          d="M5 12c4-4 7 4 11 0s7 4 11 0M5 20c4-4 7 4 11 0s7 4 11 0"
          fill="none"
          stroke="#fff"
          strokeWidth="2.6"
          strokeLinecap="round"
        />
      </svg>
      Garonne
    </span>
  );
}

/** Language and colours. */
export function Preferences() {
  const { t, i18n } = useTranslation();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('dark');
  return (
    <Group gap={4} wrap="nowrap">
      <Button
        size="compact-sm"
        variant="subtle"
        color="gray"
        className="quiet"
        lang={i18n.language === 'fr' ? 'en' : 'fr'}
        onClick={() => void i18n.changeLanguage(i18n.language === 'fr' ? 'en' : 'fr')}
      >
        {t('language')}
      </Button>
      <Button
        size="compact-sm"
        variant="subtle"
        color="gray"
        className="quiet"
        aria-label={t('theme')}
        title={t('theme')}
        onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}
      >
        {scheme === 'dark' ? '☀' : '☾'}
      </Button>
    </Group>
  );
}
