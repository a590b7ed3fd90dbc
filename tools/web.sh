#!/bin/bash
# tools/web.sh: the portal's pages in web/dist: study list and first-image reader built from web/src, the full viewer (OHIF)
# from its npm package below viewer/, everything compressed beforehand.  Does what is missing or older than its source.
set -eu
cd "$(dirname "$0")/../web"

OHIF=3.13.2
OHIF_SHA512=WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==
viewer=.cache/viewer-$OHIF-$(cat ohif/package.mjs compress.mjs package-lock.json | sha256sum | cut -c1-12)

quiet() { # a command whose output matters only when it fails
    local log
    log=$(mktemp)
    "$@" >"$log" 2>&1 || { tail -30 "$log" >&2; rm -f "$log"; return 1; }
    rm -f "$log"
}

if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    echo "installing the npm packages of the portal"
    quiet npm ci --ignore-scripts --no-audit --no-fund
fi

if [ ! -e "$viewer/index.html" ]; then
    mkdir -p .cache
    tgz=.cache/ohif-app-$OHIF.tgz
    if [ ! -e "$tgz" ]; then
        echo "fetching OHIF $OHIF"
        quiet npm pack "@ohif/app@$OHIF" --pack-destination .cache
    fi
    if [ "$(openssl dgst -sha512 -binary "$tgz" | base64 -w0)" != "$OHIF_SHA512" ]; then
        rm -f "$tgz"
        echo "OHIF $OHIF is not the package that was pinned" >&2
        exit 1
    fi
    echo "preparing OHIF $OHIF"
    rm -rf .cache/package .cache/making .cache/viewer-*
    tar xzf "$tgz" -C .cache package/dist package/LICENSE
    node ohif/package.mjs .cache/package/dist .cache/making
    cp .cache/package/LICENSE .cache/making/LICENSE.txt
    rm .cache/making/app-config.js
    node compress.mjs .cache/making 9
    mv .cache/making "$viewer"
    rm -rf .cache/package
fi

newest=$(find index.html read.html vite.config.ts package-lock.json tsconfig.json compress.mjs src public ohif ../tools/web.sh -newer dist/.built 2>/dev/null | head -1)
if [ ! -e dist/.built ] || [ -n "$newest" ]; then
    quiet npx tsc --noEmit
    quiet npx vite build --outDir .cache/dist --emptyOutDir
    node compress.mjs .cache/dist 11
    cp -rl "$viewer" .cache/dist/viewer
    cp ohif/app-config.js .cache/dist/viewer/
    touch .cache/dist/.built
    rm -rf dist
    mv .cache/dist dist
    echo "portal: $(du -sh --apparent-size dist | cut -f1) in web/dist"
fi
