/* SPDX-License-Identifier: Apache-2.0 */
#include "score.h"

#include <string.h>

#include "base/memory.h"
#include "gpu/backend.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

#define LONGEST_WAIT_US 10000000 /* a kernel that takes longer hangs */

enum { WEIGHTS, TILES, SCORES, BUFFERS };

struct tarn_score {
    struct tarn_shape shape;
    tarn_device *device;
    tarn_queue *queue;
    tarn_share *share;                /**< the arbiter of the device, or NULL */
    uint64_t arrival;                 /**< of the launch, there */
    struct tarn_kernel_source source; /**< the table's, perhaps with other work-groups */
    tarn_kernel *kernel;
    tarn_buffer *buffer[BUFFERS];
    tarn_event *launch, *done; /**< of the launch, and of the download behind it */
    uint32_t flying;           /**< candidates in flight */
    struct tarn_kernel_stats stats;
};

tarn_status tarn_score_create(tarn_device *device, tarn_queue *queue,
                              const struct tarn_shape *shape, uint32_t room, uint32_t local_size,
                              tarn_score **score, struct tarn_error *error)
{
    tarn_score *s = tarn_alloc_zeroed(1, sizeof *s);
    if (s == NULL)
        return TARN_NO_MEMORY;
    s->shape = *shape;
    s->device = device;
    s->queue = queue;
    s->source = tarn_forward_source;
    if (local_size != 0)
        s->source.gpu_local_size = s->source.gpu_group_elements = local_size;
    size_t size[BUFFERS] = {
        [WEIGHTS] = tarn_shape_weights(shape) * sizeof(float),
        [TILES] = tarn_shape_tile_floats(shape, room) * sizeof(float),
        [SCORES] = (room + TARN_LANES) * sizeof(float),
    };
    int32_t defines[TARN_MAX_DEFINES];
    tarn_shape_defines(shape, defines);
    tarn_status status = tarn_canary_create(
        device, &(struct tarn_kernel_params){.source = &s->source, .defines = defines}, NULL,
        &s->kernel, error);
    for (int i = 0; i < BUFFERS && status == TARN_OK; i++)
        status = tarn_buffer_create(device, &(struct tarn_buffer_params){.size = size[i]},
                                    &s->buffer[i]);
    if (status != TARN_OK)
        tarn_score_destroy(&s);
    else
        *score = s;
    return status;
}

/* What flies uses the buffers; what hangs keeps them. */
static void settle(tarn_score *s)
{
    if (s->launch != NULL && tarn_queue_finish(s->queue, LONGEST_WAIT_US) == TARN_TIMEOUT)
        tarn_device_abandon(s->device, "scores don't end");
}

void tarn_score_destroy(tarn_score **score)
{
    tarn_score *s = *score;
    if (s == NULL)
        return;
    settle(s);
    tarn_event_release(&s->launch);
    tarn_event_release(&s->done);
    tarn_kernel_destroy(&s->kernel);
    for (int i = 0; i < BUFFERS; i++)
        tarn_buffer_destroy(&s->buffer[i]);
    tarn_free(s);
    *score = NULL;
}

float *tarn_score_tiles(tarn_score *s)
{
    return tarn_buffer_data(s->buffer[TILES]);
}

void tarn_score_set_share(tarn_score *s, tarn_share *share)
{
    s->share = share;
}

tarn_status tarn_score_set_weights(tarn_score *s, const float *weights)
{
    if (s->flying > 0)
        return TARN_BUSY;
    size_t size = tarn_buffer_size(s->buffer[WEIGHTS]);
    memcpy(tarn_buffer_data(s->buffer[WEIGHTS]), weights, size);
    return tarn_buffer_upload(s->queue, s->buffer[WEIGHTS], 0, size);
}

tarn_status tarn_score_submit(tarn_score *s, uint32_t slice, uint32_t count)
{
    if (s->flying > 0)
        return TARN_BUSY;
    struct tarn_forward_constants constants = {.count = count, .slice = slice};
    if (s->share != NULL)
        s->arrival = tarn_share_arrive(s->share);
    tarn_status status = tarn_buffer_upload(
        s->queue, s->buffer[TILES], 0, tarn_shape_tile_floats(&s->shape, count) * sizeof(float));
    if (status == TARN_OK)
        status = tarn_queue_submit(s->queue,
                                   &(struct tarn_launch){
                                       .kernel = s->kernel,
                                       .buffers = s->buffer,
                                       .constants = &constants,
                                       .groups = tarn_kernel_groups(s->kernel, count),
                                   },
                                   &s->launch);
    if (status == TARN_OK)
        status = tarn_buffer_download(s->queue, s->buffer[SCORES], 0, count * sizeof(float));
    if (status == TARN_OK)
        status = tarn_queue_mark(s->queue, &s->done);
    if (status == TARN_OK) {
        s->flying = count;
        return TARN_OK;
    }
    settle(s);
    tarn_event_release(&s->launch);
    if (s->share != NULL)
        tarn_share_depart(s->share, s->arrival, 0);
    return status;
}

tarn_status tarn_score_wait(tarn_score *s, uint64_t timeout_us, float *scores)
{
    if (s->flying == 0)
        return TARN_NOT_FOUND;
    tarn_status status = tarn_event_wait(s->done, timeout_us);
    if (status == TARN_TIMEOUT)
        return status;
    struct tarn_event_times times;
    uint64_t device_ns = 0;
    if (status == TARN_OK) {
        memcpy(scores, tarn_buffer_data(s->buffer[SCORES]), s->flying * sizeof(float));
        if (tarn_event_get_times(s->launch, &times) == TARN_OK)
            device_ns = times.end_ns - times.start_ns;
        s->stats.device_ns += device_ns;
        s->stats.launches++;
        s->stats.elements += s->flying;
    }
    if (s->share != NULL)
        tarn_share_depart(s->share, s->arrival, device_ns);
    s->flying = 0;
    tarn_event_release(&s->launch);
    tarn_event_release(&s->done);
    return status;
}

void tarn_score_get_stats(const tarn_score *s, struct tarn_kernel_stats *stats)
{
    *stats = s->stats;
}
