/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <string.h>

#include "base/memory.h"

static uint64_t hash_of_slot(void *context, uint32_t slot)
{
    return tarn_table_hash(context, slot);
}

static bool make_chunk_room(struct tarn_table *table, uint32_t room)
{
    struct tarn_table_chunk **chunks = tarn_realloc(table->chunks, room * sizeof(void *));
    if (!chunks)
        return false;
    table->chunks = chunks;
    table->chunk_room = room;
    return true;
}

tarn_status tarn_table_init(struct tarn_table *table, size_t expected,
                            const struct tarn_memory_source *source)
{
    *table = (struct tarn_table){.free = TARN_NONE};
    return tarn_index_create(expected, source, hash_of_slot, table, &table->index);
}

void tarn_table_free(struct tarn_table *table)
{
    for (uint32_t i = 0; i < table->slots / TARN_TABLE_CHUNK; i++)
        tarn_free_lines(table->chunks[i]);
    tarn_free(table->chunks);
    tarn_index_destroy(&table->index);
    *table = (struct tarn_table){.free = TARN_NONE};
}

/* Another chunk of free slots, chained in rising order. */
static bool add_chunk(struct tarn_table *table)
{
    uint32_t chunks = table->slots / TARN_TABLE_CHUNK;
    if (table->slots >= TARN_NONE - TARN_TABLE_CHUNK)
        return false;
    if (chunks == table->chunk_room && !make_chunk_room(table, chunks ? chunks * 2 : 4))
        return false;
    struct tarn_table_chunk *chunk = tarn_alloc_lines(sizeof *chunk);
    if (!chunk)
        return false;
    for (uint32_t i = 0; i < TARN_TABLE_CHUNK; i++) {
        chunk->meta[i].position = TARN_NONE;
        chunk->meta[i].next = i + 1 < TARN_TABLE_CHUNK ? table->slots + i + 1 : table->free;
    }
    table->chunks[chunks] = chunk;
    table->free = table->slots;
    table->slots += TARN_TABLE_CHUNK;
    return true;
}

static void set_resident(struct tarn_table *table, uint32_t position, uint32_t slot)
{
    table->chunks[position / TARN_TABLE_CHUNK]->resident[position % TARN_TABLE_CHUNK] = slot;
    tarn_table_meta(table, slot)->position = position;
}

/* What stands at `from` was moved away already if there is nowhere to go. */
static void move(struct tarn_table *table, uint32_t from, uint32_t to)
{
    if (from != to)
        set_resident(table, to, tarn_table_resident(table, from));
}

static tarn_status index_residents(tarn_index *index, const struct tarn_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t slot = tarn_table_resident(table, i);
        tarn_status status = tarn_index_insert(index, tarn_table_hash(table, slot), slot);
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}

/* A growing index looks entries' hashes up in `to`: so it is made for as many as there are. */
tarn_status tarn_table_copy(struct tarn_table *to, const struct tarn_table *from)
{
    tarn_index *index = NULL;
    tarn_status status =
        tarn_index_create((size_t)from->count + TARN_TABLE_CHUNK, NULL, hash_of_slot, to, &index);
    if (status == TARN_OK)
        status = index_residents(index, from);
    while (status == TARN_OK && to->slots < from->slots)
        status = add_chunk(to) ? TARN_OK : TARN_NO_MEMORY;
    if (status != TARN_OK) {
        tarn_index_destroy(&index);
        return status;
    }
    uint32_t chunks = from->slots / TARN_TABLE_CHUNK;
    for (uint32_t i = 0; i < chunks; i++)
        memcpy(to->chunks[i], from->chunks[i], sizeof *to->chunks[i]);
    to->free = from->free;
    for (uint32_t slot = from->slots; slot < to->slots; slot++) {
        struct tarn_meta *meta = tarn_table_meta(to, slot);
        meta->position = TARN_NONE;
        meta->next = to->free;
        to->free = slot;
    }
    to->count = from->count;
    tarn_index_destroy(&to->index);
    to->index = index;
    return TARN_OK;
}

tarn_status tarn_table_insert(struct tarn_table *table, uint64_t hash, uint32_t *slot)
{
    if (table->free == TARN_NONE && !add_chunk(table))
        return TARN_NO_MEMORY;
    uint32_t taken = table->free;
    struct tarn_table_chunk *chunk = table->chunks[taken / TARN_TABLE_CHUNK];
    struct tarn_meta *meta = tarn_table_meta(table, taken);
    chunk->hash[taken % TARN_TABLE_CHUNK] = hash;
    if (tarn_index_insert(table->index, hash, taken) != TARN_OK)
        return TARN_NO_MEMORY;
    table->free = meta->next;
    memset(meta, 0, sizeof *meta);
    meta->prev = meta->next = TARN_NONE;
    chunk->entry[taken % TARN_TABLE_CHUNK] = NULL;
    bool is_grouped = table->segment && tarn_table_grouped(table) == table->count;
    set_resident(table, table->count++, taken);
    if (is_grouped)
        tarn_table_group_next(table);
    *slot = taken;
    return TARN_OK;
}

void tarn_table_remove(struct tarn_table *table, uint32_t slot)
{
    struct tarn_meta *meta = tarn_table_meta(table, slot);
    uint32_t hole = meta->position;
    tarn_index_remove(table->index, tarn_table_hash(table, slot), slot);
    /* the last of each segment from this one on fills the hole that the one before it left */
    for (uint32_t k = 0; k < TARN_TABLE_SEGMENTS; k++) {
        if (hole >= table->end[k])
            continue;
        move(table, --table->end[k], hole);
        hole = table->end[k];
    }
    move(table, --table->count, hole);
    meta->position = TARN_NONE;
    meta->next = table->free;
    table->free = slot;
}

void tarn_table_group(struct tarn_table *table, uint32_t (*segment)(uint64_t hash))
{
    tarn_table_ungroup(table);
    table->segment = segment;
}

void tarn_table_ungroup(struct tarn_table *table)
{
    table->segment = NULL;
    memset(table->end, 0, sizeof table->end);
}

uint32_t tarn_table_group_next(struct tarn_table *table)
{
    uint32_t place = tarn_table_grouped(table);
    if (!table->segment || place >= table->count)
        return TARN_NONE;
    uint32_t slot = tarn_table_resident(table, place);
    uint32_t segment = table->segment(tarn_table_hash(table, slot));
    /* each later segment gives its first place to this one and takes the place after its last */
    for (uint32_t k = TARN_TABLE_SEGMENTS - 1; k > segment; k--) {
        uint32_t first = table->end[k - 1];
        move(table, first, place);
        table->end[k]++;
        place = first;
    }
    table->end[segment]++;
    set_resident(table, place, slot);
    return slot;
}

size_t tarn_table_memory(const struct tarn_table *table)
{
    return table->chunk_room * sizeof(void *) +
           (size_t)(table->slots / TARN_TABLE_CHUNK) * sizeof(struct tarn_table_chunk) +
           tarn_index_memory(table->index);
}

void tarn_list_push_head(struct tarn_table *table, struct tarn_list *list, uint32_t slot)
{
    struct tarn_meta *meta = tarn_table_meta(table, slot);
    meta->prev = TARN_NONE;
    meta->next = list->head;
    if (list->head != TARN_NONE)
        tarn_table_meta(table, list->head)->prev = slot;
    else
        list->tail = slot;
    list->head = slot;
    list->count++;
}

void tarn_list_remove(struct tarn_table *table, struct tarn_list *list, uint32_t slot)
{
    struct tarn_meta *meta = tarn_table_meta(table, slot);
    if (meta->prev != TARN_NONE)
        tarn_table_meta(table, meta->prev)->next = meta->next;
    else
        list->head = meta->next;
    if (meta->next != TARN_NONE)
        tarn_table_meta(table, meta->next)->prev = meta->prev;
    else
        list->tail = meta->prev;
    meta->prev = meta->next = TARN_NONE;
    list->count--;
}
