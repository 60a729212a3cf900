/* What is made from the table of commands for other programs: completion for bash, a manual page.
 *
 *     source <(keel help completion)
 *     keel help man > /usr/local/share/man/man1/keel.1
 *
 * Layers: command.h, options.h. Threads: none.
 */
#include "cli/generate.h"

#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "keel_version.h"

/* ---- completion: commands, options, the words of choices; else files ---- */

static void words_of(struct output *o, const char *choices) {
    for (; *choices; choices++) output_char(o, *choices == '|' ? ' ' : *choices);
}

/* The values of options: the words of a choice, else what bash completes by itself. */
static void complete_values(struct output *o, const struct command *c) {
    for (const struct option *k = c->options; k && k->name; k++) {
        if (k->type == OPTION_FLAG) continue;
        output_printf(o, "    '%s --%s') ", c->name, k->name);
        if (k->type == OPTION_CHOICE) {
            output_text(o, "COMPREPLY=($(compgen -W '");
            words_of(o, k->choices);
            output_text(o, "' -- \"$word\")); ");
        }
        output_text(o, "return ;;\n");
    }
}

void generate_completion(struct output *o) {
    output_text(o, "# bash completion for keel, made by: keel help completion\n"
                   "_keel() {\n"
                   "    local word=${COMP_WORDS[COMP_CWORD]} options=\n"
                   "    COMPREPLY=()\n"
                   "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                   "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; COMMANDS[i]; i++) output_printf(o, "%s%s", i ? " " : "", COMMANDS[i]->name);
    output_text(o, "' -- \"$word\"))\n"
                   "        return\n"
                   "    fi\n"
                   "    case \"${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD - 1]}\" in\n");
    for (size_t i = 0; COMMANDS[i]; i++) complete_values(o, COMMANDS[i]);
    output_text(o, "    esac\n"
                   "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; COMMANDS[i]; i++) {
        output_printf(o, "    %s) options='--help", COMMANDS[i]->name);
        for (const struct option *k = COMMANDS[i]->options; k && k->name; k++)
            output_printf(o, " --%s", k->name);
        output_text(o, "' ;;\n");
    }
    output_text(o, "    esac\n"
                   "    [[ $word != -* ]] || COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
                   "}\n"
                   "complete -o default -F _keel keel\n");
}

/* ---- the manual page ---- */

/* Text between roff's requests: nothing in it is taken for one. */
static void roff(struct output *o, const char *text) {
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\'')) output_text(o, "\\&");
        start = *text == '\n';
        if (*text == '\\')
            output_text(o, "\\e");
        else if (*text == '-')
            output_text(o, "\\-");
        else
            output_char(o, *text);
    }
}

static void roff_block(struct output *o, const char *lines) {
    output_text(o, ".PP\n.nf\n");
    roff(o, lines);
    output_text(o, ".fi\n");
}

static void man_option(struct output *o, const struct option *k) {
    const char *value = k->type == OPTION_CHOICE ? k->choices : k->value;
    output_text(o, ".TP\n.B \\-\\-");
    roff(o, k->name);
    if (value) {
        output_char(o, ' ');
        roff(o, value);
    }
    output_char(o, '\n');
    roff(o, k->help);
    output_text(o, k->required ? " (required)\n" : "\n");
}

static void man_command(struct output *o, const struct command *c) {
    output_printf(o, ".SS keel %s", c->name);
    if (c->options) output_text(o, " [OPTION...]");
    if (c->operands) {
        output_char(o, ' ');
        roff(o, c->operands);
    }
    output_char(o, '\n');
    roff(o, c->summary);
    output_char(o, '\n');
    if (c->description) roff_block(o, c->description);
    for (const struct option *k = c->options; k && k->name; k++) man_option(o, k);
    if (c->examples) roff_block(o, c->examples);
}

void generate_man(struct output *o, void (*errors)(struct output *)) {
    output_printf(o,
                  ".TH KEEL 1 \"\" \"keel %s\"\n.SH NAME\n"
                  "keel \\- one customer\\-data system for marketing and IT\n"
                  ".SH SYNOPSIS\n.B keel\nCOMMAND [OPTION...] [OPERAND...]\n.SH COMMANDS\n",
                  KEEL_VERSION);
    for (size_t i = 0; COMMANDS[i]; i++) man_command(o, COMMANDS[i]);
    output_text(o, ".SH ENVIRONMENT\n.TP\n.B KEEL_DATA\n"
                   "the data directory, where \\-\\-data is left out\n"
                   ".SH EXIT STATUS\n.nf\n");
    errors(o);
    output_text(o, ".fi\n");
}
