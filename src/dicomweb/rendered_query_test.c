#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dicom/tags.h"
#include "dicomweb/rendered_query.h"
#include "dicomweb/sr_html.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    enum rendered_kind kind;
    const char        *query;
    enum err           want;
    struct render_opts o;
} cases[] = {
    {RENDERED_WEB, "", ERR_OK, {0}},
    {RENDERED_WEB, "unknown=1", ERR_OK, {0}},
    {RENDERED_WEB,
     "window=40,400,linear",
     ERR_OK,
     {.has_window = true, .center = 40, .width = 400}},
    {RENDERED_WEB,
     "window=-0.5,0.25,linear-exact",
     ERR_OK,
     {.has_window = true, .center = -0.5, .width = 0.25, .function = VOI_LINEAR_EXACT}},
    {RENDERED_WEB,
     "window=40,400,sigmoid",
     ERR_OK,
     {.has_window = true, .center = 40, .width = 400, .function = VOI_SIGMOID}},
    {RENDERED_WEB, "window=40,400", ERR_OK, {.has_window = true, .center = 40, .width = 400}},
    {RENDERED_WEB, "window=40", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=40,0,linear", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=40,0.5,linear", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=40,-4,sigmoid", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=40,400,cubic", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=nan,400,linear", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=40,inf,linear", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "window=", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=512,256", ERR_OK, {.view_w = 512, .view_h = 256}},
    {RENDERED_WEB,
     "viewport=512,256,10,20,-30,40",
     ERR_OK,
     {.view_w = 512, .view_h = 256, .x = 10, .y = 20, .w = -30, .h = 40}},
    {RENDERED_WEB, "viewport=512,256,,,30,", ERR_OK, {.view_w = 512, .view_h = 256, .w = 30}},
    {RENDERED_WEB, "viewport=512", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=0,0", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=9000,9000", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=5.5,5", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=5,5,-1,0", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "viewport=5,5,1,1,1,1,1", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "quality=75", ERR_OK, {.quality = 75}},
    {RENDERED_WEB, "quality=0", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "quality=101", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "presentationUID=../x", ERR_SYNTAX, {0}},
    {RENDERED_WEB, "rows=5", ERR_OK, {0}}, // of WADO-URI alone
    {RENDERED_THUMBNAIL, "", ERR_OK, {.view_w = THUMBNAIL_SIDE, .view_h = THUMBNAIL_SIDE}},
    {RENDERED_THUMBNAIL, "viewport=64,32", ERR_OK, {.view_w = 64, .view_h = 32}},
    {RENDERED_URI,
     "windowCenter=40&windowWidth=400",
     ERR_OK,
     {.has_window = true, .center = 40, .width = 400}},
    {RENDERED_URI, "rows=64", ERR_OK, {.view_w = LIMIT_VIEWPORT, .view_h = 64}},
    {RENDERED_URI, "columns=32&rows=64", ERR_OK, {.view_w = 32, .view_h = 64}},
    {RENDERED_URI, "region=0,0,0.5,1", ERR_OK, {.w = 5, .h = 10}},
    {RENDERED_URI, "region=0.5,0,0.5,1", ERR_SYNTAX, {0}},
    {RENDERED_URI, "region=0,0,2,1", ERR_SYNTAX, {0}},
    {RENDERED_URI, "frameNumber=0", ERR_SYNTAX, {0}},
};

static void parameters_are_read_or_refused(void **state)
{
    (void)state;
    const struct image image = {.cols = 10, .rows = 10};
    for (size_t i = 0; i < LEN(cases); i++) {
        CLEANUP(arena_done) struct arena a;
        CLEANUP(buf_done) struct buf     b;
        struct uri                       u;
        struct rendered_query            q;
        struct render_opts               o;
        arena_init(&a, 1 << 20);
        buf_init(&b, 4096);
        buf_fmt(&b, "/rendered?%s", cases[i].query);
        assert_int_equal(uri_parse((struct bytes){b.ptr, b.len}, &a, &u, NULL), ERR_OK);
        enum err rc = rendered_parse(&u, cases[i].kind, &q, NULL);
        if (rc != cases[i].want) {
            fail_msg("%s: %s", cases[i].query, err_name(rc));
        }
        if (rc != ERR_OK) {
            continue;
        }
        assert_int_equal(rendered_fit(&q, &image, &o, NULL),
                         cases[i].o.x < 10 ? ERR_OK : ERR_SYNTAX);
        const struct render_opts *w = &cases[i].o;
        bool                      same =
            w->x >= 10 ||
            (o.has_window == w->has_window && o.center == w->center && o.width == w->width &&
             o.function == w->function && o.view_w == w->view_w && o.view_h == w->view_h &&
             o.x == w->x && o.y == w->y && o.w == w->w && o.h == w->h && o.quality == w->quality);
        if (!same) {
            fail_msg("%s: read wrongly", cases[i].query);
        }
    }
}

static void put(struct dset *d, uint32_t tag, const char *text)
{
    assert_int_equal(dset_put_text(d, tag, str_of(text)), ERR_OK);
}

static void put_code(struct dset *d, uint32_t tag, const char *meaning)
{
    struct dset *c;
    assert_int_equal(dset_put_item(d, tag, &c), ERR_OK);
    put(c, DT_CodeValue, "1\"x");
    put(c, DT_CodeMeaning, meaning);
}

static bool says(const struct buf *b, const char *what)
{
    return memmem(b->ptr, b->len, what, strlen(what)) != NULL;
}

static void a_report_is_text_and_never_markup(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    struct dset                     *d, *it, *v;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    d = dset_new(&a);
    assert_int_equal(dset_put_str(d, DT_SpecificCharacterSet, STR("ISO_IR 192")), ERR_OK);
    put(d, DT_PatientName, "<script>alert(1)</script>^É");
    put_code(d, DT_ConceptNameCodeSequence, "Echo & more");
    assert_int_equal(dset_put_item(d, DT_ContentSequence, &it), ERR_OK);
    put(it, DT_ValueType, "NUM");
    put_code(it, DT_ConceptNameCodeSequence, "Diameter");
    assert_int_equal(dset_put_item(it, DT_MeasuredValueSequence, &v), ERR_OK);
    put(v, DT_NumericValue, "12.5");
    put_code(v, DT_MeasurementUnitsCodeSequence, "mm");
    assert_int_equal(dset_put_item(d, DT_ContentSequence, &it), ERR_OK);
    put(it, DT_ValueType, "TEXT");
    put(it, DT_TextValue, "a<b>'\"&\n</li>");
    assert_true(is_report(d));
    assert_int_equal(sr_html(d, &b, NULL), ERR_OK);
    assert_false(says(&b, "<script"));
    assert_true(says(&b, "&lt;script&gt;alert(1)&lt;/script&gt; É"));
    assert_true(says(&b, "<title>Echo &amp; more</title>"));
    assert_true(says(&b, ">Diameter</span></b> 12.5 <span title=\"1&quot;x \">mm</span>"));
    assert_true(says(&b, "a&lt;b&gt;&#39;&quot;&amp;\n&lt;/li&gt;"));
}

static void a_report_over_the_limit_is_refused(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena a;
    CLEANUP(buf_done) struct buf     b;
    arena_init(&a, 1 << 20);
    buf_init(&b, 100);
    assert_int_equal(sr_html(dset_new(&a), &b, NULL), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_read_or_refused),
        cmocka_unit_test(a_report_is_text_and_never_markup),
        cmocka_unit_test(a_report_over_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
