/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Sites that know what their requests are for: several sources, each with a tag, whose shares change from
 * phase to phase, and phases that come back. A source asks for a catalog of popular objects, or for objects
 * that are wanted a number of times and then never again; when they are new, they all look alike.
 * Private to src/trace.
 */
#ifndef TARN_TRACE_SCENE_H
#define TARN_TRACE_SCENE_H

#include "model.h"

enum { TARN_SCENE_SOURCES = 6, TARN_SCENE_PHASES = 4 };

/** An object that is to be wanted again. */
struct tarn_visit {
    uint64_t due, key;
    uint32_t left;
};

struct tarn_scene_source;

struct tarn_scene {
    const struct tarn_scene_plan *plan;
    uint64_t objects, period; /**< requests of a phase */
    uint64_t count;
    struct tarn_rng rng;
    struct {
        struct tarn_zipf zipf;
        struct tarn_visit *visit; /**< a heap by `due` */
        uint64_t visits, room, base, fresh;
    } source[TARN_SCENE_SOURCES];
};

struct tarn_scene_request {
    uint64_t key;
    double size; /**< times the usual one */
    uint8_t tag;
};

/** The plan of that name, or NULL. */
const struct tarn_scene_plan *tarn_scene_find(const char *name);
/** `rounds`: times that all phases come. False without memory. */
bool tarn_scene_init(struct tarn_scene *scene, const struct tarn_scene_plan *plan, uint64_t objects,
                     uint64_t requests, uint64_t rounds, uint64_t seed);
void tarn_scene_free(struct tarn_scene *scene);
void tarn_scene_next(struct tarn_scene *scene, struct tarn_scene_request *request);

#endif
