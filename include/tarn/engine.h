/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The whole thing: a cache whose eviction learns on the device that answers its lookups.
 *
 *     tarn_engine *engine;
 *     tarn_engine_create(&(struct tarn_engine_params){ .memory = 64 << 20 }, &engine, &error);
 *     tarn_cache *cache = tarn_engine_cache(engine);
 *     tarn_cache_get(cache, ...); tarn_cache_put(cache, ...);
 *     tarn_engine_destroy(&engine);
 *
 * Time is counted in lookups. A get never waits for the device, for training or for the disk.
 *
 * What counts for learning: a get is an access; the history of an object begins with its first put. An
 * overwrite, a delete or an expiry before the next get is no access: what is known of the object until
 * then is used (its label is censored at that moment).
 *
 * Thread-safety: the cache may be used from any thread. The engine's own functions too, but for
 * create and destroy; tarn_engine_step() and tarn_engine_lookup() from one thread at a time each.
 */
#ifndef TARN_ENGINE_H
#define TARN_ENGINE_H

#include <tarn/cache.h>
#include <tarn/gpu.h>
#include <tarn/model.h>
#include <tarn/share.h>
#include <tarn/workload.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tarn_engine tarn_engine;

typedef enum tarn_goal {
    TARN_GOAL_REQUESTS, /**< the share of requests that hit */
    TARN_GOAL_BYTES,    /**< the share of bytes that hit */
    TARN_GOAL_LATENCY,  /**< the least sum of what misses cost (struct tarn_item's cost_us) */
} tarn_goal;

typedef enum tarn_background {
    TARN_BACKGROUND_THREAD, /**< the engine's own thread learns */
    /**
     * The caller calls tarn_engine_step(): the same results each time, so that nothing measured of the
     * device has a say.
     */
    TARN_BACKGROUND_STEPS,
} tarn_background;

/** Training while a battery is being emptied. */
typedef enum tarn_train_on_battery {
    TARN_TRAIN_ON_BATTERY_NEVER,
    TARN_TRAIN_ON_BATTERY_LOW, /**< a small share of the time, while it is more than half full */
    TARN_TRAIN_ON_BATTERY_ALWAYS,
} tarn_train_on_battery;

/**
 * How several networks decide together (docs/ensembles.md): the one that learns, and the one that the engine began
 * with. Each version carries its members and their shares.
 */
typedef enum tarn_ensemble_kind {
    TARN_ENSEMBLE_SINGLE, /**< the network that learns, alone */
    TARN_ENSEMBLE_MEAN,   /**< the mean of their scores */
    TARN_ENSEMBLE_SELECT, /**< for each candidate the one that is surest of it */
    TARN_ENSEMBLE_STACK, /**< the mean of their logits, by shares that are fitted to held-out samples */
    TARN_ENSEMBLE_BAYES, /**< the mixture of what they expect, by recent likelihood */
    /** Each is an expert of its own beside the heuristics, by the misses of its miniature cache. */
    TARN_ENSEMBLE_HEDGE,
    /** Single, or one of the first four: whichever misses less in miniature caches of its own. */
    TARN_ENSEMBLE_SHADOW,
} tarn_ensemble_kind;
/** "single", "mean", ...; NULL past the last. */
TARN_API const char *tarn_ensemble_name(tarn_ensemble_kind kind);

struct tarn_engine_params {
    uint64_t memory;  /**< limit in bytes (see struct tarn_cache_params); 0: none */
    uint64_t objects; /**< limit in objects; 0: none */
    /**
     * As in struct tarn_device_params; NULL: "auto". With TARN_BACKGROUND_THREAD "auto" is also a
     * CPU-type device (PoCL, lavapipe) that has won its place by measurement.
     */
    const char *device;
    /** As in struct tarn_device_params, and calibrations are kept there too; must live as long as the
     * engine. */
    const char *cache_dir;
    tarn_goal goal;
    tarn_background background;
    const tarn_model *model; /**< to start from, copied; NULL: the built-in one */
    /**
     * Models for classes of workloads and for tags, with their settings (docs/sets.md), copied; NULL: none. Its general
     * one is what the engine starts from, unless `model` is given.
     */
    const tarn_model_sets *sets;
    bool no_learn; /**< keep the model as it is */
    /**
     * Hidden units of an elastic model that decide, its nearest width that has as many; 0: as many as the
     * workload needs and time allows. A model that isn't elastic has only one width.
     */
    uint32_t width;
    bool
        early_exit; /**< with `width`: its second layer is left out, where it was trained for that */
    /** The network alone decides, without experts beside it; nor is what goes live watched. */
    bool no_shadows;
    uint64_t seed;
    /*
     * How the device is shared, with TARN_BACKGROUND_THREAD (<tarn/share.h>); 0 is a default.
     */
    uint32_t
        latency_budget_us;   /**< p99 of lookups on the device that training keeps under; 0: none */
    uint32_t train_dwell_us; /**< activity must have been low for so long; 0: one second */
    float train_max_temp_c;  /**< degrees Celsius; 0: by what the board says of itself */
    tarn_train_on_battery train_on_battery;
    uint64_t train_memory; /**< bytes for training samples, at least 128 KiB; 0: 2.4 MiB */
    /*
     * How what was learnt goes live (<tarn/versions.h>).
     */
    uint32_t
        mint_every; /**< requests between two candidates, but half an hour at most; 0: a quarter of the objects, 1,000 to
                            4,096 */
    float shadow_share; /**< of the cache's own time that miniature caches may take; 0: 0.15 */
    /*
     * Under load the cheapest losses are taken first: a narrower network, half of the miniature caches' keys, fewer
     * candidates for a victim, no miniature caches but the watch's. With TARN_BACKGROUND_THREAD the share of a core that the policy's part of
     * requests takes decides; with TARN_BACKGROUND_STEPS nothing is given up unless it is asked for here.
     */
    int relief; /**< 1 to TARN_ENGINE_RELIEF_MOST: so much, always; 0: as load asks; -1: nothing */
    float policy_budget; /**< that share, of which more is load; 0: 0.5 */
    /**
     * A folder, made if it is missing, for what is live, the history of versions and checkpoints of training, from which
     * the next start goes on (docs/deploy.md); NULL: nothing is kept. One engine at a time; must live as
     * long as it.
     */
    const char *state_dir;
    tarn_ensemble_kind ensemble; /**< TARN_INVALID if it isn't known */
    /** Settings of learning, for experiments; NULL: the defaults. Copied. See src/engine/learning.h. */
    const struct tarn_learning_params *learning;
    /** Each training sample with its outcome, for pretraining; under the cache's lock. May be NULL. */
    void (*sample)(void *user, const struct tarn_model_sample *sample);
    void *user;
};

TARN_API tarn_status tarn_engine_create(const struct tarn_engine_params *params,
                                        tarn_engine **engine, struct tarn_error *error);
TARN_API void tarn_engine_destroy(tarn_engine **engine);

/** The engine's cache, valid as long as the engine. */
TARN_API tarn_cache *tarn_engine_cache(tarn_engine *engine);
/** The device that it runs on. */
TARN_API const struct tarn_device_info *tarn_engine_device(const tarn_engine *engine);

/**
 * Does what is due in the background: to be called about once a request with TARN_BACKGROUND_STEPS (a few ns
 * when nothing is due). It waits for what an earlier call began on the device, so that the requests alone
 * decide what happens, on any device.
 */
TARN_API void tarn_engine_step(tarn_engine *engine);

/**
 * Looks `count` keys up in one batch, on the device where that pays: `slots[i]` is a candidate for
 * tarn_cache_get_at(), or TARN_SLOT_UNKNOWN. Counts as no access.
 */
TARN_API tarn_status tarn_engine_lookup(tarn_engine *engine, const void *const *keys,
                                        const size_t *key_sizes, size_t count, uint32_t *slots);

/**
 * From which size on the device is used, as it was measured of it (by an earlier start, by `tarn
 * devices --calibrate`, or in the background since this start: until then fixed sizes hold). The host
 * takes what is smaller, and all of what a lost device or a quarantined kernel would do.
 */
struct tarn_engine_crossovers {
    bool measured;
    uint32_t lookup_keys;      /**< UINT32_MAX: never */
    uint32_t score_candidates; /**< UINT32_MAX: never */
    bool training;             /**< gradient steps are computed on the device */
};
TARN_API void tarn_engine_get_crossovers(tarn_engine *engine,
                                         struct tarn_engine_crossovers *crossovers);

/** Stops and starts training; lookups and scores go on. */
TARN_API void tarn_engine_set_training(tarn_engine *engine, bool on);

/** Samples still waiting for their outcome go to params.sample as they stand, censored now. */
TARN_API void tarn_engine_drain_samples(tarn_engine *engine);

/**
 * What a tag (1 to TARN_TAGS) is called, and so which of params.sets its network begins with, if that is better than the general one
 * when the tag has samples: "tag1" and so on, or the name that a state_dir has kept, until it is named. TARN_INVALID: no such tag, or a name too long for a set.
 */
TARN_API tarn_status tarn_engine_name_tag(tarn_engine *engine, uint32_t tag, const char *name,
                                          struct tarn_error *error);

/** What is known of a tag. */
struct tarn_tag_stats {
    char name[TARN_SET_NAME];
    uint32_t samples;          /**< in the ring now */
    uint64_t train_steps;      /**< of its own network */
    float loss;                /**< of its last steps; NaN before */
    bool own;                  /**< the live version has a network for it */
    uint64_t minted, kept_out; /**< candidates, and those that the gate kept out */
    uint64_t dropped;          /**< times that it went back to the general network */
};
/** Zeros for a tag that isn't one. */
TARN_API void tarn_engine_get_tag(tarn_engine *engine, uint32_t tag, struct tarn_tag_stats *stats);

#define TARN_ENGINE_EXPERTS     7
#define TARN_ENGINE_MEMBERS     4
#define TARN_ENGINE_RELIEF_MOST 4

struct tarn_engine_stats {
    uint64_t train_steps;
    uint64_t rounds, scores;         /**< eviction rounds, and candidates scored in them */
    uint32_t relief, relief_changes; /**< what is given up under load, and how often that changed */
    float
        policy_load; /**< share of a core that the policy's part of requests takes; 0 with steps */
    uint64_t unsound_rounds; /**< of those: an expert's scores were no numbers, and it had no say */
    uint64_t rounds_on_device; /**< of those */
    uint64_t
        rounds_ahead; /**< of all rounds: before their victims were needed, not on a request's way */
    /**
     * What the background's thread had fallen too far behind for: gets, stores and deletes of sampled keys that the
     * miniature caches didn't hear of, and gets that the classifier of workloads didn't. What it
     * still has to hear (a millisecond's worth, mostly) isn't in these statistics yet. 0 with TARN_BACKGROUND_STEPS.
     */
    uint64_t dropped_notes, unheard_requests;
    uint64_t samples;     /**< training samples taken */
    float loss;           /**< of the last steps; NaN before the first */
    uint64_t model_bytes; /**< the model as a file */
    uint64_t memory;      /**< bytes held beside the cache's own */
    struct tarn_kernel_stats lookup, score, train;
    struct tarn_share_stats share; /**< of the device's time; zeros with TARN_BACKGROUND_STEPS */
    uint64_t train_memory; /**< bytes that training samples hold now: less while memory is short */
    uint64_t train_arena;  /**< bytes that training holds beside them, where it runs; fixed */
    uint64_t drifts;       /**< times that the workload was found to have changed */
    uint64_t restarts;     /**< times that training went on from what an earlier phase had taught */
    float rate_factor;     /**< of the learning rate at the moment; 1: nothing is new */
    float replayed;        /**< share of training samples that came from the past */
    float held_out_loss;   /**< on keys never trained on, at the last look; NaN: there was none */
    uint64_t steps_saved;  /**< gradient steps left out because nothing was to be learnt */
    uint64_t checkpoints;  /**< of training, written since the start */
    uint64_t checkpoint_failures; /**< that could not be written */
    bool on_device;               /**< a device other than the host is in use at this moment */
    uint64_t device_losses;       /**< times that it failed, and the host took over */
    uint64_t device_returns;      /**< times that it came back afterwards */
    const char *expert[TARN_ENGINE_EXPERTS]; /**< names of the scorers, NULL where there is none */
    float weight[TARN_ENGINE_EXPERTS];       /**< their say in evictions, sum 1 */
    const char *ensemble;                    /**< tarn_ensemble_name() of what was asked for */
    const char *ensemble_now; /**< what the live version does: of SHADOW, what was chosen */
    uint64_t ensemble_tests, ensemble_changes; /**< of SHADOW: tests that are over, and won */
    uint32_t members;                          /**< networks of the live version */
    const char *member[TARN_ENGINE_MEMBERS];   /**< "network", the one that learns, "frozen", ... */
    float member_share[TARN_ENGINE_MEMBERS];   /**< their say, sum 1; NaN: by the candidate */
    /** What the requests look like: lately, and over the whole time; confidence 0: nothing is known. */
    struct tarn_workload_verdict workload, workload_overall;
    uint64_t workload_changes; /**< times that `workload` got another name */
    uint32_t width; /**< hidden units that decide; less than the model's where it is elastic */
    int early_exit; /**< its second layer is left out */
    uint64_t width_changes; /**< times that either changed */
    const char *set; /**< whose settings are in effect: a set's name; NULL: there are no sets */
    const char
        *workload_class;    /**< that learning goes by; NULL: none was steady yet, or nobody asks */
    uint64_t class_changes; /**< times that it was another one, */
    uint64_t class_returns; /**< and those in which the class's own weights went live again */
};
TARN_API void tarn_engine_get_stats(tarn_engine *engine, struct tarn_engine_stats *stats);

/** The weights as they are now. */
TARN_API tarn_status tarn_engine_copy_model(tarn_engine *engine, tarn_model **model);

#ifdef __cplusplus
}
#endif

#endif
