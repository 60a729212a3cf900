/* `keel help`, `keel help COMMAND`, `keel help errors`, `keel version`.
 * Layers: command.h, options.h. Threads: none. */
#include "base/output.h"
#include "cli/command.h"
#include "cli/generate.h"
#include "cli/options.h"
#include "keel_version.h"

#include <string.h>

static void overview(struct output *o) {
    size_t width = 0;
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strlen(COMMANDS[i]->name) > width) width = strlen(COMMANDS[i]->name);
    output_text(o, "keel: one customer-data system for marketing and IT\n\n"
                   "Usage: keel COMMAND [OPTION...]\n\nCommands:\n");
    for (size_t i = 0; COMMANDS[i]; i++)
        output_printf(o, "  %-*s  %s\n", (int)width, COMMANDS[i]->name, COMMANDS[i]->summary);
    output_text(o, "\nBegin:\n"
                   "  keel init data\n"
                   "  keel import --data data --segment events.ndjson\n"
                   "  keel query --data data 'count customers'\n\n"
                   "keel help COMMAND shows a command's options, keel help language what can be\n"
                   "asked, keel help errors the exit statuses. Where --data is left out, the\n"
                   "environment's KEEL_DATA names the directory.\n");
}

/* The exit statuses, from the same table that error_exit_status reads. */
static void errors(struct output *o) {
    static const struct {
        int exit_status;
        const char *text;
    } ROWS[] = {
#define KEEL_ERROR(name, number, exit_code, http, text) {exit_code, text},
#include "base/errors.def"
#undef KEEL_ERROR
    };
    output_text(o, "Exit statuses of keel:\n    0  success\n");
    for (int status = 1; status < 256; status++) {
        const char *separator = "";
        for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
            if (ROWS[i].exit_status != status) continue;
            if (!*separator) output_printf(o, "  %3d  ", status);
            output_printf(o, "%s%s", separator, ROWS[i].text);
            separator = ", ";
        }
        if (*separator) output_char(o, '\n');
    }
}

/* Each line below a heading is a question that parses; a test asks them. */
static void language(struct output *o) {
    output_text(
        o, "A question about customers and the events of their histories, for keel query:\n\n"
           "Who, how many:\n"
           "  count customers where did \"Order Completed\" at least 2 times\n"
           "  count customers where identified by trait country\n"
           "  compare customers where identified with others\n"
           "  list customers where did \"Product Viewed\" and did not \"Order Completed\"\n"
           "Do they go on, do they come back:\n"
           "  funnel \"Product Viewed\", \"Order Completed\" within 7 days by channel\n"
           "  funnel any order \"Product Viewed\", \"Product Added\" within 1 day\n"
           "  retention from first \"Order Completed\" to \"Order Completed\" by month\n"
           "  repeat of \"Order Completed\" by month since 2024-01-01\n"
           "  lifecycle of \"Order Completed\" by month\n"
           "  time from first \"Product Added\" to \"Order Completed\"\n"
           "How much, how often:\n"
           "  trend of sum(\"Order Completed\".revenue), unique customers by week\n"
           "  total of events of \"Order Completed\" during last 30 days\n"
           "  top 10 \"Order Completed\".products.sku by customers\n"
           "  rfm of \"Order Completed\" by revenue recency 30 days frequency 2 value 100\n"
           "What led there:\n"
           "  paths of 3 events within 30 minutes limit 20\n"
           "  sessions with gap 30 minutes by day\n"
           "  attribute events of \"Order Completed\" to last page by context.campaign.name\n"
           "  attribute events of \"Order Completed\" to markov page by context.campaign.name\n\n"
           "Conditions: did \"E\" where price >= 50 and category = \"Lamps\"; did not \"E\";\n"
           "did \"A\" followed by \"B\" within 1 day; sum(\"E\".revenue) > 1000; trait country in\n"
           "(\"Germany\", \"France\"); identified; anonymous; and, or, not, parentheses.\n"
           "Comparisons: = != < <= > >= in (1, 2), between 1 and 2, contains, starts with,\n"
           "ends with, matches, exists, is missing.\n"
           "Time: since 2024-01-01, before, from 2024-01-01 to 2024-02-01, in 2024-03,\n"
           "during last 30 days.\n"
           "Any form: among customers where ...\n\n"
           "docs/query-language.md defines all of it. \"top 20 events\" shows what there is.\n");
}

/* A line for each act that is noted, in the order of the commands; then those that only look. */
static void changes(struct output *o) {
    output_text(o, "These change a data directory; each run of them stands in its audit log\n"
                   "(keel audit list), with the user of the system who did it:\n\n");
    for (size_t i = 0; COMMANDS[i]; i++) {
        const char *rest = COMMANDS[i]->changes;
        if (strcmp(rest, COMMAND_ITSELF) == 0) output_printf(o, "  keel %s\n", COMMANDS[i]->name);
        while (*rest && strcmp(rest, COMMAND_ITSELF) != 0) {
            int n = (int)strcspn(rest, "|");
            output_printf(o, "  keel %s %.*s\n", COMMANDS[i]->name, n, rest);
            rest += n + (rest[n] == '|');
        }
    }
    output_text(o, "\nThese change nothing:");
    for (size_t i = 0; COMMANDS[i]; i++)
        if (!*COMMANDS[i]->changes) output_printf(o, " %s", COMMANDS[i]->name);
    output_text(o, "\n");
}

static void man(struct output *o) { generate_man(o, errors); }

static int run_help(int argc, char **argv, struct keel_error *err);
static int run_version(int argc, char **argv, struct keel_error *err);

const struct command cmd_help = {
    .name = "help",
    .summary = "list the commands, or explain one",
    .changes = COMMAND_READS,
    .operands = "[COMMAND|TOPIC]",
    .max_operands = 1,
    .description = "Without a word: the list of commands. Topics:\n"
                   "\n"
                   "language    what keel query can be asked\n"
                   "changes     which commands change a data directory\n"
                   "errors      the exit statuses\n"
                   "completion  completion for bash, to be sourced\n"
                   "man         the manual page, for man(1)\n",
    .examples = "  keel help language\n"
                "  source <(keel help completion)\n"
                "  keel help man > /usr/local/share/man/man1/keel.1\n",
    .run = run_help,
};

const struct command cmd_version = {
    .name = "version",
    .summary = "print the version",
    .changes = COMMAND_READS,
    .run = run_version,
};

static int run_help(int argc, char **argv, struct keel_error *err) {
    struct operands words;
    struct output out;
    static const struct {
        const char *name;
        void (*page)(struct output *);
    } TOPICS[] = {{"language", language},
                  {"changes", changes},
                  {"errors", errors},
                  {"completion", generate_completion},
                  {"man", man}};
    TRY(options_parse(&cmd_help, argc, argv, NULL, &words, err));
    const char *topic = words.n == 1 ? words.word[0] : "";
    const struct command *command = command_find(topic);
    void (*page)(struct output *) = words.n == 0 ? overview : NULL;
    for (size_t i = 0; i < sizeof TOPICS / sizeof *TOPICS; i++)
        if (strcmp(topic, TOPICS[i].name) == 0) page = TOPICS[i].page;
    if (!page && !command)
        FAIL(err, INVALID, "help: there is no command \"%.200s\"; see: keel help", topic);
    TRY(output_open(&out, NULL, err));
    if (command)
        options_help(command, &out);
    else
        page(&out);
    return output_close(&out, err);
}

static int run_version(int argc, char **argv, struct keel_error *err) {
    struct output out;
    TRY(options_parse(&cmd_version, argc, argv, NULL, NULL, err));
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "keel %s\n", KEEL_VERSION);
    return output_close(&out, err);
}
