/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <stdbool.h>

#include "base/memory.h"

#define PAGE_SIZE    16384 /* small: a tiny cache has a page of each class that it uses */
#define HEAP_HEADER  16    /* what an allocator adds to a large block, about */
#define CLASSES      40
#define KEPT_PAGES   4  /* empty pages kept, and ... */
#define KEPT_SHARE   16 /* ... one in this many */
#define BORROW       4  /* larger classes that a block may come from */
#define AHEAD_SHARE  32 /* one page in so many is asked for ahead of need */
#define STEP         16 /* between the 16 smallest classes; above, eight to a doubling */
#define STEPPED_MOST 256

struct block {
    struct block *next;
};

/* At the head of PAGE_SIZE bytes aligned to that size, so that a block finds its page. */
struct page {
    struct page *prev, *next; /* pages of the class that have free blocks; or kept empty pages */
    struct block *free;       /* blocks given back */
    uint32_t class;
    uint32_t used, room; /* blocks */
    uint32_t fresh;      /* blocks from here on were never given out */
};

#define PAGE_START 64 /* of the first block */
_Static_assert(sizeof(struct page) <= PAGE_START, "the page's header has a line of its own");

struct tarn_store {
    struct page *partial[CLASSES];
    struct page *kept;
    size_t pages, kept_count;
    size_t large; /* bytes */
};

static uint32_t class_of(size_t size)
{
    if (size <= STEPPED_MOST)
        return (uint32_t)((size + STEP - 1) / STEP) - 1;
    /* the three bits below the highest one name the step of the doubling */
    uint32_t high = 31 - (uint32_t)__builtin_clz((uint32_t)(size - 1));
    return 16 + (high - 8) * 8 + ((uint32_t)(size - 1) >> (high - 3) & 7);
}

static uint32_t block_size(uint32_t class)
{
    if (class < 16)
        return (class + 1) * STEP;
    return (9 + (class - 16) % 8) << ((class - 16) / 8 + 5);
}

static size_t size_of(uint32_t key_size, uint32_t value_size)
{
    return sizeof(struct tarn_entry) + (size_t)key_size + value_size;
}

tarn_status tarn_store_create(tarn_store **store)
{
    *store = tarn_alloc_zeroed(1, sizeof **store);
    return *store ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_store_destroy(tarn_store **store)
{
    if (!store || !*store)
        return;
    while ((*store)->kept) {
        struct page *page = (*store)->kept;
        (*store)->kept = page->next;
        tarn_free(page);
    }
    tarn_free(*store);
    *store = NULL;
}

static void link_page(struct page **list, struct page *page)
{
    page->prev = NULL;
    page->next = *list;
    if (*list)
        (*list)->prev = page;
    *list = page;
}

static void unlink_page(struct page **list, struct page *page)
{
    if (page->prev)
        page->prev->next = page->next;
    else
        *list = page->next;
    if (page->next)
        page->next->prev = page->prev;
}

static void keep_page(tarn_store *store, struct page *page)
{
    link_page(&store->kept, page);
    store->kept_count++;
}

/*
 * What a full cache needs creeps up for long, by chance and ever more slowly; asking for a few
 * pages at once makes that rare. Only the first one must be had.
 */
static bool get_pages(tarn_store *store)
{
    for (size_t ahead = 0; ahead <= store->pages / AHEAD_SHARE; ahead++) {
        struct page *page = tarn_alloc_aligned(PAGE_SIZE, PAGE_SIZE);
        if (!page)
            return ahead > 0;
        keep_page(store, page);
        store->pages++;
    }
    return true;
}

static struct page *empty_page(tarn_store *store, uint32_t class)
{
    if (!store->kept && !get_pages(store))
        return NULL;
    struct page *page = store->kept;
    unlink_page(&store->kept, page);
    store->kept_count--;
    *page = (struct page){.class = class, .room = (PAGE_SIZE - PAGE_START) / block_size(class)};
    return page;
}

static void keep_or_release(tarn_store *store, struct page *page)
{
    if (store->kept_count < KEPT_PAGES + store->pages / KEPT_SHARE) {
        keep_page(store, page);
    } else {
        store->pages--;
        tarn_free(page);
    }
}

/* A page with a free block of at least the class: a larger block is cheaper than another page. */
static struct page *page_for(tarn_store *store, uint32_t class)
{
    uint32_t most = class + BORROW < CLASSES ? class + BORROW : CLASSES - 1;
    for (uint32_t larger = class; larger <= most; larger++) {
        if (store->partial[larger])
            return store->partial[larger];
        if (larger == class && store->kept)
            break;
    }
    struct page *page = empty_page(store, class);
    if (page)
        link_page(&store->partial[class], page);
    return page;
}

static void *allocate_small(tarn_store *store, uint32_t class)
{
    struct page *page = page_for(store, class);
    if (!page)
        return NULL;
    void *block = page->free;
    if (block)
        page->free = page->free->next;
    else
        block = (char *)page + PAGE_START + (size_t)page->fresh++ * block_size(page->class);
    if (++page->used == page->room)
        unlink_page(&store->partial[page->class], page);
    return block;
}

static void free_small(tarn_store *store, void *freed)
{
    struct page *page = (struct page *)((uintptr_t)freed & ~(uintptr_t)(PAGE_SIZE - 1));
    struct block *block = freed;
    block->next = page->free;
    page->free = block;
    /* a page that was full comes first: the fuller ones fill up, the emptier ones can go back */
    if (page->used-- == page->room)
        link_page(&store->partial[page->class], page);
    if (page->used == 0) {
        unlink_page(&store->partial[page->class], page);
        keep_or_release(store, page);
    }
}

struct tarn_entry *tarn_store_allocate(tarn_store *store, uint32_t key_size, uint32_t value_size)
{
    size_t size = size_of(key_size, value_size);
    struct tarn_entry *entry;
    if (size <= TARN_STORE_SMALL) {
        entry = allocate_small(store, class_of(size));
    } else {
        entry = tarn_alloc(size);
        store->large += entry ? size + HEAP_HEADER : 0;
    }
    if (entry) {
        entry->key_size = key_size;
        entry->value_size = value_size;
    }
    return entry;
}

void tarn_store_free(tarn_store *store, struct tarn_entry *entry)
{
    size_t size = size_of(entry->key_size, entry->value_size);
    if (size <= TARN_STORE_SMALL) {
        free_small(store, entry);
        return;
    }
    store->large -= size + HEAP_HEADER;
    tarn_free(entry);
}

size_t tarn_store_memory(const tarn_store *store)
{
    return sizeof *store + store->pages * PAGE_SIZE + store->large;
}
