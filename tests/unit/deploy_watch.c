/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch after a swap: over simulated pairs of caches how often it rolls an equally good version back
 * and how soon a worse one; over real caches the same; and what the slot and its history say afterwards.
 */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/rng.h"
#include "cache/cache.h"
#include "deploy/watch.h"
#include "evict/learned.h"

static double normal(struct tarn_rng *rng)
{
    double u = 1 - tarn_rng_double(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * tarn_rng_double(rng));
}

struct outcome {
    int back, late;  /* rolled back; after the horizon */
    double requests; /* of those that were, mean */
};

/* Two versions that answer one request in `apart` differently, each at random where they are alike. */
static struct outcome trials(int count, uint64_t seed, double worse, uint64_t resident,
                             double apart)
{
    struct outcome out = {0};
    const double level = 0.3;
    for (int i = 0; i < count; i++) {
        struct tarn_watch w;
        struct tarn_rng rng;
        tarn_rng_seed(&rng, seed + (uint64_t)i);
        CHECK(tarn_watch_init(&w, &(struct tarn_watch_params){.resident = resident}) == TARN_OK);
        tarn_watch_verdict verdict;
        do {
            uint64_t n = w.block_size;
            double base = level * (double)n + sqrt((double)n * level * (1 - level)) * normal(&rng);
            double more = base * worse + sqrt((double)n * apart) * normal(&rng);
            base = fmax(base, 0);
            struct tarn_watch_counts c = {
                .requests = n,
                .misses = (uint64_t)fmin(fmax(0, base + more + tarn_rng_double(&rng)), (double)n),
                .base_misses = (uint64_t)fmin(base + tarn_rng_double(&rng), (double)n),
                .lru_misses = (uint64_t)fmin(base * 1.2, (double)n),
            };
            verdict = tarn_watch_feed(&w, &c);
        } while (verdict == TARN_WATCH_GOES_ON || verdict == TARN_WATCH_BEHIND);
        if (verdict == TARN_WATCH_ROLL_BACK) {
            out.back++;
            out.requests += (double)w.total.requests;
            out.late += w.total.requests > w.horizon + w.block_size;
        }
    }
    out.requests /= out.back > 0 ? out.back : 1;
    printf(
        "# %+4.0f %% misses, %llu objects, %.0f %% answered otherwise: %d of %d rolled back, after "
        "%.0f requests\n",
        worse * 100, (unsigned long long)resident, apart * 100, out.back, count, out.requests);
    return out;
}

static void as_good_stays(void)
{
    CHECK(trials(3000, 1, 0, 1000, 0.04).back <= 30);
    CHECK(trials(1000, 10000, 0, 1000, 0.2).back <= 10);
    CHECK(trials(500, 20000, 0, 100000, 0.04).back <= 5);
    CHECK(trials(500, 30000, -0.05, 1000, 0.04).back == 0);
}

static void worse_is_undone(void)
{
    struct outcome o = trials(1000, 40000, 0.15, 1000, 0.04);
    CHECK(o.back >= 950 && o.late == 0);
    o = trials(1000, 50000, 0.05, 8000, 0.04);
    CHECK(o.back >= 950 && o.late == 0);
    o = trials(500, 60000, 0.02, 65536, 0.04);
    CHECK(o.back >= 475 && o.late == 0);
    o = trials(500, 70000, 0.02, 1000, 0.04); /* too little to say in 2,000 requests */
    CHECK(o.back < 250);
    o = trials(500, 80000, 1, 1000, 0.04);
    CHECK(o.back == 500 && o.requests < 800);
}

/* ---- real caches ---- */

#define OBJECTS 300

struct side {
    tarn_cache *cache;
    struct tarn_learned *learned;
    struct tarn_learned_params params;
};

static tarn_status factory(void *context, struct tarn_table *table,
                           const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct side *s = context;
    return tarn_learned_create(&s->params, table, capacity, policy, &s->learned);
}

static bool open_side(struct side *s, struct one_version *version, uint64_t seed)
{
    s->params = (struct tarn_learned_params){
        .reader = version != NULL ? version->reader : NULL, .ring = 32768, .seed = seed};
    return tarn_cache_create_with(
               &(struct tarn_cache_params){.objects = OBJECTS, .policy = TARN_CACHE_LRU},
               &(struct tarn_cache_hooks){.factory = version != NULL ? factory : NULL,
                                          .factory_context = s},
               &s->cache) == TARN_OK;
}

static bool misses(struct side *s, uint32_t key)
{
    size_t room = 0;
    if (tarn_cache_get(s->cache, &key, sizeof key, NULL, &room) == TARN_OK)
        return false;
    CHECK(tarn_cache_put(s->cache, &key, sizeof key, &(struct tarn_item){.charge = 1}) == TARN_OK);
    return true;
}

/* Popular keys, and now and then a stretch of keys that come once. */
static uint32_t next_key(struct tarn_rng *rng, uint32_t *scan)
{
    double u = tarn_rng_double(rng);
    if (tarn_rng_below(rng, 4) == 0)
        return 1000000 + (*scan)++;
    return (uint32_t)(u * u * u * 3000);
}

static tarn_watch_verdict watch_caches(struct side side[3], struct tarn_rng *rng, uint32_t *scan,
                                       struct tarn_watch *w)
{
    CHECK(tarn_watch_init(w, &(struct tarn_watch_params){.resident = OBJECTS}) == TARN_OK);
    tarn_watch_verdict verdict = TARN_WATCH_GOES_ON;
    while (verdict == TARN_WATCH_GOES_ON || verdict == TARN_WATCH_BEHIND) {
        struct tarn_watch_counts c = {.requests = 8};
        for (int i = 0; i < 8; i++) {
            uint32_t key = next_key(rng, scan);
            c.misses += misses(&side[0], key);
            c.base_misses += misses(&side[1], key);
            c.lru_misses += misses(&side[2], key);
        }
        verdict = tarn_watch_feed(w, &c);
    }
    return verdict;
}

static void real_caches(void)
{
    struct one_version good, bad;
    struct tarn_rng rng;
    struct side side[3] = {{0}};
    struct tarn_watch w;
    uint32_t scan = 0;
    int back = 0;
    tarn_rng_seed(&rng, 9);
    REQUIRE(version_open(&good, NULL) && version_open(&bad, NULL));
    for (size_t i = TARN_NET_PARAMETERS - 32 * 11 - 11; i < TARN_NET_PARAMETERS; i++)
        bad.bundle->model->weights[i] *= -1;
    /* the same model twice, with other random candidates: all that differs lingers as it really does */
    REQUIRE(open_side(&side[0], &good, 1) && open_side(&side[1], &good, 2) &&
            open_side(&side[2], NULL, 3));
    watch_caches(side, &rng, &scan, &w);
    for (int i = 0; i < 100; i++)
        back += watch_caches(side, &rng, &scan, &w) == TARN_WATCH_ROLL_BACK;
    printf("# one model twice, real caches: %d of 100 rolled back\n", back);
    CHECK(back <= 2);

    /* a bad one goes live in the first */
    back = 0;
    uint64_t most = 0;
    for (int i = 0; i < 10; i++) {
        side[0].learned->world.reader = bad.reader;
        back += watch_caches(side, &rng, &scan, &w) == TARN_WATCH_ROLL_BACK;
        most = w.total.requests > most ? w.total.requests : most;
        side[0].learned->world.reader = good.reader;
        for (int k = 0; k < 4000; k++) {
            uint32_t key = next_key(&rng, &scan);
            for (int s = 0; s < 3; s++)
                misses(&side[s], key);
        }
    }
    printf("# a bad model, real caches: %d of 10 rolled back, after %llu requests at most\n", back,
           (unsigned long long)most);
    CHECK(back == 10 && most <= TARN_WATCH_LEAST);
    for (int s = 0; s < 3; s++)
        tarn_cache_destroy(&side[s].cache);
    version_close(&good);
    version_close(&bad);
}

/* ---- rules ---- */

static tarn_watch_verdict feed_all(struct tarn_watch *w, uint64_t live, uint64_t base, uint64_t lru)
{
    tarn_watch_verdict verdict;
    CHECK(tarn_watch_init(w, &(struct tarn_watch_params){.resident = 2000}) == TARN_OK);
    do
        verdict = tarn_watch_feed(w, &(struct tarn_watch_counts){50, live, base, lru});
    while (w->total.requests < 3000 && verdict != TARN_WATCH_ROLL_BACK);
    return verdict;
}

static tarn_watch_verdict feed_of(struct tarn_watch *w, uint64_t requests, uint64_t live,
                                  uint64_t base)
{
    tarn_watch_verdict verdict = TARN_WATCH_GOES_ON;
    CHECK(tarn_watch_init(w, &(struct tarn_watch_params){.resident = 1024}) == TARN_OK);
    while (verdict == TARN_WATCH_GOES_ON || verdict == TARN_WATCH_BEHIND) {
        uint64_t noise = w->blocks % 2 * 8;
        verdict = tarn_watch_feed(
            w, &(struct tarn_watch_counts){requests, live + noise, base + 8 - noise, 450});
    }
    return verdict;
}

static void against_lru(void)
{
    struct tarn_watch w;
    CHECK(feed_all(&w, 20, 20, 20) == TARN_WATCH_GOES_ON);
    CHECK(feed_all(&w, 20, 21, 10) == TARN_WATCH_BEHIND); /* so is what it could go back to */
    CHECK(feed_all(&w, 20, 10, 30) == TARN_WATCH_ROLL_BACK);
    CHECK(feed_all(&w, 10, 20, 30) == TARN_WATCH_GOES_ON);
    /* however long a feed is, it is one observation: few of them are no reason to keep anything */
    CHECK(feed_of(&w, 1000, 500, 400) == TARN_WATCH_ROLL_BACK && w.total.requests > 2 * w.horizon);
    CHECK(feed_of(&w, 1000, 400, 400) == TARN_WATCH_KEEP && w.blocks >= 32);
    /* the end of the watch is final */
    CHECK(tarn_watch_feed(&w, &(struct tarn_watch_counts){50000, 50000, 0, 0}) == TARN_WATCH_KEEP);
    CHECK(tarn_watch_init(&w, &(struct tarn_watch_params){.alpha = 2}) == TARN_INVALID);
    CHECK(tarn_watch_init(&w, &(struct tarn_watch_params){.resident = UINT64_MAX}) == TARN_OK);
    CHECK(w.horizon == UINT64_MAX && w.block_size == 1024);
}

static struct tarn_bundle *make(float value)
{
    static const struct tarn_shape shape = {2, 3, 2, 2};
    float weights[32];
    struct tarn_bundle *bundle = NULL;
    for (int i = 0; i < 32; i++)
        weights[i] = value;
    CHECK(tarn_bundle_create(&(struct tarn_bundle_params){.shape = shape, .weights = weights},
                             &bundle, NULL) == TARN_OK);
    return bundle;
}

static void an_equal_one_waits(void)
{
    tarn_history *history = NULL;
    tarn_slot *slot = NULL;
    struct tarn_watch w;
    struct tarn_change trained = {.reason = TARN_REASON_TRAINED};
    struct tarn_history_record event[8];
    uint64_t version = 0, base;
    REQUIRE(tarn_history_open(&(struct tarn_history_params){0}, &history, NULL) == TARN_OK);
    REQUIRE(tarn_slot_create(&(struct tarn_slot_params){0, 1000, history}, make(1), &trained, &slot,
                             NULL) == TARN_OK);
    struct tarn_slot_stats stats;
    tarn_slot_get_stats(slot, &stats);
    base = stats.live;
    REQUIRE(tarn_slot_swap(slot, make(2), 0, &trained, &version, NULL) == TARN_OK);
    CHECK(feed_all(&w, 40, 20, 30) == TARN_WATCH_ROLL_BACK);
    uint64_t live = 0;
    CHECK(tarn_watch_roll_back(&w, slot, version + 1, 0, 5000, 0, &live, NULL) == TARN_BUSY);
    CHECK(tarn_watch_roll_back(&w, slot, version, base, 5000, 0, &live, NULL) == TARN_OK);
    CHECK(live == base);
    struct tarn_bundle *again = make(2);
    trained.requests = 5500;
    CHECK(tarn_slot_swap(slot, again, 0, &trained, NULL, NULL) == TARN_COOLDOWN);
    CHECK(tarn_slot_is_cooling(slot, again->hash, 5999) &&
          !tarn_slot_is_cooling(slot, again->hash, 6001));
    tarn_bundle_release(&again);
    size_t n = tarn_history_read(history, event, 8);
    REQUIRE(n >= 3);
    const struct tarn_history_record *last = NULL;
    for (size_t i = 0; i < n; i++)
        if (event[i].kind == TARN_EVENT_ROLLBACK)
            last = &event[i];
    REQUIRE(last != NULL);
    CHECK(last->reason == TARN_REASON_REGRESSION && last->failed && last->metrics == 3);
    CHECK(fabsf(last->metric[0].value - 0.8f) < 1e-6f &&
          fabsf(last->metric[1].value - 0.4f) < 1e-6f);
    CHECK(strstr(last->text, "miss ratio 0.8") == last->text);
    tarn_slot_destroy(&slot);
    tarn_history_close(&history);
}

CHECK_MAIN(CASE(as_good_stays), CASE(worse_is_undone), CASE(real_caches), CASE(against_lru),
           CASE(an_equal_one_waits))
