/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The way of a candidate into an engine, for benches that look inside; the public part is
 * <tarn/versions.h>.
 */
#ifndef TARN_ENGINE_VERSIONS_H
#define TARN_ENGINE_VERSIONS_H

#include <tarn/versions.h>

#include "deploy/gate.h"

/**
 * What the gate says of these weights (of the live model's shape) now, on the engine's own samples, as if
 * training had made them; nothing changes. TARN_GATE_FAR: a part of the way might pass.
 */
tarn_gate_answer tarn_versions_try(tarn_engine *engine, const float *weights,
                                   struct tarn_gate_report *report);

#endif
