#!/bin/bash
# tools/demo.sh DATA: a demo region on loopback: three tenants with peers, their studies, and what to try.  A second
# start finds everything as it was.  Ctrl-C stops it.
set -eu
cd "$(dirname "$0")/.."
data=$1
g=build/src/prog/garonne
dest_port=11113

if [ ! -e "$data/demo-is-made" ]; then
    mkdir -p "$data"
    echo "making the demo region in $data"
    $g tenant add PURPAN --name "CHU de Toulouse, hôpital Purpan" --aet PURPAN --services pacs,archive,share --recompress htj2k --data "$data"
    $g tenant add CLINIQUE --name "Clinique des Cèdres" --aet CLINIQUE --services pacs,backup --recompress htj2k --data "$data"
    $g tenant add CABINET --name "Cabinet de radiologie Saint-Cyprien" --aet CABINET --services pacs,ris --recompress htj2k --data "$data"
    for t in PURPAN CLINIQUE CABINET; do
        for p in ECHOSCU STORESCU FINDSCU MOVESCU GETSCU; do
            $g peer add $p --tenant $t --data "$data"
        done
        $g peer add DEST --tenant $t --host 127.0.0.1 --port $dest_port --data "$data"
    done
    files=$(mktemp -d)
    /usr/bin/python3 tools/demo_data.py "$files"
    for t in PURPAN CLINIQUE CABINET; do
        printf '%-9s ' $t
        $g import "$files/$t" --tenant $t --data "$data"
    done
    rm -rf "$files"
    touch "$data/demo-is-made"
fi
if [ ! -e "$data/demo-tokens" ]; then # kept in clear for the demo alone: a node knows only their hashes
    (umask 077; for t in PURPAN CLINIQUE CABINET; do
        $g token add --tenant $t --role radiologist --data "$data"
    done >"$data/demo-tokens.new")
    mv "$data/demo-tokens.new" "$data/demo-tokens"
fi
mapfile -t token <"$data/demo-tokens"

cat <<EOF

Garonne demo region — three tenants, each behind its AE title, all on one port:

  tenant     AE title   what it is
  PURPAN     PURPAN     hospital: a head CT of 108 images, a chest radiograph
  CLINIQUE   CLINIQUE   clinic: a knee MR of two series
  CABINET    CABINET    practice: a chest radiograph, an SR, an ECG, RT, compressed images

Open in a browser (each link signs in; do not pass it on):

  PURPAN     http://127.0.0.1:8080/#token=${token[0]}
  CLINIQUE   http://127.0.0.1:8080/#token=${token[1]}
  CABINET    http://127.0.0.1:8080/#token=${token[2]}

Arrows choose a study, Enter reads it, V opens the full viewer at the same slice, ? tells the keys.

Try, in another terminal (DCMTK):

  echoscu -v -aec PURPAN 127.0.0.1 11112
  findscu -S -aec PURPAN 127.0.0.1 11112 -k QueryRetrieveLevel=STUDY -k 'PatientName=lefevre*' \\
          -k StudyInstanceUID -k StudyDescription -k ModalitiesInStudy -k NumberOfStudyRelatedInstances
  storescu -v -aec CLINIQUE 127.0.0.1 11112 FILE…
  mkdir -p /tmp/got && getscu +B -S -aec PURPAN 127.0.0.1 11112 -od /tmp/got \\
          -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=…
  storescp -od /tmp/got $dest_port &   and then
  movescu -v -S -aec PURPAN -aem DEST 127.0.0.1 11112 -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=…

Packs are plain tar:  find $data/archive -name '*.tar' -exec tar tvf {} \\;
Health:               curl http://127.0.0.1:8080/readyz    curl http://127.0.0.1:8080/metrics
Beside the server:    $g tenant list --data $data     $g verify --data $data     $g doctor --data $data

EOF
exec $g serve --data "$data" --http 127.0.0.1:8080 --dimse 127.0.0.1:11112
