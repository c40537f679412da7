/* SPDX-License-Identifier: Apache-2.0 */
/* Which weights are live. */
#include "engine_private.h"

#include <string.h>

#include "base/log.h"

void tarn_versions_offer(struct tarn_engine *e)
{
    size_t count = tarn_shape_weights(&e->model->shape);
    const float *weights = tarn_trainer_weights(e->trainer);
    if (!tarn_net_is_finite(weights, count)) {
        tarn_log(TARN_LOG_ERROR,
                 "engine: training gave weights that aren't numbers: it stops here");
        e->params.no_learn = true;
        return;
    }
    tarn_cache_lock(e->cache);
    memcpy(e->model->weights, weights, count * sizeof *weights);
    tarn_cache_unlock(e->cache);
    e->weights_are_new = true;
}
