/* SPDX-License-Identifier: Apache-2.0 */
#include "isa.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/options.h"
#include "layout.h"
#include "lookup.h"

#if defined(__arm__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* TARN_ISA_LIST is X(baseline) and so on: what the build compiled, from slow to fast. */
#define X(isa)                                                                                     \
    void tarn_lookup_##isa(const void *, uint32_t, const void *, size_t, uint32_t *);              \
    void tarn_forward_##isa(const struct tarn_shape *, uint32_t, const float *, const float *,     \
                            size_t, float *);                                                      \
    void tarn_logits_##isa(const struct tarn_shape *, uint32_t, const float *, const float *,      \
                           size_t, float *);                                                       \
    uint32_t tarn_train_##isa(const struct tarn_shape *, const struct tarn_train_state *,          \
                              const struct tarn_train_constants *, const float *,                  \
                              const uint32_t *, float *, const struct tarn_train_part *);          \
    void tarn_wide_##isa(const struct tarn_wide_constants *, const struct tarn_wide_arrays *,      \
                         uint32_t, uint32_t);                                                      \
    void tarn_members_##isa(const struct tarn_members *, size_t, float *);                         \
    void tarn_exp_##isa(const float *, size_t, float *);                                           \
    void tarn_lg_##isa(const float *, size_t, float *);
TARN_ISA_LIST
#undef X

static const struct tarn_isa variants[] = {
#define X(isa)                                                                                     \
    {#isa,                                                                                         \
     tarn_lookup_##isa,                                                                            \
     tarn_forward_##isa,                                                                           \
     tarn_logits_##isa,                                                                            \
     tarn_train_##isa,                                                                             \
     tarn_wide_##isa,                                                                              \
     tarn_members_##isa,                                                                           \
     tarn_exp_##isa,                                                                               \
     tarn_lg_##isa},
    TARN_ISA_LIST
#undef X
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static bool usable(const char *name)
{
    if (strcmp(name, "baseline") == 0)
        return true;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__)
    if (strcmp(name, "neon") == 0)
        return true;
#elif defined(__arm__)
    if (strcmp(name, "neon") == 0)
        return (getauxval(AT_HWCAP) & HWCAP_NEON) != 0;
#endif
    return false;
}

size_t tarn_isa_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < VARIANTS; i++)
        count += usable(variants[i].name);
    return count;
}

const struct tarn_isa *tarn_isa_get(size_t n)
{
    for (size_t i = 0; i < VARIANTS; i++) {
        if (!usable(variants[i].name))
            continue;
        if (n == 0)
            return &variants[i];
        n--;
    }
    return NULL;
}

const struct tarn_isa *tarn_isa_find(const char *name)
{
    if (strcmp(name, "baseline") == 0)
        return &variants[0];
    for (size_t i = 0; i < VARIANTS; i++)
        if (strcmp(variants[i].name, name) == 0 && usable(name))
            return &variants[i];
    return NULL;
}

const struct tarn_isa *tarn_isa_current(void)
{
    static _Atomic(const struct tarn_isa *) current;
    const struct tarn_isa *isa = atomic_load_explicit(&current, memory_order_acquire);
    if (isa != NULL)
        return isa;
    const char *wanted = tarn_option_get(TARN_OPTION_CPU);
    const struct tarn_isa *best = tarn_isa_get(tarn_isa_count() - 1);
    isa = strcmp(wanted, "auto") == 0 ? best : tarn_isa_find(wanted);
    if (isa == NULL) {
        tarn_log(TARN_LOG_WARNING, "TARN_CPU=%s: not on this CPU; using %s", wanted, best->name);
        isa = best;
    }
    /* Two threads that come here at once find the same. */
    atomic_store_explicit(&current, isa, memory_order_release);
    return isa;
}

void tarn_lookup_host(const void *buckets, uint32_t mask, const void *hashes, size_t count,
                      uint32_t *slots)
{
    tarn_isa_current()->lookup(buckets, mask, hashes, count, slots);
}

void tarn_forward_host(const struct tarn_shape *shape, const float *weights, const float *tiles,
                       size_t count, float *scores)
{
    tarn_isa_current()->forward(shape, 0, weights, tiles, count, scores);
}

void tarn_forward_slice_host(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                             const float *tiles, size_t count, float *scores)
{
    tarn_isa_current()->forward(shape, slice, weights, tiles, count, scores);
}

void tarn_logits_host(const struct tarn_shape *shape, const float *weights, const float *tiles,
                      size_t count, float *logits)
{
    tarn_isa_current()->logits(shape, 0, weights, tiles, count, logits);
}

void tarn_logits_slice_host(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                            const float *tiles, size_t count, float *logits)
{
    tarn_isa_current()->logits(shape, slice, weights, tiles, count, logits);
}

uint32_t tarn_train_host(const struct tarn_shape *shape, const struct tarn_train_state *state,
                         const struct tarn_train_constants *constants, const float *tiles,
                         const uint32_t *labels, float *losses, const struct tarn_train_part *part)
{
    return tarn_isa_current()->train(shape, state, constants, tiles, labels, losses, part);
}

void tarn_wide_host(const struct tarn_wide_constants *constants,
                    const struct tarn_wide_arrays *arrays, uint32_t first, uint32_t count)
{
    tarn_isa_current()->wide(constants, arrays, first, count);
}

void tarn_members_host(const struct tarn_members *members, size_t count, float *scores)
{
    tarn_isa_current()->members(members, count, scores);
}

uint32_t tarn_wide_groups(const struct tarn_wide_constants *c)
{
    uint32_t down = (c->rows + TARN_WIDE_SIDE - 1) / TARN_WIDE_SIDE;
    uint32_t across = (c->columns + TARN_WIDE_SIDE - 1) / TARN_WIDE_SIDE;
    switch (c->op) {
    case TARN_WIDE_PRODUCT:
        return down * across;
    case TARN_WIDE_SCORE:
    case TARN_WIDE_LOSS:
        return across;
    case TARN_WIDE_ADAM:
        return (c->rows + TARN_WIDE_FLAT - 1) / TARN_WIDE_FLAT;
    case TARN_WIDE_PASS:
        return (c->columns + TARN_WIDE_PASS_SAMPLES - 1) / TARN_WIDE_PASS_SAMPLES;
    case TARN_WIDE_UPDATE:
        return (TARN_WIDE_PADDED(c->hidden1) + TARN_WIDE_PADDED(c->hidden2) +
                TARN_WIDE_PADDED(c->outputs)) /
               TARN_WIDE_UPDATE_ROWS;
    default:
        return down;
    }
}

bool tarn_shape_is_valid(const struct tarn_shape *s)
{
    return s->inputs >= 1 && s->inputs <= TARN_MAX_WIDTH && s->hidden1 >= 1 &&
           s->hidden1 <= TARN_MAX_WIDTH && s->hidden2 >= 1 && s->hidden2 <= TARN_MAX_WIDTH &&
           s->outputs >= 1 && s->outputs <= TARN_MAX_BINS;
}

bool tarn_shape_is_scorable(const struct tarn_shape *s)
{
    return s->inputs >= 1 && s->inputs <= TARN_MAX_WIDTH && s->hidden1 >= 1 &&
           s->hidden1 <= TARN_MAX_FORWARD_WIDTH && s->hidden2 >= 1 &&
           s->hidden2 <= TARN_MAX_FORWARD_WIDTH && s->outputs >= 1 && s->outputs <= TARN_MAX_BINS;
}

size_t tarn_shape_weights(const struct tarn_shape *s)
{
    return (size_t)s->hidden1 * (s->inputs + 1) + (size_t)s->hidden2 * (s->hidden1 + 1) +
           (size_t)s->outputs * (s->hidden2 + 1);
}

size_t tarn_shape_tile_floats(const struct tarn_shape *s, size_t count)
{
    return (count + TARN_LANES - 1) / TARN_LANES * TARN_LANES * s->inputs;
}

static size_t whole_rows(uint32_t n)
{
    return ((size_t)n + TARN_LANES - 1) / TARN_LANES * TARN_LANES;
}

/* GPU shapes: a batch's activations, and the gradients and loss. Others: these two in whole rows. */
size_t tarn_train_scratch_floats(const struct tarn_shape *s, uint32_t batch)
{
    size_t gpu =
        (size_t)batch * (2 * s->hidden1 + 2 * s->hidden2 + s->outputs + 1) + tarn_shape_weights(s);
    size_t cpu = (s->inputs + 1) * whole_rows(s->hidden1) +
                 (s->hidden1 + 1) * whole_rows(s->hidden2) +
                 (s->hidden2 + 1) * whole_rows(s->outputs) + TARN_LANES;
    return gpu > cpu ? gpu : cpu;
}
