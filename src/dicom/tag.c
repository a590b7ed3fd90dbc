#include "dicom/tag.h"

#include <stdio.h>
#include <sys/random.h>

#include "dicom/dict_priv.h"

struct vr_info {
    char    name[4]; // two letters
    bool    is_long, is_text, is_string;
    uint8_t unit;
};

static const struct vr_info vrs[VR__COUNT] = {
    [VR_NONE] = {"??", false, false, false, 1}, [VR_AE] = {"AE", false, false, true, 1},
    [VR_AS] = {"AS", false, false, true, 1},    [VR_AT] = {"AT", false, false, false, 2},
    [VR_CS] = {"CS", false, false, true, 1},    [VR_DA] = {"DA", false, false, true, 1},
    [VR_DS] = {"DS", false, false, true, 1},    [VR_DT] = {"DT", false, false, true, 1},
    [VR_FD] = {"FD", false, false, false, 8},   [VR_FL] = {"FL", false, false, false, 4},
    [VR_IS] = {"IS", false, false, true, 1},    [VR_LO] = {"LO", false, true, true, 1},
    [VR_LT] = {"LT", false, true, true, 1},     [VR_OB] = {"OB", true, false, false, 1},
    [VR_OD] = {"OD", true, false, false, 8},    [VR_OF] = {"OF", true, false, false, 4},
    [VR_OL] = {"OL", true, false, false, 4},    [VR_OV] = {"OV", true, false, false, 8},
    [VR_OW] = {"OW", true, false, false, 2},    [VR_PN] = {"PN", false, true, true, 1},
    [VR_SH] = {"SH", false, true, true, 1},     [VR_SL] = {"SL", false, false, false, 4},
    [VR_SQ] = {"SQ", true, false, false, 1},    [VR_SS] = {"SS", false, false, false, 2},
    [VR_ST] = {"ST", false, true, true, 1},     [VR_SV] = {"SV", true, false, false, 8},
    [VR_TM] = {"TM", false, false, true, 1},    [VR_UC] = {"UC", true, true, true, 1},
    [VR_UI] = {"UI", false, false, true, 1},    [VR_UL] = {"UL", false, false, false, 4},
    [VR_UN] = {"UN", true, false, false, 1},    [VR_UR] = {"UR", true, false, true, 1},
    [VR_US] = {"US", false, false, false, 2},   [VR_UT] = {"UT", true, true, true, 1},
    [VR_UV] = {"UV", true, false, false, 8},
};

static const struct vr_info *info(enum vr vr)
{
    return &vrs[(unsigned)vr < VR__COUNT ? vr : VR_NONE];
}

const char *vr_name(enum vr vr)
{
    return info(vr)->name;
}

enum vr vr_parse(uint8_t a, uint8_t b)
{
    static const uint8_t first[26] = {// the first VR of each initial letter
                                      ['A' - 'A'] = VR_AE, ['C' - 'A'] = VR_CS, ['D' - 'A'] = VR_DA,
                                      ['F' - 'A'] = VR_FD, ['I' - 'A'] = VR_IS, ['L' - 'A'] = VR_LO,
                                      ['O' - 'A'] = VR_OB, ['P' - 'A'] = VR_PN, ['S' - 'A'] = VR_SH,
                                      ['T' - 'A'] = VR_TM, ['U' - 'A'] = VR_UC};
    if (a < 'A' || a > 'Z') {
        return VR_NONE;
    }
    for (unsigned i = first[a - 'A']; i != VR_NONE && i < VR__COUNT; i++) {
        if ((uint8_t)vrs[i].name[0] != a) {
            break;
        }
        if ((uint8_t)vrs[i].name[1] == b) {
            return (enum vr)i;
        }
    }
    return VR_NONE;
}

bool is_vr_long(enum vr vr)
{
    return info(vr)->is_long;
}

bool is_vr_text(enum vr vr)
{
    return info(vr)->is_text;
}

bool is_vr_string(enum vr vr)
{
    return info(vr)->is_string;
}

size_t vr_unit(enum vr vr)
{
    return info(vr)->unit;
}

/* Elements that the standard describes by rule, not by number (PS3.5 7.2 and 7.8.1). */
static const struct dict_entry group_length = {
    0, 0x0000FFFF, VR_UL, VR_NONE, VR_NONE, "GroupLength", "Group Length", "1", true};
static const struct dict_entry private_creator = {0x00010010,        0x0001FF00, VR_LO,
                                                  VR_NONE,           VR_NONE,    "PrivateCreator",
                                                  "Private Creator", "1",        false};

static const struct dict_entry *find_by_rule(uint32_t tag)
{
    uint32_t element = tag & 0xFFFF;
    if (is_tag_private(tag)) {
        if (element >= 0x10 && element <= 0xFF) {
            return &private_creator;
        }
    } else {
        for (size_t i = dict_exact_n; i < dict_n; i++) {
            if ((tag & dict_table[i].mask) == dict_table[i].tag) {
                return &dict_table[i];
            }
        }
    }
    return element == 0 ? &group_length : NULL;
}

const struct dict_entry *dict_find(uint32_t tag)
{
    size_t lo = 0;
    for (size_t n = dict_exact_n; n > 1;) { // no branch to mispredict: every element is looked up
        size_t half = n / 2;
        lo = dict_tags[lo + half] <= tag ? lo + half : lo;
        n -= half;
    }
    return dict_tags[lo] == tag ? &dict_table[lo] : find_by_rule(tag);
}

enum vr dict_vr(uint32_t tag)
{
    const struct dict_entry *d = dict_find(tag);
    return d == NULL ? VR_UN : d->vr;
}

/* Bytewise order, a prefix before the longer text: that of the generated tables. */
static int compare(struct str key, const char *with)
{
    size_t len = strlen(with);
    int    c = memcmp(key.ptr, with, key.len < len ? key.len : len);
    return c != 0 ? c : (key.len > len) - (key.len < len);
}

const struct dict_entry *dict_find_keyword(struct str keyword)
{
    size_t lo = 0;
    for (size_t hi = keyword.len > 0 ? dict_by_keyword_n : 0; lo < hi;) {
        size_t                   mid = lo + (hi - lo) / 2;
        const struct dict_entry *d = &dict_table[dict_by_keyword[mid]];
        int                      c = compare(keyword, d->keyword);
        if (c == 0) {
            return d;
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

const struct uid_entry *uid_find(struct str uid)
{
    size_t lo = 0;
    for (size_t hi = uid.len > 0 ? uid_n : 0; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int    c = compare(uid, uid_table[mid].uid);
        if (c == 0) {
            return &uid_table[mid];
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

const struct syntax *syntax_find(struct str uid)
{
    for (size_t i = 0; uid.len > 0 && i < syntax_n; i++) {
        if (compare(uid, syntax_table[i]->uid) == 0) {
            return syntax_table[i];
        }
    }
    return NULL;
}

bool is_uid_legal(struct str uid)
{
    if (uid.len == 0 || uid.len > 64) {
        return false;
    }
    size_t start = 0; // of the component
    for (size_t i = 0; i <= uid.len; i++) {
        if (i == uid.len || uid.ptr[i] == '.') {
            size_t n = i - start;
            if (n == 0 || (n > 1 && uid.ptr[start] == '0')) {
                return false;
            }
            start = i + 1;
        } else if (uid.ptr[i] < '0' || uid.ptr[i] > '9') {
            return false;
        }
    }
    return true;
}

bool is_uid_usable(struct str uid)
{
    if (uid.len == 0 || uid.len > 64 || uid.ptr[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < uid.len; i++) {
        char c = uid.ptr[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    c == '.' || c == '_' || c == '-';
        if (!good) {
            return false;
        }
    }
    return true;
}

bool is_aet(struct str aet)
{
    bool ok = aet.len >= 1 && aet.len <= 16 && aet.ptr[0] != ' ' && aet.ptr[aet.len - 1] != ' ';
    for (size_t i = 0; ok && i < aet.len; i++) {
        ok = aet.ptr[i] >= ' ' && aet.ptr[i] <= '~' && aet.ptr[i] != '\\';
    }
    return ok;
}

void uid_new(char ret[65])
{
    uint8_t r[16];
    size_t  got = 0;
    while (got < sizeof(r)) { // 16 bytes come at once, but for a signal very early after boot
        ssize_t n = getrandom(r + got, sizeof(r) - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    r[6] = (uint8_t)((r[6] & 0x0F) | 0x40); // RFC 4122: version 4, variant 1
    r[8] = (uint8_t)((r[8] & 0x3F) | 0x80);
    unsigned __int128 v = 0;
    for (size_t i = 0; i < sizeof(r); i++) {
        v = v << 8 | r[i];
    }
    char   digits[40]; // 2^128 has 39
    size_t at = sizeof(digits) - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v > 0);
    (void)snprintf(ret, 65, "2.25.%s", digits + at);
}
