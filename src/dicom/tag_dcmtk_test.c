/*
 * The compiled dictionary against DCMTK's, line by line, where that is installed.  What DCMTK has
 * and we lack, or have otherwise, fails, but for the differences reviewed below.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/num.h"
#include "dicom/tag.h"

/* Debian's DCMTK is of edition 2022b. */
static const struct {
    uint32_t    tag;
    const char *why;
} reviewed[] = {
    {0x00089007, "FrameType has a fifth value since 2023"},
    {0x00102160, "EthnicGroup retired 2025a"},
    {0x00281200, "VM 1-n or 1 is simplified there"},
    {0x00283006, "VM 1-n or 1 is simplified there"},
    {0x00380004, "ReferencedPatientAliasSequence retired 2023d"},
    {0x00701807, "WeightingLookupTableDescriptor retired 2024a"},
    {0x00701808, "WeightingLookupTableData retired 2024a"},
    {0x30040010, "RTDoseROISequence retired 2022d"},
    {0x30060085, "ROIObservationLabel retired 2022b"},
    {0x30060088, "ROIObservationDescription retired 2022b"},
    {0x3008002B, "TreatmentTerminationCode retired 2023a"},
    {0x30100090, "RoboticBaseLocationIndicator retired 2022e"},
};

struct line {
    uint32_t    tag;    // the first of a range
    uint32_t    second; // another of it, or tag
    const char *vr, *keyword, *vm;
    bool        retired;
};

/* The two letters there that stand for alternatives. */
static const char *vrs_of(const char *vr)
{
    static const char *const words[][2] = {{"ox", "OB/OW"}, {"px", "OB/OW"}, {"xs", "US/SS"},
                                           {"lt", "US/OW"}, {"up", "UL"},    {"na", "??"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(vr, words[i][0]) == 0) {
            return words[i][1];
        }
    }
    return vr;
}

static uint32_t hex4(const char *text)
{
    uint64_t v = 0;
    assert_true(parse_u64_base((struct str){text, 4}, 16, &v));
    return (uint32_t)v;
}

/* "(gggg,eeee)", "(gggg-gggg,eeee)" or "(gggg,eeee-eeee)"; even groups. */
static void parse_tag(const char *text, struct line *ret)
{
    const char *comma = strchr(text, ',');
    assert_non_null(comma);
    ret->tag = TAG(hex4(text + 1), hex4(comma + 1));
    ret->second = ret->tag;
    if (text[5] == '-') {
        ret->second += 0x00020000;
    }
    if (comma[5] == '-') {
        ret->second += 1;
    }
}

/* False for comments and what is not of the standard. */
static bool parse_line(char *text, struct line *ret)
{
    char       *rest = NULL;
    const char *tag = strtok_r(text, "\t\n", &rest);
    ret->vr = strtok_r(NULL, "\t\n", &rest);
    ret->keyword = strtok_r(NULL, "\t\n", &rest);
    ret->vm = strtok_r(NULL, "\t\n", &rest);
    const char *version = strtok_r(NULL, "\t\n", &rest);
    if (tag == NULL || tag[0] != '(' || version == NULL || strncmp(version, "DICOM", 5) != 0) {
        return false;
    }
    ret->retired = strcmp(version, "DICOM/retired") == 0;
    if (strncmp(ret->keyword, "RETIRED_", 8) == 0) {
        ret->keyword += 8;
    }
    parse_tag(tag, ret);
    return true;
}

static bool is_same(const struct line *l, uint32_t tag)
{
    const struct dict_entry *d = dict_find(tag);
    if (d == NULL) {
        return false;
    }
    char vrs[16];
    (void)snprintf(vrs, sizeof(vrs), "%s%s%s", vr_name(d->vr), d->vr2 == VR_NONE ? "" : "/",
                   d->vr2 == VR_NONE ? "" : vr_name(d->vr2));
    return strcmp(vrs, vrs_of(l->vr)) == 0 && strcmp(d->vm, l->vm) == 0 &&
           strcmp(d->keyword, l->keyword) == 0 && d->retired == l->retired;
}

static bool is_reviewed(uint32_t tag)
{
    for (size_t i = 0; i < sizeof(reviewed) / sizeof(reviewed[0]); i++) {
        if (reviewed[i].tag == tag) {
            return true;
        }
    }
    return false;
}

/* Debian puts the library's version into the name of its folder; NULL when there is none. */
static FILE *open_dictionary(void)
{
    for (int version = 14; version < 30; version++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/usr/share/libdcmtk%d/dicom.dic", version);
        FILE *f = fopen(path, "r");
        if (f != NULL) {
            return f;
        }
    }
    return NULL;
}

static void dictionary_agrees_with_dcmtk(void **state)
{
    (void)state;
    FILE *f = open_dictionary();
    if (f == NULL) {
        (void)printf("skipped: DCMTK is not installed\n");
        skip();
    }
    char   text[512];
    size_t lines = 0;
    size_t bad = 0;
    while (fgets(text, sizeof(text), f) != NULL) {
        struct line l;
        if (parse_line(text, &l)) {
            lines++;
            bool same = is_same(&l, l.tag) && is_same(&l, l.second);
            if (!same && !is_reviewed(l.tag)) {
                (void)printf("%08X %s %s %s differs\n", l.tag, l.vr, l.vm, l.keyword);
                bad++;
            }
        }
    }
    (void)fclose(f);
    assert_true(lines > 4900);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dictionary_agrees_with_dcmtk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
