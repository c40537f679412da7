/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The learned policy in a real cache, against a model that keeps whole histories: what metadata hold
 * after hits, evictions and returns; what the observer is told; and that times may pass 2^32.
 */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/rng.h"
#include "evict/learned.h"
#include "learn/ring.h"

#include "cache/cache.h"

#define KEYS 400

struct object {
    uint64_t hash, last, inserted, evicted_at; /* evicted_at: the count of evictions then */
    uint32_t gap[TARN_GAPS], freq, hits;
    double decayed;
    bool resident, known, ghost, asked; /* known: has a history; asked: since it was evicted */
    int open;                           /* samples that wait */
};

struct world {
    tarn_cache *cache;
    struct tarn_learned *learned;
    struct one_version version;
    struct tarn_learned_params params;
    struct object object[KEYS];
    uint64_t now, evictions, clock;
    uint64_t samples, wanted, unwanted;
    uint64_t found, lost; /* ghosts; a full set of their table drops its oldest now and then */
    /* what the model says that the observer is to be told next */
    int expected_key;
    bool expected_wanted;
};

static struct object *find(struct world *w, uint64_t hash)
{
    for (int i = 0; i < KEYS; i++)
        if (w->object[i].hash == hash)
            return &w->object[i];
    return NULL;
}

static bool sample(void *context, uint64_t hash, uint8_t tag, const int8_t *features, uint64_t now,
                   float period)
{
    struct world *w = context;
    struct object *o = find(w, hash);
    (void)features;
    (void)tag;
    CHECK(o != NULL && o->resident && period >= 64 && now == w->now);
    if (o != NULL)
        o->open++;
    w->samples++;
    return true;
}

static void resolve(void *context, uint64_t hash, uint64_t now, bool wanted)
{
    struct world *w = context;
    struct object *o = find(w, hash);
    CHECK(now == w->now && o != NULL);
    if (o == NULL || o->open == 0)
        return; /* telling too much is harmless */
    CHECK_NUMBER(o - w->object, w->expected_key);
    CHECK_NUMBER(wanted, w->expected_wanted);
    w->wanted += wanted;
    w->unwanted += !wanted;
    o->open = 0;
}

static uint64_t world_clock(void *context)
{
    return ((struct world *)context)->clock;
}

static tarn_status factory(void *context, struct tarn_table *table,
                           const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct world *w = context;
    return tarn_learned_create(&w->params, table, capacity, policy, &w->learned);
}

static bool open_world(struct world *w, uint64_t objects, uint64_t memory, uint64_t first,
                       bool shadows)
{
    memset(w, 0, sizeof *w);
    for (uint32_t i = 0; i < KEYS; i++)
        w->object[i].hash = tarn_cache_hash(&i, sizeof i);
    w->now = first;
    w->expected_key = -1;
    w->clock = 1000;
    if (!version_open(&w->version, NULL))
        return false;
    w->params = (struct tarn_learned_params){.reader = w->version.reader,
                                             .shadows = shadows,
                                             .ring = 1 << 20,
                                             .seed = 3,
                                             .now = first,
                                             .observer = {w, sample, resolve}};
    return tarn_cache_create_with(
               &(struct tarn_cache_params){.objects = objects, .memory = memory, .seed = 1},
               &(struct tarn_cache_hooks){.factory = factory,
                                          .factory_context = w,
                                          .first_request = first,
                                          .clock_ms = world_clock,
                                          .clock_context = w},
               &w->cache) == TARN_OK;
}

static void close_world(struct world *w)
{
    tarn_cache_destroy(&w->cache);
    version_close(&w->version);
}

static uint32_t slot_of(struct world *w, int key)
{
    return tarn_index_find(tarn_cache_table(w->cache)->index, w->object[key].hash, NULL, NULL);
}

/* ---- the model ---- */

static void extend(struct object *o, uint64_t now, double period)
{
    memmove(o->gap + 1, o->gap, sizeof o->gap - sizeof *o->gap);
    o->gap[0] = (uint32_t)(now - o->last);
    o->decayed = o->decayed * exp2(-(double)o->gap[0] / (16 * period)) + 1;
    o->freq++;
    o->last = now;
}

static void forget(struct object *o)
{
    o->resident = o->known = false;
}

static bool may_have_ghost(const struct world *w, const struct object *o)
{
    return o->known && !o->resident &&
           w->evictions - o->evicted_at < 4 * (uint64_t)tarn_cache_table(w->cache)->count;
}

/* `there`: the cache has one, which it must not where the model has none. */
static bool has_ghost(struct world *w, struct object *o, bool there)
{
    bool may = may_have_ghost(w, o);
    CHECK(may || !there);
    w->found += there;
    w->lost += may && !there;
    if (may && !there)
        o->known = false;
    return there;
}

static bool finds_ghost(struct world *w, const struct object *o)
{
    const struct tarn_evictor *live = &w->learned->live;
    return tarn_ghosts_find(live->ghosts, o->hash, live->evictions,
                            4 * tarn_cache_table(w->cache)->count) != NULL;
}

static void model_get(struct world *w, struct object *o)
{
    if (o->resident) {
        extend(o, w->now, (double)w->learned->live.period);
        o->hits++;
    } else if (has_ghost(w, o, finds_ghost(w, o))) {
        extend(o, w->now, (double)w->learned->live.period);
        o->asked = true;
    }
}

static void model_insert(struct world *w, struct object *o, bool had_ghost)
{
    o->ghost = had_ghost;
    if (!had_ghost) {
        memset(o->gap, 0xff, sizeof o->gap);
        o->freq = 1;
        o->decayed = 1;
        o->last = w->now;
    } else if (!o->asked) {
        extend(o, w->now, (double)w->learned->live.period);
    }
    o->resident = o->known = true;
    o->hits = 1;
    o->inserted = w->now;
}

static void note_evictions(struct world *w, int but)
{
    for (int i = 0; i < KEYS; i++) {
        if (i == but || !w->object[i].resident || slot_of(w, i) != TARN_NONE)
            continue;
        w->object[i].resident = w->object[i].asked = false;
        w->object[i].evicted_at = ++w->evictions;
    }
}

static void compare(struct world *w)
{
    for (int i = 0; i < KEYS; i++) {
        const struct object *o = &w->object[i];
        uint32_t slot = slot_of(w, i);
        REQUIRE(o->resident == (slot != TARN_NONE));
        if (!o->resident)
            continue;
        const struct tarn_meta *meta = tarn_table_meta(tarn_cache_table(w->cache), slot);
        CHECK_NUMBER(meta->last, (uint32_t)o->last);
        CHECK_NUMBER(meta->inserted, (uint32_t)o->inserted);
        CHECK_NUMBER(meta->freq, o->freq);
        CHECK_NUMBER(meta->hits, o->hits);
        CHECK_NUMBER((meta->flags & TARN_META_GHOST) != 0, o->ghost);
        CHECK((o->open > 0) == ((meta->flags & TARN_META_SAMPLED) != 0));
        for (int g = 0; g < TARN_GAPS; g++)
            CHECK_NUMBER(meta->gap[g],
                         o->gap[g] == UINT32_MAX ? TARN_GAP_ABSENT : tarn_gap_encode(o->gap[g]));
        CHECK(fabs(meta->decayed / 2048.0 - log2(o->decayed)) < 0.02);
    }
}

static void store(struct world *w, int key, uint64_t ttl)
{
    struct object *o = &w->object[key];
    uint32_t name = (uint32_t)key;
    bool there = o->resident;
    w->expected_key = key;
    w->expected_wanted = false;
    CHECK(tarn_cache_put(w->cache, &name, sizeof name,
                         &(struct tarn_item){.value = "x", .value_size = 1, .ttl_ms = ttl}) ==
          TARN_OK);
    note_evictions(w, key);
    w->expected_key = -1;
    if (!there)
        model_insert(w, o, /* as of after room was made */
                     has_ghost(w, o,
                               tarn_table_meta(tarn_cache_table(w->cache), slot_of(w, key))->flags &
                                   TARN_META_GHOST));
}

static void use(struct world *w, int key, uint32_t what)
{
    struct object *o = &w->object[key];
    uint32_t name = (uint32_t)key;
    size_t room = 0;
    if (what < 80) { /* a get, and a put where it missed */
        w->now++;
        w->expected_key = key;
        w->expected_wanted = true;
        tarn_status status = tarn_cache_get(w->cache, &name, sizeof name, NULL, &room);
        CHECK(status == (o->resident ? TARN_TOO_LARGE : TARN_NOT_FOUND));
        CHECK_NUMBER(o->open, 0); /* evicted or not: told by now */
        model_get(w, o);
        if (!o->resident)
            store(w, key, 0);
    } else if (what < 95) { /* without being asked for: new, back, or overwritten */
        store(w, key, 0);
        CHECK_NUMBER(o->open, 0);
    } else {
        w->expected_key = key;
        w->expected_wanted = false;
        CHECK(tarn_cache_delete(w->cache, &name, sizeof name) ==
              (o->resident ? TARN_OK : TARN_NOT_FOUND));
        if (o->resident) {
            CHECK_NUMBER(o->open, 0);
            forget(o);
        }
    }
    w->expected_key = -1;
}

static void histories_equal_a_models(void)
{
    static struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 11);
    REQUIRE(open_world(&w, 80, 0, 0, true));
    uint32_t back = 0, without_get = 0;
    for (int i = 0; i < 30000 && check_failures == 0; i++) {
        double u = tarn_rng_double(&rng);
        int key = (int)(u * u * KEYS);
        bool was_away = !w.object[key].resident;
        use(&w, key, tarn_rng_below(&rng, 100));
        back += was_away && w.object[key].resident && w.object[key].ghost;
        without_get += was_away && w.object[key].ghost && !w.object[key].asked;
        if (i % 10 == 0)
            compare(&w);
    }
    CHECK(back > 1000 && without_get > 100 && w.evictions > 5000);
    CHECK(w.lost < w.found / 20);
    CHECK(w.samples > 1000 && w.wanted > 500 && w.unwanted > 100);
    close_world(&w);
}

/* ---- labels ---- */

static void ask(struct world *w, int key, bool wanted, tarn_status status)
{
    uint32_t name = (uint32_t)key;
    size_t room = 0;
    w->now++;
    w->expected_key = key;
    w->expected_wanted = wanted;
    CHECK(tarn_cache_get(w->cache, &name, sizeof name, NULL, &room) == status);
    w->expected_key = -1;
}

static void what_expires_is_censored(void)
{
    enum { USED = 50 };
    static struct world w;
    REQUIRE(open_world(&w, 60, 0, 0, false));
    for (int key = 0; key < USED; key++) {
        store(&w, key, 0);
        w.object[key].resident = true;
    }
    for (int key = 0; key < USED; key++) {
        store(&w, key, 5000); /* now with a time to live */
        for (int i = 0; i < 1000 && w.object[key].open == 0; i++) {
            ask(&w, (key + 1 + i % (USED - 1)) % USED, true, TARN_TOO_LARGE);
            tarn_cache_lock(w.cache);
            tarn_round_draw(&w.learned->live, &w.learned->live.round, w.now); /* takes samples */
            tarn_cache_unlock(w.cache);
        }
        REQUIRE(w.object[key].open > 0);
        uint64_t before = w.unwanted;
        w.clock += 5000;
        ask(&w, key, false, TARN_NOT_FOUND);
        CHECK_NUMBER(w.object[key].open, 0);
        CHECK_NUMBER(w.unwanted, before + 1);
        w.object[key].resident = w.object[key].known = false;
        store(&w, key, 0);
    }
    close_world(&w);
}

/* ---- wrap-around ---- */

static uint32_t decisions(uint64_t first, bool bytes, uint8_t *hit, int requests)
{
    static struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 13);
    if (!open_world(&w, bytes ? 0 : 900, bytes ? 100000 : 0, first, true))
        return 0;
    w.learned->world.observer = (struct tarn_observer){0};
    uint32_t hits = 0;
    for (int i = 0; i < requests; i++) {
        double u = tarn_rng_double(&rng);
        uint32_t key = i % 5 == 4 ? 100000 + (uint32_t)i : (uint32_t)(u * u * 4000);
        size_t room = 0;
        hit[i] = tarn_cache_get(w.cache, &key, sizeof key, NULL, &room) != TARN_NOT_FOUND;
        hits += hit[i];
        if (!hit[i])
            tarn_cache_put(w.cache, &key, sizeof key,
                           &(struct tarn_item){.value = "", .charge = 20 + key * 7 % 300});
    }
    CHECK(!bytes || w.learned->mix.experts == TARN_EXPERTS);
    close_world(&w);
    return hits;
}

static void request_counts_may_pass_32_bits(void)
{
    enum { REQUESTS = 60000 };
    static uint8_t a[REQUESTS], b[REQUESTS];
    for (int bytes = 0; bytes < 2; bytes++) {
        /* where a slice begins: T/64 requests long, or 64 */
        uint64_t first = ((uint64_t)1 << 32) - REQUESTS / 2;
        first -= first % (bytes ? 64 : 900 / 64);
        uint32_t hits = decisions(0, bytes, a, REQUESTS);
        CHECK(hits > REQUESTS / 10 && hits < REQUESTS * 9 / 10);
        CHECK_NUMBER(decisions(first, bytes, b, REQUESTS), hits);
        CHECK(memcmp(a, b, sizeof a) == 0);
    }
}

CHECK_MAIN(CASE(histories_equal_a_models), CASE(what_expires_is_censored),
           CASE(request_counts_may_pass_32_bits))
