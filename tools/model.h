/* SPDX-License-Identifier: Apache-2.0 */
/** @file Subcommands of `tarn model` in files of their own. */
#ifndef TARN_TOOLS_MODEL_H
#define TARN_TOOLS_MODEL_H

#include "cli.h"

struct tarn_trace_data;
/** `tarn model train --search`; `start` may be NULL. Returns an exit code. */
int tarn_model_search(const struct tarn_cli *cli, struct tarn_trace_data *const *traces,
                      size_t count, const char *start, const char *output);

extern const struct tarn_command tarn_command_model_history;

#endif
