import { Alert, Button, Stack, Text } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../lib/api';

/** What went wrong, in words, with the reference that support can find in the log. */
export function Problem({ error, retry }: { error: Error; retry: () => void }) {
  const { t } = useTranslation();
  const api = error instanceof ApiError ? error : undefined;
  return (
    <Alert color="red" role="alert" m="md" title={api?.status === 0 ? t('unreachable') : t('failed')}>
      <Stack gap="xs" align="flex-start">
        {api && api.status !== 0 && <Text size="sm">{`${api.status} — ${api.message}`}</Text>}
        {api?.reference && (
          <Text size="sm" className="numbers">
            {t('reference', { id: api.reference })}
          </Text>
        )}
        <Button size="xs" onClick={retry}>
          {t('retry')}
        </Button>
      </Stack>
    </Alert>
  );
}
