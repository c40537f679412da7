/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Doubly linked lists of object numbers: all lists of a policy share one array of links, so an
 * object is in one list at most. Each list counts the bytes that it holds. Not thread-safe.
 */
#ifndef TARN_SIM_LIST_H
#define TARN_SIM_LIST_H

#include <stdint.h>

#define TARN_SIM_NONE UINT32_MAX

struct tarn_sim_link {
    uint32_t newer, older;
};

struct tarn_sim_list {
    uint32_t newest, oldest;
    uint64_t bytes;
};

static inline void tarn_sim_list_init(struct tarn_sim_list *list)
{
    *list = (struct tarn_sim_list){TARN_SIM_NONE, TARN_SIM_NONE, 0};
}

static inline void tarn_sim_list_push(struct tarn_sim_list *list, struct tarn_sim_link *links,
                                      uint32_t object, uint64_t size)
{
    links[object].newer = TARN_SIM_NONE;
    links[object].older = list->newest;
    if (list->newest != TARN_SIM_NONE)
        links[list->newest].newer = object;
    else
        list->oldest = object;
    list->newest = object;
    list->bytes += size;
}

static inline void tarn_sim_list_take(struct tarn_sim_list *list, struct tarn_sim_link *links,
                                      uint32_t object, uint64_t size)
{
    uint32_t newer = links[object].newer, older = links[object].older;
    if (newer != TARN_SIM_NONE)
        links[newer].older = older;
    else
        list->newest = older;
    if (older != TARN_SIM_NONE)
        links[older].newer = newer;
    else
        list->oldest = newer;
    list->bytes -= size;
}

/** Makes `object`, which is in the list, the newest. */
static inline void tarn_sim_list_renew(struct tarn_sim_list *list, struct tarn_sim_link *links,
                                       uint32_t object)
{
    if (list->newest == object)
        return;
    tarn_sim_list_take(list, links, object, 0);
    tarn_sim_list_push(list, links, object, 0);
}

#endif
