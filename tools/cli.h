/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What every subcommand of `tarn` shares: the tables that drive parsing, help, man pages and
 * completion; options; sizes; one-line errors and exit codes; JSON; tables; a progress bar.
 *
 * A subcommand is one file with one row:
 *
 *     static const struct tarn_cli_option options[] = {
 *         { "output", 'o', "FILE", "write there" }, { "unit-size", 0, NULL, "..." }, { NULL } };
 *     static int tarn_cmd_thing(struct tarn_cli *cli, int argc, char **argv)
 *     {
 *         const char *output = tarn_cli_value(cli, "output");
 *         if (argc != 1)
 *             return tarn_cli_usage(cli, "one FILE is needed");
 *         ...
 *     }
 *     const struct tarn_command tarn_command_thing = {
 *         .name = "thing", .run = tarn_cmd_thing, .summary = "...", .usage = "FILE [-o FILE]",
 *         .options = options, .examples = "tarn thing x\n" };
 *
 * and a line in tools/commands.def. Options are checked against the table before `run` is called;
 * argc and argv hold the other arguments only. The command runs on one thread.
 */
#ifndef TARN_TOOLS_CLI_H
#define TARN_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tarn/log.h>
#include <tarn/status.h>

struct cJSON;
struct tarn_cli;

enum tarn_exit {
    TARN_EXIT_OK = 0,
    TARN_EXIT_FAILED = 1,    /**< it failed: one line on stderr says what, where, why */
    TARN_EXIT_USAGE = 2,     /**< wrong usage */
    TARN_EXIT_NO_DEVICE = 77 /**< the asked device isn't there */
};

/** An option of a command; a table ends with a row without a name. */
struct tarn_cli_option {
    const char *name;     /**< without the dashes */
    char letter;          /**< short form, or 0 */
    const char *argument; /**< what the value is called, or NULL for a flag */
    const char *help;     /**< one sentence; may hold newlines */
    bool repeats;         /**< may be given more than once; else the last one counts */
};

/** A row of the command table. All pointers are static. */
struct tarn_command {
    const char *name;
    int (*run)(struct tarn_cli *cli, int argc, char **argv); /**< returns an exit code */
    const char *summary;                                     /**< one line */
    const char *usage;                                       /**< what follows the name */
    const char *description;               /**< paragraphs (lines up to 78 columns), or NULL */
    void (*describe)(FILE *file);          /**< more paragraphs, from other tables, or NULL */
    const struct tarn_cli_option *options; /**< ends with { NULL }, or NULL */
    const char *examples;                  /**< a command line a line */
    const struct tarn_command *const *subcommands; /**< ends with NULL; then `run` is NULL */
};

struct tarn_cli_given {
    const struct tarn_cli_option *option;
    const char *value; /* NULL for a flag */
};

/** The parsed command line. Read it; only main() fills it. */
struct tarn_cli {
    const struct tarn_command *const *commands; /**< the top table, ends with NULL */
    const struct tarn_command *command;         /**< the one that runs */
    const struct tarn_command *parent;          /**< of a sub-subcommand, or NULL */
    const char *device;                         /**< --device, else TARN_DEVICE, else "auto" */
    const char *cache_dir;                      /**< --cache-dir, or NULL */
    uint64_t seed;                              /**< --seed, default 1 */
    bool seed_given;
    bool json, quiet, help, version;
    bool color;        /**< stdout is a terminal that wants colours */
    bool color_errors; /**< the same of stderr */
    tarn_log_level log_level;
    struct tarn_cli_given *given; /* options of the command, in order */
    size_t given_count;
    char **arguments;
    size_t argument_count;
};

/** Options that every command accepts. */
extern const struct tarn_cli_option tarn_cli_common_options[];

/**
 * Runs the command line over `commands` (ends with NULL): what main() does. Returns the exit code;
 * standard output is flushed and a failed write of it is an error.
 */
int tarn_cli_main(const struct tarn_command *const *commands, int argc, char **argv);

/* ---- options of the running command ---- */

/** The option's last value, or NULL if it isn't given. `name` must be in the command's table. */
const char *tarn_cli_value(const struct tarn_cli *cli, const char *name);
bool tarn_cli_flag(const struct tarn_cli *cli, const char *name);
/** Each value in turn: start with *at = 0; NULL at the end. */
const char *tarn_cli_each(const struct tarn_cli *cli, const char *name, size_t *at);

/**
 * Numbers of options: TARN_EXIT_OK and *value (left alone where the option isn't given), or
 * TARN_EXIT_USAGE after saying what is wrong. The bounds are inclusive.
 */
int tarn_cli_integer(const struct tarn_cli *cli, const char *name, uint64_t low, uint64_t high,
                     uint64_t *value);
int tarn_cli_number(const struct tarn_cli *cli, const char *name, double low, double high,
                    double *value);
/** An option that is one of `choices` (ends with NULL): its index in *value. */
int tarn_cli_choice(const struct tarn_cli *cli, const char *name, const char *const *choices,
                    int *value);

/* ---- errors ---- */

/** Prints `tarn: MESSAGE` and returns 1, or 77 for TARN_NO_DEVICE. */
int tarn_cli_fail(const struct tarn_cli *cli, const struct tarn_error *error);
/**
 * Fails as writing to `path` would at the end, before the work is done: a folder that isn't there, one in the
 * place of a file, no permission. A temporary file beside it is made and removed; "-" is always fine.
 */
tarn_status tarn_cli_check_output(const char *path, struct tarn_error *error);
/** The same of files that will be read: one that isn't there, a folder, no permission. What is in them isn't looked at. */
tarn_status tarn_cli_check_inputs(int count, char *const *paths, struct tarn_error *error);
/** Makes a folder that files will be kept in, if it is missing, and sees whether they can be. */
tarn_status tarn_cli_check_folder(const char *path, struct tarn_error *error);
/** Prints `tarn: COMMAND: MESSAGE` with a hint at the help, and returns 2. */
int tarn_cli_usage(const struct tarn_cli *cli, const char *format, ...) TARN_PRINTF(2, 3);
/** The closest of `names` (ends with NULL) to a mistyped word, or NULL if none is close. */
const char *tarn_cli_suggest(const char *word, const char *const *names);

/* ---- sizes ---- */

typedef enum tarn_size_unit {
    TARN_SIZE_BYTES,
    TARN_SIZE_SHARE, /**< of a footprint */
    TARN_SIZE_OBJECTS,
} tarn_size_unit;

struct tarn_size {
    tarn_size_unit unit;
    uint64_t amount; /**< bytes or objects */
    double share;    /**< TARN_SIZE_SHARE: in (0, 1] */
};

/**
 * "4096", "64MiB", "64MB", "64M" (= MiB), "1%", "10000obj". Fractions are fine ("1.5GiB"), zero is
 * not. TARN_INVALID names the text.
 */
tarn_status tarn_size_parse(const char *text, struct tarn_size *size, struct tarn_error *error);
/** int(share x footprint), or the amount itself. */
uint64_t tarn_size_resolve(const struct tarn_size *size, uint64_t footprint);
/** "64.0 MiB" into `text` (at least 32 bytes), which is returned. */
const char *tarn_size_format(uint64_t bytes, char *text);

/* ---- output ---- */

/** Adds a number; NaN and infinities become null. */
void tarn_json_number(struct cJSON *object, const char *name, double value);
/** Adds an integer, exact to 64 bits. */
void tarn_json_integer(struct cJSON *object, const char *name, uint64_t value);
/** Prints `json` as the one object on stdout, frees it, and returns an exit code. NULL: no memory.
 */
int tarn_cli_print_json(const struct tarn_cli *cli, struct cJSON *json);

/**
 * A table with aligned columns: to the right where the first cell is a number.
 * Ownership: tarn_table_destroy(); cells are copied. An allocation that fails drops the row.
 */
typedef struct tarn_table tarn_table;
tarn_table *tarn_table_create(const char *const *heads, size_t columns);
/** printf's format with a tab between the cells. */
void tarn_table_row(tarn_table *table, const char *format, ...) TARN_PRINTF(2, 3);
/** Bold heads if `cli` wants colours. */
void tarn_table_print(const tarn_table *table, const struct tarn_cli *cli, FILE *file);
void tarn_table_destroy(tarn_table **table);

/** A bar on stderr, if that is a terminal and neither --quiet nor --json is given; else nothing. */
struct tarn_progress {
    const struct tarn_cli *cli;
    const char *label;
    uint64_t start_ns, last_ns;
    bool shown, enabled;
};
void tarn_progress_start(struct tarn_progress *progress, const struct tarn_cli *cli,
                         const char *label);
/** `share` in [0, 1], or negative: unknown. Cheap: draws ten times a second at most. */
void tarn_progress_update(struct tarn_progress *progress, double share);
/** Wipes the bar. Call it before printing anything else. */
void tarn_progress_end(struct tarn_progress *progress);
/** The same with the signature of tarn_trace_load_params.progress. */
void tarn_progress_callback(void *progress, double share);

/* ---- from the tables: help, man pages, completion ---- */

void tarn_help_overview(const struct tarn_command *const *commands, FILE *file);
/** `parent` may be NULL. */
void tarn_help_command(const struct tarn_command *parent, const struct tarn_command *command,
                       FILE *file);
/** A line of help: `head` padded to `width`, then `text`, whose lines are aligned. */
void tarn_help_row(const char *head, const char *text, int width, FILE *file);
/** A page in roff; `command` NULL is tarn(1). */
void tarn_help_man(const struct tarn_command *const *commands, const struct tarn_command *command,
                   FILE *file);
void tarn_help_bash(const struct tarn_command *const *commands, FILE *file);

/* Rows of the commands themselves. */
#define X(name) extern const struct tarn_command tarn_command_##name;
#include "commands.def"
#undef X

#endif
