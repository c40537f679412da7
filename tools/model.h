/* SPDX-License-Identifier: Apache-2.0 */
/** @file Subcommands of `tarn model` in files of their own. */
#ifndef TARN_TOOLS_MODEL_H
#define TARN_TOOLS_MODEL_H

#include <cjson/cJSON.h>

#include "cli.h"
#include "sim/collect.h"

struct tarn_trace_data;
/** What can't go with `--search`, or without it: TARN_EXIT_OK, or TARN_EXIT_USAGE after saying so. */
int tarn_model_check_search(const struct tarn_cli *cli);
/** What a search starts from: the sets or the model in that file, or with NULL the built-in model. The caller's. */
tarn_status tarn_model_load_start(const char *path, tarn_model_sets **sets,
                                  struct tarn_error *error);
/**
 * `tarn model train --search`: what is found is added to `sets`. `device` (the caller's) may be NULL: steps on the
 * host. Returns an exit code.
 */
int tarn_model_search(const struct tarn_cli *cli, struct tarn_trace_data *const *traces,
                      size_t count, tarn_model_sets *sets, const char *output, tarn_device *device);
/** tarn_model_load(), with a word of its own for a file of sets. */
tarn_status tarn_model_load_one(const char *path, tarn_model **model, struct tarn_error *error);

extern const struct tarn_command tarn_command_model_history;
extern const struct tarn_command tarn_command_model_slice;
extern const struct tarn_command tarn_command_model_grow;

/** What an elastic model has to say, a line; of another nothing. */
void tarn_model_print_elastic(const struct tarn_model_info *info);
void tarn_model_json_elastic(cJSON *json, const struct tarn_model_info *info);
/** Adds a set's settings to the object. */
void tarn_model_json_settings(cJSON *json, const struct tarn_set_settings *settings);
/** --widths of `train`; 0 of them without it. Returns an exit code. */
int tarn_model_read_widths(const struct tarn_cli *cli, uint32_t widths[TARN_MODEL_NESTED + 1],
                           size_t *count);

#endif
