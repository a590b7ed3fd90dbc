/*
 * The full viewer (OHIF) behind the reader, in a frame of this page so that the patient's banner stays.
 * It is told over messages which slice and window to show; see tools/ohif/app-config.js for its side.
 */
export interface Place {
  series: string;
  sop: string;
  frame: number;
  window?: { centre: number; width: number };
  invert: boolean;
}

export class FullViewer {
  private frame: HTMLIFrameElement | undefined;
  private ready = false;
  private wanted: Place | undefined;
  private shown = false;

  constructor(
    private host: HTMLElement,
    private study: string,
    private onShown: () => void,
    private onBack: () => void,
  ) {
    window.addEventListener('message', (m: MessageEvent<{ garonne?: string }>) => {
      if (m.origin !== location.origin || m.source !== this.frame?.contentWindow) return;
      if (m.data.garonne === 'ready') {
        this.ready = true;
        this.tell();
      } else if (m.data.garonne === 'shown' && this.wanted) {
        this.shown = true;
        this.host.dataset.state = 'shown';
        this.onShown();
      } else if (m.data.garonne === 'back') {
        this.onBack();
      }
    });
  }

  /** Its scripts into the browser's cache: nothing runs yet. */
  static prefetch(): void {
    void fetch('/viewer/preload.json', { credentials: 'same-origin' })
      .then((r) => (r.ok ? (r.json() as Promise<string[]>) : []))
      .then((list) => {
        for (const href of list) {
          const link = document.createElement('link');
          link.rel = 'prefetch';
          link.href = href;
          document.head.append(link);
        }
      })
      .catch(() => undefined);
  }

  /** Starts it, unseen, at this place. */
  start(place: Place): void {
    if (this.frame) return;
    const q = new URLSearchParams({
      StudyInstanceUIDs: this.study,
      initialSeriesInstanceUID: place.series,
      initialSopInstanceUID: place.sop,
    });
    this.frame = document.createElement('iframe');
    this.frame.title = 'OHIF';
    this.frame.src = `/viewer/viewer?${q.toString()}`;
    this.host.append(this.frame);
  }

  open(place: Place): void {
    this.wanted = place;
    this.shown = false;
    this.host.hidden = false;
    this.host.dataset.state = 'opening';
    this.start(place);
    this.tell();
  }

  close(): void {
    this.wanted = undefined;
    this.host.hidden = true;
  }

  get isOpen(): boolean {
    return this.wanted !== undefined;
  }

  get isShown(): boolean {
    return this.shown;
  }

  private tell(): void {
    if (this.ready && this.wanted) {
      this.frame?.contentWindow?.postMessage({ garonne: 'show', place: this.wanted }, location.origin);
      this.frame?.focus();
    }
  }
}
