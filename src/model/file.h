/* SPDX-License-Identifier: Apache-2.0 */
/** @file The model file: docs/model-format.md. */
#ifndef TARN_MODEL_FILE_H
#define TARN_MODEL_FILE_H

#include "model.h"

/** Bytes of the model as a file. */
size_t tarn_model_file_size(const tarn_model *model);
/** tarn_model_parse(), whose errors begin with `where`. */
tarn_status tarn_model_parse_named(const char *where, const void *data, size_t size,
                                   tarn_model **model, struct tarn_error *error);
/** Writes those bytes. */
void tarn_model_write(const tarn_model *model, uint8_t *to);

#endif
