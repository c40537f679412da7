/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <math.h>
#include <string.h>

#include "kernels/train.h"

const struct tarn_shape tarn_net_reference = {28, 32, 32, 11};

static float *fill(float *to, uint32_t outputs, uint32_t inputs, float gain, float bias,
                   struct tarn_rng *rng)
{
    float scale = gain / sqrtf((float)inputs);
    for (uint32_t i = 0; i < outputs * inputs; i++)
        *to++ = (tarn_rng_float(rng) * 2.0f - 1.0f) * scale;
    for (uint32_t i = 0; i < outputs; i++)
        *to++ = bias;
    return to;
}

void tarn_net_init(const struct tarn_shape *shape, struct tarn_rng *rng, float *weights)
{
    weights = fill(weights, shape->hidden1, shape->inputs, 1.7f, 0, rng);
    weights = fill(weights, shape->hidden2, shape->hidden1, 1.7f, 0, rng);
    fill(weights, shape->outputs, shape->hidden2, 1.0f, -2.0f, rng);
}

bool tarn_net_is_finite(const float *weights, size_t count)
{
    /* by the exponent's bits, so that no compiler flag can optimise the question away */
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &weights[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u)
            return false;
    }
    return true;
}

/* The bin that holds a residual time. */
static uint32_t bin_of(float elapsed)
{
    uint32_t bin = 0;
    for (float edge = exp2f(TARN_BIN_FIRST_LOG2); elapsed >= edge && bin < TARN_MAX_BINS; edge *= 2)
        bin++;
    return bin;
}

uint32_t tarn_net_label(const struct tarn_shape *shape, float elapsed, bool wanted)
{
    uint32_t bin = bin_of(elapsed);
    if (bin >= shape->outputs)
        return tarn_label(shape->outputs, -1);
    return wanted ? tarn_label(bin + 1, (int)bin) : tarn_label(bin, -1);
}

float tarn_net_loss(const float *logits, size_t stride, uint32_t outputs, uint32_t label)
{
    uint32_t risk = label & 0xff, event = label >> 8 & 0xff;
    float loss = 0, product = 1; /* of factors up to 2: one logarithm for all bins */
    for (uint32_t k = 0; k < risk && k < outputs; k++) {
        float z = logits[k * stride];
        loss += fmaxf(z, 0) - (k + 1 == event ? z : 0);
        product *= 1 + expf(-fabsf(z));
    }
    return loss + logf(product);
}
