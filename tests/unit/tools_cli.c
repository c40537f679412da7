/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, suggestions, JSON, tables and the parsing of options, below the binary. */
#include "../check.h"

#include <cjson/cJSON.h>
#include <math.h>

#include "cli.h"

static void sizes_are_parsed(void)
{
    static const struct {
        const char *text;
        tarn_size_unit unit;
        double amount;
    } good[] = {
        {"4096", TARN_SIZE_BYTES, 4096},        {"1B", TARN_SIZE_BYTES, 1},
        {"64MiB", TARN_SIZE_BYTES, 64 << 20},   {"64M", TARN_SIZE_BYTES, 64 << 20},
        {"64MB", TARN_SIZE_BYTES, 64e6},        {"1.5GiB", TARN_SIZE_BYTES, 1.5 * (1 << 30)},
        {"2T", TARN_SIZE_BYTES, 0x1p41},        {"3kB", TARN_SIZE_BYTES, 3000},
        {"10000obj", TARN_SIZE_OBJECTS, 10000}, {"1%", TARN_SIZE_SHARE, 0.01},
        {"0.1%", TARN_SIZE_SHARE, 0.001},       {"0.3%", TARN_SIZE_SHARE, 0.003},
        {"100%", TARN_SIZE_SHARE, 1},
    };
    static const char *const bad[] = {"",   "0",     "-1",           "1 MiB",  "1mib", "101%",
                                      "0%", "1.2.3", "1.5obj",       "1e400G", "x",    "%",
                                      ".",  "1%%",   "99999999999T", "nan",    "0.5",  "0obj"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tarn_size size;
        CHECK(tarn_size_parse(good[i].text, &size, NULL) == TARN_OK);
        CHECK(size.unit == good[i].unit);
        CHECK_NUMBER(size.unit == TARN_SIZE_SHARE ? size.share : (double)size.amount,
                     good[i].amount);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tarn_size size;
        struct tarn_error error = {0};
        if (tarn_size_parse(bad[i], &size, &error) != TARN_INVALID)
            printf("# '%s'\n", bad[i]);
        CHECK(error.status == TARN_INVALID);
        CHECK(strstr(error.message, bad[i]) != NULL);
    }
    struct tarn_size size;
    CHECK(tarn_size_parse("1%", &size, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_size_resolve(&size, 186880), 1868);
    CHECK(tarn_size_parse("7obj", &size, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_size_resolve(&size, 186880), 7);
    char text[32];
    CHECK(strcmp(tarn_size_format(1023, text), "1023 B") == 0);
    CHECK(strcmp(tarn_size_format(64 << 20, text), "64.0 MiB") == 0);
    CHECK(strcmp(tarn_size_format(UINT64_MAX, text), "16.0 EiB") == 0);
}

static void suggestions_are_close(void)
{
    static const char *const names[] = {"replay", "trace", "devices", "model", NULL};
    CHECK(strcmp(tarn_cli_suggest("reply", names), "replay") == 0);
    CHECK(strcmp(tarn_cli_suggest("trcae", names), "trace") == 0);
    CHECK(strcmp(tarn_cli_suggest("dev", names), "devices") == 0);
    CHECK(tarn_cli_suggest("zzz", names) == NULL);
    CHECK(tarn_cli_suggest("", names) == NULL);
    CHECK(tarn_cli_suggest("a-word-that-is-much-longer-than-any-name", names) == NULL);
}

static void json_has_no_nan(void)
{
    cJSON *json = cJSON_CreateObject();
    tarn_json_number(json, "a", NAN);
    tarn_json_number(json, "b", INFINITY);
    tarn_json_number(json, "c", -0.25);
    tarn_json_integer(json, "d", UINT64_MAX);
    char *text = cJSON_PrintUnformatted(json);
    CHECK(strcmp(text, "{\"a\":null,\"b\":null,\"c\":-0.25,\"d\":18446744073709551615}") == 0);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void tables_are_aligned(void)
{
    static const char *const heads[] = {"name", "ratio", "note"};
    struct tarn_cli cli = {0};
    tarn_table *table = tarn_table_create(heads, 3);
    REQUIRE(table != NULL);
    tarn_table_row(table, "%s\t%.2f\tx", "lru", 0.5);
    tarn_table_row(table, "µ-cache\t%.2f", 10.25);
    char text[256] = "";
    FILE *file = fmemopen(text, sizeof text, "w");
    tarn_table_print(table, &cli, file);
    fclose(file);
    CHECK(strcmp(text, "name     ratio  note\n"
                       "lru       0.50  x\n"
                       "µ-cache  10.25  \n") == 0);
    tarn_table_destroy(&table);
    CHECK(table == NULL);
    tarn_table_destroy(&table);
}

/* ---- parsing ---- */

static struct {
    int calls, argc;
    char words[256];
    uint64_t number;
    double real;
    int choice, code;
    bool json, flag;
    uint64_t seed;
    const char *device;
} ran;

static int run_probe(struct tarn_cli *cli, int argc, char **argv)
{
    static const char *const choices[] = {"red", "blue", NULL};
    const char *value;
    memset(&ran, 0, sizeof ran);
    ran.calls = 1;
    ran.argc = argc;
    for (int i = 0; i < argc; i++)
        strcat(strcat(ran.words, argv[i]), "|");
    for (size_t at = 0; (value = tarn_cli_each(cli, "many", &at)) != NULL;)
        strcat(strcat(ran.words, value), ";");
    ran.number = 42;
    ran.real = 0.5;
    ran.code = tarn_cli_integer(cli, "number", 1, 100, &ran.number);
    if (ran.code == 0)
        ran.code = tarn_cli_number(cli, "real", 0, 1, &ran.real);
    if (ran.code == 0)
        ran.code = tarn_cli_choice(cli, "color", choices, &ran.choice);
    ran.flag = tarn_cli_flag(cli, "flag");
    ran.json = cli->json;
    ran.seed = cli->seed;
    ran.device = cli->device;
    return ran.code;
}

static const struct tarn_cli_option probe_options[] = {
    {"number", 'n', "N", "a number"}, {"real", 0, "X", "another"},
    {"color", 'c', "C", "a choice"},  {"many", 'm', "M", "several", true},
    {"flag", 'f', NULL, "a flag"},    {NULL},
};
static const struct tarn_command probe = {
    .name = "probe", .run = run_probe, .summary = "probes", .usage = "X", .options = probe_options};
static const struct tarn_command *const subs[] = {&probe, NULL};
static const struct tarn_command outer = {
    .name = "outer", .summary = "holds probe", .usage = "probe", .subcommands = subs};
static const struct tarn_command *const commands[] = {&probe, &outer, NULL};

static int parse(const char *line)
{
    static char copy[512];
    char *argv[64];
    int argc = 0;
    snprintf(copy, sizeof copy, "tarn %s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    ran.calls = 0;
    return tarn_cli_main(commands, argc, argv);
}

static void options_are_found_anywhere(void)
{
    unsetenv("TARN_DEVICE");
    CHECK(parse("probe a --number 7 b -fc blue -- -x --json") == 0);
    CHECK(ran.calls == 1 && ran.argc == 4);
    CHECK(strcmp(ran.words, "a|b|-x|--json|") == 0);
    CHECK(ran.number == 7 && ran.choice == 1 && ran.flag && !ran.json);
    CHECK(ran.seed == 1 && strcmp(ran.device, "auto") == 0);
    CHECK(parse("--seed 0x10 --json outer --device host probe -n5 -n6 --real=0.25") == 0);
    CHECK(ran.seed == 16 && ran.json && strcmp(ran.device, "host") == 0);
    CHECK(ran.number == 6 && ran.real == 0.25 && !ran.flag);
    CHECK(parse("probe -m1 --many 2 -m 3 -") == 0);
    CHECK(strcmp(ran.words, "-|1;2;3;") == 0);
    setenv("TARN_DEVICE", "opencl", 1);
    CHECK(parse("probe") == 0 && strcmp(ran.device, "opencl") == 0);
    CHECK(ran.number == 42);
    unsetenv("TARN_DEVICE");
}

static void mistakes_are_usage(void)
{
    static const char *const lines[] = {
        "probe --number 0",
        "probe --number 101",
        "probe --number 5x",
        "probe --real 1.5",
        "probe --real nan",
        "probe --color green",
        "probe --nope",
        "probe -z",
        "probe --number",
        "probe -n",
        "probe --flag=1",
        "outer",
        "outer nope",
        "nope",
        "",
        "--seed x probe",
        "--log x probe",
        "probe --real ",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (parse(lines[i]) != 2) {
            printf("# %s\n", lines[i]);
            CHECK(!"wrong usage");
        }
        CHECK(ran.calls == 0 || ran.code == 2);
    }
}

static void every_form_of_help_is_made(void)
{
    char text[20000] = "";
    FILE *file = fmemopen(text, sizeof text, "w");
    tarn_help_overview(commands, file);
    tarn_help_command(&outer, &probe, file);
    tarn_help_man(commands, &probe, file);
    tarn_help_man(commands, NULL, file);
    tarn_help_bash(commands, file);
    fclose(file);
    CHECK(strstr(text, "  outer ") != NULL);
    CHECK(strstr(text, "usage: tarn outer probe X") != NULL);
    CHECK(strstr(text, "  -m, --many M                several (repeatable)\n") != NULL);
    CHECK(strstr(text, "\\fB\\-m\\fR, \\fB\\-\\-many\\fR \\fIM\\fR\nseveral (repeatable)\n") !=
          NULL);
    CHECK(strstr(text, "' outer probe') words='--number --real") != NULL);
    CHECK(strstr(text, "TARN_DEVICE") != NULL);
}

CHECK_MAIN(CASE(sizes_are_parsed), CASE(suggestions_are_close), CASE(json_has_no_nan),
           CASE(tables_are_aligned), CASE(options_are_found_anywhere), CASE(mistakes_are_usage),
           CASE(every_form_of_help_is_made))
