/* SPDX-License-Identifier: Apache-2.0 */
/** @file Subcommands of `tarn model` in files of their own. */
#ifndef TARN_TOOLS_MODEL_H
#define TARN_TOOLS_MODEL_H

#include "cli.h"

extern const struct tarn_command tarn_command_model_history;

#endif
