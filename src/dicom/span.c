/*
 * Dates and times of PS3.5 6.2 (DA, TM, DT), with the forms of ACR-NEMA that it says may still be
 * met, as spans of time.
 */
#include "base/num.h"
#include "dicom/match.h"

#define SECOND INT64_C(1000000)
#define MINUTE (SECOND * 60)
#define DAY    (MINUTE * 60 * 24)

/* Components read so far and how many of them were there: year month day, hour minute second. */
struct when {
    unsigned date[3], time[3];
    unsigned n_date, n_time;
    int64_t  fraction, unit; // microseconds; unit: the precision of the last component, 0 if whole
};

static void skip_spaces(struct str *s)
{
    while (s->len > 0 && s->ptr[0] == ' ') {
        *s = (struct str){s->ptr + 1, s->len - 1};
    }
}

static bool is_digit(struct str s, size_t i)
{
    return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';
}

/* Exactly n digits. */
static bool take_number(struct str *s, size_t n, unsigned *ret)
{
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(*s, i)) {
            return false;
        }
        v = v * 10 + (unsigned)(s->ptr[i] - '0');
    }
    *s = (struct str){s->ptr + n, s->len - n};
    *ret = v;
    return true;
}

static bool take_char(struct str *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c) {
        return false;
    }
    *s = (struct str){s->ptr + 1, s->len - 1};
    return true;
}

static int64_t days_before_year(int64_t y) // since 0000-01-01
{
    return y * 365 + (y + 3) / 4 - (y + 99) / 100 + (y + 399) / 400;
}

static int64_t days_before_month(unsigned year, unsigned month) // 1..13
{
    static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    bool                 leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return before[month - 1] + (leap && month > 2 ? 1 : 0);
}

static bool is_date(const struct when *w)
{
    unsigned y = w->date[0], m = w->date[1], d = w->date[2];
    if (w->n_date < 2) {
        return w->n_date == 1;
    }
    if (m < 1 || m > 12) {
        return false;
    }
    return w->n_date == 2 ||
           (d >= 1 && d <= (unsigned)(days_before_month(y, m + 1) - days_before_month(y, m)));
}

static bool take_date(struct str *s, bool dotted, struct when *w)
{
    if (!take_number(s, 4, &w->date[0])) {
        return false;
    }
    bool dots = dotted && s->len > 0 && s->ptr[0] == '.';
    for (w->n_date = 1; w->n_date < 3; w->n_date++) {
        if (dots ? !take_char(s, '.') : !is_digit(*s, 0)) {
            break;
        }
        if (!take_number(s, 2, &w->date[w->n_date])) {
            return false;
        }
    }
    return is_date(w);
}

static bool take_fraction(struct str *s, struct when *w)
{
    w->unit = SECOND;
    if (!is_digit(*s, 0)) {
        return false;
    }
    while (is_digit(*s, 0)) { // digits past the sixth are below our precision
        if (w->unit > 1) {
            w->unit /= 10;
            w->fraction += w->unit * (s->ptr[0] - '0');
        }
        *s = (struct str){s->ptr + 1, s->len - 1};
    }
    return true;
}

static bool take_time(struct str *s, bool colons, struct when *w)
{
    if (!take_number(s, 2, &w->time[0])) {
        return false;
    }
    colons = colons && s->len > 0 && s->ptr[0] == ':';
    for (w->n_time = 1; w->n_time < 3; w->n_time++) {
        if (colons ? !take_char(s, ':') : !is_digit(*s, 0)) {
            break;
        }
        if (!take_number(s, 2, &w->time[w->n_time])) {
            return false;
        }
    }
    if (w->time[0] > 23 || w->time[1] > 59 || w->time[2] > 60) { // 60: a leap second
        return false;
    }
    return w->n_time < 3 || !take_char(s, '.') || take_fraction(s, w);
}

static struct span date_span(const struct when *w)
{
    unsigned y = w->date[0];
    unsigned m = w->n_date > 1 ? w->date[1] : 1, d = w->n_date > 2 ? w->date[2] : 1;
    int64_t  epoch = days_before_year(1970);
    int64_t  year = days_before_year(y) - epoch;
    int64_t  lo = year + days_before_month(y, m) + d - 1;
    int64_t  next = w->n_date == 1   ? days_before_year((int64_t)y + 1) - epoch
                    : w->n_date == 2 ? year + days_before_month(y, m + 1)
                                     : lo + 1;
    return (struct span){.lo = lo * DAY, .hi = next * DAY - 1};
}

static struct span time_span(const struct when *w)
{
    static const int64_t unit[] = {DAY, MINUTE * 60, MINUTE, SECOND};

    int64_t lo = MINUTE * 60 * w->time[0] + MINUTE * w->time[1] + SECOND * w->time[2] + w->fraction;
    return (struct span){.lo = lo, .hi = lo + (w->unit > 0 ? w->unit : unit[w->n_time]) - 1};
}

static bool take_zone(struct str *s, int16_t *ret)
{
    struct str rest = *s;
    bool       minus = rest.len > 0 && rest.ptr[0] == '-';
    unsigned   hours = 0, minutes = 0;
    if (!(take_char(&rest, '-') || take_char(&rest, '+')) || !take_number(&rest, 2, &hours) ||
        !take_number(&rest, 2, &minutes) || minutes > 59 || hours > (minus ? 12 : 14)) {
        return false;
    }
    int offset = (int)(hours * 60 + minutes);
    *ret = (int16_t)(minus ? -offset : offset);
    *s = rest;
    return true;
}

bool zone_parse(struct str text, int16_t *ret)
{
    int16_t zone = 0;
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\0')) {
        text.len--;
    }
    skip_spaces(&text);
    if (!take_zone(&text, &zone) || text.len > 0) {
        return false;
    }
    *ret = zone;
    return true;
}

/* After a DT, '-' begins an offset when four digits up to 1200 follow and nothing else: as a year
 * they would be the Middle Ages (PS3.4 C.2.2.2.5.3). */
static void take_offset(struct str *s, int16_t *zone)
{
    struct str rest = *s;
    int16_t    z = 0;
    if (take_zone(&rest, &z) && !is_digit(rest, 0)) {
        *s = rest;
        *zone = z;
    }
}

static bool take_moment(struct str *s, int16_t zone, struct span *ret)
{
    struct when w = {0};
    if (!take_date(s, false, &w)) {
        return false;
    }
    *ret = date_span(&w);
    if (is_digit(*s, 0)) {
        if (!take_time(s, false, &w)) {
            return false;
        }
        struct span t = time_span(&w);
        *ret = (struct span){.lo = ret->lo + t.lo, .hi = ret->lo + t.hi};
    }
    take_offset(s, &zone);
    ret->lo -= zone * MINUTE;
    ret->hi -= zone * MINUTE;
    return true;
}

static bool take_one(enum vr vr, struct str *s, int16_t zone, struct span *ret)
{
    struct when w = {0};
    if (vr == VR_DT) {
        return take_moment(s, zone, ret);
    }
    if (vr == VR_DA) {
        if (!take_date(s, true, &w)) {
            return false;
        }
        *ret = date_span(&w);
        return true;
    }
    if (!take_time(s, true, &w)) {
        return false;
    }
    *ret = time_span(&w);
    return true;
}

bool span_parse(enum vr vr, struct str text, int16_t zone_minutes, struct span *ret)
{
    struct span from = {.lo = INT64_MIN}, to = {.hi = INT64_MAX};
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\0')) {
        text.len--;
    }
    skip_spaces(&text);
    if (text.len == 0 || (text.ptr[0] != '-' && !take_one(vr, &text, zone_minutes, &from))) {
        return false;
    }
    skip_spaces(&text);
    if (text.len == 0) {
        *ret = (struct span){.lo = from.lo, .hi = from.hi};
        return true;
    }
    if (!take_char(&text, '-')) {
        return false;
    }
    skip_spaces(&text);
    if (text.len > 0 && (!take_one(vr, &text, zone_minutes, &to) || text.len > 0)) {
        return false;
    }
    *ret = (struct span){.lo = from.lo, .hi = to.hi, .range = true};
    return true;
}
