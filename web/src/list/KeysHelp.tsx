import { Kbd, Modal } from '@mantine/core';
import { useTranslation } from 'react-i18next';

export function KeysHelp({ opened, close }: { opened: boolean; close: () => void }) {
  const { t } = useTranslation();
  const rows: [string, string][] = [
    ['/', t('keys.search')],
    ['↑ ↓', t('keys.move')],
    [t('keyNames.open'), t('keys.open')],
    [t('keyNames.full'), t('keys.full')],
    ['N', t('keys.fresh')],
    [t('keyNames.pages'), t('keys.pages')],
    ['?', t('keys.help')],
  ];
  return (
    <Modal opened={opened} onClose={close} title={t('help')} closeButtonProps={{ 'aria-label': t('close') }}>
      <dl className="keys">
        {rows.map(([key, what]) => (
          <div key={key}>
            <dt>
              <Kbd>{key}</Kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
