/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

#define MAGIC          "TARNCKP\x1a"
#define VERSION        2
#define VERSION_LEAST  1 /* without parts, and samples have no tags */
#define HEADER_SIZE    128
#define HASH_SIZE      8
#define SAMPLE_SIZE    52
#define KEPT_SIZE      32
#define CHUNK          65536
#define MOST_SAMPLES   (UINT32_C(1) << 24)
#define MOST_ROOM      (UINT32_C(1) << 20)
#define STATISTICS     (TARN_FEATURES * 8 + 4 + 4 + 8 + 32) /* means ... generator */
#define RESERVOIR_HEAD (STATISTICS + TARN_RESERVOIR_STRATA * 12)
#define PART_HEAD      128
#define PART_NESTED    64 /* where in a part's head */
#define MOST_RATE      64.0f
#define FILE_SIZE_MAX  (UINT32_C(1) << 31)

enum { FLAG_CURRENT = 1 };

/* Where things are in a file; all of it follows from the header. */
struct plan {
    size_t weights; /* how many */
    uint32_t samples, room, tags, classes;
    uint64_t ring, reservoir, parts, table, size; /* offsets */
    uint64_t chunks;
};

static uint64_t part_size(const struct plan *p, bool is_class)
{
    return PART_HEAD + (uint64_t)p->weights * (is_class ? 16 : 12);
}

/* Where it begins. */
static uint64_t place_of_part(const struct plan *p, uint32_t i)
{
    uint32_t tags = i < p->tags ? i : p->tags;
    return p->parts + tags * part_size(p, false) + (i - tags) * part_size(p, true);
}

static struct plan plan_for(const struct tarn_shape *shape, struct plan p)
{
    uint32_t samples = p.samples, room = p.room;
    p.weights = tarn_shape_weights(shape);
    p.ring = HEADER_SIZE + (uint64_t)p.weights * 12;
    p.reservoir = p.ring + (uint64_t)samples * SAMPLE_SIZE;
    p.parts = p.reservoir;
    if (room > 0)
        p.parts += RESERVOIR_HEAD + (uint64_t)room * TARN_RESERVOIR_STRATA * KEPT_SIZE;
    p.table = place_of_part(&p, p.tags + p.classes);
    p.chunks = (p.table - HEADER_SIZE + CHUNK - 1) / CHUNK;
    p.size = p.table + (p.chunks + 1) * HASH_SIZE;
    return p;
}

static uint32_t samples_in(const struct tarn_ring *ring)
{
    return ring->head < ring->size ? (uint32_t)ring->head : ring->size;
}

static struct plan plan_of(const struct tarn_checkpoint *what)
{
    struct plan counts = {
        .samples = samples_in(what->ring),
        .room = what->reservoir != NULL ? what->reservoir->room : 0,
    };
    for (uint32_t i = 0; i < what->part_count; i++)
        ++*(what->parts[i].is_class ? &counts.classes : &counts.tags);
    return plan_for(what->shape, counts);
}

size_t tarn_checkpoint_size(const struct tarn_checkpoint *what)
{
    return (size_t)plan_of(what).size;
}

/* ---- writing ---- */

static uint8_t *put_floats(uint8_t *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++, to += 4)
        tarn_put_f32(to, from[i]);
    return to;
}

static void put_header(uint8_t *to, const struct plan *p, const struct tarn_shape *shape,
                       uint64_t steps)
{
    memset(to, 0, HEADER_SIZE);
    memcpy(to, MAGIC, 8);
    tarn_put_u32(to + 8, VERSION);
    tarn_put_u32(to + 12, HEADER_SIZE);
    tarn_put_u64(to + 16, p->size);
    tarn_put_u16(to + 24, (uint16_t)shape->inputs);
    tarn_put_u16(to + 26, (uint16_t)shape->hidden1);
    tarn_put_u16(to + 28, (uint16_t)shape->hidden2);
    tarn_put_u16(to + 30, (uint16_t)shape->outputs);
    tarn_put_u64(to + 32, steps);
    tarn_put_u32(to + 48, p->samples);
    tarn_put_u32(to + 52, p->room);
    tarn_put_u32(to + 56, TARN_RESERVOIR_STRATA);
    tarn_put_u32(to + 60, CHUNK);
    tarn_put_u32(to + 64, p->tags);
    tarn_put_u32(to + 68, p->classes);
}

static void put_reservoir(uint8_t *to, const struct tarn_reservoir *r)
{
    to = put_floats(to, r->mean, TARN_FEATURES);
    to = put_floats(to, r->variance, TARN_FEATURES);
    tarn_put_f32(to, r->far_away);
    tarn_put_u32(to + 4, 0);
    tarn_put_u64(to + 8, r->seen);
    to += 16;
    for (int i = 0; i < 4; i++, to += 8)
        tarn_put_u64(to, r->rng.s[i]);
    for (int i = 0; i < TARN_RESERVOIR_STRATA; i++, to += 4)
        tarn_put_u32(to, r->filled[i]);
    for (int i = 0; i < TARN_RESERVOIR_STRATA; i++, to += 8)
        tarn_put_u64(to, r->offered[i]);
    for (size_t i = 0; i < (size_t)r->room * TARN_RESERVOIR_STRATA; i++, to += KEPT_SIZE) {
        const struct tarn_kept_sample *s = &r->samples[i];
        memcpy(to, s->features, TARN_FEATURES);
        tarn_put_u16(to + 28, s->label);
        tarn_put_u16(to + 30, s->held_out);
    }
}

tarn_status tarn_checkpoint_begin(struct tarn_checkpoint_image *image,
                                  const struct tarn_checkpoint *what, struct tarn_error *error)
{
    struct tarn_trainer_state state;
    struct plan p = plan_of(what);
    *image = (struct tarn_checkpoint_image){.size = (size_t)p.size,
                                            .first = what->ring->head - p.samples,
                                            .samples = p.samples,
                                            .ring_size = what->ring->size,
                                            .parts = (size_t)p.parts,
                                            .table = (size_t)p.table,
                                            .part_count = what->part_count};
    if (tarn_trainer_in_flight(what->trainer))
        return tarn_fail(error, TARN_BUSY, "checkpoint: training is under way");
    tarn_trainer_get_state(what->trainer, &state);
    if (!tarn_net_is_finite(state.weights, p.weights) || !tarn_net_is_finite(state.m, p.weights) ||
        !tarn_net_is_finite(state.v, p.weights))
        return tarn_fail(error, TARN_CORRUPT, "checkpoint: a weight isn't a finite number");
    if (p.size > FILE_SIZE_MAX)
        return tarn_fail(error, TARN_TOO_LARGE, "checkpoint: %" PRIu64 " bytes", p.size);
    image->data = tarn_alloc(image->size);
    if (image->data == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "checkpoint: out of memory");
    put_header(image->data, &p, what->shape, state.steps);
    uint8_t *to = put_floats(image->data + HEADER_SIZE, state.weights, p.weights);
    to = put_floats(to, state.m, p.weights);
    put_floats(to, state.v, p.weights);
    if (p.room > 0)
        put_reservoir(image->data + p.reservoir, what->reservoir);
    return TARN_OK;
}

static void put_sample(uint8_t *to, const struct tarn_sample *s)
{
    memcpy(to, s->features, TARN_FEATURES);
    tarn_put_u32(to + 28, s->since);
    tarn_put_u32(to + 32, s->open ? 0 : s->until);
    tarn_put_f32(to + 36, s->period);
    tarn_put_u64(to + 40, s->hash);
    tarn_put_u32(to + 48, (s->open ? 1 : s->wanted ? 2 : 0) | (uint32_t)s->tag << 8);
}

tarn_status tarn_checkpoint_copy(struct tarn_checkpoint_image *image,
                                 const struct tarn_checkpoint *what, uint32_t count, uint64_t now)
{
    const struct tarn_ring *ring = what->ring;
    if (ring->size != image->ring_size || ring->head < image->first + image->samples)
        return TARN_NOT_FOUND;
    /* what comes in meanwhile is younger than when the image was begun */
    tarn_put_u64(image->data + 40, now);
    uint64_t at = HEADER_SIZE + (uint64_t)tarn_shape_weights(what->shape) * 12;
    for (; count > 0 && image->copied < image->samples; count--, image->copied++)
        put_sample(image->data + at + (uint64_t)image->copied * SAMPLE_SIZE,
                   &ring->samples[(image->first + image->copied) & (ring->size - 1)]);
    return image->copied < image->samples ? TARN_BUSY : TARN_OK;
}

static uint8_t *put_part(uint8_t *to, const struct tarn_checkpoint_part *part, size_t weights)
{
    memset(to, 0, PART_HEAD);
    tarn_put_u32(to, part->is_class);
    tarn_put_u32(to + 4, part->number);
    tarn_put_u32(to + 8, part->current ? FLAG_CURRENT : 0);
    tarn_put_u64(to + 16, part->state.steps);
    memcpy(to + 24, part->name, strnlen(part->name, TARN_CHECKPOINT_NAME - 1));
    tarn_put_f32(to + 12, part->rate);
    tarn_put_u64(to + 24 + TARN_CHECKPOINT_NAME, part->set);
    memcpy(to + PART_NESTED, part->nested.width, TARN_NESTED_MOST);
    to[PART_NESTED + TARN_NESTED_MOST] = part->nested.exits;
    to = put_floats(to + PART_HEAD, part->state.weights, weights);
    to = put_floats(to, part->state.m, weights);
    to = put_floats(to, part->state.v, weights);
    return part->is_class ? put_floats(to, part->live, weights) : to;
}

void tarn_checkpoint_put_parts(struct tarn_checkpoint_image *image,
                               const struct tarn_checkpoint *what)
{
    uint8_t *to = image->data + image->parts;
    for (uint32_t i = 0; i < what->part_count && i < image->part_count; i++)
        to = put_part(to, &what->parts[i], tarn_shape_weights(what->shape));
    image->parts_put = what->part_count;
}

tarn_status tarn_checkpoint_save(struct tarn_checkpoint_image *image, const char *path,
                                 struct tarn_error *error)
{
    if (image->data == NULL || image->copied < image->samples ||
        image->parts_put != image->part_count)
        return tarn_fail(error, TARN_INVALID, "%s: the checkpoint isn't complete", path);
    tarn_put_u64(image->data + HEADER_SIZE - HASH_SIZE,
                 tarn_hash(image->data, HEADER_SIZE - HASH_SIZE));
    size_t table = image->table, chunks = (table - HEADER_SIZE + CHUNK - 1) / CHUNK;
    for (size_t i = 0; i < chunks; i++) {
        size_t from = HEADER_SIZE + i * CHUNK;
        size_t length = table - from < CHUNK ? table - from : CHUNK;
        tarn_put_u64(image->data + table + i * HASH_SIZE, tarn_hash(image->data + from, length));
    }
    tarn_put_u64(image->data + table + chunks * HASH_SIZE,
                 tarn_hash(image->data + table, chunks * HASH_SIZE));
    return tarn_file_replace(path, image->data, image->size, error);
}

void tarn_checkpoint_free(struct tarn_checkpoint_image *image)
{
    tarn_free(image->data);
    *image = (struct tarn_checkpoint_image){0};
}

/* ---- reading ---- */

struct reader {
    const uint8_t *data;
    const char *where;
    struct plan plan;
    struct tarn_shape shape;
    uint64_t steps, now;
    uint32_t version;
    struct tarn_error *error;
};

static tarn_status damaged(const struct reader *r, const char *what, uint64_t at)
{
    return tarn_fail(r->error, TARN_CORRUPT, "%s: %s at byte %" PRIu64, r->where, what, at);
}

static tarn_status read_header(struct reader *r, size_t size)
{
    const uint8_t *d = r->data;
    if (size < HEADER_SIZE || memcmp(d, MAGIC, 8) != 0)
        return tarn_fail(r->error, TARN_CORRUPT, "%s: not a checkpoint", r->where);
    r->version = tarn_get_u32(d + 8);
    if (r->version < VERSION_LEAST || r->version > VERSION)
        return tarn_fail(r->error, TARN_UNSUPPORTED,
                         "%s: checkpoint format %" PRIu32 ", this build reads %d to %d", r->where,
                         r->version, VERSION_LEAST, VERSION);
    if (tarn_get_u64(d + HEADER_SIZE - HASH_SIZE) != tarn_hash(d, HEADER_SIZE - HASH_SIZE))
        return damaged(r, "the header's checksum doesn't match", HEADER_SIZE - HASH_SIZE);
    if (tarn_get_u64(d + 16) != size)
        return tarn_fail(r->error, TARN_CORRUPT,
                         "%s: %zu bytes, but its header says %" PRIu64 ": truncated or padded",
                         r->where, size, tarn_get_u64(d + 16));
    r->shape = (struct tarn_shape){tarn_get_u16(d + 24), tarn_get_u16(d + 26), tarn_get_u16(d + 28),
                                   tarn_get_u16(d + 30)};
    r->steps = tarn_get_u64(d + 32);
    r->now = tarn_get_u64(d + 40);
    struct plan counts = {.samples = tarn_get_u32(d + 48), .room = tarn_get_u32(d + 52)};
    if (r->version > 1) {
        counts.tags = tarn_get_u32(d + 64);
        counts.classes = tarn_get_u32(d + 68);
    }
    if (!tarn_shape_is_valid(&r->shape))
        return tarn_fail(r->error, TARN_UNSUPPORTED,
                         "%s: a network of %u-%u-%u-%u is not supported", r->where, r->shape.inputs,
                         r->shape.hidden1, r->shape.hidden2, r->shape.outputs);
    if (tarn_get_u32(d + 12) != HEADER_SIZE || tarn_get_u32(d + 56) != TARN_RESERVOIR_STRATA ||
        tarn_get_u32(d + 60) != CHUNK || counts.samples > MOST_SAMPLES || counts.room > MOST_ROOM ||
        counts.tags > TARN_BUNDLE_TAGS || counts.classes > TARN_CHECKPOINT_CLASSES)
        return damaged(r, "a size that no writer gives", 48);
    r->plan = plan_for(&r->shape, counts);
    if (r->plan.size != size)
        return tarn_fail(r->error, TARN_CORRUPT, "%s: its parts don't add up to %zu bytes",
                         r->where, size);
    return TARN_OK;
}

static tarn_status check_hashes(const struct reader *r)
{
    const struct plan *p = &r->plan;
    const uint8_t *table = r->data + p->table;
    if (tarn_get_u64(table + p->chunks * HASH_SIZE) !=
        tarn_hash(table, (size_t)p->chunks * HASH_SIZE))
        return damaged(r, "the checksum of the checksums doesn't match",
                       p->table + p->chunks * HASH_SIZE);
    for (uint64_t i = 0; i < p->chunks; i++) {
        uint64_t from = HEADER_SIZE + i * CHUNK, left = p->table - from;
        if (tarn_get_u64(table + i * HASH_SIZE) !=
            tarn_hash(r->data + from, (size_t)(left < CHUNK ? left : CHUNK)))
            return damaged(r, "a checksum doesn't match that of the chunk", from);
    }
    return TARN_OK;
}

static bool is_finite(float value)
{
    return tarn_net_is_finite(&value, 1);
}

/* Weights and moments, and if `live` other weights behind them. */
static tarn_status check_training(const struct reader *r, uint64_t begin, bool live)
{
    size_t n = r->plan.weights;
    for (size_t i = 0; i < (live ? 4 : 3) * n; i++) {
        uint64_t at = begin + (uint64_t)i * 4;
        float value = tarn_get_f32(r->data + at);
        if (!is_finite(value) || (i >= 2 * n && i < 3 * n && value < 0))
            return damaged(r,
                           i < n || i >= 3 * n ? "a weight that isn't a finite number"
                                               : "a moment that can't be one",
                           at);
    }
    return TARN_OK;
}

static uint32_t tag_of(const struct reader *r, uint32_t flags)
{
    return r->version > 1 ? flags >> 8 : 0;
}

static tarn_status check_ring(const struct reader *r)
{
    for (uint32_t i = 0; i < r->plan.samples; i++) {
        uint64_t at = r->plan.ring + (uint64_t)i * SAMPLE_SIZE;
        const uint8_t *s = r->data + at;
        uint32_t since = tarn_get_u32(s + 28), until = tarn_get_u32(s + 32);
        uint32_t flags = tarn_get_u32(s + 48), age = (uint32_t)r->now - since;
        float period = tarn_get_f32(s + 36);
        uint32_t tag = tag_of(r, flags);
        flags -= tag << 8;
        if (flags > 2 || tag >= TARN_RING_TAGS || !is_finite(period) || period < 1 ||
            (flags != 1 && until - since > age))
            return damaged(r, "a sample that can't be one", at);
    }
    return TARN_OK;
}

static bool statistics_are_sound(const uint8_t *d)
{
    bool sound = true, seeded = false;
    for (int f = 0; f < 2 * TARN_FEATURES; f++) {
        float value = tarn_get_f32(d + 4 * f);
        sound = sound && is_finite(value) && (f < TARN_FEATURES || value >= 0);
    }
    float far_away = tarn_get_f32(d + TARN_FEATURES * 8);
    for (int i = 0; i < 4; i++)
        seeded = seeded || tarn_get_u64(d + TARN_FEATURES * 8 + 16 + 8 * i) != 0;
    return sound && seeded && is_finite(far_away) && far_away > 0;
}

static bool kept_is_sound(const uint8_t *d, uint32_t outputs)
{
    uint32_t label = tarn_get_u16(d + 28), risk = label & 0xff, event = label >> 8;
    return risk > 0 && risk <= outputs && (event == 0 || event == risk) && tarn_get_u16(d + 30) < 2;
}

static tarn_status check_reservoir(const struct reader *r)
{
    const uint8_t *d = r->data + r->plan.reservoir;
    if (r->plan.room == 0)
        return TARN_OK;
    if (!statistics_are_sound(d))
        return damaged(r, "statistics of the reservoir that can't be ones", r->plan.reservoir);
    for (uint32_t s = 0; s < TARN_RESERVOIR_STRATA; s++) {
        uint64_t at = r->plan.reservoir + STATISTICS + 4 * s;
        uint32_t filled = tarn_get_u32(r->data + at);
        uint64_t offered = tarn_get_u64(d + STATISTICS + 4 * TARN_RESERVOIR_STRATA + 8 * (size_t)s);
        if (filled > r->plan.room || filled > offered || (filled == 0 && offered > 0))
            return damaged(r, "a stratum that can't hold as many as it says", at);
        for (uint32_t i = 0; i < filled; i++) {
            at = r->plan.reservoir + RESERVOIR_HEAD + ((uint64_t)s * r->plan.room + i) * KEPT_SIZE;
            if (!kept_is_sound(r->data + at, r->shape.outputs))
                return damaged(r, "a kept sample that can't be one", at);
        }
    }
    return TARN_OK;
}

static struct tarn_nested get_nested(const uint8_t *part)
{
    struct tarn_nested nested = {.exits = part[PART_NESTED + TARN_NESTED_MOST]};
    memcpy(nested.width, part + PART_NESTED, TARN_NESTED_MOST);
    return nested;
}

static tarn_status check_part(const struct reader *r, uint32_t i)
{
    uint64_t at = place_of_part(&r->plan, i);
    const uint8_t *d = r->data + at;
    bool is_class = i >= r->plan.tags, is_first = i == (is_class ? r->plan.tags : 0);
    uint32_t number = tarn_get_u32(d + 4), most = TARN_BUNDLE_TAGS;
    float rate = tarn_get_f32(d + 12);
    struct tarn_nested nested = get_nested(d);
    if (is_class)
        most = TARN_CHECKPOINT_CLASSES - 1;
    if (tarn_get_u32(d) != is_class || number > most || (number == 0 && !is_class) ||
        tarn_get_u32(d + 8) > (is_class ? FLAG_CURRENT : 0) ||
        (!is_first && number <= tarn_get_u32(r->data + place_of_part(&r->plan, i - 1) + 4)) ||
        d[24 + TARN_CHECKPOINT_NAME - 1] != '\0' || !(rate >= 1 / MOST_RATE && rate <= MOST_RATE) ||
        !tarn_nested_is_valid(&nested, &r->shape))
        return damaged(r, "a part that can't be one", at);
    return check_training(r, at + PART_HEAD, is_class);
}

static tarn_status check_parts(const struct reader *r)
{
    tarn_status status = TARN_OK;
    for (uint32_t i = 0; status == TARN_OK && i < r->plan.tags + r->plan.classes; i++)
        status = check_part(r, i);
    return status;
}

static struct tarn_trainer_state get_training(const struct reader *r, uint64_t at, uint64_t steps,
                                              uint32_t arrays, float *values)
{
    size_t n = r->plan.weights;
    for (size_t i = 0; i < arrays * n; i++)
        values[i] = tarn_get_f32(r->data + at + 4 * i);
    return (struct tarn_trainer_state){values, values + n, values + 2 * n, steps};
}

static void give_parts(const struct reader *r, const struct tarn_checkpoint *into, float *values)
{
    for (uint32_t i = 0; into->take != NULL && i < r->plan.tags + r->plan.classes; i++) {
        uint64_t at = place_of_part(&r->plan, i);
        const uint8_t *d = r->data + at;
        struct tarn_checkpoint_part part = {
            .is_class = i >= r->plan.tags,
            .current = tarn_get_u32(d + 8) & FLAG_CURRENT,
            .number = tarn_get_u32(d + 4),
            .rate = tarn_get_f32(d + 12),
            .set = tarn_get_u64(d + 24 + TARN_CHECKPOINT_NAME),
            .nested = get_nested(d),
        };
        memcpy(part.name, d + 24, sizeof part.name);
        part.state =
            get_training(r, at + PART_HEAD, tarn_get_u64(d + 16), part.is_class ? 4 : 3, values);
        part.live = part.is_class ? values + 3 * r->plan.weights : NULL;
        into->take(into->context, &part);
    }
}

static void give_ring(const struct reader *r, struct tarn_ring *ring, uint64_t now)
{
    uint32_t skipped = r->plan.samples > ring->size ? r->plan.samples - ring->size : 0;
    uint32_t later = (uint32_t)now - (uint32_t)r->now;
    for (uint32_t i = skipped; i < r->plan.samples; i++) {
        const uint8_t *from = r->data + r->plan.ring + (uint64_t)i * SAMPLE_SIZE;
        uint32_t flags = tarn_get_u32(from + 48), tag = tag_of(r, flags);
        flags -= tag << 8;
        struct tarn_sample s = {
            .since = tarn_get_u32(from + 28) + later,
            .until = (flags == 1 ? (uint32_t)r->now : tarn_get_u32(from + 32)) + later,
            .period = tarn_get_f32(from + 36),
            .hash = tarn_get_u64(from + 40),
            .tag = (uint8_t)tag,
            .wanted = flags == 2,
        };
        memcpy(s.features, from, TARN_FEATURES);
        tarn_ring_restore(ring, &s);
    }
}

static void give_reservoir(const struct reader *r, struct tarn_reservoir *to)
{
    const uint8_t *d = r->data + r->plan.reservoir;
    for (int f = 0; f < TARN_FEATURES; f++) {
        to->mean[f] = tarn_get_f32(d + 4 * f);
        to->variance[f] = tarn_get_f32(d + 4 * (TARN_FEATURES + f));
    }
    d += TARN_FEATURES * 8;
    to->far_away = tarn_get_f32(d);
    to->seen = tarn_get_u64(d + 8);
    for (int i = 0; i < 4; i++)
        to->rng.s[i] = tarn_get_u64(d + 16 + 8 * i);
    d += 48;
    const uint8_t *kept = d + TARN_RESERVOIR_STRATA * 12;
    for (uint32_t s = 0; s < TARN_RESERVOIR_STRATA; s++) {
        uint32_t filled = tarn_get_u32(d + 4 * s);
        to->filled[s] = filled < to->room ? filled : to->room;
        to->offered[s] = tarn_get_u64(d + 4 * TARN_RESERVOIR_STRATA + 8 * (size_t)s);
        for (uint32_t i = 0; i < to->filled[s]; i++) {
            const uint8_t *from = kept + ((size_t)s * r->plan.room + i) * KEPT_SIZE;
            struct tarn_kept_sample *sample = &to->samples[(size_t)s * to->room + i];
            memcpy(sample->features, from, TARN_FEATURES);
            sample->label = tarn_get_u16(from + 28);
            sample->held_out = (uint8_t)tarn_get_u16(from + 30);
        }
    }
}

tarn_status tarn_checkpoint_parse(const void *data, size_t size, const char *where,
                                  const struct tarn_checkpoint *into, uint64_t now,
                                  struct tarn_error *error)
{
    struct reader r = {.data = data, .where = where, .error = error};
    tarn_status status = read_header(&r, size);
    if (status == TARN_OK)
        status = check_hashes(&r);
    if (status == TARN_OK)
        status = check_training(&r, HEADER_SIZE, false);
    if (status == TARN_OK)
        status = check_ring(&r);
    if (status == TARN_OK)
        status = check_reservoir(&r);
    if (status == TARN_OK)
        status = check_parts(&r);
    if (status == TARN_OK && memcmp(&r.shape, into->shape, sizeof r.shape) != 0)
        status = tarn_fail(
            error, TARN_UNSUPPORTED, "%s: of a network of %u-%u-%u-%u, here is one of %u-%u-%u-%u",
            where, r.shape.inputs, r.shape.hidden1, r.shape.hidden2, r.shape.outputs,
            into->shape->inputs, into->shape->hidden1, into->shape->hidden2, into->shape->outputs);
    if (status != TARN_OK)
        return status;
    float *values = tarn_alloc(4 * r.plan.weights * sizeof *values);
    if (values == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", where);
    struct tarn_trainer_state state = get_training(&r, HEADER_SIZE, r.steps, 3, values);
    status = tarn_trainer_set_state(into->trainer, &state);
    if (status == TARN_OK) {
        give_ring(&r, into->ring, now);
        if (into->reservoir != NULL && r.plan.room > 0)
            give_reservoir(&r, into->reservoir);
        give_parts(&r, into, values);
    } else {
        status = tarn_fail(error, status, "%s: training is under way", where);
    }
    tarn_free(values);
    return status;
}

tarn_status tarn_checkpoint_load(const char *path, const struct tarn_checkpoint *into, uint64_t now,
                                 struct tarn_error *error)
{
    void *data;
    size_t size;
    tarn_status status = tarn_file_read(path, FILE_SIZE_MAX, &data, &size, error);
    if (status != TARN_OK)
        return status;
    status = tarn_checkpoint_parse(data, size, path, into, now, error);
    free(data);
    return status;
}
