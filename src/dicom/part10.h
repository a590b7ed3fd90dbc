#pragma once
/*
 * PS3.10 files: preamble, file meta information, data set.
 */
#include "dicom/dset.h"

/* Ours; the root is UUID-derived (2.25). */
#define GARONNE_IMPLEMENTATION_UID  "2.25.190364227843029167482731264198305"
#define GARONNE_IMPLEMENTATION_NAME "GARONNE_0_1"

struct part10_meta {
    struct str   class_uid, sop_uid, syntax_uid; // views of the input, or the caller's for writing
    struct str   source_aet, sending_aet, receiving_aet; // (0002,0016..18), may be empty
    struct str   private_creator;                        // (0002,0100), UID; empty: none
    struct bytes private_info;                           // (0002,0102)
    size_t       size; // bytes before the data set: preamble, prefix, meta group
    const struct syntax
        *syntax;  // never NULL after parsing: unknown ones read as explicit little endian
    bool guessed; // no meta information was there: a bare data set (leniency), syntax found by
                  // looking
};

/* The front of a file.  ERR_MORE: give more (4 KiB is almost always enough); ERR_SYNTAX: not DICOM.
 */
enum err part10_parse(struct bytes front, struct part10_meta *ret, struct errmsg *e) MUST_USE;
/* Preamble + "DICM" + meta group.  */
enum err part10_write(const struct part10_meta *m, struct buf *out, struct errmsg *e) MUST_USE;
/* Parse meta and data set of a source. */
enum err part10_read(const struct dsrc *src, struct parse_opts *opts, struct arena *a,
                     struct part10_meta *ret_meta, struct dset **ret, struct errmsg *e) MUST_USE;
