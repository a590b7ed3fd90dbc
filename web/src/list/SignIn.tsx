import { Button, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, type Session, signIn } from '../lib/api';
import { Logo, Preferences } from './Header';

export function SignIn({ refused, done }: { refused: boolean; done: (s: Session) => void }) {
  const { t } = useTranslation();
  const [token, setToken] = useState('');
  const [busy, setBusy] = useState(false);
  const [why, setWhy] = useState(refused ? t('tokenBad') : '');

  const submit = async (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    try {
      done(await signIn(token.trim()));
    } catch (x) {
      setWhy(x instanceof ApiError && x.status === 0 ? t('unreachable') : t('tokenBad'));
      setBusy(false);
    }
  };

  return (
    <main className="sign-in">
      <Paper withBorder p="xl" w={420} maw="100%">
        <form onSubmit={(e) => void submit(e)}>
          <Stack>
            <div>
              <Logo />
              <Title order={1} size="h3" mt="sm">
                {t('signIn')}
              </Title>
              <Text size="sm" c="dimmed">
                {t('welcome')}
              </Text>
            </div>
            <PasswordInput
              label={t('token')}
              description={t('tokenHint')}
              value={token}
              onChange={(e) => setToken(e.currentTarget.value)}
              error={why || undefined}
              autoComplete="current-password"
              data-autofocus
              autoFocus
              required
            />
            <Button type="submit" loading={busy} disabled={token.trim() === ''}>
              {t('signIn')}
            </Button>
            <Preferences />
          </Stack>
        </form>
      </Paper>
    </main>
  );
}
