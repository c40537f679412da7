/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Settings of learning, for benches and ablations that look inside; programs leave them alone.
 */
#ifndef TARN_ENGINE_LEARNING_H
#define TARN_ENGINE_LEARNING_H

#include <stdbool.h>

/** Begin with tarn_learning_defaults(). */
struct tarn_learning_params {
    /**
     * Every launch's weights go live at once, trained on all keys, without gate and watch: what the gates
     * are measured against.
     */
    bool in_place;
};

void tarn_learning_defaults(struct tarn_learning_params *params);

#endif
