#include "dicomweb/sr_html.h"

#include "dicom/tags.h"

static void escaped(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&': buf_str(out, STR("&amp;")); break;
        case '<': buf_str(out, STR("&lt;")); break;
        case '>': buf_str(out, STR("&gt;")); break;
        case '"': buf_str(out, STR("&quot;")); break;
        case '\'': buf_str(out, STR("&#39;")); break;
        default: buf_u8(out, (uint8_t)s.ptr[i]); break;
        }
    }
}

static const struct dset *item_of(const struct dset *d, uint32_t tag)
{
    const struct elem *el = d != NULL ? dset_find(d, tag) : NULL;
    return el != NULL && el->n_items > 0 ? el->items[0] : NULL;
}

/* "PET scan", with the code to be seen when pointed at. */
static void code(struct buf *out, const struct dset *d, uint32_t tag)
{
    const struct dset *c = item_of(d, tag);
    if (c == NULL) {
        return;
    }
    buf_str(out, STR("<span title=\""));
    escaped(out, dset_text(c, DT_CodeValue));
    buf_str(out, STR(" "));
    escaped(out, dset_text(c, DT_CodingSchemeDesignator));
    buf_str(out, STR("\">"));
    escaped(out, dset_text(c, DT_CodeMeaning));
    buf_str(out, STR("</span>"));
}

/* A name's components with blanks between them, PS3.5 6.2.1.2. */
static void name(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        escaped(out, s.ptr[i] == '^'   ? STR(" ")
                     : s.ptr[i] == '=' ? STR(" / ")
                                       : (struct str){s.ptr + i, 1});
    }
}

static void number(struct buf *out, const struct dset *d)
{
    const struct dset *v = item_of(d, DT_MeasuredValueSequence);
    if (v != NULL) {
        escaped(out, dset_text(v, DT_NumericValue));
        buf_str(out, STR(" "));
        code(out, v, DT_MeasurementUnitsCodeSequence);
    } else {
        code(out, d, DT_NumericValueQualifierCodeSequence);
    }
}

static void references(struct buf *out, const struct dset *d)
{
    const struct elem *el = dset_find(d, DT_ReferencedSOPSequence);
    for (size_t i = 0; el != NULL && i < el->n_items; i++) {
        struct str class = dset_str(el->items[i], DT_ReferencedSOPClassUID);
        const struct uid_entry *u = uid_find(class);
        escaped(out, u != NULL ? str_of(u->name) : class);
        buf_str(out, STR(" <code>"));
        escaped(out, dset_str(el->items[i], DT_ReferencedSOPInstanceUID));
        buf_str(out, STR("</code>"));
        if (has_value(el->items[i], DT_ReferencedFrameNumber)) {
            buf_str(out, STR(" #"));
            escaped(out, dset_str(el->items[i], DT_ReferencedFrameNumber));
        }
    }
}

/* Coordinates: their kind alone; they are for pictures. */
static void shape(struct buf *out, const struct dset *d)
{
    escaped(out, dset_str(d, DT_GraphicType));
    escaped(out, dset_str(d, DT_TemporalRangeType));
}

static void text(struct buf *out, const struct dset *d, uint32_t tag)
{
    buf_str(out, STR("<span class=\"text\">"));
    escaped(out, dset_text(d, tag));
    buf_str(out, STR("</span>"));
}

static void value(struct buf *out, const struct dset *d)
{
    static const struct {
        const char *type; // PS3.3 C.17.3.2.1
        uint32_t    tag;
    } texts[] = {{"TEXT", DT_TextValue},
                 {"DATETIME", DT_DateTime},
                 {"DATE", DT_Date},
                 {"TIME", DT_Time},
                 {"UIDREF", DT_UID}};
    struct str type = dset_str(d, DT_ValueType);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (str_eq(type, str_of(texts[i].type))) {
            text(out, d, texts[i].tag);
            return;
        }
    }
    if (str_eq(type, STR("CODE"))) {
        code(out, d, DT_ConceptCodeSequence);
    } else if (str_eq(type, STR("NUM"))) {
        number(out, d);
    } else if (str_eq(type, STR("PNAME"))) {
        name(out, dset_text(d, DT_PersonName));
    } else {
        references(out, d);
        shape(out, d);
    }
}

/* The parser ends nesting at LIMIT_SQ_DEPTH. */
static void items(struct buf *out, const struct dset *d) // NOLINT(misc-no-recursion)
{
    const struct elem *el = dset_find(d, DT_ContentSequence);
    if (el == NULL || el->n_items == 0) {
        return;
    }
    buf_str(out, STR("<ul>\n"));
    for (size_t i = 0; i < el->n_items && out->err == ERR_OK; i++) {
        const struct dset *it = el->items[i];
        buf_str(out, STR("<li>"));
        if (item_of(it, DT_ConceptNameCodeSequence) != NULL) {
            buf_str(out, STR("<b>"));
            code(out, it, DT_ConceptNameCodeSequence);
            buf_str(out, STR("</b> "));
        }
        if (has_value(it, DT_ReferencedContentItemIdentifier)) {
            buf_str(out, STR("see another item"));
        }
        value(out, it);
        items(out, it);
        buf_str(out, STR("</li>\n"));
    }
    buf_str(out, STR("</ul>\n"));
}

static void row(struct buf *out, const char *what, const struct dset *d, uint32_t tag)
{
    if (!has_value(d, tag)) {
        return;
    }
    buf_fmt(out, "<tr><th>%s</th><td>", what);
    if (dict_vr(tag) == VR_PN) {
        name(out, dset_text(d, tag));
    } else {
        escaped(out, dset_text(d, tag));
    }
    buf_str(out, STR("</td></tr>\n"));
}

bool is_report(const struct dset *d)
{
    return dset_find(d, DT_ContentSequence) != NULL ||
           str_eq(dset_str(d, DT_ValueType), STR("CONTAINER"));
}

enum err sr_html(const struct dset *d, struct buf *out, struct errmsg *e)
{
    buf_str(out, STR("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>"));
    const struct dset *title = item_of(d, DT_ConceptNameCodeSequence);
    escaped(out, title != NULL ? dset_text(title, DT_CodeMeaning) : STR("Report"));
    buf_str(out,
            STR("</title>\n<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto}"
                "th{text-align:left;padding-right:1em}.text{white-space:pre-wrap}</style>"
                "</head><body>\n<h1>"));
    code(out, d, DT_ConceptNameCodeSequence);
    buf_str(out, STR("</h1>\n<table>\n"));
    row(out, "Patient", d, DT_PatientName);
    row(out, "Identifier", d, DT_PatientID);
    row(out, "Born", d, DT_PatientBirthDate);
    row(out, "Study", d, DT_StudyDescription);
    row(out, "Date", d, DT_StudyDate);
    row(out, "Accession number", d, DT_AccessionNumber);
    row(out, "Completion", d, DT_CompletionFlag);
    row(out, "Verification", d, DT_VerificationFlag);
    buf_str(out, STR("</table>\n"));
    items(out, d);
    buf_str(out, STR("</body></html>\n"));
    return out->err == ERR_OK ? ERR_OK : err_set(e, out->err, "the report is too long");
}
