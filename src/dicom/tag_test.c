#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dicom/dict_priv.h"
#include "dicom/tags.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void every_vr_is_read_back_from_its_name(void **state)
{
    (void)state;
    for (unsigned v = VR_NONE + 1; v < VR__COUNT; v++) {
        const char *name = vr_name((enum vr)v);
        assert_int_equal(vr_parse((uint8_t)name[0], (uint8_t)name[1]), v);
    }
    static const char *const none[] = {"AA", "??", "ae", "Ox", "ZZ", "BA", "A\xFF", "\xFFZ", "S["};
    for (size_t i = 0; i < LEN(none); i++) {
        assert_int_equal(vr_parse((uint8_t)none[i][0], (uint8_t)none[i][1]), VR_NONE);
    }
    assert_string_equal(vr_name(VR_NONE), "??");
    assert_string_equal(vr_name(VR__COUNT), "??");
}

static void vr_properties_are_those_of_the_standard(void **state)
{
    (void)state;

    static const enum vr is_long[] = {VR_OB, VR_OD, VR_OF, VR_OL, VR_OV, VR_OW, VR_SQ,
                                      VR_SV, VR_UC, VR_UN, VR_UR, VR_UT, VR_UV};

    static const enum vr is_text[] = {VR_LO, VR_LT, VR_PN, VR_SH, VR_ST, VR_UC, VR_UT};

    size_t n_long = 0;
    size_t n_text = 0;
    for (unsigned v = 0; v < VR__COUNT; v++) {
        n_long += is_vr_long((enum vr)v) ? 1 : 0;
        n_text += is_vr_text((enum vr)v) ? 1 : 0;
        assert_true(!is_vr_text((enum vr)v) || is_vr_string((enum vr)v));
    }
    assert_int_equal(n_long, LEN(is_long));
    assert_int_equal(n_text, LEN(is_text));
    for (size_t i = 0; i < LEN(is_long); i++) {
        assert_true(is_vr_long(is_long[i]));
    }
    for (size_t i = 0; i < LEN(is_text); i++) {
        assert_true(is_vr_text(is_text[i]));
    }
    assert_true(is_vr_string(VR_UI) && is_vr_string(VR_UR) && !is_vr_string(VR_AT));
    assert_int_equal(vr_unit(VR_AT), 2);
    assert_int_equal(vr_unit(VR_OL), 4);
    assert_int_equal(vr_unit(VR_OV), 8);
    assert_int_equal(vr_unit(VR_UN), 1);
}

static void every_element_is_found_by_tag_and_keyword(void **state)
{
    (void)state;
    assert_true(dict_n > 5350);
    for (size_t i = 0; i < dict_n; i++) {
        const struct dict_entry *d = &dict_table[i];
        bool own = dict_find(d->tag) == d; // not so where (0028,0400) is none of (0028,04x0)
        assert_true(own || (i >= dict_exact_n && dict_find(d->tag) < &dict_table[dict_exact_n]));
        assert_true(d->keyword[0] == 0 || dict_find_keyword(str_of(d->keyword)) == d);
    }
}

static void tags_of_every_kind_have_their_entry(void **state)
{
    (void)state;

    static const struct {
        const char *what;
        const char *keyword; // NULL: none
        uint32_t    tag;
        enum vr     vr;
    } cases[] = {
        {"patient", "PatientName", DT_PatientName, VR_PN},
        {"first", "CommandGroupLength", 0x00000000, VR_UL},
        {"last", "SequenceDelimitationItem", 0xFFFEE0DD, VR_NONE},
        {"pixels", "PixelData", DT_PixelData, VR_OB},
        {"overlay, first group", "OverlayData", 0x60003000, VR_OB},
        {"overlay, other group", "OverlayData", 0x601E3000, VR_OB},
        {"odd overlay group is private", NULL, 0x60013000, VR_UN},
        {"curve", "CurveData", 0x50023000, VR_OB},
        {"source image identifiers", "SourceImageIDs", 0x002031FE, VR_CS},
        {"coefficients", "ColumnsForNthOrderCoefficients", 0x00280421, VR_US},
        {"zonal map", "ZonalMap", 0x10101234, VR_US},
        {"escape triplet", "EscapeTriplet", 0x10000020, VR_US},
        {"group length", "GroupLength", 0x00080000, VR_UL},
        {"group length of a private group", "GroupLength", 0x00090000, VR_UL},
        {"group length of the meta group", "FileMetaInformationGroupLength", 0x00020000, VR_UL},
        {"private creator", "PrivateCreator", 0x00090010, VR_LO},
        {"last private creator", "PrivateCreator", 0x000900FF, VR_LO},
        {"below the private creators", NULL, 0x0009000F, VR_UN},
        {"private element", NULL, 0x00091001, VR_UN},
        {"unknown", NULL, 0x00100019, VR_UN},
        {"past the end", NULL, 0xFFFFFFFF, VR_UN},
        {"names of 2025", "PersonNamesToUseSequence", DT_PersonNamesToUseSequence, VR_SQ},
        {"inventory of 2023", "InventoryPurpose", DT_InventoryPurpose, VR_LT},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        const struct dict_entry *d = dict_find(cases[i].tag);
        bool                     same = cases[i].keyword == NULL
                                            ? d == NULL
                                            : d != NULL && str_eq(str_of(d->keyword), str_of(cases[i].keyword));
        if (!same || dict_vr(cases[i].tag) != cases[i].vr) {
            fail_msg("%s", cases[i].what);
        }
    }
}

static void alternatives_and_marks_are_kept(void **state)
{
    (void)state;
    const struct dict_entry *d = dict_find(DT_LUTData);
    assert_true(d->vr == VR_US && d->vr2 == VR_OW && d->vr3 == VR_NONE);
    d = dict_find(DT_LUTDescriptor);
    assert_true(d->vr == VR_US && d->vr2 == VR_SS);
    assert_string_equal(d->vm, "3");
    assert_string_equal(dict_find(DT_ImageType)->vm, "2-n");
    assert_true(dict_find(DT_ImageType)->vr2 == VR_NONE);
    assert_string_equal(dict_find(DT_ModalitiesInStudy)->name, "Modalities in Study");
    assert_false(dict_find(DT_PatientID)->retired);
    assert_true(dict_find(DT_RecognitionCode)->retired);
}

static void unknown_keywords_are_not_found(void **state)
{
    (void)state;
    static const char *const none[] = {"",  "PatientNam", "PatientNames", "patientname",
                                       "A", "zzzz"};
    for (size_t i = 0; i < LEN(none); i++) {
        assert_null(dict_find_keyword(str_of(none[i])));
    }
}

static void every_uid_is_found_and_legal(void **state)
{
    (void)state;
    for (size_t i = 0; i < uid_n; i++) {
        assert_ptr_equal(uid_find(str_of(uid_table[i].uid)), &uid_table[i]);
        assert_true(is_uid_legal(str_of(uid_table[i].uid)));
    }
    assert_int_equal(uid_find(STR("1.2.840.10008.5.1.4.1.1.2"))->kind, UID_STORAGE);
    assert_true(uid_find(STR("1.2.840.10008.5.1.4.1.1.3"))->retired);
    assert_int_equal(uid_find(STR("1.2.840.10008.5.1.4.31"))->kind, UID_SOP_CLASS);
    assert_int_equal(uid_find(STR("1.2.840.10008.1.2.5"))->kind, UID_TRANSFER_SYNTAX);
    assert_int_equal(uid_find(STR("1.2.840.10008.1.20.1.1"))->kind, UID_OTHER);
    assert_null(uid_find(STR("")));
    assert_null(uid_find(STR("1.2.840.10008.5.1.4.1.1")));
}

static void syntaxes_say_how_to_read(void **state)
{
    (void)state;

    static const struct {
        const char *uid;
        bool        explicit_vr, big, deflated, encapsulated, lossy;
    } cases[] = {
        {"1.2.840.10008.1.2", false, false, false, false, false},
        {"1.2.840.10008.1.2.1", true, false, false, false, false},
        {"1.2.840.10008.1.2.2", true, true, false, false, false},
        {"1.2.840.10008.1.2.1.99", true, false, true, false, false},
        {"1.2.840.10008.1.2.1.98", true, false, false, true, false},
        {"1.2.840.113619.5.2", false, false, false, false, false},
        {"1.2.840.10008.1.2.4.50", true, false, false, true, true},
        {"1.2.840.10008.1.2.4.70", true, false, false, true, false},
        {"1.2.840.10008.1.2.4.90", true, false, false, true, false},
        {"1.2.840.10008.1.2.4.201", true, false, false, true, false},
        {"1.2.840.10008.1.2.4.202", true, false, false, true, false},
        {"1.2.840.10008.1.2.4.203", true, false, false, true, true},
        {"1.2.840.10008.1.2.4.110", true, false, false, true, false},
        {"1.2.840.10008.1.2.4.112", true, false, false, true, true},
        {"1.2.840.10008.1.2.4.95", true, false, true, false, false},
        {"1.2.840.10008.1.2.4.106", true, false, false, true, true},
        {"1.2.840.10008.1.2.7.1", true, false, false, false, false},
        {"1.2.840.10008.1.2.8.1", true, false, false, true, false},
        {"1.2.840.10008.1.2.5", true, false, false, true, false},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        const struct syntax *s = syntax_find(str_of(cases[i].uid));
        if (s == NULL || s->explicit_vr != cases[i].explicit_vr || s->big_endian != cases[i].big ||
            s->deflated != cases[i].deflated || s->encapsulated != cases[i].encapsulated ||
            s->lossy != cases[i].lossy) {
            fail_msg("%s", cases[i].uid);
        }
    }
    assert_ptr_equal(syntax_find(STR("1.2.840.10008.1.2")), &SYNTAX_IMPLICIT);
    assert_ptr_equal(syntax_find(STR("1.2.840.10008.1.2.1.99")), &SYNTAX_DEFLATED);
    assert_null(syntax_find(STR("1.2.3")));
    assert_null(syntax_find(STR("")));
}

static void uids_are_checked(void **state)
{
    (void)state;

    static const struct {
        const char *uid;
        bool        legal, usable;
    } cases[] = {
        {"1.2.3", true, true},
        {"0.0", true, true},
        {"", false, false},
        {"1..2", false, true},
        {".1", false, false},
        {"1.", false, true},
        {"1.02", false, true},
        {"1.2.a", false, true},
        {"1.2 ", false, false},
        {"1/2", false, false},
        {"..", false, false},
        {"1234567890123456789012345678901234567890123456789012345678901234", true, true},
        {"12345678901234567890123456789012345678901234567890123456789012345", false, false},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        if (is_uid_legal(str_of(cases[i].uid)) != cases[i].legal ||
            is_uid_usable(str_of(cases[i].uid)) != cases[i].usable) {
            fail_msg("%s", cases[i].uid);
        }
    }
}

static void new_uids_are_legal_and_differ(void **state)
{
    (void)state;
    char a[65];
    char b[65];
    uid_new(a);
    uid_new(b);
    assert_true(is_uid_legal(str_of(a)));
    assert_memory_equal(a, "2.25.", 5);
    assert_true(strlen(a) <= 44);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vr_is_read_back_from_its_name),
        cmocka_unit_test(vr_properties_are_those_of_the_standard),
        cmocka_unit_test(every_element_is_found_by_tag_and_keyword),
        cmocka_unit_test(tags_of_every_kind_have_their_entry),
        cmocka_unit_test(alternatives_and_marks_are_kept),
        cmocka_unit_test(unknown_keywords_are_not_found),
        cmocka_unit_test(every_uid_is_found_and_legal),
        cmocka_unit_test(syntaxes_say_how_to_read),
        cmocka_unit_test(uids_are_checked),
        cmocka_unit_test(new_uids_are_legal_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
