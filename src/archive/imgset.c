#include "archive/imgset.h"

#include <stdlib.h>

#include "base/limits.h"

void imgset_init(struct imgset *s)
{
    *s = (struct imgset){0};
}

void imgset_done(struct imgset *s)
{
    free(s->v);
    free(s->table);
    free(s->text);
    free(s->names);
    *s = (struct imgset){0};
}

static struct str uid_of(const struct imgset *s, const struct img *i)
{
    return (struct str){s->text + i->uid, i->uid_len};
}

/* FNV-1a: UIDs are short, and differ at their ends. */
static size_t hash_of(struct str uid)
{
    uint64_t h = 14695981039346656037U;
    for (size_t i = 0; i < uid.len; i++) {
        h = (h ^ (uint8_t)uid.ptr[i]) * 1099511628211U;
    }
    return (size_t)(h ^ h >> 32);
}

/* The place in the table where that UID is, or belongs. */
static size_t place_of(const struct imgset *s, struct str uid)
{
    size_t at = hash_of(uid) & (s->table_n - 1);
    while (s->table[at] != 0 && !str_eq(uid_of(s, &s->v[s->table[at] - 1]), uid)) {
        at = (at + 1) & (s->table_n - 1);
    }
    return at;
}

struct img *imgset_find(const struct imgset *s, struct str sop_uid)
{
    if (s->n == 0) {
        return NULL;
    }
    uint32_t i = s->table[place_of(s, sop_uid)];
    return i == 0 ? NULL : &s->v[i - 1];
}

static bool name_find(const struct imgset *s, struct str uid, uint16_t *ret)
{
    for (size_t i = 0; i < s->names_n; i++) {
        if (str_eq(str_of(s->names[i].uid), uid)) {
            *ret = (uint16_t)i;
            return true;
        }
    }
    return false;
}

bool is_class_filed(const struct imgset *s, struct str class_uid)
{
    uint16_t i;
    return name_find(s, class_uid, &i) && s->names[i].filed;
}

void imgset_set_filed(struct imgset *s, struct str class_uid)
{
    uint16_t i;
    if (name_find(s, class_uid, &i)) {
        s->names[i].filed = true;
    }
}

void imgset_unfile(struct imgset *s)
{
    for (size_t i = 0; i < s->names_n; i++) {
        s->names[i].filed = false;
    }
}

/* Room for one more of size bytes each; doubles, so that a series costs few copies. */
static void *grow(void *p, size_t n, size_t *room, size_t size)
{
    if (p != NULL && n < *room) {
        return p;
    }
    size_t want = *room == 0 ? 16 : *room * 2;
    void  *q = reallocarray(p, want, size);
    if (q != NULL) {
        *room = want;
    }
    return q;
}

static bool table_grow(struct imgset *s)
{
    if (s->n * 4 < s->table_n * 3) {
        return true;
    }
    size_t    n = s->table_n == 0 ? 32 : s->table_n * 2;
    uint32_t *t = calloc(n, sizeof(*t));
    if (t == NULL) {
        return false;
    }
    free(s->table);
    s->table = t;
    s->table_n = n;
    for (size_t i = 0; i < s->n; i++) {
        s->table[place_of(s, uid_of(s, &s->v[i]))] = (uint32_t)i + 1;
    }
    return true;
}

static bool text_add(struct imgset *s, struct str uid)
{
    while (s->text_len + uid.len > s->text_room) {
        size_t want = s->text_room == 0 ? 1024 : s->text_room * 2;
        char  *t = realloc(s->text, want);
        if (t == NULL) {
            return false;
        }
        s->text = t;
        s->text_room = want;
    }
    memcpy(s->text + s->text_len, uid.ptr, uid.len);
    s->text_len += uid.len;
    return true;
}

static enum err name_add(struct imgset *s, struct str uid, uint16_t *ret, struct errmsg *e)
{
    if (name_find(s, uid, ret)) {
        return ERR_OK;
    }
    if (uid.len > LIMIT_UID || s->names_n >= LIMIT_SERIES_NAMES) {
        return err_set(e, ERR_LIMIT, "more than %d SOP classes and transfer syntaxes in a series",
                       LIMIT_SERIES_NAMES);
    }
    struct img_name *names = grow(s->names, s->names_n, &s->names_room, sizeof(*names));
    if (names == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the SOP classes of a series");
    }
    s->names = names;
    names[s->names_n] = (struct img_name){.filed = false};
    memcpy(names[s->names_n].uid, uid.ptr, uid.len);
    *ret = (uint16_t)s->names_n++;
    return ERR_OK;
}

static enum err image_add(struct imgset *s, struct str uid, struct img **ret, struct errmsg *e)
{
    struct img *v = grow(s->v, s->n, &s->room, sizeof(*v));
    if (v == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for image %zu of a series", s->n + 1);
    }
    s->v = v;
    size_t at = s->text_len;
    if (!table_grow(s) || s->n >= UINT32_MAX - 1 || at + uid.len > UINT32_MAX ||
        !text_add(s, uid)) {
        return err_set(e, ERR_NOMEM, "no memory for image %zu of a series", s->n + 1);
    }
    size_t place = place_of(s, uid);
    v[s->n] = (struct img){
        .uid = (uint32_t)at, .uid_len = (uint8_t)uid.len, .number = INT32_MIN, .state = IMG_GONE};
    s->table[place] = (uint32_t)++s->n;
    *ret = &v[s->n - 1];
    return ERR_OK;
}

enum err imgset_claim(struct imgset *s, struct str sop_uid, struct str class_uid,
                      struct str syntax_uid, struct img **ret, struct errmsg *e)
{
    if (sop_uid.len == 0 || sop_uid.len > LIMIT_UID) {
        return err_set(e, ERR_SYNTAX, "SOP Instance UID of %zu characters", sop_uid.len);
    }
    struct img *i = imgset_find(s, sop_uid);
    if (i != NULL && i->state != IMG_GONE) {
        *ret = i;
        return ERR_OK;
    }
    uint16_t cls = 0, syntax = 0;
    enum err rc = name_add(s, class_uid, &cls, e);
    if (rc == ERR_OK) {
        rc = name_add(s, syntax_uid, &syntax, e);
    }
    if (rc == ERR_OK && i == NULL) {
        rc = image_add(s, sop_uid, &i, e);
    }
    if (rc == ERR_OK && i != NULL) {
        i->class_i = cls;
        i->syntax_i = syntax;
        *ret = i;
    }
    return rc;
}

void img_fill(struct img *i, uint32_t pack_n, const struct pack_image *p)
{
    i->at = p->at;
    i->size = p->size;
    i->data_at = p->data_at;
    i->hash = p->hash;
    i->pack_n = pack_n;
    i->number = p->number;
    i->state = IMG_PRESENT;
}

enum err imgset_add(struct imgset *s, uint32_t pack_n, const struct pack_image *p, struct errmsg *e)
{
    struct img *i = NULL;
    enum err    rc =
        imgset_claim(s, str_of(p->sop_uid), str_of(p->class_uid), str_of(p->syntax_uid), &i, e);
    if (rc == ERR_OK && i != NULL && i->state == IMG_GONE) {
        img_fill(i, pack_n, p);
        s->names[i->class_i].filed = true;
    }
    return rc;
}

void imgset_move(struct imgset *s, uint32_t pack_n, const struct pack_image *p)
{
    struct img *i = imgset_find(s, str_of(p->sop_uid));
    uint16_t    syntax = 0;
    if (i == NULL || i->state != IMG_PRESENT || i->pack_n != pack_n) {
        return;
    }
    int32_t number = i->number;
    if (name_add(s, str_of(p->syntax_uid), &syntax, NULL) == ERR_OK) {
        i->syntax_i = syntax; // no room: readers find out when they open it
    }
    img_fill(i, pack_n, p);
    i->number = number;
}

void img_get(const struct imgset *s, const struct img *i, struct pack_image *ret)
{
    *ret = (struct pack_image){
        .at = i->at, .size = i->size, .data_at = i->data_at, .hash = i->hash, .number = i->number};
    memcpy(ret->sop_uid, s->text + i->uid, i->uid_len);
    memcpy(ret->class_uid, s->names[i->class_i].uid, sizeof(ret->class_uid));
    memcpy(ret->syntax_uid, s->names[i->syntax_i].uid, sizeof(ret->syntax_uid));
}
