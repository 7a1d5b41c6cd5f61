/* The functions of templates (spec chat.md 4.5). */
#include "common/status.h"
#include "template/builtin.h"

#define RANGE_MAX 100000

static struct hearth_value collect(const struct hearth_call *c, enum hearth_value_type type)
{
    const struct hearth_value out = hearth_value_new(c->w, type);
    if (c->given->n_positional > 1 || (c->given->n_positional == 1 && !hearth_value_is_mapping(c->given->positional[0])))
        return hearth_call_fail(c, "namespace and dict: need name=value, or one map");
    (void)hearth_method_find(HEARTH_VALUE_MAP, HEARTH_STR("update"))
        ->run(&(struct hearth_call){.w = c->w, .self = out, .given = c->given});
    return out;
}

static struct hearth_value run_namespace(const struct hearth_call *c)
{
    return collect(c, HEARTH_VALUE_NAMESPACE);
}

static struct hearth_value run_dict(const struct hearth_call *c)
{
    return collect(c, HEARTH_VALUE_MAP);
}

/* The template's own sentence, escaped piece by piece: a quote of the whole would be cut short. */
static struct hearth_value run_raise_exception(const struct hearth_call *c)
{
    char shown[320] = "";
    char quoted[HEARTH_QUOTE_MAX];
    const struct hearth_str message = hearth_value_to_str(c->w, c->arg[0]);
    size_t n = 0;
    for (size_t at = 0; at < message.n && n + HEARTH_QUOTE_MAX < sizeof shown; at += 16) {
        const size_t piece = message.n - at < 16 ? message.n - at : 16;
        n += (size_t)snprintf(shown + n, sizeof shown - n, "%s", hearth_quote(quoted, message.bytes + at, piece));
    }
    hearth_workspace_fail(c->w, HEARTH_E_CONFIG, "E_REFUSED", "the template refuses the messages: %s", shown);
    return HEARTH_UNDEFINED;
}

static struct hearth_value run_range(const struct hearth_call *c)
{
    const bool one = c->arg[1].type == HEARTH_VALUE_UNDEFINED;
    const int64_t begin = one ? 0 : hearth_call_int(c, 0, 0);
    const int64_t end = hearth_call_int(c, one ? 0 : 1, 0);
    const int64_t step = hearth_call_int(c, 2, 1);
    const struct hearth_value out = hearth_value_new(c->w, HEARTH_VALUE_LIST);
    if (step == 0)
        return hearth_call_fail(c, "range: a step of zero");
    for (int64_t i = begin; (step > 0 ? i < end : i > end) && hearth_workspace_charge(c->w, 1);) {
        if (out.type == HEARTH_VALUE_LIST && out.list->n == RANGE_MAX) {
            hearth_workspace_fail(c->w, HEARTH_E_UNSUPPORTED, "E_LIMIT", "range: more than %d numbers", RANGE_MAX);
            break;
        }
        hearth_value_append(c->w, out, hearth_value_int(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return out;
}

/* ---- Time ---------------------------------------------------------------------------------------------------------------- */

struct date {
    int64_t year;
    int month, day, weekday, yearday; /* from 1, from 1, from Sunday = 0, from 1 */
    int hour, minute, second;
};

/* Proleptic Gregorian. Years are counted from March, so that the leap day is the last: then day d of that year lies in month
 * (5 d + 2) / 153 from March. */
static struct date date_of(int64_t seconds)
{
    struct date t;
    int64_t days = seconds / 86400 - (seconds % 86400 < 0);
    const int rest = (int)(seconds - days * 86400);
    t.weekday = (int)(((days + 4) % 7 + 7) % 7);
    days += 719468; /* from 0000-03-01 */
    const int64_t era = days / 146097 - (days % 146097 < 0);
    const int64_t of_era = days - era * 146097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int month = (int)((5 * of_year + 2) / 153);
    t.day = (int)(of_year - (153 * month + 2) / 5 + 1);
    t.month = month < 10 ? month + 3 : month - 9;
    t.year = year + era * 400 + (t.month <= 2);
    const bool leap = (t.year % 4 == 0 && t.year % 100 != 0) || t.year % 400 == 0;
    t.yearday = (int)(t.month <= 2 ? of_year - 305 : of_year + 60 + leap);
    t.hour = rest / 3600;
    t.minute = rest / 60 % 60;
    t.second = rest % 60;
    return t;
}

static size_t number(char out[24], int64_t value, int width)
{
    return (size_t)snprintf(out, 24, "%0*" PRId64, width, value);
}

/* What a letter behind '%' means, in English; false when it means nothing here. */
static bool add_field(const struct hearth_call *c, struct hearth_builder *out, const struct date *t, char letter)
{
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    static const char letters[] = "YmdHMSjyIe";
    const int64_t values[] = {
        t->year, t->month, t->day, t->hour, t->minute, t->second, t->yearday, t->year % 100, (t->hour + 11) % 12 + 1, t->day};
    static const uint8_t widths[] = {4, 2, 2, 2, 2, 2, 3, 2, 2, 1};
    char text[24];
    const char *found = letter ? strchr(letters, letter) : NULL;
    const char *name = letter == 'B' || letter == 'b' ? months[t->month - 1] : days[t->weekday];
    if (found)
        hearth_builder_add_copy(c->w, out, text, number(text, values[found - letters], widths[found - letters]), false);
    else if (letter == 'B' || letter == 'A')
        hearth_builder_add(c->w, out, hearth_str_of(name));
    else if (letter == 'b' || letter == 'a')
        hearth_builder_add(c->w, out, hearth_str_part(hearth_str_of(name), 0, 3));
    else if (letter == 'p')
        hearth_builder_add(c->w, out, t->hour < 12 ? HEARTH_STR("AM") : HEARTH_STR("PM"));
    else if (letter == '%')
        hearth_builder_add(c->w, out, HEARTH_STR("%"));
    else
        return false;
    return true;
}

static struct hearth_value run_strftime_now(const struct hearth_call *c)
{
    const struct hearth_str format = hearth_call_str(c, 0, HEARTH_STR(""));
    const struct date now = date_of(c->w->now);
    struct hearth_builder out = {0};
    for (size_t at = 0; at < format.n && hearth_workspace_charge(c->w, 1);) {
        if (format.bytes[at] != '%' || at + 1 == format.n) {
            hearth_builder_add(c->w, &out, hearth_str_part(format, at, at + 1));
            at++;
            continue;
        }
        const bool plain = format.bytes[at + 1] == '-' && at + 2 < format.n; /* GNU: without leading zeros */
        const char letter = format.bytes[at + 1 + plain];
        struct hearth_builder one = {0};
        if (!add_field(c, &one, &now, letter))
            return hearth_call_fail(c, "strftime_now: a field that is not supported");
        struct hearth_str text = hearth_builder_finish(c->w, &one);
        while (plain && text.n > 1 && text.bytes[0] == '0')
            text = hearth_str_part(text, 1, text.n);
        hearth_builder_add(c->w, &out, text);
        at += 2 + plain;
    }
    return hearth_value_str(hearth_builder_finish(c->w, &out));
}

const struct hearth_builtin *hearth_function_find(struct hearth_str name)
{
    static const struct hearth_builtin functions[] = {
        {"dict", "*", run_dict},
        {"namespace", "*", run_namespace},
        {"raise_exception", "message", run_raise_exception},
        {"range", "start stop step", run_range},
        {"strftime_now", "format", run_strftime_now},
        {0},
    };
    return hearth_builtin_find(functions, name);
}
