/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: finding the command, checking its options against the tables, running it. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"

const struct tarn_cli_option tarn_cli_common_options[] = {
    {"device", 0, "DEVICE",
     "auto, host, opencl[:N], vulkan[:N] or virtual:NAME (also TARN_DEVICE)"},
    {"json", 0, NULL, "print one JSON object on stdout and nothing else"},
    {"quiet", 'q', NULL, "no progress bar and no warnings"},
    {"seed", 0, "N", "seed of everything random (default 1)"},
    {"log", 0, "LEVEL", "messages up to none, error, warning, info or debug (also TARN_LOG)"},
    {"cache-dir", 0, "DIR", "where compiled kernels and calibration are kept"},
    {"help", 'h', NULL, "say how it is used"},
    {"version", 'V', NULL, "print the version"},
    {NULL},
};

static const char *const log_levels[] = {"none", "error", "warning", "info", "debug", NULL};

/* ---- errors ---- */

int tarn_cli_fail(const struct tarn_cli *cli, const struct tarn_error *error)
{
    const char *red = cli != NULL && cli->color_errors ? "\033[1;31m" : "";
    fflush(stdout);
    fprintf(stderr, "%starn:%s %s\n", red, red[0] != '\0' ? "\033[0m" : "", error->message);
    return error->status == TARN_NO_DEVICE ? TARN_EXIT_NO_DEVICE : TARN_EXIT_FAILED;
}

int tarn_cli_usage(const struct tarn_cli *cli, const char *format, ...)
{
    char message[512], path[128] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (char *c = message; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    if (cli->command != NULL)
        snprintf(path, sizeof path, "%s%s%s", cli->parent != NULL ? cli->parent->name : "",
                 cli->parent != NULL ? " " : "", cli->command->name);
    fprintf(stderr, "tarn: %s%s%s (see 'tarn help%s%s')\n", path, path[0] != '\0' ? ": " : "",
            message, path[0] != '\0' ? " " : "", path);
    return TARN_EXIT_USAGE;
}

/* Edit distance with swaps of neighbours; words beyond 31 letters are never close. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), rows[3][33];
    if (n > 31 || m > 31)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *tarn_cli_suggest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t closest = 3;
    for (; *names != NULL; names++) {
        size_t d = distance(word, *names), length = strlen(word);
        if (length >= 3 && strncmp(word, *names, length) == 0)
            d = 1;
        if (d < closest && d < strlen(*names)) {
            closest = d;
            best = *names;
        }
    }
    return best;
}

static int unknown_command(struct tarn_cli *cli, const struct tarn_command *const *table,
                           const char *word)
{
    const char *names[64];
    size_t count = 0;
    for (; table[count] != NULL && count < 62; count++)
        names[count] = table[count]->name;
    if (cli->command == NULL)
        names[count++] = "help";
    names[count] = NULL;
    const char *close = tarn_cli_suggest(word, names);
    return close != NULL ? tarn_cli_usage(cli, "no command '%s'; did you mean '%s'?", word, close)
                         : tarn_cli_usage(cli, "no command '%s'", word);
}

static int unknown_option(struct tarn_cli *cli, const char *word, size_t length)
{
    const char *names[96];
    size_t count = 0;
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)length, word);
    if (cli->command != NULL && cli->command->options != NULL)
        for (const struct tarn_cli_option *o = cli->command->options; o->name && count < 80; o++)
            names[count++] = o->name;
    for (const struct tarn_cli_option *o = tarn_cli_common_options; o->name != NULL; o++)
        names[count++] = o->name;
    names[count] = NULL;
    const char *close = tarn_cli_suggest(typed, names);
    return close != NULL
               ? tarn_cli_usage(cli, "no option '--%s'; did you mean '--%s'?", typed, close)
               : tarn_cli_usage(cli, "no option '--%s'", typed);
}

/* ---- options ---- */

static const struct tarn_cli_option *find_option(const struct tarn_cli_option *table,
                                                 const char *name, size_t length, char letter)
{
    for (; table != NULL && table->name != NULL; table++)
        if (name != NULL ? strlen(table->name) == length && memcmp(table->name, name, length) == 0
                         : table->letter != 0 && table->letter == letter)
            return table;
    return NULL;
}

const char *tarn_cli_each(const struct tarn_cli *cli, const char *name, size_t *at)
{
    while (*at < cli->given_count) {
        const struct tarn_cli_given *given = &cli->given[(*at)++];
        if (strcmp(given->option->name, name) == 0)
            return given->value != NULL ? given->value : "";
    }
    return NULL;
}

const char *tarn_cli_value(const struct tarn_cli *cli, const char *name)
{
    const char *last = NULL, *value;
    for (size_t at = 0; (value = tarn_cli_each(cli, name, &at)) != NULL;)
        last = value;
    return last;
}

bool tarn_cli_flag(const struct tarn_cli *cli, const char *name)
{
    return tarn_cli_value(cli, name) != NULL;
}

static bool parse_u64(const char *text, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0';
}

int tarn_cli_integer(const struct tarn_cli *cli, const char *name, uint64_t low, uint64_t high,
                     uint64_t *value)
{
    const char *text = tarn_cli_value(cli, name);
    uint64_t parsed;
    if (text == NULL)
        return TARN_EXIT_OK;
    if (!parse_u64(text, &parsed) || parsed < low || parsed > high)
        return tarn_cli_usage(cli, "--%s: '%s' is not a whole number from %llu to %llu", name, text,
                              (unsigned long long)low, (unsigned long long)high);
    *value = parsed;
    return TARN_EXIT_OK;
}

int tarn_cli_number(const struct tarn_cli *cli, const char *name, double low, double high,
                    double *value)
{
    const char *text = tarn_cli_value(cli, name);
    char *end;
    if (text == NULL)
        return TARN_EXIT_OK;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !(parsed >= low && parsed <= high))
        return tarn_cli_usage(cli, "--%s: '%s' is not a number from %g to %g", name, text, low,
                              high);
    *value = parsed;
    return TARN_EXIT_OK;
}

int tarn_cli_choice(const struct tarn_cli *cli, const char *name, const char *const *choices,
                    int *value)
{
    const char *text = tarn_cli_value(cli, name);
    if (text == NULL)
        return TARN_EXIT_OK;
    for (int i = 0; choices[i] != NULL; i++)
        if (strcmp(choices[i], text) == 0) {
            *value = i;
            return TARN_EXIT_OK;
        }
    char list[256] = "";
    for (size_t i = 0, used = 0; choices[i] != NULL && used < sizeof list; i++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", choices[i]);
    return tarn_cli_usage(cli, "--%s: '%s' is none of %s", name, text, list);
}

static int set_common(struct tarn_cli *cli, const char *name, const char *value)
{
    if (strcmp(name, "device") == 0) {
        cli->device = value;
    } else if (strcmp(name, "json") == 0) {
        cli->json = true;
    } else if (strcmp(name, "quiet") == 0) {
        cli->quiet = true;
    } else if (strcmp(name, "cache-dir") == 0) {
        cli->cache_dir = value;
    } else if (strcmp(name, "help") == 0) {
        cli->help = true;
    } else if (strcmp(name, "version") == 0) {
        cli->version = true;
    } else if (strcmp(name, "seed") == 0) {
        if (!parse_u64(value, &cli->seed))
            return tarn_cli_usage(cli, "--seed: '%s' is not a whole number", value);
        cli->seed_given = true;
    } else if (strcmp(name, "log") == 0) {
        for (int i = 0; log_levels[i] != NULL; i++)
            if (strcmp(log_levels[i], value) == 0) {
                cli->log_level = (tarn_log_level)i;
                return TARN_EXIT_OK;
            }
        return tarn_cli_usage(cli, "--log: '%s' is none of none, error, warning, info, debug",
                              value);
    }
    return TARN_EXIT_OK;
}

static int set_option(struct tarn_cli *cli, const struct tarn_cli_option *option, bool common,
                      const char *value)
{
    if (common)
        return set_common(cli, option->name, value);
    cli->given[cli->given_count++] = (struct tarn_cli_given){option, value};
    return TARN_EXIT_OK;
}

/* One argument that starts with a dash, and its value, which may be the next argument. */
static int parse_option(struct tarn_cli *cli, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const struct tarn_cli_option *table = cli->command != NULL ? cli->command->options : NULL;
    if (word[1] == '-') {
        const char *name = word + 2, *equals = strchr(name, '=');
        size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
        const struct tarn_cli_option *option = find_option(table, name, length, 0);
        bool common = option == NULL;
        if (common)
            option = find_option(tarn_cli_common_options, name, length, 0);
        if (option == NULL)
            return unknown_option(cli, name, length);
        if (option->argument == NULL && equals != NULL)
            return tarn_cli_usage(cli, "--%s takes no value", option->name);
        const char *value = equals != NULL ? equals + 1 : NULL;
        if (option->argument != NULL && value == NULL) {
            if (*at + 1 >= argc)
                return tarn_cli_usage(cli, "--%s needs %s", option->name, option->argument);
            value = argv[++*at];
        }
        return set_option(cli, option, common, value);
    }
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        const struct tarn_cli_option *option = find_option(table, NULL, 0, *letter);
        bool common = option == NULL;
        const char *value = NULL;
        if (common)
            option = find_option(tarn_cli_common_options, NULL, 0, *letter);
        if (option == NULL)
            return tarn_cli_usage(cli, "no option '-%c'", *letter);
        if (option->argument != NULL) {
            value = letter[1] != '\0' ? letter + 1 : *at + 1 < argc ? argv[++*at] : NULL;
            if (value == NULL)
                return tarn_cli_usage(cli, "-%c needs %s", *letter, option->argument);
        }
        int code = set_option(cli, option, common, value);
        if (code != TARN_EXIT_OK || value != NULL)
            return code;
    }
    return TARN_EXIT_OK;
}

static const struct tarn_command *find_command(const struct tarn_command *const *table,
                                               const char *name)
{
    for (; table != NULL && *table != NULL; table++)
        if (strcmp((*table)->name, name) == 0)
            return *table;
    return NULL;
}

/* `tarn help [COMMAND [SUBCOMMAND]]`, and the forms that the build keeps in files. */
static int help_command(struct tarn_cli *cli)
{
    size_t n = cli->argument_count;
    char **words = cli->arguments;
    if (n >= 1 && n <= 2 && strcmp(words[0], "man") == 0) {
        const struct tarn_command *page = n == 2 ? find_command(cli->commands, words[1]) : NULL;
        if (n == 2 && page == NULL)
            return unknown_command(cli, cli->commands, words[1]);
        tarn_help_man(cli->commands, page, stdout);
        return TARN_EXIT_OK;
    }
    if (n == 1 && strcmp(words[0], "bash") == 0) {
        tarn_help_bash(cli->commands, stdout);
        return TARN_EXIT_OK;
    }
    if (n == 0) {
        tarn_help_overview(cli->commands, stdout);
        return TARN_EXIT_OK;
    }
    const struct tarn_command *command = find_command(cli->commands, words[0]);
    if (command == NULL)
        return unknown_command(cli, cli->commands, words[0]);
    if (n == 1) {
        tarn_help_command(NULL, command, stdout);
        return TARN_EXIT_OK;
    }
    cli->command = command;
    const struct tarn_command *sub = find_command(command->subcommands, words[1]);
    if (sub == NULL)
        return command->subcommands != NULL ? unknown_command(cli, command->subcommands, words[1])
                                            : tarn_cli_usage(cli, "it has no subcommands");
    tarn_help_command(command, sub, stdout);
    return TARN_EXIT_OK;
}

static void print_log(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    fprintf(stderr, "tarn: %s: %s\n", log_levels[level], message);
}

static int parse_and_run(struct tarn_cli *cli, int argc, char **argv)
{
    bool words_only = false, help = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!words_only && strcmp(word, "--") == 0) {
            words_only = true;
        } else if (!words_only && word[0] == '-' && word[1] != '\0') {
            int code = parse_option(cli, argc, argv, &i);
            if (code != TARN_EXIT_OK)
                return code;
        } else if (help) {
            cli->arguments[cli->argument_count++] = argv[i];
        } else if (cli->command == NULL) {
            cli->command = find_command(cli->commands, word);
            help = cli->command == NULL && strcmp(word, "help") == 0;
            if (cli->command == NULL && !help)
                return unknown_command(cli, cli->commands, word);
        } else if (cli->command->subcommands != NULL) {
            const struct tarn_command *sub = find_command(cli->command->subcommands, word);
            if (sub == NULL)
                return unknown_command(cli, cli->command->subcommands, word);
            cli->parent = cli->command;
            cli->command = sub;
        } else {
            cli->arguments[cli->argument_count++] = argv[i];
        }
    }
    if (cli->version) {
        printf("tarn %s\n", TARN_VERSION);
        return TARN_EXIT_OK;
    }
    if (cli->command != NULL && cli->help) {
        tarn_help_command(cli->parent, cli->command, stdout);
        return TARN_EXIT_OK;
    }
    if (help || cli->help)
        return help_command(cli);
    if (cli->command == NULL)
        return tarn_cli_usage(cli, "no command given");
    if (cli->command->run == NULL)
        return tarn_cli_usage(cli, "which of its commands?");
    if (cli->quiet && cli->log_level > TARN_LOG_ERROR)
        cli->log_level = TARN_LOG_ERROR;
    tarn_log_set(print_log, NULL, cli->log_level);
    return cli->command->run(cli, (int)cli->argument_count, cli->arguments);
}

/*
 * A descriptor that was closed by the caller would be taken by the first file that is opened, and
 * what is meant for the person would land there. So 0 to 2 are filled with something that fails.
 */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            return;
}

int tarn_cli_main(const struct tarn_command *const *commands, int argc, char **argv)
{
    fill_standard_descriptors();
    /* As other filters: `tarn … | head` ends quietly, even if the parent ignores the signal. */
    signal(SIGPIPE, SIG_DFL);
    bool plain = tarn_option_get(TARN_OPTION_NO_COLOR)[0] != '\0';
    struct tarn_cli cli = {
        .commands = commands,
        .device = tarn_option_get(TARN_OPTION_DEVICE),
        .seed = 1,
        .color = !plain && isatty(STDOUT_FILENO),
        .color_errors = !plain && isatty(STDERR_FILENO),
        .log_level = TARN_LOG_WARNING,
    };
    int code = TARN_EXIT_OK;
    bool known = false;
    for (int i = 0; log_levels[i] != NULL; i++)
        if (strcmp(log_levels[i], tarn_option_get(TARN_OPTION_LOG)) == 0) {
            cli.log_level = (tarn_log_level)i;
            known = true;
        }
    if (!known)
        return tarn_cli_usage(&cli, "TARN_LOG: '%s' is none of none, error, warning, info, debug",
                              tarn_option_get(TARN_OPTION_LOG));
    /* A short word may hold several flags: one entry a letter is always enough. */
    size_t letters = 1;
    for (int i = 0; i < argc; i++)
        letters += strlen(argv[i]) + 1;
    cli.given = calloc(letters, sizeof *cli.given);
    cli.arguments = calloc((size_t)argc + 1, sizeof *cli.arguments);
    if (cli.given == NULL || cli.arguments == NULL)
        code = tarn_cli_fail(&cli, &(struct tarn_error){TARN_NO_MEMORY, "start: out of memory"});
    else
        code = parse_and_run(&cli, argc, argv);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == TARN_EXIT_OK) {
        fprintf(stderr, "tarn: standard output: %s\n",
                errno != 0 ? strerror(errno) : "write error");
        code = TARN_EXIT_FAILED;
    }
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    free(cli.given);
    free(cli.arguments);
    return code;
}
