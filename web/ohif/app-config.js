/* Settings of the full viewer (OHIF) as Garonne serves it, and the hand-over from the first-image reader. */
(() => {
  const range = (w) => ({ lower: w.centre - 0.5 - (w.width - 1) / 2, upper: w.centre - 0.5 + (w.width - 1) / 2 });
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const tell = (what) => {
    if (window.parent !== window) window.parent.postMessage({ garonne: what }, window.location.origin);
  };

  /*
   * By resolution, only what was stored for it: for other syntaxes a part of a frame is of no use.  Stacks: a quarter of the
   * size from the first 16 KiB, then the whole.  The loader of the viewer reads chunkSize, newer ones initialChunkSize as well.
   */
  const RPCL = '1.2.840.10008.1.2.4.202';
  const byResolution = {
    stages: [
      { id: 'first', retrieveType: 'fast' },
      { id: 'final', retrieveType: 'final' },
    ],
    retrieveOptions: {
      fast: { rangeIndex: 0, chunkSize: 16384, initialChunkSize: 16384, decodeLevel: 2 },
      final: { rangeIndex: -1 },
    },
  };
  const progressive = new Set(); // SOP Instance UIDs

  const learn = async (study) => {
    const answer = await fetch(`/api/v1/studies/${encodeURIComponent(study)}/instances`, { credentials: 'same-origin' });
    if (!answer.ok) return;
    for (const s of (await answer.json()).series) {
      s.sop.forEach((sop, i) => {
        if ((s.all.syntax ?? s.each.syntax?.[i]) === RPCL) progressive.add(s.prefix + sop);
      });
    }
  };
  for (const list of new URLSearchParams(window.location.search).getAll('StudyInstanceUIDs')) {
    for (const study of list.split(',')) void learn(study).catch(() => undefined);
  }

  let providing = false;
  const provide = () => {
    if (providing || !window.cornerstone) return;
    providing = true;
    window.cornerstone.metaData.addProvider((type, id, use) => {
      if (type !== 'imageRetrieveConfiguration' || use !== 'stack') return undefined;
      const sop = /\/instances\/([^/]+)\/frames\//.exec(String(id))?.[1];
      return sop !== undefined && progressive.has(sop) ? byResolution : undefined;
    }, 10000);
  };

  /* The reader (src/read/full.ts) asks over a message for a slice and a window; the answer is "shown". */
  const handover = {
    id: 'garonne.handover',
    preRegistration({ servicesManager }) {
      let latest = 0;
      let asked;

      /* One step towards the place; true when it is on the screen. */
      const step = (place) => {
        const { displaySetService, viewportGridService, cornerstoneViewportService } = servicesManager.services;
        const sets = displaySetService.getActiveDisplaySets();
        const { activeViewportId, viewports } = viewportGridService.getState();
        if (sets.length === 0 || !activeViewportId) return false;
        if (!place.series) return true;
        const holds = (s) => s.SeriesInstanceUID === place.series && (s.images ?? s.instances ?? []).some((i) => i.SOPInstanceUID === place.sop);
        const set = sets.find(holds) ?? sets.find((s) => s.SeriesInstanceUID === place.series);
        if (!set) return false;
        const here = viewports.get(activeViewportId);
        if (!here?.displaySetInstanceUIDs?.includes(set.displaySetInstanceUID)) {
          if (asked !== place) {
            asked = place;
            viewportGridService.setDisplaySetsForViewports([{ viewportId: activeViewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] }]);
          }
          return false;
        }
        const viewport = cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
        const ids = viewport?.getImageIds?.() ?? [];
        const at = ids.findIndex((id) => id.includes(`/instances/${place.sop}/`) && (id.endsWith(`/frames/${place.frame}`) || !id.includes('/frames/')));
        if (at < 0) return false;
        if (viewport.getCurrentImageIdIndex() !== at) {
          if (viewport.setImageIdIndex) void viewport.setImageIdIndex(at);
          return false;
        }
        if (viewport.getImageData?.() == null) return false;
        viewport.setProperties({ ...(place.window && { voiRange: range(place.window) }), ...(place.invert !== undefined && { invert: place.invert }) });
        viewport.render();
        return true;
      };

      window.addEventListener('message', async (m) => {
        if (m.origin !== window.location.origin || m.source !== window.parent || m.data?.garonne !== 'show') return;
        const mine = ++latest;
        const place = m.data.place;
        for (let i = 0; i < 900 && mine === latest; i++) {
          let done = false;
          try {
            done = step(place);
          } catch {
            /* not built up yet */
          }
          if (done) {
            tell('shown');
            return;
          }
          await sleep(100);
        }
      });
    },
    onModeEnter() {
      provide();
      tell('ready');
    },
  };

  window.config = {
    routerBasename: null,
    extensions: [handover],
    modes: [],
    customizationService: [{ 'ohif.tours': { $set: [] } }],
    showStudyList: false,
    maxNumberOfWebWorkers: Math.min(4, Math.max(1, (navigator.hardwareConcurrency || 2) - 1)),
    maxNumRequests: { interaction: 20, thumbnail: 5, prefetch: 5 },
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: false,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    investigationalUseDialog: { option: 'never' },
    defaultDataSourceName: 'garonne',
    whiteLabeling: undefined,
    dataSources: [
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
        sourceName: 'garonne',
        configuration: {
          friendlyName: 'Garonne',
          name: 'garonne',
          qidoRoot: '/dicomweb',
          wadoRoot: '/dicomweb',
          wadoUriRoot: '/wado',
          qidoSupportsIncludeField: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          imageRendering: 'wadors',
          thumbnailRendering: 'wadors',
          enableStudyLazyLoad: true,
          omitQuotationForMultipartRequest: true,
          bulkDataURI: { enabled: true },
          stackRetrieveOptions: { $set: { stages: [{ id: 'all' }], retrieveOptions: { default: {} } } },
        },
      },
    ],
  };
})();
