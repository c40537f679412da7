/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of wide networks on a device against the host's functions. */
#include "selftest_wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "train.h"
#include "wide.h"

enum {
    ROWS = 70,
    COLUMNS = 90,
    TERMS = 150,
    ROW = 160,
    FLOATS = ROW * ROW,
    ARRAYS = 4,
    SAMPLES = 48
};

/* Each array is ROW x ROW; ragged parts of it are used, both sides of the product turned once. */
static const struct tarn_wide_constants steps[] = {
    {.op = TARN_WIDE_PRODUCT,
     .rows = ROWS,
     .columns = COLUMNS,
     .terms = TERMS,
     .a_row = ROW,
     .a_term = 1,
     .b_term = ROW,
     .b_column = 1,
     .c_row = ROW,
     .flags = TARN_WIDE_HAS_BIAS | TARN_WIDE_LEAKY,
     .bias = 5},
    {.op = TARN_WIDE_PRODUCT,
     .rows = ROWS,
     .columns = COLUMNS,
     .terms = TERMS,
     .a_row = 1,
     .a_term = ROW,
     .b_term = 1,
     .b_column = ROW,
     .c_row = ROW},
    {.op = TARN_WIDE_BIAS,
     .rows = ROWS,
     .columns = ROW,
     .c_row = ROW,
     .flags = TARN_WIDE_HAS_BIAS | TARN_WIDE_LEAKY,
     .bias = 7},
    {.op = TARN_WIDE_SCORE, .rows = 11, .columns = COLUMNS, .a_row = ROW},
    {.op = TARN_WIDE_LOSS, .rows = 11, .columns = ROW, .a_row = ROW, .c_row = ROW, .scale = 0.5f},
    {.op = TARN_WIDE_SLOPE, .rows = ROWS, .columns = ROW, .a_row = ROW, .c_row = ROW},
    {.op = TARN_WIDE_SUM, .rows = ROWS, .columns = COLUMNS, .a_row = ROW},
    {.op = TARN_WIDE_ADAM,
     .rows = 9000,
     .scale = 0.25f,
     .beta1 = 0.9f,
     .beta2 = 0.999f,
     .epsilon = 1e-7f,
     .unbias1 = 10.0f,
     .unbias2 = 1000.0f},
    {.op = TARN_WIDE_PASS,
     .columns = SAMPLES,
     .b_term = SAMPLES * 28,
     .scale = 0.125f,
     .inputs = 28,
     .hidden1 = 70,
     .hidden2 = 35,
     .outputs = 11},
    {.op = TARN_WIDE_UPDATE,
     .columns = SAMPLES,
     .c_row = 4911, /* weights of 28-70-35-11 */
     .scale = 0.25f,
     .beta1 = 0.9f,
     .beta2 = 0.999f,
     .epsilon = 1e-7f,
     .unbias1 = 10.0f,
     .unbias2 = 1000.0f,
     .inputs = 28,
     .hidden1 = 70,
     .hidden2 = 35,
     .outputs = 11},
};

static bool has_labels(const struct tarn_wide_constants *step)
{
    return step->op == TARN_WIDE_LOSS || step->op == TARN_WIDE_PASS;
}

static void fill(struct tarn_rng *rng, float *array[ARRAYS], const struct tarn_wide_constants *step)
{
    bool update = step->op == TARN_WIDE_UPDATE;
    for (int a = 0; a < ARRAYS; a++)
        for (int i = 0; i < FLOATS; i++) {
            float x = (tarn_rng_float(rng) - 0.5f) * 2.0f;
            /* a second moment is never negative */
            array[a][i] = a == 3 || (a == 2 && update) ? 0.1f + x * x : x;
        }
    /* what fills up a scratch means nothing: zeros for all */
    if (step->op == TARN_WIDE_PASS)
        memset(array[2], 0, FLOATS * sizeof *array[2]);
    for (int i = 0; i < SAMPLES * 4 && has_labels(step); i++) {
        uint32_t label = tarn_label(1 + (uint32_t)i % 11, i % 3 == 0 ? i % 11 : -1);
        memcpy(&array[1][step->b_term + (uint32_t)i], &label, sizeof label);
    }
}

/* Largest difference of what a step may write. */
static double difference(float *const got[ARRAYS], float *const wanted[ARRAYS], bool labels)
{
    double worst = 0;
    for (int a = 1; a < ARRAYS; a++)
        for (int i = 0; i < FLOATS; i++) {
            if (a == 1 && labels)
                continue;
            double off =
                fabs((double)got[a][i] - (double)wanted[a][i]) / (1 + fabs((double)wanted[a][i]));
            worst = off <= worst ? worst : off; /* a NaN is a difference */
        }
    return worst;
}

static tarn_status run(tarn_queue *queue, tarn_kernel *kernel, tarn_buffer *const buffer[ARRAYS],
                       const struct tarn_wide_constants *step)
{
    tarn_status status = TARN_OK;
    for (int a = 0; a < ARRAYS && status == TARN_OK; a++)
        status = tarn_buffer_upload(queue, buffer[a], 0, FLOATS * 4);
    if (status == TARN_OK)
        status = tarn_queue_submit(
            queue, &(struct tarn_launch){kernel, buffer, step, tarn_wide_groups(step)}, NULL);
    for (int a = 0; a < ARRAYS && status == TARN_OK; a++)
        status = tarn_buffer_download(queue, buffer[a], 0, FLOATS * 4);
    tarn_status finished = tarn_queue_finish(queue, TARN_FOREVER);
    return status == TARN_OK ? finished : status;
}

tarn_status tarn_selftest_wide(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                               struct tarn_rng *rng, double worst[TARN_SELFTEST_WIDE_STEPS])
{
    _Static_assert(sizeof steps / sizeof steps[0] == TARN_SELFTEST_WIDE_STEPS, "a step more");
    tarn_buffer *buffer[ARRAYS] = {0};
    float *got[ARRAYS], *wanted[ARRAYS], *memory = malloc((size_t)ARRAYS * FLOATS * 4);
    tarn_status status = memory != NULL ? TARN_OK : TARN_NO_MEMORY;
    for (int a = 0; a < ARRAYS && status == TARN_OK; a++) {
        status = tarn_buffer_create(device, &(struct tarn_buffer_params){.size = FLOATS * 4},
                                    &buffer[a]);
        got[a] = tarn_buffer_data(buffer[a]);
        wanted[a] = memory + (size_t)a * FLOATS;
    }
    for (int s = 0; s < TARN_SELFTEST_WIDE_STEPS && status == TARN_OK; s++) {
        fill(rng, wanted, &steps[s]);
        for (int a = 0; a < ARRAYS; a++)
            memcpy(got[a], wanted[a], FLOATS * 4);
        tarn_wide_host(&steps[s],
                       &(struct tarn_wide_arrays){wanted[0], wanted[1], wanted[2], wanted[3]}, 0,
                       tarn_wide_groups(&steps[s]));
        status = run(queue, kernel, buffer, &steps[s]);
        worst[s] = status == TARN_OK ? difference(got, wanted, has_labels(&steps[s])) : INFINITY;
    }
    for (int a = 0; a < ARRAYS; a++)
        tarn_buffer_destroy(&buffer[a]);
    free(memory);
    return status;
}
