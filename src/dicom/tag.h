#pragma once
/*
 * Tags, value representations and the dictionary of PS3.6 (generated from data/dictionary.tsv).
 * Pure; any thread.
 */
#include "base/attr.h"
#include "base/slice.h"

#define TAG(group, element) ((uint32_t)(group) << 16 | (uint32_t)(element))

static inline uint16_t tag_group(uint32_t tag)
{
    return (uint16_t)(tag >> 16);
}

static inline bool is_tag_private(uint32_t tag)
{
    return (tag >> 16 & 1) != 0;
}

/* PS3.5 table 6.2-1, in alphabetical order.  VR_NONE: none given and none known. */
enum vr {
    VR_NONE,
    VR_AE,
    VR_AS,
    VR_AT,
    VR_CS,
    VR_DA,
    VR_DS,
    VR_DT,
    VR_FD,
    VR_FL,
    VR_IS,
    VR_LO,
    VR_LT,
    VR_OB,
    VR_OD,
    VR_OF,
    VR_OL,
    VR_OV,
    VR_OW,
    VR_PN,
    VR_SH,
    VR_SL,
    VR_SQ,
    VR_SS,
    VR_ST,
    VR_SV,
    VR_TM,
    VR_UC,
    VR_UI,
    VR_UL,
    VR_UN,
    VR_UR,
    VR_US,
    VR_UT,
    VR_UV,
    VR__COUNT
};

const char *vr_name(enum vr vr);            // "AE"; "??" for VR_NONE
enum vr     vr_parse(uint8_t a, uint8_t b); // VR_NONE when unknown
bool        is_vr_long(enum vr vr);         // explicit VR with a 32-bit length (PS3.5 7.1.2)
bool        is_vr_text(enum vr vr); // subject to Specific Character Set: LO LT PN SH ST UC UT
bool   is_vr_string(enum vr vr);    // any character VR, the above and AE AS CS DA DS DT IS TM UI UR
size_t vr_unit(enum vr vr); // bytes swapped as one: 2 for US SS OW AT, 4 UL SL FL OF OL, 8 FD SV UV
                            // OD OV, else 1

struct dict_entry {
    uint32_t    tag, mask;           // mask: bits that matter (repeating groups 50xx, 60xx …)
    enum vr     vr;                  // the first of "US or SS", "OB or OW"
    enum vr     vr2, vr3;            // the alternatives, or VR_NONE
    const char *keyword, *name, *vm; // vm as in the standard: "1", "1-n", "2-2n"
    bool        retired;
};

/* NULL when the standard has no such tag.  Group lengths (gggg,0000) and private creators have
 * entries. */
const struct dict_entry *dict_find(uint32_t tag);
const struct dict_entry *dict_find_keyword(struct str keyword);
enum vr                  dict_vr(uint32_t tag); // VR_UN when unknown

/* Well-known private elements by creator are not in the standard: VR_UN.  */

/* UIDs of PS3.6 Annex A: transfer syntaxes, SOP classes, well-known instances. */
enum uid_kind { UID_TRANSFER_SYNTAX, UID_SOP_CLASS, UID_STORAGE, UID_OTHER };

struct uid_entry {
    const char *uid, *name, *keyword;
    enum uid_kind
         kind; // UID_STORAGE: arrives by C-STORE (PS3.4 B.5 and GG, retired ones, some private)
    bool retired;
};

const struct uid_entry *uid_find(struct str uid);
bool is_uid_legal(struct str uid); // 1..64 of [0-9.], components without leading zeros (PS3.5 9.1)
/* Safe as a file name and an index key: 1..64 characters of [A-Za-z0-9._-], not beginning with a
 * dot.  Devices do break PS3.5 9.1, and what they send must be kept. */
bool is_uid_usable(struct str uid);

/* A legal AE title, PS3.5 table 6.2-1: 1 to 16 printable ASCII characters, no backslash, and no
 * spaces around it. */
bool is_aet(struct str aet);

/* A new UID under the UUID-derived root 2.25 (PS3.5 B.2). ret holds 65 bytes. */
void uid_new(char ret[65]);

struct syntax {
    const char *uid, *name;
    bool        explicit_vr, big_endian, deflated;
    bool        encapsulated; // pixel data in fragments
    bool        lossy;
};

/* Known transfer syntaxes (all of PS3.6 and the private GE one 1.2.840.113619.5.2).  NULL when
 * unknown: read such a data set as explicit little endian, PS3.5 A.4. */
const struct syntax       *syntax_find(struct str uid);
extern const struct syntax SYNTAX_IMPLICIT, SYNTAX_EXPLICIT, SYNTAX_BIG, SYNTAX_DEFLATED;
/* Tag constants: #include "dicom/tags.h" (generated: DT_PatientName …). */
