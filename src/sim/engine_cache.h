/* SPDX-License-Identifier: Apache-2.0 */
/** @file The whole engine as one of the caches that a trace is replayed through: `learned`. */
#ifndef TARN_SIM_ENGINE_CACHE_H
#define TARN_SIM_ENGINE_CACHE_H

#include "replay.h"

extern const struct tarn_replay_cache_ops tarn_engine_cache_ops;

#endif
