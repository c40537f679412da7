/* SPDX-License-Identifier: Apache-2.0 */
/* What happens above the table of functions, with tables that are incomplete or fail on demand. */
#include "../check.h"

#include <tarn/log.h>

#include "gpu/backend.h"
#include "kernels.h"

static int log_lines;

static void count_lines(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    log_lines++;
}

static void the_built_in_tables_are_whole(void)
{
    struct tarn_error error = {0};
    CHECK(tarn_backend_check(&tarn_backend_host, &error) == TARN_OK);
    CHECK(tarn_backend_check(&tarn_backend_virtual, &error) == TARN_OK);
#if HAVE_OPENCL
    CHECK(tarn_backend_check(&tarn_backend_opencl, &error) == TARN_OK);
#endif
#if HAVE_VULKAN
    CHECK(tarn_backend_check(&tarn_backend_vulkan, &error) == TARN_OK);
#endif
}

static void a_table_with_a_hole_is_refused(void)
{
    struct tarn_error error;
    tarn_device *device = NULL;
    int holes = 0;
#define TRY_WITHOUT(entry, type, arguments)                                                        \
    {                                                                                              \
        struct tarn_backend table = tarn_backend_host;                                             \
        table.entry = NULL;                                                                        \
        error = (struct tarn_error){0};                                                            \
        CHECK(tarn_backend_check(&table, &error) == TARN_INVALID);                                 \
        CHECK(strstr(error.message, #entry) != NULL);                                              \
        CHECK(tarn_backend_open(&table, 0, &device, &error) == TARN_INVALID && device == NULL);    \
        holes++;                                                                                   \
    }
    TARN_BACKEND_REQUIRED(TRY_WITHOUT)
#undef TRY_WITHOUT
    CHECK(holes >= 17);
    struct tarn_backend table = tarn_backend_host;
    table.name = NULL;
    CHECK(tarn_backend_check(&table, &error) == TARN_INVALID);
}

static tarn_status copy_nothing(tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size)
{
    (void)queue;
    (void)buffer;
    (void)offset;
    (void)size;
    return TARN_OK;
}

static tarn_status open_discrete(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    tarn_status status = tarn_backend_host.open(index, device, error);
    if (status == TARN_OK)
        (*device)->info.unified_memory = false;
    return status;
}

static void who_has_to_copy_must_be_able_to(void)
{
    struct tarn_error error = {0};
    tarn_device *device = NULL;
    struct tarn_backend table = tarn_backend_host;
    table.upload = copy_nothing;
    CHECK(tarn_backend_check(&table, &error) == TARN_INVALID); /* a torn pair */
    table.upload = NULL;
    table.open = open_discrete;
    CHECK(tarn_backend_open(&table, 0, &device, &error) == TARN_INVALID && device == NULL);
    table.upload = table.download = copy_nothing;
    CHECK(tarn_backend_open(&table, 0, &device, &error) == TARN_OK);
    tarn_device_close(&device);
}

static tarn_status submit_answer, wait_answer;

static tarn_status submit_as_told(tarn_queue *queue, const struct tarn_launch *launch,
                                  tarn_event *event)
{
    return submit_answer != TARN_OK ? submit_answer
                                    : tarn_backend_host.submit(queue, launch, event);
}

static tarn_status wait_as_told(tarn_event *event, uint64_t timeout_us)
{
    return wait_answer != TARN_OK ? wait_answer : tarn_backend_host.event_wait(event, timeout_us);
}

static int finishes;

static tarn_status count_finish(tarn_queue *queue, uint64_t timeout_us)
{
    finishes++;
    return tarn_backend_host.queue_finish(queue, timeout_us);
}

static void a_loss_from_below_is_sticky_and_said_once(void)
{
    struct tarn_backend table = tarn_backend_host;
    table.submit = submit_as_told;
    table.event_wait = wait_as_told;
    table.queue_finish = count_finish;
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_buffer *buffer = NULL;
    tarn_kernel *kernel = NULL;
    REQUIRE(tarn_backend_open(&table, 0, &device, NULL) == TARN_OK);
    REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &queue) ==
            TARN_OK);
    REQUIRE(tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 4}, &buffer) ==
            TARN_OK);
    REQUIRE(tarn_kernel_create(device, &(struct tarn_kernel_params){.source = &append_source},
                               &kernel, NULL) == TARN_OK);
    uint32_t digit = 2;
    struct tarn_launch launch = {
        .kernel = kernel, .buffers = &buffer, .constants = &digit, .groups = 1};
    tarn_event *event = NULL, *failed = NULL;
    unsigned before = atomic_load(&device->children);
    submit_answer = TARN_DEVICE_MEMORY; /* an error, but no loss; its event goes back */
    CHECK(tarn_queue_submit(queue, &launch, &failed) == TARN_DEVICE_MEMORY);
    CHECK(failed == NULL && !tarn_device_is_lost(device));
    CHECK_NUMBER(atomic_load(&device->children), before);
    submit_answer = TARN_OK;
    REQUIRE(tarn_queue_submit(queue, &launch, &event) == TARN_OK);
    wait_answer = TARN_TIMEOUT;
    struct tarn_event_times times;
    CHECK(tarn_event_wait(event, 5) == TARN_TIMEOUT);
    CHECK(tarn_event_get_times(event, &times) == TARN_BUSY);
    wait_answer = TARN_DEVICE_LOST;
    log_lines = 0;
    tarn_log_set(count_lines, NULL, TARN_LOG_ERROR);
    CHECK(tarn_event_wait(event, 5) == TARN_DEVICE_LOST);
    wait_answer = TARN_OK; /* the driver may come back, the device doesn't */
    CHECK(tarn_event_wait(event, 5) == TARN_DEVICE_LOST);
    CHECK(tarn_queue_submit(queue, &launch, NULL) == TARN_DEVICE_LOST);
    CHECK_NUMBER(log_lines, 1);
    CHECK_NUMBER(((uint32_t *)tarn_buffer_data(buffer))[0], 2);
    tarn_event_release(&event);
    finishes = 0;
    tarn_queue_destroy(&queue);
    CHECK_NUMBER(finishes, 0); /* nobody waits for a lost device */
    tarn_buffer_destroy(&buffer);
    tarn_kernel_destroy(&kernel);
    CHECK_NUMBER(log_lines, 1);
    tarn_device_close(&device);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
}

static void a_finished_event_is_not_asked_about_again(void)
{
    struct tarn_backend table = tarn_backend_host;
    table.event_wait = wait_as_told;
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_event *event = NULL, *again = NULL;
    submit_answer = wait_answer = TARN_OK;
    REQUIRE(tarn_backend_open(&table, 0, &device, NULL) == TARN_OK);
    CHECK(tarn_queue_create(device, &(struct tarn_queue_params){(tarn_priority)7}, &queue) ==
          TARN_INVALID);
    CHECK(queue == NULL);
    REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH}, &queue) ==
            TARN_OK);
    REQUIRE(tarn_queue_mark(queue, &event) == TARN_OK);
    CHECK(tarn_event_wait(event, 0) == TARN_OK);
    wait_answer = TARN_DRIVER;
    CHECK(tarn_event_wait(event, 0) == TARN_OK);
    tarn_event *first = event;
    tarn_event_release(&event);
    REQUIRE(tarn_queue_mark(queue, &again) == TARN_OK);
    CHECK(again == first); /* the wrapper is used again, and starts afresh */
    CHECK(tarn_event_wait(again, 0) == TARN_DRIVER);
    wait_answer = TARN_OK;
    tarn_event_release(&again);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
}

CHECK_MAIN(CASE(the_built_in_tables_are_whole), CASE(a_table_with_a_hole_is_refused),
           CASE(who_has_to_copy_must_be_able_to), CASE(a_loss_from_below_is_sticky_and_said_once),
           CASE(a_finished_event_is_not_asked_about_again))
