/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/lg.h"
#include "base/memory.h"
#include "shuffle.h"

/* Out of the way of the usual request. */
#define COLD __attribute__((noinline))

enum { LONG_AGO = 1 << 30 };
enum {
    TIERS = TARN_STREAM_TIERS,
    SETS = 64,
    WAYS = TARN_STREAM_KEYS / SETS,
    GAPS = 8,          /* bins of the first tier's gaps */
    OCTAVE = 1024,     /* steps of a gap's logarithm */
    CONSTANT = 46,     /* a 32nd, in such steps */
    LEAST_STEADY = 16, /* requests: shorter gaps are constant by chance */
    RETURNED = 0x8000, /* in `count`: the key was in a lower tier */
    COUNT = 0x7fff,
    BLOCK = 64, /* requests whose misses are counted together, */
    LONG_BLOCK = 1024,
    FIRST_LOOK = 256, /* requests; then twice as many, until a period is over */
    CLOSE = 4,        /* one block in so many is looked at closely */
    HEAT = 16,        /* a request's, where it is looked at */
    SCALES = 2,       /* of what shuffling changes: one key in 8, and in 64 */
};

/* Where there is little to go by, so many requests of the usual are added. */
#define PRIOR 4.0f

/* What remains of a figure after TARN_STREAM_PERIOD requests, for each tier: half after 5, 9, 28 and 70 K. */
static const float fade[TIERS] = {0.75f, 0.85f, 0.95f, 0.98f};
#define FADE_LONG 0.9f  /* of the long blocks */
#define FADE_SLOW 0.97f /* of what is compared with the present */

/*
 * Keys that share their places, in two cache lines; columns, so that their tags are compared at once. A gap
 * is the time of the last return as the upper half of a float (0: none): off by 1 in 256 at most.
 */
struct set {
    uint32_t tag[WAYS];  /* 0: empty */
    uint32_t last[WAYS]; /* of an empty place: long ago */
    uint16_t gap[WAYS], count[WAYS];
    uint32_t first[WAYS];
};

struct tier {
    struct set set[SETS];
};

struct key {
    uint32_t tag, last, first;
    uint16_t gap, count;
};

/* Sums over a tier's requests. All floats, so that they fade as one. */
struct tier_sums {
    float reached, hits;
    float noted;                  /* hits that were looked at closely: all but in the first tier */
    float known, constant, delta; /* returns whose last gap is known; of these; sum of |lg ratio| */
    float steady, ordered;        /* returns after LEAST_STEADY requests or more; of these */
    float lg, lg2;                /* of the gaps */
    float left, once;             /* keys that fell out; of these: wanted once */
    float old, overdue;           /* ... wanted four times or more; sum of lg(age / mean gap) */
};

struct first_sums {                /* what only the first tier sees */
    float gaps[GAPS], close;       /* of the requests looked at closely; and how many these are */
    float blocks, misses, misses2; /* per block */
    float fresh, fresh_once, fresh_lg, used,
        heavy;                                /* keys that came unseen: requests, burst-like */
    float tried, unseen, pairs, pairs_unseen; /* at the second tier, in a row */
    float writes, requests, sizes, size, size2;
};

struct long_sums {
    float blocks, misses, misses2;
};

struct slow_sums {
    float requests, misses, misses1, reached1, gaps[GAPS], close;
};

struct tarn_stream {
    struct tier tier[TIERS];
    uint16_t heat[SETS][WAYS]; /* of the first tier's keys: faded requests, times HEAT */
    int last_gap[TIERS];
    bool last_unseen, close; /* close: this block's hits are looked at closely */
    uint32_t block_misses, long_misses;
    uint64_t requests, looked; /* that were looked at; and at the last look */
    uint32_t waiting;
    uint64_t wait[BLOCK]; /* hashes of requests: a block of them is looked at in one go */
    /* of this period, and faded */
    struct tier_sums now[TIERS], sums[TIERS];
    struct first_sums first_now, first;
    struct long_sums long_now, longs;
    struct slow_sums slow;
    struct tarn_shuffle_sums shuffled[SCALES];
    float top,
        collision; /* share of the hottest key; chance that two requests are for the same key */
    struct tarn_shuffle shuffle[SCALES];
};

tarn_status tarn_stream_create(struct tarn_stream **stream)
{
    _Static_assert(sizeof(struct tarn_stream) <= 64 << 10, "fixed memory");
    _Static_assert(sizeof(struct set) == 128 && offsetof(struct tarn_stream, tier) == 0, "lines");
    struct tarn_stream *s = *stream = tarn_alloc_aligned(64, sizeof *s);
    if (s == NULL)
        return TARN_NO_MEMORY;
    memset(s, 0, sizeof *s);
    s->close = true;
    for (int i = 0; i < SCALES; i++) /* 4 K and 8 K requests */
        s->shuffle[i].room = TARN_SHUFFLE_HELD >> 2 * i;
    for (int t = 0; t < TIERS; t++)
        for (int number = 0; number < SETS; number++)
            for (int way = 0; way < WAYS; way++)
                s->tier[t].set[number].last[way] = (uint32_t)-LONG_AGO;
    return TARN_OK;
}

void tarn_stream_destroy(struct tarn_stream **stream)
{
    tarn_free(*stream);
    *stream = NULL;
}

size_t tarn_stream_memory(void)
{
    return sizeof(struct tarn_stream);
}

/* ---- the tables ---- */

static uint32_t tag_of(uint64_t hash)
{
    uint32_t tag = (uint32_t)hash;
    return tag != 0 ? tag : 0x80000000u;
}

/* The tags of a tier's keys end in zeros, so the set comes from the hash's other half. */
static uint32_t set_of(uint64_t hash)
{
    return (uint32_t)(hash >> 58);
}

static bool is_sampled(uint32_t tag, int tier)
{
    return (tag & ((1u << (TARN_STREAM_STEP * tier)) - 1)) == 0;
}

static inline int find(const struct set *set, uint32_t tag)
{
    uint32_t found = 0;
    for (uint32_t way = 0; way < WAYS; way++)
        found |= (uint32_t)(set->tag[way] == tag) << way;
    return found != 0 ? __builtin_ctz(found) : -1;
}

/* The place that wasn't asked for the longest, to within 8 requests: an empty one, if there is one. */
static inline int oldest(const struct set *set, uint32_t now)
{
    uint32_t most = 0;
    for (uint32_t way = 0; way < WAYS; way++) {
        uint32_t age = ((now - set->last[way]) & ~(WAYS - 1u)) | way;
        most = age > most ? age : most;
    }
    return (int)(most & (WAYS - 1));
}

static struct key get(const struct set *set, int way)
{
    return (struct key){set->tag[way], set->last[way], set->first[way], set->gap[way],
                        set->count[way]};
}

static void put(struct set *set, int way, const struct key *key)
{
    set->tag[way] = key->tag;
    set->last[way] = key->last;
    set->first[way] = key->first;
    set->gap[way] = key->gap;
    set->count[way] = key->count;
}

/* ---- what is counted ---- */

/* A time above 0 to keep, and back. */
static uint16_t pack_gap(uint32_t gap)
{
    float x = (float)gap;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x8000u) >> 16);
}

static float unpack_gap(uint16_t packed)
{
    uint32_t bits = (uint32_t)packed << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* lg of 1 or more, in steps. */
static int code_of(float gap)
{
    return (int)(tarn_lg(gap) * OCTAVE + 0.5f);
}

/* A return after `gap`, where the time before was `before` (0: unknown). */
COLD static void note_return(struct tarn_stream *s, int tier, uint32_t gap, uint16_t before)
{
    struct tier_sums *sums = &s->now[tier];
    int code = code_of((float)gap), order = abs(code - s->last_gap[tier]);
    float lg = (float)code * (1.0f / OCTAVE);
    bool steady = gap >= LEAST_STEADY;
    sums->noted += 1;
    sums->lg += lg;
    sums->lg2 += lg * lg;
    sums->steady += steady;
    sums->ordered += steady && order < CONSTANT;
    if (before != 0) {
        int delta = abs(code - code_of(unpack_gap(before)));
        sums->known += 1;
        sums->constant += steady && delta < CONSTANT;
        sums->delta += (float)delta * (1.0f / OCTAVE);
    }
    s->last_gap[tier] = code;
}

/* A key leaves a tier for good, or for the next one. */
static void note_leaving(struct tarn_stream *s, int tier, const struct key *key, uint32_t now)
{
    struct tier_sums *sums = &s->now[tier];
    uint32_t count = key->count & COUNT;
    sums->left += 1;
    sums->once += count == 1;
    if (count >= 4) {
        float mean = (float)(key->last - key->first) / (float)(count - 1);
        sums->old += 1;
        sums->overdue += tarn_lg((float)(now - key->last) / (mean + 1) + 0.01f);
    }
    if (tier == 0 && (key->count & RETURNED) == 0) {
        struct first_sums *first = &s->first_now;
        first->fresh += 1;
        first->fresh_once += count == 1;
        first->fresh_lg += tarn_lg((float)count);
        first->used += (float)count;
        first->heavy += count >= 8 ? (float)count : 0;
    }
}

/* Falls from tier to tier, pushing others down. Only sampled keys are counted: the others' past is unknown. */
COLD static void push_down(struct tarn_stream *s, struct key key, uint32_t number, uint32_t now)
{
    for (int t = 0; t < TIERS && is_sampled(key.tag, t + 1 < TIERS ? t + 1 : t); t++) {
        note_leaving(s, t, &key, now);
        if (t + 1 == TIERS)
            return;
        struct set *next = &s->tier[t + 1].set[number];
        int way = oldest(next, now);
        struct key pushed = get(next, way);
        key.count |= RETURNED;
        put(next, way, &key);
        if (pushed.tag == 0)
            return;
        key = pushed;
    }
}

/* Looks a sampled key up that the first tier hasn't got, and takes it out of where it is. */
COLD static bool pull_up(struct tarn_stream *s, struct key *key, uint32_t number, uint32_t now)
{
    for (int t = 1; t < TIERS && is_sampled(key->tag, t); t++) {
        struct set *set = &s->tier[t].set[number];
        s->now[t].reached += 1;
        int way = find(set, key->tag);
        if (way < 0)
            continue;
        *key = get(set, way);
        set->tag[way] = 0;
        set->last[way] = now - LONG_AGO;
        uint32_t gap = now - key->last;
        s->now[t].hits += 1;
        note_return(s, t, gap, key->gap);
        key->gap = pack_gap(gap);
        key->last = now;
        key->count += (key->count & COUNT) < COUNT;
        return true;
    }
    return false;
}

static void miss(struct tarn_stream *s, uint32_t tag, uint32_t number, uint32_t now)
{
    struct set *set = &s->tier[0].set[number];
    struct key key = {tag, now, now, 0, 1};
    s->block_misses++;
    if (is_sampled(tag, 1)) {
        struct first_sums *first = &s->first_now;
        bool found = pull_up(s, &key, number, now);
        first->tried += 1;
        first->unseen += !found;
        first->pairs += s->last_unseen;
        first->pairs_unseen += s->last_unseen && !found;
        s->last_unseen = !found;
    }
    int way = oldest(set, now);
    uint32_t leaves = set->tag[way];
    if (leaves != 0 && is_sampled(leaves, 1))
        push_down(s, get(set, way), number, now);
    put(set, way, &key);
    s->heat[number][way] = s->close ? HEAT : 0;
}

static void hit(struct tarn_stream *s, uint32_t number, int way, uint32_t now)
{
    struct set *set = &s->tier[0].set[number];
    uint32_t gap = now - set->last[way];
    if (s->close) {
        note_return(s, 0, gap, set->gap[way]);
        int bin = 31 - __builtin_clz(gap | 1);
        s->first_now.gaps[bin < GAPS ? bin : GAPS - 1] += 1;
        uint32_t heat = s->heat[number][way] + (uint32_t)HEAT;
        s->heat[number][way] = (uint16_t)(heat > UINT16_MAX ? UINT16_MAX : heat);
    }
    set->gap[way] = pack_gap(gap);
    set->last[way] = now;
    set->count[way] += (set->count[way] & COUNT) < COUNT;
}

/* ---- every now and then ---- */

COLD static void end_block(struct tarn_stream *s)
{
    float misses = (float)s->block_misses;
    s->first_now.blocks += 1;
    s->first_now.misses += misses;
    s->first_now.misses2 += misses * misses;
    s->long_misses += s->block_misses;
    s->first_now.close += s->close ? BLOCK : 0;
    s->close = s->requests / BLOCK % CLOSE == 0;
    s->block_misses = 0;
    if (s->requests % LONG_BLOCK == 0) {
        float share = (float)s->long_misses / LONG_BLOCK;
        s->long_now.blocks += 1;
        s->long_now.misses += share;
        s->long_now.misses2 += share * share;
        s->long_misses = 0;
    }
}

/* sums = sums * keep + now; now = 0 */
static void fold(float *sums, float *now, size_t size, float keep)
{
    for (size_t i = 0; i < size / sizeof(float); i++) {
        sums[i] = sums[i] * keep + now[i];
        now[i] = 0;
    }
}

static void look_at_heat(struct tarn_stream *s)
{
    float square = 0;
    uint32_t most = 0;
    uint16_t *heat = s->heat[0];
    for (int i = 0; i < SETS * WAYS; i++) {
        uint32_t h = heat[i];
        square += (float)h * (float)h;
        most = h > most ? h : most;
        heat[i] = (uint16_t)(h - h / 4);
    }
    float all = s->first.close + 1;
    s->top = (float)most / (HEAT * all);
    s->collision = square / (HEAT * HEAT * all * all);
}

static void end_period(struct tarn_stream *s)
{
    struct tier_sums *first = &s->now[0];
    first->reached = s->first_now.requests = (float)(s->requests - s->looked);
    s->looked = s->requests;
    first->hits = first->reached - s->first_now.misses;
    struct slow_sums now = {
        .requests = first->reached,
        .misses = s->first_now.misses,
        .close = s->first_now.close,
        .reached1 = s->now[1].reached,
        .misses1 = s->now[1].reached - s->now[1].hits,
    };
    memcpy(now.gaps, s->first_now.gaps, sizeof now.gaps);
    fold((float *)&s->slow, (float *)&now, sizeof now, FADE_SLOW);
    for (int t = 0; t < TIERS; t++)
        fold((float *)&s->sums[t], (float *)&s->now[t], sizeof s->now[t], fade[t]);
    fold((float *)&s->first, (float *)&s->first_now, sizeof s->first_now, fade[0]);
    for (int i = 0; i < SCALES; i++)
        fold((float *)&s->shuffled[i], (float *)&s->shuffle[i].now, sizeof s->shuffled[i],
             fade[i + 1]);
    fold((float *)&s->longs, (float *)&s->long_now, sizeof s->long_now, FADE_LONG);
    look_at_heat(s);
}

void tarn_stream_size(struct tarn_stream *s, uint64_t hash, float size_lg)
{
    if (!(size_lg >= 0) || !is_sampled(tag_of(hash), 1))
        return;
    s->first_now.sizes += 1;
    s->first_now.size += size_lg;
    s->first_now.size2 += size_lg * size_lg;
}

/* Hot keys too, unlike what is kept below the first tier: both tables have their noise. */
COLD static void shuffle(struct tarn_stream *s, uint32_t tag, uint32_t number)
{
    for (int scale = 0; scale < SCALES && is_sampled(tag, scale + 1); scale++)
        tarn_shuffle_access(&s->shuffle[scale], tag, number);
}

/* In one go, because the tables would have to come from a slower cache for each request by itself. */
COLD static bool take_block(struct tarn_stream *s)
{
    s->waiting = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint64_t hash = s->wait[i];
        uint32_t now = (uint32_t)++s->requests, tag = tag_of(hash), number = set_of(hash);
        int way = find(&s->tier[0].set[number], tag);
        if (is_sampled(tag, 1))
            shuffle(s, tag, number);
        if (way >= 0)
            hit(s, number, way, now);
        else
            miss(s, tag, number, now);
    }
    end_block(s);
    /* at first as soon as there is something to see */
    uint64_t now = s->requests;
    bool early = now < TARN_STREAM_PERIOD && now >= FIRST_LOOK && (now & (now - 1)) == 0;
    if (now % TARN_STREAM_PERIOD != 0 && !early)
        return false;
    end_period(s);
    return true;
}

bool tarn_stream_access(struct tarn_stream *s, uint64_t hash, float size_lg)
{
    tarn_stream_size(s, hash, size_lg);
    s->wait[s->waiting] = hash;
    return ++s->waiting == BLOCK && take_block(s);
}

uint64_t tarn_stream_requests(const struct tarn_stream *s)
{
    return s->requests + s->waiting;
}

void tarn_stream_write(struct tarn_stream *s)
{
    s->first_now.writes += 1;
}

/* ---- what comes of it ---- */

static float share_of(float part, float whole, float usual)
{
    return (part + PRIOR * usual) / (whole + PRIOR);
}

/* Of the tiers' conditional shares: how many requests get past tier t. */
static void reaches(const struct tarn_stream *s, float past[TIERS])
{
    float left = 1;
    for (int t = 0; t < TIERS; t++) {
        left *= 1 - share_of(s->sums[t].hits, s->sums[t].reached, 0.5f);
        past[t] = left;
    }
}

static float spread(float sum, float square, float count)
{
    float mean = sum / count, variance = square / count - mean * mean;
    return variance > 0 ? sqrtf(variance) : 0;
}

/* Variance over that of independent requests with the same mean. */
static float dispersion(float blocks, float shares, float squares, float per_block)
{
    if (blocks < 2)
        return 1;
    float mean = shares / blocks, variance = squares / blocks - mean * mean;
    float usual = (mean * (1 - mean) + 0.002f) / per_block;
    return (variance > 0 ? variance : 0) / usual;
}

static float burstiness(const struct tarn_stream *s)
{
    const struct first_sums *f = &s->first;
    return dispersion(f->blocks, f->misses / BLOCK, f->misses2 / (BLOCK * BLOCK), BLOCK);
}

/* Half of the sum of what two histograms differ by. */
static float change(const struct tarn_stream *s)
{
    const struct first_sums *f = &s->first;
    float sum = 0;
    if (f->close <= 0 || s->sums[0].reached <= 0)
        return 0;
    for (int i = 0; i < GAPS; i++)
        sum += fabsf(f->gaps[i] / f->close - s->slow.gaps[i] / s->slow.close);
    sum += fabsf(f->misses / s->sums[0].reached - s->slow.misses / s->slow.requests);
    return 0.5f * sum;
}

static float *put_tier(const struct tarn_stream *s, int tier, float *to)
{
    const struct tier_sums *t = &s->sums[tier];
    float noted = t->noted + 1e-3f;
    *to++ = 4 * sqrtf(share_of(t->constant, t->known, 0)) - 2;
    *to++ = 4 * sqrtf(share_of(t->ordered, t->steady, 0)) - 2;
    *to++ = share_of(t->delta, t->known, 2) * 0.75f - 1.5f;
    *to++ = t->noted > 2 ? spread(t->lg, t->lg2, noted) - 1 : 0;
    *to++ = t->noted > 2 ? t->lg / noted * 0.3f - 2 : 0;
    return to;
}

static float filled(const struct tarn_stream *s, int tier)
{
    int count = 0;
    for (int set_number = 0; set_number < SETS; set_number++)
        for (int way = 0; way < WAYS; way++)
            count += s->tier[tier].set[set_number].tag[way] != 0;
    return (float)count;
}

static void compute(const struct tarn_stream *s, float *to)
{
    const struct first_sums *f = &s->first;
    float past[TIERS], close = f->close + 1;
    reaches(s, past);
    for (int t = 0; t < TIERS; t++)
        *to++ = 4 * share_of(s->sums[t].hits, s->sums[t].reached, 0.5f) - 2;
    for (int t = 0; t < TIERS; t++)
        *to++ = tarn_lg(past[t] + 0.001f) * 0.4f + 2;
    for (int t = 0; t < TIERS; t++)
        to = put_tier(s, t, to);
    for (int i = 0; i < SCALES; i++, to += TARN_SHUFFLE_DEPTHS) {
        tarn_shuffle_worth(&s->shuffled[i], to);
        for (int d = 0; d < TARN_SHUFFLE_DEPTHS; d++)
            to[d] *= 6;
    }
    *to++ = tarn_lg(burstiness(s) + 0.1f) * 0.5f;
    *to++ =
        tarn_lg(dispersion(s->longs.blocks, s->longs.misses, s->longs.misses2, LONG_BLOCK) + 0.1f) *
            0.35f -
        1;
    *to++ = 4 * share_of(f->pairs_unseen, f->pairs, 0.5f) - 2;
    *to++ = 4 * share_of(f->unseen, f->tried, 0.5f) - 2;
    *to++ = 4 * share_of(f->fresh_once, f->fresh, 0.5f) - 2;
    *to++ = share_of(f->fresh_lg, f->fresh, 1) - 1;
    *to++ = 4 * share_of(f->heavy, f->used, 0) - 2;
    for (int t = 0; t < 2; t++)
        *to++ = share_of(s->sums[t].overdue, s->sums[t].old, 2) * 0.4f - 1;
    *to++ = 4 * share_of(s->sums[1].old, s->sums[1].left, 0.2f) - 2;
    *to++ = 4 * share_of(s->sums[1].once, s->sums[1].left, 0.5f) - 2;
    *to++ = 4 * share_of(s->sums[2].once, s->sums[2].left, 0.5f) - 2;
    *to++ = 4 * sqrtf(s->top) - 1;
    *to++ = tarn_lg(s->collision + 1e-5f) * 0.4f + 3;
    *to++ = tarn_lg((float)s->requests + 1) * 0.4f - 6;
    *to++ = tarn_lg(filled(s, 0) + 1) * 0.5f - 2.5f;
    *to++ = tarn_lg(1 + 8 * filled(s, 1) + 64 * filled(s, 2) + 512 * filled(s, 3)) * 0.35f - 3;
    *to++ = 4 * change(s);
    float slow_past = share_of(s->slow.misses, s->slow.requests, 0.5f);
    *to++ = tarn_lg(slow_past + 0.001f) * 0.4f + 2;
    *to++ =
        tarn_lg(slow_past * share_of(s->slow.misses1, s->slow.reached1, 0.5f) + 0.001f) * 0.4f + 2;
    for (int i = 0; i < GAPS; i++)
        *to++ = 4 * sqrtf(f->gaps[i] / close) - 1;
}

void tarn_stream_features(const struct tarn_stream *s, int8_t features[TARN_STREAM_FEATURES])
{
    float x[TARN_STREAM_FEATURES];
    compute(s, x);
    for (int i = 0; i < TARN_STREAM_FEATURES; i++) {
        float scaled = x[i] * 32;
        scaled = scaled > 127 ? 127 : scaled > -128 ? scaled : -128; /* a NaN too is -128 */
        features[i] = (int8_t)lrintf(scaled);
    }
}

void tarn_stream_get_figures(const struct tarn_stream *s, struct tarn_stream_figures *figures)
{
    const struct first_sums *f = &s->first;
    float past[TIERS], known = 0, constant = 0, steady = 0, ordered = 0, weight = 1;
    *figures = (struct tarn_stream_figures){.requests = tarn_stream_requests(s)};
    if (s->sums[0].reached <= 0)
        return;
    reaches(s, past);
    for (int t = 0; t < TIERS; t++, weight *= 1 << TARN_STREAM_STEP) {
        figures->within[t] = 1 - past[t];
        /* each tier's figures cover another time: by its requests a period */
        float w = weight * (1 - fade[t]) / (1 - fade[0]) * (t == 0 ? CLOSE : 1);
        known += w * s->sums[t].known;
        constant += w * s->sums[t].constant;
        steady += w * s->sums[t].noted;
        ordered += w * s->sums[t].ordered;
    }
    figures->unseen = past[TIERS - 1];
    figures->one_hit = f->fresh > 0 ? f->fresh_once / f->fresh : 0;
    figures->constant = known > 0 ? constant / known : 0;
    figures->ordered = steady > 0 ? ordered / steady : 0;
    figures->top = s->top;
    figures->burstiness = burstiness(s);
    figures->change = change(s);
    figures->write_share = f->writes / (f->requests + f->writes);
    if (f->sizes > 0) {
        figures->size_lg = f->size / f->sizes;
        figures->size_lg_spread = spread(f->size, f->size2, f->sizes);
    }
}
