/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All interleavings of what three threads do with a slot: swap, rollback, read, free. It is the slot's
 * real code that runs, built with steps that stop before each atomic operation (deploy_explore.h).
 *
 * Executions are replayed from the start along a schedule. Two states are the same if every thread has
 * seen the same writes and every object was last written by the same one; one that was met before
 * is not gone on from. So each order of operations that could make a difference is met
 * once. What this doesn't show is a machine that reorders memory; one case of it is planted below.
 */
#include "../check.h"

#include <stdint.h>
#include <ucontext.h>

#include "base/hash.h"
#include "base/memory.h"
#include "deploy/slot.h"

#define THREADS 3
#define BUNDLES 5
#define OBJECTS (3 + THREADS + BUNDLES)
#define DEPTH   200
#define STACK   65536

enum fault { NO_FAULT, NOBODY_READS, LATE_STORE, EARLY_LEAVE };

struct thread {
    ucontext_t context;
    bool done;
    const volatile void *object; /* of the operation that comes next */
    explore_op op;
    uint64_t observed; /* hash of all it did and saw */
    volatile atomic_uint *late;
    unsigned late_value;
    int late_steps;
};

struct program {
    void (*thread[THREADS])(void);
    void (*before)(void), (*after)(void);
    uint32_t keep;
};

static struct {
    const struct program *program;
    enum fault fault;
    ucontext_t main;
    struct thread thread[THREADS];
    int current; /* -1: nobody, steps are free */
    const volatile void *object[OBJECTS];
    uint64_t written[OBJECTS];
    bool locked[OBJECTS];
    int objects;

    tarn_slot *slot;
    struct tarn_slot_reader *reader[THREADS];
    struct tarn_bundle *bundle[BUNDLES];
    bool freed[BUNDLES];
    tarn_status status[BUNDLES];
    int violations;
    const char *violation;

    uint8_t schedule[DEPTH];
    int steps;
    uint64_t *seen; /* states, open addressing */
    size_t seen_mask, seen_count;
    uint8_t (*todo)[DEPTH + 1]; /* schedules to try: length, threads */
    size_t todo_count, todo_room;
    size_t executions;
} x;

static char stacks[THREADS][STACK] __attribute__((aligned(64)));

static void violate(const char *what)
{
    if (x.violations++ == 0)
        x.violation = what;
}

/* ---- steps ---- */

static int object_of(const volatile void *object)
{
    for (int i = 0; i < x.objects; i++)
        if (x.object[i] == object)
            return i;
    violate("an object that the explorer doesn't know");
    return 0;
}

static void watch(const volatile void *object)
{
    x.written[x.objects] = tarn_mix64((uint64_t)x.objects + 1);
    x.locked[x.objects] = false;
    x.object[x.objects++] = object;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    return tarn_mix64(a * 0x9e3779b97f4a7c15u + b);
}

static void happen(struct thread *t, const volatile void *object, explore_op op)
{
    int o = object_of(object);
    t->observed = fold(t->observed, (uint64_t)o * 8 + op);
    if (op != EXPLORE_WRITE)
        t->observed = fold(t->observed, x.written[o]);
    if (op != EXPLORE_READ)
        x.written[o] = fold(t->observed, (uint64_t)(t - x.thread) + 77);
    if (op == EXPLORE_LOCK)
        x.locked[o] = true;
    if (op == EXPLORE_UNLOCK)
        x.locked[o] = false;
}

void explore_step(const volatile void *object, explore_op op)
{
    if (x.current < 0)
        return;
    struct thread *t = &x.thread[x.current];
    t->object = object;
    t->op = op;
    /* nobody can tell if a lock is given back a moment earlier */
    if (op != EXPLORE_UNLOCK)
        swapcontext(&t->context, &x.main);
    if (t->late != NULL && ++t->late_steps == 2) {
        happen(t, t->late, EXPLORE_WRITE);
        atomic_store(t->late, t->late_value);
        t->late = NULL;
    }
    happen(t, object, op);
}

unsigned explore_loaded(const volatile void *object, unsigned value)
{
    if (x.current < 0)
        return value;
    int o = object_of(object);
    if (x.fault == NOBODY_READS && o >= 3 && o < 3 + THREADS)
        return TARN_READER_OFFLINE;
    if (x.fault == EARLY_LEAVE && o == 1)
        return value + 2;
    return value;
}

bool explore_delays(volatile atomic_uint *object, unsigned value)
{
    if (x.current < 0 || x.fault != LATE_STORE || value == TARN_READER_OFFLINE)
        return false;
    struct thread *t = &x.thread[x.current];
    t->late = object;
    t->late_value = value;
    t->late_steps = 0;
    return true;
}

void explore_counted(const volatile void *object, unsigned before)
{
    if (before != 1)
        return;
    for (int i = 0; i < BUNDLES; i++)
        if (x.bundle[i] != NULL && object == &x.bundle[i]->references) {
            if (x.freed[i])
                violate("freed twice");
            x.freed[i] = true;
        }
}

/* ---- the world of one execution ---- */

/* A byte of the bundle is read now: it must not be freed. */
static void use(const struct tarn_bundle *bundle)
{
    explore_step(&bundle->references, EXPLORE_READ);
    for (int i = 0; i < BUNDLES; i++)
        if (x.bundle[i] == bundle && x.freed[i]) {
            violate("a version was freed under its reader");
            return;
        }
    if (bundle->version == 0 || bundle->model->weights[0] != bundle->threshold[0])
        violate("a mix of versions");
}

static struct tarn_bundle *make(int number)
{
    float weights[6];
    struct tarn_bundle *bundle = NULL;
    struct tarn_bundle_params params = {
        .shape = {1, 1, 1, 1}, .weights = weights, .thresholds = 1, .threshold = {(float)number}};
    for (int i = 0; i < 6; i++)
        weights[i] = (float)number;
    if (tarn_bundle_create(&params, &bundle, NULL) != TARN_OK)
        violate("no memory");
    return bundle;
}

static const struct tarn_change trained = {.reason = TARN_REASON_TRAINED};
static const struct tarn_change worse = {.reason = TARN_REASON_REGRESSION, .failed = true};

static void create_world(void)
{
    x.objects = 0;
    x.current = -1;
    for (int i = 0; i < BUNDLES; i++) {
        x.bundle[i] = make(i + 1);
        x.freed[i] = false;
        x.status[i] = TARN_END;
    }
    struct tarn_slot_params params = {.keep = x.program->keep};
    if (tarn_slot_create(&params, x.bundle[0], &trained, &x.slot, NULL) != TARN_OK)
        violate("no memory");
    for (int i = 0; i < THREADS; i++)
        tarn_slot_register(x.slot, &x.reader[i]);
    if (x.program->before != NULL)
        x.program->before();
    struct tarn_slot_front *front = x.reader[0]->front;
    watch(&front->live);
    watch(&front->reclaim.epoch);
    /* the lock: the only other object that the slot steps on */
    watch(NULL);
    for (int i = 0; i < THREADS; i++)
        watch(&x.reader[i]->reader.seen);
    for (int i = 0; i < BUNDLES; i++)
        watch(&x.bundle[i]->references);
}

static void destroy_world(void)
{
    x.current = -1;
    if (tarn_slot_reap(x.slot) != 0)
        violate("a version waits for readers that are all gone");
    tarn_slot_destroy(&x.slot);
    for (int i = 0; i < BUNDLES; i++)
        if (!x.freed[i]) {
            /* given back by those that were not let in */
            if (x.status[i] == TARN_OK || i == 0)
                violate("a version was never freed");
            else
                tarn_bundle_release(&x.bundle[i]);
        }
}

/* ---- exploring ---- */

static bool is_enabled(const struct thread *t)
{
    return !t->done && !(t->op == EXPLORE_LOCK && x.locked[object_of(t->object)]);
}

static void begin(int number)
{
    x.program->thread[number]();
    x.thread[number].done = true;
    swapcontext(&x.thread[number].context, &x.main);
}

static void go_on(int number)
{
    x.current = number;
    swapcontext(&x.main, &x.thread[number].context);
    x.current = -1;
    struct thread *t = &x.thread[number];
    /* any address that is none of the others is the lock's */
    if (!t->done && (t->op == EXPLORE_LOCK || t->op == EXPLORE_UNLOCK) && x.object[2] == NULL)
        x.object[2] = t->object;
}

static void prepare(int number)
{
    memset(&x.thread[number], 0, sizeof x.thread[number]);
    x.thread[number].observed = tarn_mix64((uint64_t)number + 1000);
    getcontext(&x.thread[number].context);
    x.thread[number].context.uc_stack.ss_sp = stacks[number];
    x.thread[number].context.uc_stack.ss_size = STACK;
    makecontext(&x.thread[number].context, (void (*)(void))begin, 1, number);
}

static void start_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        prepare(i);
        go_on(i);
    }
}

static bool is_new_state(void)
{
    uint64_t state = 1;
    for (int i = 0; i < THREADS; i++)
        state = fold(state, x.thread[i].observed);
    for (int i = 0; i < x.objects; i++)
        state = fold(state, x.written[i]);
    if (2 * x.seen_count >= x.seen_mask) {
        size_t size = x.seen_mask == 0 ? 4096 : 2 * (x.seen_mask + 1);
        uint64_t *old = x.seen;
        x.seen = calloc(size, sizeof *x.seen);
        for (size_t i = 0; old != NULL && i <= x.seen_mask; i++)
            if (old[i] != 0) {
                size_t at = old[i] & (size - 1);
                while (x.seen[at] != 0)
                    at = (at + 1) & (size - 1);
                x.seen[at] = old[i];
            }
        x.seen_mask = size - 1;
        free(old);
    }
    size_t at = state & x.seen_mask;
    while (x.seen[at] != 0 && x.seen[at] != state)
        at = (at + 1) & x.seen_mask;
    if (x.seen[at] == state)
        return false;
    x.seen[at] = state;
    x.seen_count++;
    return true;
}

/* The schedule so far, and then this thread. */
static void try_later(int thread)
{
    if (x.todo_count == x.todo_room) {
        x.todo_room = x.todo_room == 0 ? 1024 : 2 * x.todo_room;
        x.todo = realloc(x.todo, x.todo_room * sizeof *x.todo);
    }
    uint8_t *next = x.todo[x.todo_count++];
    next[0] = (uint8_t)(x.steps + 1);
    memcpy(next + 1, x.schedule, (size_t)x.steps);
    next[1 + x.steps] = (uint8_t)thread;
}

/* One execution: along `prefix`, then on to the end; other ways are noted where the state is new. */
static void execute(const uint8_t *prefix)
{
    int along = prefix[0];
    bool fresh = true;
    uint8_t copy[DEPTH + 1];
    memcpy(copy, prefix, (size_t)along + 1);
    create_world();
    start_threads();
    for (x.steps = 0;;) {
        int chosen = -1;
        if (x.steps >= along && fresh)
            fresh = is_new_state();
        for (int i = 0; i < THREADS; i++) {
            if (!is_enabled(&x.thread[i]))
                continue;
            if (x.steps < along)
                chosen = copy[1 + x.steps];
            else if (chosen < 0)
                chosen = i;
            else if (fresh)
                try_later(i);
        }
        if (chosen < 0 || x.steps == DEPTH - 1)
            break;
        x.schedule[x.steps++] = (uint8_t)chosen;
        go_on(chosen);
    }
    for (int i = 0; i < THREADS; i++)
        if (!x.thread[i].done)
            violate("a thread never ends");
    if (x.program->after != NULL)
        x.program->after();
    destroy_world();
    x.executions++;
}

static void explore(const struct program *program, enum fault fault)
{
    memset(&x, 0, sizeof x);
    x.program = program;
    x.fault = fault;
    x.todo = malloc(sizeof *x.todo * (x.todo_room = 1024));
    x.todo[x.todo_count++][0] = 0;
    while (x.todo_count > 0 && x.violations == 0)
        execute(x.todo[--x.todo_count]);
    printf("# %zu states, %zu executions%s%s\n", x.seen_count, x.executions,
           x.violation != NULL ? ": " : "", x.violation != NULL ? x.violation : "");
    free(x.todo);
    free(x.seen);
}

/* ---- what the threads do ---- */

static void batch(int number)
{
    const struct tarn_bundle *bundle = tarn_slot_enter(x.reader[number]);
    use(bundle);
    tarn_slot_leave(x.reader[number]);
}

static void swap_in(int number, uint64_t base)
{
    x.status[number] = tarn_slot_swap(x.slot, x.bundle[number], base, &trained, NULL, NULL);
}

static void swap_two(void)
{
    swap_in(1, 0);
    swap_in(2, 0);
}

/* The version that comes and goes is pushed out of what is kept, so that it may be freed at once. */
static void swap_and_roll_back(void)
{
    swap_in(3, 3);
    if (tarn_slot_rollback(x.slot, 0, 0, &worse, NULL, NULL) != TARN_OK)
        violate("no way back");
    tarn_slot_reap(x.slot);
    x.status[4] = tarn_slot_reject(x.slot, x.bundle[4], &worse, NULL, NULL);
    tarn_slot_reap(x.slot);
}

static void read_twice(void)
{
    batch(1);
    use(tarn_slot_enter(x.reader[1]));
    tarn_slot_offline(x.reader[1]);
}

static void read_once(void)
{
    use(tarn_slot_enter(x.reader[2]));
    tarn_slot_offline(x.reader[2]);
}

static void end_where_it_began(void)
{
    struct tarn_slot_stats stats;
    tarn_slot_get_stats(x.slot, &stats);
    if (stats.live != 3 || stats.swaps != 3 || stats.rollbacks != 1 || stats.kept != 3)
        violate("not where it should have ended");
}

static const struct program readers = {
    {swap_and_roll_back, read_twice, read_once}, swap_two, end_where_it_began, 3};

static void write_second(void)
{
    swap_in(1, 1);
    tarn_slot_reap(x.slot);
}

static void write_third(void)
{
    swap_in(2, 1);
    tarn_slot_reap(x.slot);
}

static void one_has_won(void)
{
    struct tarn_slot_stats stats;
    tarn_slot_get_stats(x.slot, &stats);
    bool second = x.status[1] == TARN_OK, third = x.status[2] == TARN_OK;
    if (second == third || x.status[second ? 2 : 1] != TARN_BUSY || stats.live != 2 ||
        x.bundle[second ? 1 : 2]->version != 2)
        violate("two writers on one base, and not one of them won");
}

static const struct program writers = {
    {write_second, write_third, read_once}, NULL, one_has_won, 0};

/* Swaps push the first version out of what is kept. */
static void swap_third(void)
{
    swap_in(3, 0);
    tarn_slot_reap(x.slot);
}

static void hold_the_first(void)
{
    struct tarn_bundle *bundle;
    if (tarn_slot_hold(x.slot, 1, &bundle) != TARN_OK)
        return;
    use(bundle);
    use(bundle);
    tarn_bundle_release(&bundle);
}

static const struct program holders = {{swap_third, hold_the_first, read_once}, swap_two, NULL, 3};

static void no_order_hurts_readers(void)
{
    explore(&readers, NO_FAULT);
    CHECK_NUMBER(x.violations, 0);
    CHECK(x.seen_count > 1000 && x.executions > 100);
}

static void one_of_two_writers_wins(void)
{
    explore(&writers, NO_FAULT);
    CHECK_NUMBER(x.violations, 0);
    CHECK(x.seen_count > 500);
}

static void counted_references_hold(void)
{
    explore(&holders, NO_FAULT);
    CHECK_NUMBER(x.violations, 0);
    CHECK(x.seen_count > 500);
}

/* The explorer is worth something only if it finds what is wrong. */
static void finds_a_version_freed_too_early(void)
{
    explore(&readers, NOBODY_READS);
    CHECK(x.violation != NULL && strstr(x.violation, "under its reader") != NULL);
}

static void finds_a_store_that_comes_after_the_load(void)
{
    explore(&readers, LATE_STORE);
    CHECK(x.violation != NULL && strstr(x.violation, "under its reader") != NULL);
}

static void finds_a_reader_that_leaves_too_early(void)
{
    explore(&readers, EARLY_LEAVE);
    CHECK(x.violation != NULL && strstr(x.violation, "under its reader") != NULL);
}

CHECK_MAIN(CASE(no_order_hurts_readers), CASE(one_of_two_writers_wins),
           CASE(counted_references_hold), CASE(finds_a_version_freed_too_early),
           CASE(finds_a_store_that_comes_after_the_load),
           CASE(finds_a_reader_that_leaves_too_early))
