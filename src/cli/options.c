/* Implementation of options.h. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/fold.h"
#include "base/suggest.h"
#include "base/time.h"
#include "base/units.h"

enum { HELP_WIDTH = 80 };

struct parse {
    const struct command *command;
    void *args;
    uint64_t seen; /* bit i: options[i] was given */
    struct keel_error *err;
};

static size_t option_count(const struct command *command) {
    size_t n = 0;
    while (command->options && command->options[n].name) n++;
    K_ASSERT_OP(n, <=, OPTIONS_MAX);
    return n;
}

/* What a well-formed value looks like, for messages. */
static const char *expectation(const struct option *o) {
    switch (o->type) {
    case OPTION_INTEGER: return "a whole number such as 1000, 20k or 3M";
    case OPTION_DURATION: return "a duration such as 500ms, 10s, 15m, 12h or 30d";
    case OPTION_SIZE: return "a size such as 4096, 64k, 512M or 2G";
    case OPTION_DATE: return "a date such as 2024-01-31 or a time such as 2024-01-31T12:00:00Z";
    case OPTION_CHOICE: return o->choices;
    default: return o->value ? o->value : "text";
    }
}

static int refuse(struct parse *p, const struct option *o, const char *value, const char *why) {
    return error_set(p->err, KEEL_E_INVALID, "%s: --%s \"%.200s\" %s; expected %s%s",
                     p->command->name, o->name, value, why,
                     o->type == OPTION_CHOICE ? "one of " : "", expectation(o));
}

static int set_number(struct parse *p, const struct option *o, const char *value, int64_t *field) {
    struct str text = str_from(value);
    int64_t v;
    bool good = o->type == OPTION_DATE ? time_parse(text, NULL, &v)
                                       : units_parse(text,
                                                     o->type == OPTION_INTEGER ? UNITS_COUNT
                                                     : o->type == OPTION_SIZE  ? UNITS_SIZE
                                                                               : UNITS_DURATION,
                                                     &v);
    if (!good) return refuse(p, o, value, "is not understood");
    if ((o->min || o->max) && (v < o->min || v > o->max)) {
        if (o->type != OPTION_INTEGER) return refuse(p, o, value, "is out of range");
        return error_set(p->err, KEEL_E_INVALID,
                         "%s: --%s \"%.200s\" is out of range; expected %lld to %lld",
                         p->command->name, o->name, value, (long long)o->min, (long long)o->max);
    }
    *field = v;
    return 0;
}

static int set_choice(struct parse *p, const struct option *o, const char *value, int *field) {
    const char *at = o->choices;
    for (int i = 0; *at; i++) {
        size_t n = strcspn(at, "|");
        if (strlen(value) == n && memcmp(value, at, n) == 0) {
            *field = i;
            return 0;
        }
        at += n + (at[n] == '|');
    }
    return refuse(p, o, value, "is not known");
}

static int set_value(struct parse *p, const struct option *o, const char *value) {
    void *field = (char *)p->args + o->offset;
    struct option_words *words;
    switch (o->type) {
    case OPTION_FLAG: *(bool *)field = true; return 0;
    case OPTION_TEXT:
        if (!*value)
            FAIL(p->err, INVALID, "%s: --%s is empty: expected %s", p->command->name, o->name,
                 o->value);
        *(const char **)field = value;
        return 0;
    case OPTION_CHOICE: return set_choice(p, o, value, field);
    case OPTION_WORDS:
        words = field;
        if (words->n == OPTION_WORDS_MAX)
            FAIL(p->err, INVALID, "%s: --%s is given more than %d times", p->command->name, o->name,
                 OPTION_WORDS_MAX);
        words->word[words->n++] = value;
        return 0;
    default: return set_number(p, o, value, field);
    }
}

static const char *next_option(const void *ctx, size_t i) {
    const struct option *options = ctx;
    return options ? options[i].name : NULL;
}

static int unknown(struct parse *p, const char *word, size_t name_length) {
    char name[32];
    const char *near = NULL;
    if (name_length < sizeof name) {
        memcpy(name, word + 2, name_length);
        name[name_length] = 0;
        near = suggest(name, next_option, p->command->options);
    }
    if (near)
        FAIL(p->err, INVALID, "%s: unknown option \"%.200s\"; did you mean --%s?", p->command->name,
             word, near);
    FAIL(p->err, INVALID, "%s: unknown option \"%.200s\"; see: keel help %s", p->command->name,
         word, p->command->name);
}

/* argv[i] begins with "--". *out_used: how many words it took. */
static int parse_option(struct parse *p, int argc, char **argv, int i, int *out_used) {
    const char *name = argv[i] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name), n = option_count(p->command);
    for (size_t k = 0; k < n; k++) {
        const struct option *o = &p->command->options[k];
        if (strlen(o->name) != length || memcmp(o->name, name, length) != 0) continue;
        if ((p->seen >> k & 1) && o->type != OPTION_WORDS)
            FAIL(p->err, INVALID, "%s: --%s is given twice", p->command->name, o->name);
        p->seen |= (uint64_t)1 << k;
        *out_used = 1;
        if (o->type == OPTION_FLAG && equals)
            FAIL(p->err, INVALID, "%s: --%s takes no value; found \"%.200s\"", p->command->name,
                 o->name, equals + 1);
        if (o->type == OPTION_FLAG) return set_value(p, o, NULL);
        if (equals) return set_value(p, o, equals + 1);
        if (i + 1 >= argc)
            FAIL(p->err, INVALID, "%s: --%s needs a value: expected %s%s", p->command->name,
                 o->name, o->type == OPTION_CHOICE ? "one of " : "", expectation(o));
        *out_used = 2;
        return set_value(p, o, argv[i + 1]);
    }
    return unknown(p, argv[i], length);
}

/* Who works in one data directory need not write --data each time. */
static int take_environment(struct parse *p) {
    const char *dir = getenv("KEEL_DATA");
    for (size_t k = 0, n = option_count(p->command); dir && *dir && k < n; k++) {
        const struct option *o = &p->command->options[k];
        if (o->type != OPTION_TEXT || strcmp(o->name, "data") != 0 || (p->seen >> k & 1)) continue;
        p->seen |= (uint64_t)1 << k;
        TRY(set_value(p, o, dir));
    }
    return 0;
}

static int check_complete(struct parse *p, int operands) {
    const struct command *c = p->command;
    for (size_t k = 0, n = option_count(c); k < n; k++)
        if (c->options[k].required && !(p->seen >> k & 1))
            FAIL(p->err, INVALID, "%s: --%s %s is missing; see: keel help %s", c->name,
                 c->options[k].name, c->options[k].value ? c->options[k].value : "", c->name);
    if (operands < c->min_operands)
        FAIL(p->err, INVALID, "%s: expected %s; see: keel help %s", c->name, c->operands, c->name);
    return 0;
}

int options_parse(const struct command *command, int argc, char **argv, void *args,
                  struct operands *out, struct keel_error *err) {
    struct parse p = {.command = command, .args = args, .err = err};
    bool only_operands = false;
    int kept = 0;
    for (int i = 1; i < argc;) {
        char *word = argv[i];
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
            i++;
        } else if (!only_operands && word[0] == '-' && word[1] == '-') {
            int used = 0;
            TRY(parse_option(&p, argc, argv, i, &used));
            i += used;
        } else if (!only_operands && word[0] == '-' && word[1]) {
            FAIL(err, INVALID, "%s: unknown option \"%.200s\"; options are long: --name",
                 command->name, word);
        } else {
            if (command->max_operands != ANY_NUMBER && kept >= command->max_operands)
                FAIL(err, INVALID, "%s: unexpected \"%.200s\"; expected %s", command->name, word,
                     command->operands ? command->operands : "options only");
            if (!*word)
                FAIL(err, INVALID, "%s: an empty word; expected %s", command->name,
                     command->operands ? command->operands : "options only");
            argv[1 + kept++] = word;
            i++;
        }
    }
    if (out) *out = (struct operands){.word = argv + 1, .n = kept};
    TRY(take_environment(&p));
    return check_complete(&p, kept);
}

/* What stands behind the name: the words to choose from, or a placeholder. */
static const char *left_value(const struct option *o) {
    return o->type == OPTION_CHOICE ? o->choices : o->value ? o->value : "";
}

static size_t left_width(const struct option *o) {
    size_t n = strlen(left_value(o));
    return strlen(o->name) + (n ? n + 1 : 0);
}

static void option_line(const struct option *o, size_t width, struct output *out) {
    struct buf line;
    buf_init(&line, 4096);
    (void)!buf_printf(&line, "  --%s%s%s%*s  %s", o->name, *left_value(o) ? " " : "", left_value(o),
                      (int)(width - left_width(o)), "", o->help);
    if (o->required) (void)!buf_add_text(&line, " (required)");
    if (o->type == OPTION_WORDS) (void)!buf_add_text(&line, " (may be repeated)");
    fold_line(out, buf_str(&line), HELP_WIDTH, (unsigned)width + 6);
    buf_release(&line);
}

struct paragraph {
    struct output *out;
    struct buf text;
    size_t indent; /* of its further lines */
};

static void end_paragraph(struct paragraph *p) {
    unsigned indent = p->indent < HELP_WIDTH / 2 ? (unsigned)p->indent : 0;
    if (p->text.n > 0) fold_line(p->out, buf_str(&p->text), HELP_WIDTH, indent);
    buf_clear(&p->text);
    p->indent = 0;
}

/* Filled like a paragraph, whatever its lines are like in the source. A line such as "list shows
 * all" begins one whose further lines stand below "shows"; a blank line ends one. */
static void description(const char *text, struct output *o) {
    struct paragraph p = {.out = o};
    buf_init(&p.text, 1 << 16);
    while (*text) {
        struct str line = {text, strcspn(text, "\n")}, trimmed = str_trim(line);
        const char *gap = memmem(trimmed.p, trimmed.n, "  ", 2);
        bool deeper = line.n > 0 && line.p[0] == ' ';
        if (trimmed.n == 0 || (gap && !deeper) || (p.indent > 0 && !deeper)) end_paragraph(&p);
        if (trimmed.n == 0) output_char(o, '\n');
        if (gap && !deeper) p.indent = (size_t)(gap - line.p) + strspn(gap, " ");
        if (p.text.n > 0) (void)!buf_add_char(&p.text, ' ');
        (void)!buf_add_str(&p.text, trimmed);
        text += line.n + (text[line.n] == '\n');
    }
    end_paragraph(&p);
    buf_release(&p.text);
}

void options_help(const struct command *command, struct output *o) {
    size_t n = option_count(command), width = strlen("help");
    struct buf line;
    buf_init(&line, 4096);
    (void)!buf_printf(&line, "keel %s: %s", command->name, command->summary);
    fold_line(o, buf_str(&line), HELP_WIDTH, 0);
    buf_clear(&line);
    (void)!buf_printf(&line, "Usage: keel %s", command->name);
    for (size_t k = 0; k < n; k++)
        if (command->options[k].required)
            (void)!buf_printf(&line, " --%s %s", command->options[k].name,
                              command->options[k].value);
    if (n) (void)!buf_add_text(&line, " [OPTION...]");
    if (command->operands) (void)!buf_printf(&line, " %s", command->operands);
    output_char(o, '\n');
    fold_line(o, buf_str(&line), HELP_WIDTH, 7);
    buf_release(&line);
    if (command->description) {
        output_char(o, '\n');
        description(command->description, o);
    }

    output_text(o, "\nOptions:\n");
    for (size_t k = 0; k < n; k++)
        if (left_width(&command->options[k]) > width) width = left_width(&command->options[k]);
    for (size_t k = 0; k < n; k++) option_line(&command->options[k], width, o);
    static const struct option HELP = {.name = "help", .type = OPTION_FLAG, .help = "this page"};
    option_line(&HELP, width, o);
    if (command->examples) {
        output_text(o, "\nExamples:\n");
        output_text(o, command->examples);
    }
}
