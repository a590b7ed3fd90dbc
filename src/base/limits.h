#pragma once

/*
 * Every limit, timeout and size that bounds what a peer or a file can make us do, with its reason.
 * One place, so that an operator's question "how large may X be?" has one answer.
 */
enum {
    /* dicom */
    LIMIT_SQ_DEPTH = 64,         // deepest nesting of sequences; real SR trees stay under 20
    LIMIT_VALUE = 16 << 20,      // a value held in memory as a whole; longer ones are streamed
    LIMIT_DSET = 64 << 20,       // arena of one in-memory data set
    LIMIT_IDENTIFIER = 1 << 20,  // C-FIND/C-MOVE identifier: lists of thousands of UIDs fit
    LIMIT_COMMAND = 64 << 10,    // command set: 30 short elements, an attribute list at most
    LIMIT_INGEST_HEAD = 4 << 20, // bytes searched for the Series Instance UID of an object
    LIMIT_UID = 64,              // PS3.5 section 9
    LIMIT_JSON_DEPTH = 256, // three levels for each of a data set, and some for members skipped

    LIMIT_META = 64 << 10, // preamble and file meta information: 20 short elements
    LIMIT_PATH = 4096,     // a path on media or in an export, as PATH_MAX

    /* dimse */
    LIMIT_PDU_MAX = 128 << 10,     // what we announce; larger gains nothing on loopback or LAN
    LIMIT_PDU_ASSOC = 1 << 20,     // A-ASSOCIATE PDUs: 128 contexts with 40 syntaxes are 350 KB
    LIMIT_ARTIM_MS = 10000,        // PS3.8 9.1.5: silent before A-ASSOCIATE-RQ, or after release
    LIMIT_IDLE_MS = 60000,         // an association without a PDU; config `dimse.idle`
    LIMIT_SEND_MS = 60000,         // a peer that does not read
    LIMIT_ASSOCIATIONS = 500,      // threads; config `dimse.associations`
    LIMIT_LINGER_MS = 1000,        // ARTIM after our A-ABORT: the peer need only read it
    LIMIT_PDU_SEND = 128 << 10,    // largest we send, whatever the peer would take
    LIMIT_STAGE = (128 + 4) << 10, // send buffer: a command and one such PDU, or eight of 16 KiB
    LIMIT_PDU_ARENA = 4 << 20,     // request and answer parsed: 16 bytes for each 4 of the PDU

    LIMIT_ASSOC_ARENA = 64 << 10, // tenant and peer of an association
    LIMIT_DRAIN_MS = 5000,        // SIGTERM: associations at work may finish
    LIMIT_MOVE_RETRIES = 2,       // new associations to a C-MOVE destination that hung up
    LIMIT_PENDING_MS = 500, // between two pending C-MOVE/C-GET responses: progress, not traffic

    LIMIT_FIND_ROW = 4 << 20,      // one candidate or answer of a C-FIND
    LIMIT_FIND_VALUE = 64 << 10,   // a value of a header that a query looks at
    LIMIT_OBJECT_LIST = 256 << 20, // images of one series: 100,000 of them are 80 MB

    /* pixel */
    LIMIT_FRAME = 512 << 20, // one native frame; a whole mammogram is 50 MB, a scanned film 100 MB
    LIMIT_PIXEL_MAP =
        576 << 20,          // memory shared with a worker: what does not compress is a bit longer
    LIMIT_PIXEL_MS = 30000, // one frame; 512 MB of JPEG 2000 at 20 MB/s
    LIMIT_PIXEL_START_MS = 10000, // of a worker, on a machine that is busy
    LIMIT_PIXEL_WORKERS = 64,     // processors beyond that are left to others
    LIMIT_PIXEL_KEEP = 64 << 20,  // memory of a worker that waits for the next frame

    LIMIT_PICTURE_SIDE = 32768,   // of a rendered picture; JPEG ends at 65,500
    LIMIT_PICTURE = 512 << 20,    // its bytes: a frame in three samples
    LIMIT_RENDER = 16 << 20,      // tables and points while a frame is rendered
    LIMIT_LUT_SEGMENTS = 1 << 18, // of a segmented palette: four for each entry it can have
    LIMIT_GRAPHIC_POINTS = 20000, // numbers of one graphic object or shutter; drawn: hundreds

    /* pack and archive */
    LIMIT_PACK_BYTES = 1 << 30,     // a pack is sealed when larger: a unit that copies in seconds
    LIMIT_SEAL_IDLE_MS = 60000,     // idle time before sealing; config `archive.seal_after`
    LIMIT_PREALLOC_MIN = 4 << 20,   // first reservation of an open pack, doubled up to
    LIMIT_PREALLOC_MAX = 64 << 20,  // this, so that a sync is a data flush and not a journal commit
    LIMIT_MANIFEST = 256 << 20,     // manifest.json of a sealed pack read back
    LIMIT_WRITEBACK = 256 << 10,    // given to write-back while an image arrives: less for the sync
    LIMIT_HEAD_VALUE = 64 << 10,    // a value of an object's front that is looked at; UIDs, texts
    LIMIT_PART10_HEAD = 16 << 10,   // meta information that we write: some UIDs and AE titles
    LIMIT_SERIES_NAMES = 1024,      // SOP classes and syntaxes in one series; real ones have 1 to 3
    LIMIT_SERIES_STALE_MS = 1000,   // what other processes wrote is looked at again after that
    LIMIT_PACK_TRIES = 1000,        // numbers tried for a new pack, other processes being faster
    LIMIT_SCAN = 512 << 20,         // arena of a scan's images: a GiB of 1 KiB images fits
    LIMIT_CATALOG_BYTES = 24 << 20, // cached image lists of sealed packs: 100,000 images
    LIMIT_VIEW_BYTES = 64 << 20,    // cached series with their frames: some 300,000 images
    LIMIT_VIEW_PACKS = 1024,        // files they hold open
    LIMIT_VIEW_SEGMENTS = 64,       // pieces of an open pack's metadata, then it is written anew
    LIMIT_COUNT_MS = 1000,          // counters of open packs are written that often
    LIMIT_BROKEN_RETRY_MS = 5000,   // a pack whose disk failed or was full is tried again
    LIMIT_SEAL_RETRY_MS = 600000,   // a damaged one rarely: people must look at it
    LIMIT_ADOPT_MS = 60000,         // look for packs that a command beside us left open
    LIMIT_DISK_RESERVE = 256 << 20, // free space kept for the index, manifests and reservations
    LIMIT_REGISTRY = 64 << 20,      // registry.json: 100,000 peers
    LIMIT_DB_POOL = 16,             // connections of a node; threads wait for one for milliseconds
    LIMIT_REJECTED = 64 << 20,      // who rejected what in a series: 100,000 images ten times
    LIMIT_PART_AGE_S = 86400,       // unfinished quarantine files of a crash are cleared away

    /* sys */
    LIMIT_CONF = 256 << 10, // garonne.yaml; a full one is 1 KiB
    LIMIT_BACKLOG = 512, // connections not yet accepted: every modality of a site after a restart
#ifdef ARENA_SPLIT
    LIMIT_STACK = 2 << 20, // the address sanitizer pads every frame
#else
    /* Of a worker.  Address space, not memory, until touched: SQLite and the resolver want up to
     * 100 KiB of it, and 500 associations still fit in a quarter of a gigabyte. */
    LIMIT_STACK = 512 << 10,
#endif

    /* db */
    LIMIT_DB_PARAMS = 64,       // values bound to one statement; our widest row has 30
    LIMIT_DB_TEXT = 16 << 20,   // text bound to one statement: a list of UIDs from an identifier
    LIMIT_DB_TEXTS = 64,        // cached statements made by searches, per connection
    LIMIT_DB_AHEAD = 100000,    // rows of a half-read PostgreSQL result kept while another runs
    LIMIT_DB_BUSY_MS = 5000,    // wait for the lock of another writer, then ERR_CONFLICT
    LIMIT_DB_RETRIES = 10,      // runs of a transaction that meets ERR_CONFLICT
    LIMIT_DB_WAIT_MS = 30000,   // wait for a connection of the pool: longer means a leak
    LIMIT_DB_CONNECT_S = 5,     // PostgreSQL: a host that does not answer; the next one is tried
    LIMIT_DB_SILENT_MS = 20000, // PostgreSQL: unacknowledged data on a dead link

    /* index */
    LIMIT_INDEX_VALUE = 1024, // a value kept in the index; the longest legal names have 600 bytes
    LIMIT_INDEX_KEY = 256,    // a search key: PostgreSQL cannot index over 2,700 bytes together

    /* http */
    LIMIT_HTTP_CONNECTIONS = 6000, // issue of the web surface: 5,000 viewers at once
    LIMIT_HTTP_MEMORY = 16 << 10,  // of a connection: its head must fit (browsers send 1 to 4 KiB)
    LIMIT_HTTP_HEAD_MS = 20000,    // from the request line to the end of the head
    LIMIT_HTTP_IDLE_MS = 60000,    // a connection without a request, a byte of a body, of an answer
    LIMIT_HTTP_DROP = 64 << 10,    // body nobody asked for: read, so that the answer is seen
    LIMIT_HTTP_ARENA = 4 << 20,    // memory of one request, for small answers and parsed questions
    LIMIT_HTTP_BLOCK = 128 << 10,  // asked of a stream at once
    LIMIT_FRAME_AGE_S = 3600,      // a browser keeps frames: they never change, but a right may end
    LIMIT_FEEDS = 16,              // answers made while they are sent: a thread and a ring each
    LIMIT_FEED_BYTES = 1 << 20,    // between such a thread and the network
    LIMIT_CONVERT_FRONT = 8 << 20, // of an object held back until its first frames are known good
    LIMIT_CONVERT_STORED = 8 << 20, // larger ones are converted while they are sent,
    LIMIT_CONVERT = 64 << 20,       // as are those that become larger than this
    LIMIT_HTTP_WORKERS = 8,         // blocking handlers at once: databases and disks like few

    /* dicomweb */
    LIMIT_UPLOADS = 256,            // bodies being stored at once: a thread and a ring each
    LIMIT_UPLOAD_BYTES = 256 << 10, // between the network and such a thread
    LIMIT_STORE_TEXT = 32 << 20,    // metadata of one part: 3,000 images in JSON are 12 MB
    LIMIT_STORE_MODEL = 512 << 20,  // data sets of one such request
    LIMIT_STORE_ANSWER = 64 << 20,  // what became of 100,000 instances of one request
    LIMIT_QIDO_PAGE = 5000,         // matches in one answer; the caller asks for the next ones
    LIMIT_QIDO_ANSWER = 128 << 20,  // such a page of wide rows
    LIMIT_REASON = 1024,            // why something is rejected: a few sentences
    LIMIT_VIEWPORT = 8192,          // a side of a rendered picture that is asked for: an 8K screen
    THUMBNAIL_SIDE = 128,           // of a thumbnail, unless asked for otherwise
    LIMIT_CINE_FRAMES = 300,        // of an animation: 10 s of ultrasound; more: every second, ...
    LIMIT_CINE_BYTES = 128 << 20,   // their frames as they lie
    LIMIT_HTML = 16 << 20,          // a structured report as text

    /* access */
    LIMIT_TOKENS = 1024,            // believed at once: those who read at the same moment
    LIMIT_TOKEN_CACHE_MS = 10000,   // a revoked token closes within that time
    LIMIT_TOKEN_DAYS = 3650,        // a token's life at most: that of a machine
    LIMIT_MULTIPART_HEAD = 8 << 10, // of one part: type, location, some that clients add

    /* api */
    LIMIT_SITE = 8 << 20,           // table of the pages' files
    LIMIT_SITE_FILES = 4096,        // the viewer has 150
    LIMIT_SESSION_BODY = 4096,      // a token and its quotation marks
    LIMIT_STUDY_LIST = 2000,        // studies looked at for one page of the list, newest first
    LIMIT_STUDY_PAGE = 200,         // on one page
    LIMIT_STUDY_LOOKED = 50000,     // candidates read for one page: half a second
    LIMIT_STUDY_KEY = 8 << 10,      // search key of one text
    LIMIT_LIST_ARENA = 32 << 20,    // those 2,000 with long texts
    LIMIT_INSTANCES = 256 << 20,    // lean index of one study while it is made: 100,000 images
    LIMIT_IMAGE_CACHE = 64 << 20,   // lean indexes kept: 300 studies of 3,000 images
    LIMIT_EVENT_LISTENERS = 10000,  // open pages of one node
    LIMIT_EVENT_BACKLOG = 64 << 10, // of a page that does not read: 500 events
    LIMIT_EVENT_ROWS = 512,         // changed studies told at once
    LIMIT_EVENT_ARENA = 1 << 20,    // and their UIDs
    LIMIT_EVENT_LOOK_MS = 1000,     // between two questions to the index
    LIMIT_EVENT_SLACK_MS = 3000,    // clocks of nodes differ, transactions are seen late
    LIMIT_EVENT_BEAT_MS = 15000,    // a sign of life, before proxies hang up after 30 s
    LIMIT_EVENT_STREAM_MS = 300000, // then the browser asks again, with its token
};

#define LIMIT_ZIP_MEMBER                                                                           \
    (64ULL << 30) // a file inside a ZIP: a bomb stops here, a whole-slide image does not

#define LIMIT_PIXEL_MEMORY                                                                         \
    (4ULL << 30) // address space of a worker: both maps, and 4 bytes a sample twice
