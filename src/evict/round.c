/* SPDX-License-Identifier: Apache-2.0 */
#include "evictor.h"

#include <string.h>

#include "base/memory.h"
#include "kernels/layout.h"
#include "model/ensemble.h"

#define POOL_SHARE    16    /* the pool holds at most one in so many residents */
#define RESCORE_T     0.01f /* a pooled score lasts so many T, */
#define WORST_SCORE   1e9f  /* of a network: beyond it a score is no score; */
#define WORST_OTHER   1e30f /* of a heuristic */
#define FILLED_LATELY 1024  /* evictions: who fills the list takes the samples too */
#define DRAWN_AT_ONCE 32
#define RESERVE_SHARE                                                                              \
    2 /* beside what a round adds to a list: one in so many more, if they are needed */
#define RESCORE_AGE 0.1f /* or this share of the age at which it was made */

_Static_assert(TARN_FEATURE_LANES == TARN_LANES, "features are written as tiles");

tarn_status tarn_round_init(struct tarn_round *round, uint32_t room, uint32_t experts, float *tiles)
{
    room = (room + TARN_LANES - 1) / TARN_LANES * TARN_LANES;
    *round = (struct tarn_round){
        .room = room,
        .experts = experts,
        .tiles = tiles,
        .borrowed = tiles != NULL,
        .ahead = tiles != NULL,
    };
    round->slot = tarn_alloc(room * sizeof *round->slot);
    round->last = tarn_alloc(room * sizeof *round->last);
    round->tag = tarn_alloc(room);
    round->raw = tarn_alloc((experts + 1) * room * sizeof *round->raw);
    if (tiles == NULL)
        round->tiles = tarn_alloc_aligned(64, TARN_FEATURES * room * sizeof *round->tiles);
    if (round->slot == NULL || round->last == NULL || round->tag == NULL || round->raw == NULL ||
        round->tiles == NULL) {
        tarn_round_free(round);
        return TARN_NO_MEMORY;
    }
    round->mixed = round->raw + experts * room;
    return TARN_OK;
}

void tarn_round_free(struct tarn_round *round)
{
    tarn_free(round->slot);
    tarn_free(round->last);
    tarn_free(round->tag);
    tarn_free(round->raw);
    if (!round->borrowed)
        tarn_free(round->tiles);
    *round = (struct tarn_round){0};
}

/* Victims, fresh candidates and wheel's share of a round of `n` residents. */
struct sizes {
    uint32_t victims, fresh, wheel, pool;
};

uint32_t tarn_round_victims(const struct tarn_evictor *evictor, bool on_device)
{
    uint32_t share = on_device ? evictor->device_share : evictor->list_share;
    uint32_t limit = on_device ? evictor->device_limit : evictor->list_limit;
    uint32_t victims = tarn_evictor_range(evictor).count / share;
    return victims < 1 ? 1 : victims > limit ? limit : victims;
}

/* What the host scores is on a request's way: it stays small where a device does the large rounds. */
static struct sizes sizes_of(const struct tarn_evictor *evictor, const struct tarn_round *round)
{
    uint32_t n = tarn_evictor_range(evictor).count;
    bool bytes = evictor->capacity->bytes;
    struct sizes s = {
        .victims = tarn_round_victims(evictor, round->ahead),
        .pool = n / POOL_SHARE,
    };
    uint32_t least = 8;
    /* what is left of the list competes again: fresh ones are drawn for those that have left it */
    uint32_t stock = round->ahead ? tarn_evictor_stock(evictor) : 0;
    uint32_t needed = s.victims > stock ? s.victims - stock : 1;
    if (round->at_once > 0 && needed > round->at_once) {
        needed = round->at_once;
        s.victims = stock + needed;
    }
    if (evictor->world->keep_short) {
        /* where sizes differ few candidates cost most */
        least = bytes ? 16 : 6;
        s.fresh = least * needed;
    } else if (bytes) {
        s.fresh = 32 * needed;
    } else {
        float each = tarn_clamp(4.0f / (evictor->rates.miss_ratio + 0.01f), 8.0f, 32.0f);
        s.fresh = (uint32_t)((float)needed * each);
    }
    if (evictor->live && evictor->world->explore > 1.0f)
        s.fresh = (uint32_t)((float)s.fresh * evictor->world->explore);
    uint32_t most = round->room - TARN_POOL_MAX;
    s.fresh = s.fresh < least ? least : s.fresh;
    s.fresh = s.fresh > most ? most : s.fresh;
    s.fresh = s.fresh > n ? n : s.fresh;
    s.wheel = s.fresh / (bytes ? 4 : 2);
    /* the wheel is one for all arms: they draw at random, all of them, so that none has an advantage */
    if (evictor->capacity->arm_segments > 0 && evictor->arm != TARN_ARMS)
        s.wheel = 0;
    uint32_t most_pooled = bytes ? TARN_POOL_BYTES : TARN_POOL_OBJECTS;
    s.pool = s.pool > most_pooled ? most_pooled : s.pool;
    return s;
}

static bool draw_one(struct tarn_evictor *evictor, struct tarn_round *round, uint32_t slot)
{
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    if (meta->stamp == evictor->stamp)
        return false;
    meta->stamp = evictor->stamp;
    round->slot[round->count] = slot;
    round->last[round->count++] = meta->last;
    return true;
}

/* Scores of another version, or of another width, are no measure for this round's. */
static bool has_moved_on(const struct tarn_evictor *evictor, const struct tarn_round *round)
{
    return evictor->pool_version != round->version || evictor->pool_slice != round->slice;
}

static bool is_unchanged(const struct tarn_evictor *evictor, const struct tarn_pool_entry *entry)
{
    return tarn_evictor_owns(evictor, entry->slot) &&
           tarn_table_meta(evictor->table, entry->slot)->last == entry->last;
}

/* What is still to be evicted isn't drawn again: it has its score. */
static void mark_list(struct tarn_evictor *evictor)
{
    for (uint32_t i = evictor->list_next; i < evictor->list_count; i++)
        if (is_unchanged(evictor, &evictor->list[i]))
            tarn_table_meta(evictor->table, evictor->list[i].slot)->stamp = evictor->stamp;
}

/*
 * What is left of the list competes with the new candidates: it is so where a device has scored them.
 * Meanwhile requests went on, so that the pool's objects may have changed too.
 */
static void take_list_back(struct tarn_evictor *evictor)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < evictor->pool_count; i++)
        if (is_unchanged(evictor, &evictor->pool[i]))
            evictor->pool[kept++] = evictor->pool[i];
    bool comparable = evictor->list_version == evictor->pool_version &&
                      evictor->list_slice == evictor->pool_slice;
    for (uint32_t i = evictor->list_next; comparable && i < evictor->list_count; i++)
        if (is_unchanged(evictor, &evictor->list[i]))
            evictor->pool[kept++] = evictor->list[i];
    evictor->pool_count = kept;
}

/* Keeps what is still fresh in the pool; what needs a new score goes into the round. */
static void draw_stale(struct tarn_evictor *evictor, struct tarn_round *round, uint32_t now)
{
    uint32_t kept = 0;
    bool other_version = has_moved_on(evictor, round);
    for (uint32_t i = 0; i < evictor->pool_count; i++) {
        struct tarn_pool_entry *e = &evictor->pool[i];
        if (!tarn_evictor_owns(evictor, e->slot))
            continue;
        struct tarn_meta *meta = tarn_table_meta(evictor->table, e->slot);
        if (meta->last != e->last || meta->stamp == evictor->stamp)
            continue;
        float lasts = RESCORE_T * evictor->period;
        float by_age = RESCORE_AGE * (float)(e->scored - e->last);
        if (other_version || (float)(now - e->scored) > (lasts > by_age ? lasts : by_age)) {
            draw_one(evictor, round, e->slot);
        } else {
            meta->stamp = evictor->stamp;
            evictor->pool[kept++] = *e;
        }
    }
    evictor->pool_count = kept;
    evictor->pool_version = round->version;
    evictor->pool_slice = round->slice;
    round->stale = round->count;
}

static void draw_fresh(struct tarn_evictor *evictor, struct tarn_round *round, uint32_t now,
                       const struct sizes *sizes)
{
    int cursor = 0;
    uint32_t due = 0;
    for (uint32_t tries = 4 * sizes->wheel; tries > 0 && due < sizes->wheel; tries--) {
        bool idle;
        uint32_t slot =
            tarn_wheel_next(&evictor->wheel, evictor->table, now, evictor->period, &cursor, &idle);
        if (slot == TARN_NONE)
            break;
        due += idle && draw_one(evictor, round, slot);
    }
    struct tarn_range range = tarn_evictor_range(evictor);
    uint32_t left = sizes->fresh - (round->count - round->stale), slot[DRAWN_AT_ONCE];
    while (left > 0) { /* memory is far away: all is asked for before any of it is used */
        uint32_t n = left < DRAWN_AT_ONCE ? left : DRAWN_AT_ONCE;
        for (uint32_t i = 0; i < n; i++) {
            slot[i] = range.first + tarn_rng_below(&evictor->rng, range.count);
            __builtin_prefetch(&evictor->table->chunks[slot[i] / TARN_TABLE_CHUNK]
                                    ->resident[slot[i] % TARN_TABLE_CHUNK]);
        }
        for (uint32_t i = 0; i < n; i++) {
            slot[i] = tarn_table_resident(evictor->table, slot[i]);
            __builtin_prefetch(tarn_table_meta(evictor->table, slot[i]), 1);
        }
        for (uint32_t i = 0; i < n; i++)
            draw_one(evictor, round, slot[i]);
        left -= n;
    }
}

static void write_tiles(struct tarn_evictor *evictor, struct tarn_round *round,
                        const struct tarn_feature_frame *frame)
{
    const struct tarn_meta *metas[TARN_LANES];
    bool tags = round->bundle->tags != 0; /* else nobody asks for them */
    for (uint32_t i = 0; i < round->count; i += TARN_LANES) {
        uint32_t n = round->count - i < TARN_LANES ? round->count - i : TARN_LANES;
        for (uint32_t l = 0; l < n; l++)
            metas[l] = tarn_table_meta(evictor->table, round->slot[i + l]);
        for (uint32_t l = 0; tags && l < n; l++)
            round->tag[i + l] = metas[l]->tag;
        tarn_features_tile(frame, metas, n, round->tiles + (size_t)i * TARN_FEATURES);
    }
}

/* As the version that scores them wants them; samples are logged without it. */
static void scale_tiles(struct tarn_round *round)
{
    const struct tarn_bundle *bundle = round->bundle;
    for (uint32_t i = 0; i < round->count; i += TARN_LANES) {
        float *tile = round->tiles + (size_t)i * TARN_FEATURES;
        for (int f = 0; f < TARN_FEATURES; f++)
            for (int l = 0; l < TARN_LANES; l++)
                tile[f * TARN_LANES + l] =
                    tile[f * TARN_LANES + l] * bundle->scale[f] + bundle->offset[f];
    }
}

static float score_heuristic(const struct tarn_evictor *evictor, tarn_expert expert,
                             const struct tarn_meta *meta, uint32_t now, float lg_period)
{
    const struct tarn_world *world = evictor->world;
    float age = (float)(now - meta->last);
    float stay = tarn_lam((float)(now - meta->inserted), lg_period);
    float frequency = (float)meta->decayed * 0x1p-11f, score;
    switch (expert) {
    case TARN_EXPERT_LFU:
        score = frequency - age / (16.0f * evictor->period);
        break;
    case TARN_EXPERT_STICKY:
        score = frequency - age / (32.0f * evictor->period) + 0.3f * stay;
        break;
    case TARN_EXPERT_LIRS:
        if (meta->gap[0] != TARN_GAP_ABSENT) {
            float gap = tarn_gap_lg(meta->gap[0]), idle = tarn_lg(age + 1.0f);
            score = -tarn_clamp((gap > idle ? gap : idle) - lg_period, -14.0f, 14.0f);
        } else {
            score = -20.0f + tarn_sketch_age(&world->sketch, meta->sketch) + stay;
        }
        break;
    case TARN_EXPERT_GDSF:
        return meta->priority - *world->gdsf_floor;
    case TARN_EXPERT_NET:
    case TARN_EXPERT_MEMBER:
    default:
        score = 0;
    }
    return score + tarn_world_worth(world, meta);
}

static void log_samples(struct tarn_evictor *evictor, const struct tarn_round *round,
                        const struct tarn_feature_frame *frame)
{
    const struct tarn_observer *observer = &evictor->world->observer;
    uint32_t fresh = round->count - round->stale;
    if (!evictor->live || observer->sample == NULL || fresh == 0)
        return;
    /* samples can wait for the thread that fills the list, a request can't */
    if (!round->ahead && evictor->hits != NULL &&
        evictor->evictions - evictor->filled_at < FILLED_LATELY)
        return;
    for (; evictor->sample_credit >= 1.0f; evictor->sample_credit -= 1.0f) {
        uint32_t i = round->stale + tarn_rng_below(&evictor->rng, fresh), slot = round->slot[i];
        struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
        int8_t x[TARN_FEATURES];
        if (round->net) /* it is in a tile already */
            tarn_features_of_lane(round->tiles +
                                      (size_t)(i / TARN_LANES) * TARN_LANES * TARN_FEATURES,
                                  i % TARN_LANES, x);
        else
            tarn_features(frame, meta, x);
        if (observer->sample(observer->context, tarn_table_hash(evictor->table, slot), meta->tag, x,
                             frame->now, evictor->period))
            meta->flags |= TARN_META_SAMPLED;
    }
}

/* What a version says of who has a say; without a mix the evictor's own experts have it. */
static void enter(const struct tarn_evictor *evictor, struct tarn_round *round)
{
    const struct tarn_bundle *bundle =
        evictor->bundle != NULL ? evictor->bundle : tarn_slot_enter(evictor->world->reader);
    float unused =
        bundle->thresholds > TARN_THRESHOLD_SAY ? bundle->threshold[TARN_THRESHOLD_SAY] : 0;
    round->bundle = bundle;
    round->tagged = bundle->tags != 0;
    round->version = bundle->version;
    round->width = evictor->world->width;
    round->exits = evictor->world->exits;
    round->slice = tarn_model_slice(bundle->model, round->width, round->exits);
    for (uint32_t k = 0; k < round->experts; k++)
        round->weight[k] = evictor->weight[k] > unused ? evictor->weight[k] : 0;
}

void tarn_round_leave(struct tarn_evictor *evictor, struct tarn_round *round)
{
    if (round->bundle != NULL && evictor->bundle == NULL)
        tarn_slot_leave(evictor->world->reader);
    round->bundle = NULL;
}

static bool is_network(tarn_expert expert)
{
    return expert == TARN_EXPERT_NET || expert >= TARN_EXPERT_MEMBER;
}

/* A network's place among the experts' scores, if it has a say; else NULL. */
static float *place_of_net(const struct tarn_evictor *evictor, const struct tarn_round *round,
                           uint32_t k)
{
    return is_network(evictor->expert[k]) && round->weight[k] > 0 ? round->raw + k * round->room
                                                                  : NULL;
}

/* A version that has no such member says what its own network does. */
static void score_expert(const struct tarn_evictor *evictor, struct tarn_round *round,
                         const struct tarn_bundle *bundle, uint32_t k)
{
    const struct tarn_bundle_batch batch = {
        .tiles = round->tiles,
        .tags = tarn_round_tags(round),
        .count = round->count,
        .width = round->width,
        .exits = round->exits,
    };
    float *raw = place_of_net(evictor, round, k);
    uint32_t member = (uint32_t)evictor->expert[k] - TARN_EXPERT_MEMBER + 1;
    if (raw == NULL || round->count == 0)
        return;
    if (evictor->expert[k] != TARN_EXPERT_NET && member < bundle->members)
        tarn_ensemble_score_member(bundle, member, &batch, raw);
    else
        tarn_bundle_score(bundle, &batch, raw);
}

void tarn_round_score(const struct tarn_evictor *evictor, struct tarn_round *round)
{
    for (uint32_t k = 0; k < evictor->experts; k++)
        score_expert(evictor, round, round->bundle, k);
}

void tarn_round_score_members(const struct tarn_evictor *evictor, struct tarn_round *round,
                              const struct tarn_bundle *bundle)
{
    for (uint32_t k = TARN_EXPERTS; k < evictor->experts; k++)
        score_expert(evictor, round, bundle, k);
}

void tarn_round_draw(struct tarn_evictor *evictor, struct tarn_round *round, uint64_t now)
{
    tarn_evictor_settle(evictor);
    struct sizes sizes = sizes_of(evictor, round);
    round->count = 0;
    round->now = now;
    enter(evictor, round);
    if (++evictor->stamp == 0)
        evictor->stamp = 1; /* 0 is an object that was never drawn */
    mark_list(evictor);
    draw_stale(evictor, round, (uint32_t)now);
    draw_fresh(evictor, round, (uint32_t)now, &sizes);
    round->net = false;
    for (uint32_t k = 0; k < evictor->experts; k++)
        round->net = round->net || place_of_net(evictor, round, k) != NULL;
    struct tarn_feature_frame frame =
        tarn_feature_frame(&evictor->world->cohorts, &evictor->rates, now, evictor->period,
                           evictor->mean_size, evictor->world->bytes);
    if (tarn_round_wants_net(round))
        write_tiles(evictor, round, &frame);
    for (uint32_t k = 0; k < evictor->experts; k++) {
        if (is_network(evictor->expert[k]) || round->weight[k] <= 0)
            continue;
        for (uint32_t i = 0; i < round->count; i++)
            round->raw[k * round->room + i] = score_heuristic(
                evictor, evictor->expert[k], tarn_table_meta(evictor->table, round->slot[i]),
                (uint32_t)now, frame.lg_period);
    }
    log_samples(evictor, round, &frame);
    if (tarn_round_wants_net(round))
        scale_tiles(round);
    evictor->rounds++;
    evictor->scores += round->count;
}

static bool are_numbers(const float *scores, uint32_t count, float most)
{
    bool all = true; /* no jumps: a vector of comparisons */
    for (uint32_t i = 0; i < count; i++)
        all &= scores[i] > -most && scores[i] < most;
    return all;
}

/* `asked` are those that had a say: of the others nothing new is known. */
static void note_unsound(struct tarn_evictor *evictor, uint64_t version, uint32_t asked,
                         uint32_t out)
{
    struct tarn_unsound *u = &evictor->unsound;
    const uint32_t network = 1u << TARN_EXPERT_NET;
    u->out = out | (u->out & ~asked);
    if (asked & network)
        u->in_a_row = !(out & network) ? 0 : u->version == version ? u->in_a_row + 1 : 1;
    if (out == 0)
        return;
    u->version = version;
    u->rounds++;
}

/*
 * An expert whose scores aren't all numbers has no say in this round, whatever its weight is. True if nobody is
 * left who has one.
 */
static bool drop_unsound(struct tarn_evictor *evictor, struct tarn_round *round)
{
    uint32_t asked = 0, out = 0;
    float left = 0;
    for (uint32_t k = 0; k < evictor->experts; k++) {
        if (!(round->weight[k] > 0))
            continue;
        asked |= 1u << evictor->expert[k];
        if (are_numbers(round->raw + k * round->room, round->count,
                        is_network(evictor->expert[k]) ? WORST_SCORE : WORST_OTHER)) {
            left += round->weight[k];
        } else {
            out |= 1u << evictor->expert[k];
            round->weight[k] = 0;
        }
    }
    if (round->count > 0)
        note_unsound(evictor, round->version, asked, out);
    bool nobody = out != 0 && !(left > 0);
    if (nobody != evictor->unsound.stands_in) /* its numbers are no others' */
        evictor->ranks[0] = (struct tarn_ranks){0};
    evictor->unsound.stands_in = nobody;
    return nobody;
}

/* Then the least that is known of each candidate decides: how often it is wanted. */
static void stand_in(struct tarn_evictor *evictor, struct tarn_round *round)
{
    float lg_period = tarn_lg(evictor->period);
    for (uint32_t i = 0; i < round->count; i++) {
        bool stays = tarn_evictor_owns(evictor, round->slot[i]);
        const struct tarn_meta *meta = tarn_table_meta(evictor->table, round->slot[i]);
        round->raw[i] =
            stays ? score_heuristic(evictor, TARN_EXPERT_LFU, meta, (uint32_t)round->now, lg_period)
                  : 0;
    }
    round->weight[0] = 1.0f;
}

/* The rank inside the round, until an expert has seen enough scores for the other kind. */
static float rank_inside(const float *raw, uint32_t count, float score)
{
    uint32_t below = 0;
    for (uint32_t i = 0; i < count; i++)
        below += raw[i] < score;
    return ((float)below + 0.5f) / (float)count;
}

/* The experts' ranks, weighed: one expert after the other, so that its sorted scores stay near. */
static void mix_scores(const struct tarn_evictor *evictor, const struct tarn_round *round)
{
    float *sum = round->mixed;
    memset(sum, 0, round->count * sizeof *sum);
    for (uint32_t k = 0; k < evictor->experts; k++) {
        float weight = round->weight[k];
        const float *raw = round->raw + k * round->room;
        const struct tarn_ranks *ranks = &evictor->ranks[k];
        if (weight <= 0)
            continue;
        if (tarn_ranks_ready(ranks))
            for (uint32_t i = 0; i < round->count; i++)
                sum[i] += weight * tarn_ranks_of(ranks, raw[i]);
        else
            for (uint32_t i = 0; i < round->count; i++)
                sum[i] += weight * rank_inside(raw, round->count, raw[i]);
    }
}

/* A number that sorts as the entries do: by score, then by slot, so that there are no ties. */
static uint64_t order_of(const struct tarn_pool_entry *entry)
{
    uint32_t bits;
    memcpy(&bits, &entry->score, sizeof bits);
    bits ^= (uint32_t)((int32_t)bits >> 31) | 0x80000000u;
    return (uint64_t)bits << 32 | entry->slot;
}

/*
 * Brings the `wanted` lowest to the front, in no order: quickselect with Lomuto's partition, whose inner
 * loop has no jump that depends on the numbers. The pivot is one of five, about as high as the wanted
 * ones reach: most of a long tail goes in the first pass.
 */
static void select_lowest(uint64_t *order, uint32_t count, uint32_t wanted)
{
    if (wanted == 0 || wanted >= count)
        return;
    for (uint32_t low = 0, high = count - 1; low < high;) {
        uint32_t n = high - low + 1, best = (low + high) / 2;
        if (n > 16) {
            uint32_t at[5];
            for (uint32_t i = 0; i < 5; i++) {
                at[i] = low + (2 * i + 1) * n / 10;
                for (uint32_t k = i; k > 0 && order[at[k]] < order[at[k - 1]]; k--) {
                    uint32_t t = at[k];
                    at[k] = at[k - 1];
                    at[k - 1] = t;
                }
            }
            best = at[(wanted - low) * 5 / (n + 1)];
        }
        uint64_t pivot = order[best];
        order[best] = order[high];
        order[high] = pivot;
        uint32_t place = low;
        for (uint32_t i = low; i < high; i++) {
            uint64_t x = order[i];
            order[i] = order[place];
            order[place] = x;
            place += x < pivot;
        }
        order[high] = order[place];
        order[place] = pivot;
        if (place == wanted || place + 1 == wanted)
            return;
        if (place < wanted)
            low = place + 1;
        else
            high = place - 1;
    }
}

static uint64_t highest(const uint64_t *order, uint32_t count)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < count; i++)
        most = order[i] > most ? order[i] : most;
    return most;
}

/* Shell's sort with Ciura's gaps: qsort() may allocate. */
static void sort_entries(struct tarn_pool_entry *entries, uint32_t count)
{
    static const uint32_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (uint32_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++)
        for (uint32_t i = gaps[g]; i < count; i++) {
            struct tarn_pool_entry moved = entries[i];
            uint64_t order = order_of(&moved);
            uint32_t j = i;
            for (; j >= gaps[g] && order < order_of(&entries[j - gaps[g]]); j -= gaps[g])
                entries[j] = entries[j - gaps[g]];
            entries[j] = moved;
        }
}

/* The `victims` lowest of the pool become the list, in order; of the rest the `kept` lowest stay. */
static void keep_lowest(struct tarn_evictor *evictor, uint32_t victims, uint32_t kept)
{
    struct tarn_pool_entry *pool = evictor->pool;
    uint64_t *order = evictor->order;
    uint32_t count = evictor->pool_count, listed = 0, left = 0;
    uint32_t most = victims + kept < count ? victims + kept : count;
    for (uint32_t i = 0; i < count; i++)
        order[i] = order_of(&pool[i]);
    select_lowest(order, count, most);
    uint64_t last_kept = highest(order, most);
    select_lowest(order, most, victims);
    uint64_t last_listed = highest(order, victims);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t own = order_of(&pool[i]);
        if (listed < victims && own <= last_listed)
            evictor->list[listed++] = pool[i];
        else if (own <= last_kept)
            pool[left++] = pool[i];
    }
    sort_entries(evictor->list, listed);
    evictor->list_count = listed;
    evictor->list_next = 0;
    evictor->pool_count = left;
}

/* A network's: where sizes or costs count they do. */
static void settle_scores(const struct tarn_evictor *evictor, const struct tarn_round *round,
                          float *raw)
{
    const struct tarn_world *world = evictor->world;
    for (uint32_t i = 0; i < round->count; i++)
        raw[i] += tarn_world_worth(world, tarn_table_meta(evictor->table, round->slot[i]));
}

void tarn_round_finish(struct tarn_evictor *evictor, struct tarn_round *round)
{
    struct sizes sizes = sizes_of(evictor, round);
    const struct tarn_world *world = evictor->world;
    if (has_moved_on(evictor, round)) {
        round->count = round->stale = 0;
        return;
    }
    if (evictor->live && world->opinion != NULL && round->count > 0 &&
        place_of_net(evictor, round, 0) != NULL)
        tarn_opinion_ask(world->opinion, round->tiles, tarn_round_tags(round), round->raw,
                         round->count);
    bool nobody = drop_unsound(evictor, round);
    for (uint32_t k = 0; k < evictor->experts; k++)
        if (place_of_net(evictor, round, k) != NULL)
            settle_scores(evictor, round, round->raw + k * round->room);
    if (nobody)
        stand_in(evictor, round);
    uint32_t fresh = round->count - round->stale;
    for (uint32_t k = 0; k < evictor->experts; k++)
        if (round->weight[k] > 0 && fresh > 0)
            tarn_ranks_add(&evictor->ranks[k], round->raw + k * round->room + round->stale, fresh);
    mix_scores(evictor, round);
    if (round->ahead)
        take_list_back(evictor);
    for (uint32_t i = 0; i < round->count; i++) {
        uint32_t slot = round->slot[i];
        if (!tarn_evictor_owns(evictor, slot))
            continue;
        const struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
        if (meta->last != round->last[i])
            continue;
        evictor->pool[evictor->pool_count++] = (struct tarn_pool_entry){
            .slot = slot,
            .last = meta->last,
            .scored = (uint32_t)round->now,
            .score = round->mixed[i],
        };
    }
    round->count = round->stale = 0;
    uint32_t victims = sizes.victims < evictor->pool_count ? sizes.victims : evictor->pool_count;
    keep_lowest(evictor, victims, sizes.pool);
    evictor->list_version = round->version;
    evictor->list_slice = round->slice;
    /* in a small cache the list is short, and what is next best isn't nearly as good */
    evictor->reserve = (victims < round->at_once ? victims : round->at_once) / RESERVE_SHARE;
    if (round->ahead)
        evictor->filled_at = evictor->evictions;
}

bool tarn_round_take_reserve(struct tarn_evictor *evictor)
{
    uint32_t count = evictor->pool_count;
    uint32_t victims = evictor->reserve < count ? evictor->reserve : count;
    evictor->reserve = 0;
    if (victims == 0)
        return false;
    keep_lowest(evictor, victims, count - victims);
    evictor->list_version = evictor->pool_version;
    evictor->list_slice = evictor->pool_slice;
    return true;
}
