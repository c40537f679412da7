/* SPDX-License-Identifier: Apache-2.0 */
/* Candidate rounds: what is drawn, who leaves, who stays in the pool, and what a bad network may do. */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "evict/evictor.h"
#include "kernels/layout.h"

struct world {
    struct tarn_table table;
    struct tarn_capacity capacity;
    struct tarn_world shared;
    struct tarn_evictor evictor;
    struct one_version version;
    uint64_t now;
};

static bool begin(struct world *w, uint32_t objects, tarn_expert expert, uint32_t list_limit,
                  uint32_t list_share)
{
    memset(w, 0, sizeof *w);
    w->capacity = (struct tarn_capacity){.limit = objects};
    if (tarn_table_init(&w->table, objects, NULL) != TARN_OK || !version_open(&w->version, NULL))
        return false;
    w->shared.reader = w->version.reader;
    w->shared.gdsf_floor = &w->evictor.gdsf_floor;
    w->now = 1;
    tarn_cohorts_init(&w->shared.cohorts, objects / 64, w->now);
    return tarn_evictor_init(&w->evictor, &(struct tarn_evictor_params){
                                              .table = &w->table,
                                              .capacity = &w->capacity,
                                              .world = &w->shared,
                                              .live = true,
                                              .share = 1,
                                              .expert = {expert},
                                              .weight = {1},
                                              .list_limit = list_limit,
                                              .list_share = list_share,
                                              .device_limit = list_limit,
                                              .device_share = list_share,
                                              .seed = 5,
                                          }) == TARN_OK;
}

static void end(struct world *w)
{
    tarn_evictor_free(&w->evictor);
    tarn_sketch_free(&w->shared.sketch);
    tarn_table_free(&w->table);
    version_close(&w->version);
}

static void leave(struct world *w, uint32_t slot, tarn_remove_reason reason)
{
    tarn_evictor_remove(&w->evictor, slot, reason, w->now);
    tarn_table_remove(&w->table, slot);
    w->capacity.used--;
}

/* A get of `key`, stored if it missed; returns whether it hit. */
static bool use(struct world *w, uint64_t key)
{
    uint64_t hash = tarn_splitmix64(&key);
    uint32_t slot = tarn_index_find(w->table.index, hash, NULL, NULL);
    w->now++;
    if (slot != TARN_NONE) {
        tarn_evictor_hit(&w->evictor, slot, w->now);
        return true;
    }
    tarn_evictor_miss(&w->evictor, hash, w->now);
    if (w->capacity.used == w->capacity.limit) {
        uint32_t victim = tarn_evictor_victim(&w->evictor, w->now);
        CHECK(tarn_table_is_resident(&w->table, victim));
        leave(w, victim, TARN_REMOVE_EVICTED);
    }
    CHECK(tarn_table_insert(&w->table, hash, &slot) == TARN_OK);
    w->capacity.used++;
    tarn_evictor_insert(&w->evictor, slot, 1, w->now);
    return false;
}

static uint32_t run(struct world *w, int requests, uint64_t seed)
{
    struct tarn_rng rng;
    uint32_t hits = 0;
    tarn_rng_seed(&rng, seed);
    for (int i = 0; i < requests; i++) {
        double u = tarn_rng_double(&rng);
        hits += use(w, (uint64_t)(u * u * u * 4 * (double)w->capacity.limit));
    }
    return hits;
}

static void score(struct world *w)
{
    tarn_round_score(&w->evictor, &w->evictor.round);
    tarn_round_leave(&w->evictor, &w->evictor.round);
}

static int by_score(const void *a, const void *b)
{
    const struct tarn_pool_entry *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* The lowest of pool and round together are the list, in order; the lowest of the rest the pool. */
static void check_rounds(tarn_expert expert, uint32_t objects, uint32_t limit, uint32_t share,
                         bool bytes)
{
    static struct tarn_pool_entry all[TARN_ROUND_MAX + TARN_POOL_MAX];
    struct world w;
    REQUIRE(begin(&w, objects, expert, limit, share));
    w.capacity.bytes = bytes; /* of one byte each */
    run(&w, (int)objects * 6, 1);
    uint32_t kept_before = 0, stale = 0;
    for (int i = 0; i < 60; i++) {
        run(&w, 7, (uint64_t)i);
        struct tarn_evictor *e = &w.evictor;
        tarn_round_draw(e, &e->round, w.now);
        REQUIRE(e->round.count > e->round.stale);
        score(&w);
        uint32_t n = e->pool_count, drawn = e->round.count;
        stale += e->round.stale;
        kept_before += n;
        memcpy(all, e->pool, n * sizeof *all);
        for (uint32_t k = 0; k < drawn; k++) {
            uint32_t slot = e->round.slot[k];
            REQUIRE(tarn_table_is_resident(&w.table, slot));
            for (uint32_t j = 0; j < n + k; j++)
                CHECK(all[j].slot != slot); /* nobody twice */
            all[n + k] =
                (struct tarn_pool_entry){slot, e->round.last[k], (uint32_t)w.now, e->round.raw[k]};
        }
        struct tarn_ranks ranks = e->ranks[0];
        tarn_ranks_add(&ranks, e->round.raw + e->round.stale, drawn - e->round.stale);
        REQUIRE(tarn_ranks_ready(&ranks));
        for (uint32_t k = n; k < n + drawn; k++)
            all[k].score = tarn_ranks_of(&ranks, all[k].score);
        n += drawn;
        qsort(all, n, sizeof *all, by_score);
        tarn_round_finish(e, &e->round);
        uint32_t victims = objects / share;
        victims = victims < 1 ? 1 : victims > limit ? limit : victims;
        uint32_t pool = bytes ? TARN_POOL_BYTES : TARN_POOL_OBJECTS;
        pool = objects / 16 > pool ? pool : objects / 16;
        REQUIRE(e->list_count == victims && e->list_next == 0);
        for (uint32_t k = 0; k < victims; k++)
            CHECK(e->list[k].slot == all[k].slot && e->list[k].score == all[k].score &&
                  e->list[k].last == all[k].last);
        CHECK_NUMBER(e->pool_count, n - victims < pool ? n - victims : pool);
        qsort(e->pool, e->pool_count, sizeof *e->pool, by_score);
        for (uint32_t k = 0; k < e->pool_count; k++)
            CHECK(e->pool[k].slot == all[victims + k].slot &&
                  e->pool[k].scored == all[victims + k].scored);
    }
    CHECK(kept_before > 0 && stale > 0); /* some scores were kept, some renewed */
    end(&w);
}

static void the_lowest_leave_and_the_next_are_kept(void)
{
    check_rounds(TARN_EXPERT_NET, 300, 8, 512, false);
    check_rounds(TARN_EXPERT_LFU, 600, 8, 128, false);
    check_rounds(TARN_EXPERT_STICKY, 5000, 8, 512, false);
    check_rounds(TARN_EXPERT_LIRS, 2000, 256, 16, false);
    check_rounds(TARN_EXPERT_NET, 2000, 4, 1024, true);
    check_rounds(TARN_EXPERT_LFU, 6000, 4, 1024, true);
}

/* With one victim in four residents and all of them drawn, the worst quarter has to go. */
static void the_worst_of_all_residents_leave(void)
{
    struct world w;
    REQUIRE(begin(&w, 64, TARN_EXPERT_LFU, 16, 4));
    for (uint64_t i = 0; i < 2000; i++)
        use(&w, i % 3 == 0 ? 1000 + i : i % 20);
    for (uint64_t key = 0; key < 20; key++)
        CHECK(use(&w, key)); /* what is used all the time was never evicted */
    end(&w);
}

static void what_changed_since_is_skipped(void)
{
    struct world w;
    REQUIRE(begin(&w, 2048, TARN_EXPERT_LFU, 8, 256));
    run(&w, 10000, 2);
    struct tarn_evictor *e = &w.evictor;
    tarn_round_draw(e, &e->round, w.now);
    tarn_round_finish(e, &e->round);
    REQUIRE(tarn_evictor_stock(e) == 8);
    w.now++;
    tarn_evictor_hit(e, e->list[0].slot, w.now);
    leave(&w, e->list[1].slot, TARN_REMOVE_DELETED);
    CHECK_NUMBER(tarn_evictor_victim(e, w.now), e->list[2].slot);
    CHECK_NUMBER(tarn_evictor_stock(e), 5);
    end(&w);
}

static void what_is_asked_for_while_it_is_scored_is_dropped(void)
{
    struct world w;
    REQUIRE(begin(&w, 2048, TARN_EXPERT_LFU, 8, 256));
    run(&w, 10000, 2);
    struct tarn_evictor *e = &w.evictor;
    tarn_round_draw(e, &e->round, w.now++);
    uint32_t pooled = e->pool_count;
    CHECK(e->round.count > 8);
    for (uint32_t i = 0; i < e->round.count; i++)
        tarn_evictor_hit(e, e->round.slot[i], w.now);
    tarn_round_finish(e, &e->round);
    CHECK_NUMBER(e->list_count + e->pool_count, pooled);
    end(&w);
}

/* A device's round is drawn, a round on the host comes between, objects leave, then it is finished. */
static void rounds_may_overlap(void)
{
    struct world w;
    struct tarn_round other;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    REQUIRE(begin(&w, 1500, TARN_EXPERT_NET, 64, 16));
    float *tiles = tarn_alloc_aligned(64, TARN_ROUND_MAX * TARN_FEATURES * sizeof *tiles);
    REQUIRE(tiles != NULL &&
            tarn_round_init(&other, TARN_ROUND_MAX, TARN_EXPERTS, tiles) == TARN_OK);
    run(&w, 9000, 3);
    int lists_left = 0;
    for (int i = 0; i < 200; i++) {
        tarn_round_draw(&w.evictor, &other, w.now);
        tarn_round_leave(&w.evictor, &other);
        run(&w, (int)tarn_rng_below(&rng, 200), (uint64_t)i);
        for (int k = 0; k < 3; k++)
            leave(&w, tarn_table_resident(&w.table, tarn_rng_below(&rng, w.table.count)),
                  TARN_REMOVE_DELETED);
        if (tarn_round_wants_net(&other))
            tarn_model_score(w.version.bundle->model, other.tiles, other.count, other.raw);
        /* the lowest that is still to be evicted, unless the new round has a lower one */
        const struct tarn_pool_entry *next = &w.evictor.list[w.evictor.list_next];
        float lowest = INFINITY;
        for (; next < w.evictor.list + w.evictor.list_count && lowest == INFINITY; next++)
            if (tarn_table_is_resident(&w.table, next->slot) &&
                tarn_table_meta(&w.table, next->slot)->last == next->last)
                lowest = next->score;
        lists_left += lowest < INFINITY;
        tarn_round_finish(&w.evictor, &other);
        CHECK(w.evictor.list_count > 0 && w.evictor.list[0].score <= lowest);
        for (uint32_t k = 0; k < w.evictor.list_count; k++) {
            const struct tarn_pool_entry *entry = &w.evictor.list[k];
            CHECK(tarn_table_is_resident(&w.table, entry->slot));
            CHECK_NUMBER(tarn_table_meta(&w.table, entry->slot)->last, entry->last);
        }
    }
    CHECK(lists_left > 20);
    tarn_round_free(&other);
    tarn_free(tiles); /* they were borrowed */
    end(&w);
}

/* Objects that no round has drawn yet must be drawable in every round. */
static void every_round_finds_candidates(void)
{
    struct world w;
    REQUIRE(begin(&w, 60000, TARN_EXPERT_LFU, 8, 512));
    for (uint64_t key = 0; key < 60000; key++)
        use(&w, key);
    for (int i = 0; i < 600; i++) {
        tarn_round_draw(&w.evictor, &w.evictor.round, w.now);
        CHECK(w.evictor.round.count - w.evictor.round.stale >= 56);
        tarn_round_finish(&w.evictor, &w.evictor.round);
    }
    end(&w);
}

static void a_network_that_is_not_numbers_does_no_harm(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    struct world w;
    REQUIRE(begin(&w, 500, TARN_EXPERT_LFU, 8, 512));
    uint32_t hits_of_lfu = run(&w, 30000, 6);
    end(&w);
    for (int i = 0; i < 4; i++) {
        REQUIRE(begin(&w, 500, TARN_EXPERT_NET, 8, 512));
        w.evictor.expert[1] = TARN_EXPERT_LFU;
        w.evictor.weight[0] = w.evictor.weight[1] = 0.5f;
        for (size_t k = 0; k < TARN_NET_PARAMETERS; k++)
            w.version.bundle->model->weights[k] = bad[i];
        uint32_t hits = run(&w, 30000, 6);
        /* the other expert decides alone */
        CHECK(hits > hits_of_lfu * 98 / 100);
        for (uint32_t k = 0; k < w.evictor.pool_count; k++)
            CHECK(isfinite(w.evictor.pool[k].score));
        w.evictor.weight[0] = 1;
        w.evictor.weight[1] = 0; /* and without one, anybody may leave */
        CHECK(run(&w, 5000, 7) > 500);
        end(&w);
    }
}

/* Features in tiles: a lane a candidate, the lanes past the last one zeros. */
static void tiles_hold_the_features_of_the_candidates(void)
{
    struct world w;
    REQUIRE(begin(&w, 700, TARN_EXPERT_NET, 8, 512));
    run(&w, 5000, 8);
    struct tarn_round *round = &w.evictor.round;
    bool partial = false;
    for (int i = 0; i < 30; i++) {
        run(&w, 31, (uint64_t)i);
        tarn_round_draw(&w.evictor, round, w.now);
        struct tarn_feature_frame frame = tarn_feature_frame(&w.shared.cohorts, &w.evictor.rates,
                                                             w.now, w.evictor.period, 1, false);
        for (uint32_t k = 0; k < (round->count + TARN_LANES - 1) / TARN_LANES * TARN_LANES; k++) {
            int8_t x[TARN_FEATURES] = {0};
            if (k < round->count)
                tarn_features(&frame, tarn_table_meta(&w.table, round->slot[k]), x);
            else
                partial = true;
            const float *tile =
                round->tiles + k / TARN_LANES * TARN_FEATURES * TARN_LANES + k % TARN_LANES;
            for (int f = 0; f < TARN_FEATURES; f++)
                CHECK(tile[f * TARN_LANES] == (float)x[f] / 32);
        }
        score(&w);
        tarn_round_finish(&w.evictor, round);
    }
    CHECK(partial);
    end(&w);
}

/* Another version goes live: what the one before said of pooled objects is asked again, not compared. */
static void a_round_sees_one_version(void)
{
    static const struct tarn_change why = {.reason = TARN_REASON_MANUAL};
    struct world w;
    struct tarn_round other;
    REQUIRE(begin(&w, 1500, TARN_EXPERT_NET, 8, 16));
    float *tiles = tarn_alloc_aligned(64, TARN_ROUND_MAX * TARN_FEATURES * sizeof *tiles);
    REQUIRE(tiles != NULL &&
            tarn_round_init(&other, TARN_ROUND_MAX, TARN_EXPERTS, tiles) == TARN_OK);
    run(&w, 9000, 3);
    struct tarn_evictor *e = &w.evictor;
    CHECK(e->pool_count > 8 && e->pool_version == 1);

    /* a device has drawn by version 1 when 2 goes live */
    tarn_round_draw(e, &other, w.now);
    CHECK(other.version == 1 && other.bundle != NULL);
    tarn_round_leave(e, &other);
    CHECK(other.bundle == NULL && other.count > 0);
    struct tarn_bundle *second = bundle_of(w.version.bundle->model);
    REQUIRE(tarn_slot_swap(w.version.slot, second, 0, &why, NULL, NULL) == TARN_OK);
    tarn_model_score(w.version.bundle->model, other.tiles, other.count, other.raw);
    uint32_t pooled = e->pool_count;
    w.now++;
    tarn_round_draw(e, &e->round, w.now);
    CHECK(e->round.version == 2 && e->round.stale == pooled && e->pool_count == 0);
    score(&w);
    tarn_round_finish(e, &e->round);
    CHECK(e->pool_version == 2 && e->list_version == 2);
    for (uint32_t i = 0; i < e->pool_count; i++)
        CHECK_NUMBER(e->pool[i].scored, w.now);

    /* what it said comes too late */
    struct tarn_pool_entry list[8];
    memcpy(list, e->list, sizeof list);
    pooled = e->pool_count;
    tarn_round_finish(e, &other);
    CHECK(e->pool_version == 2 && e->pool_count == pooled && other.count == 0);
    CHECK(memcmp(list, e->list, sizeof list) == 0);
    tarn_round_free(&other);
    tarn_free(tiles);
    end(&w);
}

/* Nor are scores of different widths of an elastic network compared. */
static void a_round_sees_one_width(void)
{
    struct world w;
    REQUIRE(begin(&w, 1500, TARN_EXPERT_NET, 8, 16));
    w.version.bundle->model->nested = (struct tarn_nested){{8, 16}, 1};
    run(&w, 9000, 3);
    struct tarn_evictor *e = &w.evictor;
    CHECK(e->pool_count > 8 && e->pool_slice == 0 && e->list_slice == 0);
    const struct {
        uint32_t width, slice;
        bool exits;
    } steps[] = {{8, 8, false}, {16, 16, false}, {16, TARN_SLICE(16u, 1u), true}, {0, 0, false}};
    for (int i = 0; i < 4; i++) {
        uint32_t pooled = e->pool_count;
        float wanted[64];
        w.shared.width = steps[i].width;
        w.shared.exits = steps[i].exits;
        w.now++;
        tarn_round_draw(e, &e->round, w.now);
        CHECK(e->round.slice == steps[i].slice && e->round.stale == pooled && e->pool_count == 0);
        tarn_round_score(e, &e->round);
        tarn_forward_slice_host(&w.version.bundle->model->shape, steps[i].slice,
                                w.version.bundle->model->weights, e->round.tiles, 16, wanted);
        CHECK(memcmp(wanted, e->round.raw, 16 * sizeof *wanted) == 0);
        tarn_round_leave(e, &e->round);
        tarn_round_finish(e, &e->round);
        CHECK(e->pool_slice == steps[i].slice && e->list_slice == steps[i].slice);
        /* the same width again: what is in the pool stands */
        w.now++;
        pooled = e->pool_count;
        tarn_round_draw(e, &e->round, w.now);
        CHECK(pooled == 0 || e->round.stale < pooled);
        tarn_round_score(e, &e->round);
        tarn_round_leave(e, &e->round);
        tarn_round_finish(e, &e->round);
    }
    end(&w);
}

/* As the engine's thread fills the list: some at once, and the next best once more where it is too late. */
static void who_fills_ahead_leaves_a_reserve(void)
{
    struct world w;
    struct tarn_round round;
    REQUIRE(begin(&w, 4000, TARN_EXPERT_LFU, 64, 32));
    run(&w, 24000, 1);
    struct tarn_evictor *e = &w.evictor;
    REQUIRE(tarn_round_init(&round, TARN_POOL_MAX + 16 * 32, e->experts, NULL) == TARN_OK);
    round.ahead = true;
    round.at_once = 16;
    e->list_next = e->list_count;
    for (uint32_t n = 1; n <= 5; n++) {
        tarn_round_draw(e, &round, w.now);
        CHECK(round.count - round.stale <= 16 * 32);
        tarn_round_score(e, &round);
        tarn_round_leave(e, &round);
        tarn_round_finish(e, &round);
        CHECK_NUMBER(tarn_evictor_stock(e), n < 4 ? n * 16 : 64);
    }
    uint64_t rounds = e->rounds;
    float listed = e->list[e->list_count - 1].score;
    uint32_t pooled = e->pool_count;
    REQUIRE(pooled > 8);
    for (uint32_t i = 0; i < 64; i++)
        leave(&w, tarn_evictor_victim(e, w.now), TARN_REMOVE_EVICTED);
    CHECK_NUMBER(tarn_evictor_stock(e), 0);
    leave(&w, tarn_evictor_victim(e, w.now), TARN_REMOVE_EVICTED);
    CHECK_NUMBER(tarn_evictor_stock(e), 7);
    CHECK_NUMBER(e->pool_count, pooled - 8);
    CHECK(e->list[0].score >= listed && e->list[7].score >= e->list[0].score);
    for (uint32_t i = 0; i < e->pool_count; i++)
        CHECK(e->pool[i].score >= e->list[7].score);
    for (uint32_t i = 0; i < 7; i++)
        leave(&w, tarn_evictor_victim(e, w.now), TARN_REMOVE_EVICTED);
    CHECK_NUMBER(e->rounds, rounds);
    leave(&w, tarn_evictor_victim(e, w.now), TARN_REMOVE_EVICTED); /* once only */
    CHECK_NUMBER(e->rounds, rounds + 1);
    tarn_round_free(&round);
    end(&w);
}

static bool count_sample(void *context, uint64_t hash, uint8_t tag,
                         const int8_t features[TARN_FEATURES], uint64_t now, float period)
{
    (void)hash, (void)tag, (void)features, (void)now, (void)period;
    ++*(uint32_t *)context;
    return false;
}

static void who_fills_ahead_takes_the_samples(void)
{
    struct world w;
    uint32_t samples = 0;
    REQUIRE(begin(&w, 500, TARN_EXPERT_LFU, 8, 64));
    w.shared.observer = (struct tarn_observer){.context = &samples, .sample = count_sample};
    w.shared.sample_share = 1;
    run(&w, 3000, 1);
    CHECK(samples > 1000); /* nobody does */
    struct tarn_hits hits = {0};
    struct tarn_evictor *e = &w.evictor;
    e->hits = &hits; /* there is a thread */
    e->round.ahead = true;
    tarn_round_draw(e, &e->round, w.now);
    score(&w);
    tarn_round_finish(e, &e->round);
    e->round.ahead = false;
    uint32_t evictions = e->evictions;
    samples = 0;
    while (e->evictions - evictions < 1000)
        run(&w, 1, w.now);
    CHECK_NUMBER(samples, 0);
    while (e->evictions - evictions < 1100)
        run(&w, 1, w.now);
    CHECK(samples > 60); /* who did is gone */
    end(&w);
}

CHECK_MAIN(CASE(who_fills_ahead_leaves_a_reserve), CASE(who_fills_ahead_takes_the_samples),
           CASE(a_round_sees_one_version), CASE(a_round_sees_one_width),
           CASE(the_lowest_leave_and_the_next_are_kept), CASE(the_worst_of_all_residents_leave),
           CASE(what_changed_since_is_skipped),
           CASE(what_is_asked_for_while_it_is_scored_is_dropped), CASE(rounds_may_overlap),
           CASE(every_round_finds_candidates), CASE(a_network_that_is_not_numbers_does_no_harm),
           CASE(tiles_hold_the_features_of_the_candidates))
