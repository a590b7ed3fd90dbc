import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import { en } from './en';
import { fr } from './fr';

export const LANG = 'garonne.lang';

void i18next.use(initReactI18next).init({
  resources: { fr: { translation: fr }, en: { translation: en } },
  lng: localStorage.getItem(LANG) === 'en' ? 'en' : 'fr',
  fallbackLng: 'fr',
  interpolation: { escapeValue: false }, // React escapes
});

const say = (lang: string) => {
  document.documentElement.lang = lang;
};
say(i18next.language);
i18next.on('languageChanged', (lang) => {
  localStorage.setItem(LANG, lang);
  say(lang);
});

export { i18next };
