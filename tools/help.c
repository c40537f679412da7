/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, man pages and shell completion, all from the command tables. */
#include "cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

/* ---- on the terminal ---- */

void tarn_help_row(const char *head, const char *text, int width, FILE *file)
{
    if (strlen(head) > (size_t)width)
        fprintf(file, "  %s\n  %*s  ", head, width, "");
    else
        fprintf(file, "  %-*s  ", width, head);
    for (const char *c = text; *c != '\0'; c++) {
        fputc(*c, file);
        if (*c == '\n')
            fprintf(file, "  %*s  ", width, "");
    }
    fputc('\n', file);
}

static void print_options(const struct tarn_cli_option *options, FILE *file)
{
    for (const struct tarn_cli_option *o = options; o != NULL && o->name != NULL; o++) {
        char head[64], letter[8] = "    ";
        if (o->letter != 0)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(head, sizeof head, "%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        char text[512];
        snprintf(text, sizeof text, "%s%s", o->help, o->repeats ? " (repeatable)" : "");
        tarn_help_row(head, text, 26, file);
    }
}

static void print_indented(const char *text, FILE *file)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        fprintf(file, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void print_rows(const struct tarn_command *const *commands, FILE *file)
{
    for (; *commands != NULL; commands++)
        fprintf(file, "  %-10s  %s\n", (*commands)->name, (*commands)->summary);
}

void tarn_help_overview(const struct tarn_command *const *commands, FILE *file)
{
    fputs("tarn: a cache that learns on the device that answers its lookups\n\n"
          "usage: tarn COMMAND [OPTION]... [ARGUMENT]...\n\ncommands:\n",
          file);
    print_rows(commands, file);
    fprintf(file, "  %-10s  %s\n", "help", "say how a command is used: tarn help COMMAND");
    fputs("\noptions of every command:\n", file);
    print_options(tarn_cli_common_options, file);
    fputs("\nExit codes: 0 done, 1 it failed, 2 wrong usage, 77 the asked device isn't there.\n",
          file);
}

void tarn_help_command(const struct tarn_command *parent, const struct tarn_command *command,
                       FILE *file)
{
    const char *before = parent != NULL ? parent->name : "", *space = parent != NULL ? " " : "";
    fprintf(file, "tarn %s%s%s: %s\n\n", before, space, command->name, command->summary);
    if (command->subcommands == NULL)
        fprintf(file, "usage: tarn %s%s%s %s\n", before, space, command->name, command->usage);
    for (const struct tarn_command *const *s = command->subcommands; s != NULL && *s != NULL; s++)
        fprintf(file, "%s tarn %s %s %s\n", s == command->subcommands ? "usage:" : "      ",
                command->name, (*s)->name, (*s)->usage);
    if (command->description != NULL)
        fprintf(file, "\n%s", command->description);
    if (command->describe != NULL) {
        fputc('\n', file);
        command->describe(file);
    }
    if (command->subcommands != NULL) {
        fputs("\ncommands:\n", file);
        print_rows(command->subcommands, file);
    }
    if (command->options != NULL) {
        fputs("\noptions:\n", file);
        print_options(command->options, file);
    }
    if (command->subcommands == NULL) {
        fputs("\noptions of every command:\n", file);
        print_options(tarn_cli_common_options, file);
    }
    if (command->examples != NULL) {
        fputs("\nexamples:\n", file);
        print_indented(command->examples, file);
    }
}

/* ---- man pages ---- */

/* Text with what roff would read as its own escaped: dashes, backslashes, dots at a line's start.
 */
static void roff(const char *text, FILE *file)
{
    bool start = true;
    for (const char *c = text; *c != '\0'; c++) {
        if (start && (*c == '.' || *c == '\''))
            fputs("\\&", file);
        if (*c == '-')
            fputs("\\-", file);
        else if (*c == '\\')
            fputs("\\e", file);
        else
            fputc(*c, file);
        start = *c == '\n';
    }
}

static void roff_options(const struct tarn_cli_option *options, FILE *file)
{
    for (const struct tarn_cli_option *o = options; o != NULL && o->name != NULL; o++) {
        fputs(".TP\n\\fB", file);
        if (o->letter != 0)
            fprintf(file, "\\-%c\\fR, \\fB", o->letter);
        fputs("\\-\\-", file);
        roff(o->name, file);
        fputs("\\fR", file);
        if (o->argument != NULL) {
            fputs(" \\fI", file);
            roff(o->argument, file);
            fputs("\\fR", file);
        }
        fputc('\n', file);
        roff(o->help, file);
        fputs(o->repeats ? " (repeatable)\n" : "\n", file);
    }
}

static void roff_block(const char *text, FILE *file)
{
    fputs(".nf\n", file);
    roff(text, file);
    fputs(".fi\n", file);
}

static void roff_command(const char *before, const struct tarn_command *command, FILE *file)
{
    fputs(".B tarn ", file);
    if (before != NULL)
        fprintf(file, "%s ", before);
    fprintf(file, "%s\n", command->name);
    roff(command->usage, file);
    fputc('\n', file);
}

static void roff_body(const struct tarn_command *command, FILE *file)
{
    if (command->description != NULL)
        roff_block(command->description, file);
    if (command->describe != NULL) {
        char *text = NULL;
        size_t size = 0;
        FILE *memory = open_memstream(&text, &size);
        if (memory != NULL) {
            command->describe(memory);
            fclose(memory);
            roff_block(text, file);
        }
        free(text);
    }
    if (command->options != NULL)
        roff_options(command->options, file);
    if (command->examples != NULL) {
        fputs(".PP\nExamples:\n.PP\n", file);
        roff_block(command->examples, file);
    }
}

static void man_overview(const struct tarn_command *const *commands, FILE *file)
{
    fprintf(file, ".TH TARN 1 \"\" \"tarn %s\" \"Tarn\"\n.SH NAME\n", TARN_VERSION);
    fputs("tarn \\- a cache that learns on the device that answers its lookups\n.SH SYNOPSIS\n"
          ".B tarn\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH COMMANDS\n",
          file);
    for (const struct tarn_command *const *c = commands; *c != NULL; c++) {
        fprintf(file, ".TP\n\\fBtarn\\-%s\\fR(1)\n", (*c)->name);
        roff((*c)->summary, file);
        fputc('\n', file);
    }
    fputs(".SH OPTIONS\nOf every command:\n", file);
    roff_options(tarn_cli_common_options, file);
    fputs(".SH SIZES\nBytes, or with KiB, MiB, GiB, TiB (K, M, G, T mean the same) or kB, MB, GB, "
          "TB;\na share of the footprint (1%); a number of objects (10000obj).\n"
          ".SH ENVIRONMENT\n",
          file);
    for (int i = 0; i < TARN_OPTION_COUNT; i++) {
        const struct tarn_option_info *info = tarn_option_info((tarn_option)i);
        fprintf(file, ".TP\n.B %s\n", info->variable);
        roff(info->doc, file);
        if (info->fallback[0] != '\0') {
            fputs(" (default: ", file);
            roff(info->fallback, file);
            fputc(')', file);
        }
        fputc('\n', file);
    }
    fputs(".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nit failed: one line on standard error says what, "
          "where and why\n.TP\n2\nwrong usage\n.TP\n77\nthe asked device isn't there\n",
          file);
}

void tarn_help_man(const struct tarn_command *const *commands, const struct tarn_command *command,
                   FILE *file)
{
    fputs(".\\\" Generated by `tarn help man`: change the command's table, not this page.\n", file);
    if (command == NULL) {
        man_overview(commands, file);
        return;
    }
    fputs(".TH TARN\\-", file);
    for (const char *c = command->name; *c != '\0'; c++)
        fputc(toupper((unsigned char)*c), file);
    fprintf(file, " 1 \"\" \"tarn %s\" \"Tarn\"\n.SH NAME\ntarn\\-%s \\- ", TARN_VERSION,
            command->name);
    roff(command->summary, file);
    fputs("\n.SH SYNOPSIS\n", file);
    if (command->subcommands == NULL)
        roff_command(NULL, command, file);
    for (const struct tarn_command *const *s = command->subcommands; s != NULL && *s != NULL; s++) {
        fputs(s == command->subcommands ? "" : ".br\n", file);
        roff_command(command->name, *s, file);
    }
    fputs(".SH DESCRIPTION\n", file);
    if (command->description == NULL && command->describe == NULL && command->options == NULL) {
        roff(command->summary, file);
        fputs(".\n", file);
    }
    roff_body(command, file);
    for (const struct tarn_command *const *s = command->subcommands; s != NULL && *s != NULL; s++) {
        fprintf(file, ".SS tarn %s %s\n", command->name, (*s)->name);
        roff((*s)->summary, file);
        fputs(".\n.PP\n", file);
        roff_body(*s, file);
    }
    fputs(".SH SEE ALSO\n.BR tarn (1)\n", file);
}

/* ---- completion ---- */

static void bash_words(const struct tarn_command *command, FILE *file)
{
    const struct tarn_cli_option *tables[] = {command->options, tarn_cli_common_options};
    for (const struct tarn_command *const *s = command->subcommands; s != NULL && *s != NULL; s++)
        fprintf(file, "%s ", (*s)->name);
    for (int i = 0; i < 2; i++)
        for (const struct tarn_cli_option *o = tables[i]; o != NULL && o->name != NULL; o++)
            fprintf(file, "--%s%s", o->name, i == 1 && o[1].name == NULL ? "" : " ");
}

void tarn_help_bash(const struct tarn_command *const *commands, FILE *file)
{
    fputs("# Generated by `tarn help bash`: change the command's table, not this file.\n"
          "_tarn() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} words='' path='' word i\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        word=${COMP_WORDS[i]}\n"
          "        case $word in\n"
          "        -*) ;;\n"
          "        *) case \"$path $word\" in\n",
          file);
    for (const struct tarn_command *const *c = commands; *c != NULL; c++) {
        fprintf(file, "            ' %s') path=' %s' ;;\n", (*c)->name, (*c)->name);
        for (const struct tarn_command *const *s = (*c)->subcommands; s != NULL && *s != NULL; s++)
            fprintf(file, "            ' %s %s') path=' %s %s' ;;\n", (*c)->name, (*s)->name,
                    (*c)->name, (*s)->name);
    }
    fputs("            ' help') path=' help' ;;\n"
          "            esac ;;\n"
          "        esac\n"
          "    done\n"
          "    case $path in\n",
          file);
    fputs("    '' | ' help') words='", file);
    for (const struct tarn_command *const *c = commands; *c != NULL; c++)
        fprintf(file, "%s ", (*c)->name);
    fputs("help --version --help' ;;\n", file);
    for (const struct tarn_command *const *c = commands; *c != NULL; c++) {
        fprintf(file, "    ' %s') words='", (*c)->name);
        bash_words(*c, file);
        fputs("' ;;\n", file);
        for (const struct tarn_command *const *s = (*c)->subcommands; s != NULL && *s != NULL;
             s++) {
            fprintf(file, "    ' %s %s') words='", (*c)->name, (*s)->name);
            bash_words(*s, file);
            fputs("' ;;\n", file);
        }
    }
    fputs("    esac\n"
          "    # Words for options and commands; files for everything else.\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "    if [[ $cur != -* && -n $path ]]; then\n"
          "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$cur\")\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _tarn tarn\n",
          file);
}
