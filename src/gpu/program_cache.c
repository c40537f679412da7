/* SPDX-License-Identifier: Apache-2.0 */
#include "program_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/options.h"

#define FORMAT        1u
#define MAGIC         "TARNPRG1"
#define HEADER_SIZE   40 /* magic, two hashes of the key, size, hash of the bytes */
#define SUFFIX        ".prog"
#define TEMPORARY     ".writing-"
#define DEFAULT_LIMIT (64u << 20)

/*
 * The files' times count uses, two seconds apart, from a moment that every file system can store:
 * FAT knows even seconds from 1980 on. A file that has the clock's time instead only counts as used
 * lately.
 */
#define FIRST_USE 0x40000000
#define USE_STEP  2

struct tarn_program_cache {
    char dir[PATH_MAX - 96]; /* "" if there is none */
    uint64_t limit;
    pthread_mutex_t lock; /* guards `last_use` and `scanned` */
    int64_t last_use;
    bool scanned;
};

struct hashes {
    uint64_t low, high;
};

/* Two hashes of the whole key: one names the file, both are checked. */
static bool hash_key(const struct tarn_program_key *key, struct hashes *hashes)
{
    const char *texts[] = {key->backend, key->device, key->driver, key->options};
    size_t lengths[4], used = 4, size = 4 + key->source_size;
    for (int i = 0; i < 4; i++) {
        lengths[i] = texts[i] != NULL ? strlen(texts[i]) : 0;
        size += 8 + lengths[i];
    }
    uint8_t *all = malloc(size);
    if (all == NULL)
        return false;
    tarn_put_u32(all, FORMAT);
    for (int i = 0; i < 4; i++) {
        /* lengths in between, so that no two keys give the same bytes */
        tarn_put_u64(all + used, lengths[i]);
        if (lengths[i] > 0)
            memcpy(all + used + 8, texts[i], lengths[i]);
        used += 8 + lengths[i];
    }
    if (key->source_size > 0)
        memcpy(all + used, key->source, key->source_size);
    hashes->low = tarn_hash(all, size);
    tarn_put_u32(all, ~FORMAT);
    hashes->high = tarn_hash(all, size);
    free(all);
    return true;
}

static void path_of(const tarn_program_cache *cache, const struct hashes *hashes,
                    char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%016llx" SUFFIX, cache->dir, (unsigned long long)hashes->low);
}

static bool has_suffix(const char *name)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    return length > suffix && strcmp(name + length - suffix, SUFFIX) == 0;
}

/* mkdir -p, for us alone. */
static bool make_directory(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return false;
        *at = kept;
        if (kept == '\0')
            break;
    }
    struct stat info;
    return stat(dir, &info) == 0 && S_ISDIR(info.st_mode);
}

tarn_status tarn_program_cache_create(const struct tarn_program_cache_params *params,
                                      tarn_program_cache **cache)
{
    *cache = NULL;
    tarn_program_cache *made = calloc(1, sizeof *made);
    if (made == NULL)
        return TARN_NO_MEMORY;
    if (pthread_mutex_init(&made->lock, NULL) != 0) {
        free(made);
        return TARN_NO_MEMORY;
    }
    made->limit = params->limit > 0 ? params->limit : DEFAULT_LIMIT;
    made->last_use = FIRST_USE;
    const char *base = params->dir, *below = "";
    if (base == NULL || base[0] == '\0') {
        base = tarn_option_get(TARN_OPTION_CACHE_HOME);
        below = "/tarn";
        /* the XDG specification wants a relative path ignored */
        if (base[0] != '/') {
            base = tarn_option_get(TARN_OPTION_HOME);
            below = "/.cache/tarn";
            if (base[0] != '/')
                base = "";
        }
    }
    if (base[0] != '\0' && strcmp(tarn_option_get(TARN_OPTION_PROGRAM_CACHE), "off") != 0) {
        int length = snprintf(made->dir, sizeof made->dir, "%s%s", base, below);
        if (length < 0 || (size_t)length >= sizeof made->dir)
            made->dir[0] = '\0';
    }
    *cache = made;
    return TARN_OK;
}

void tarn_program_cache_destroy(tarn_program_cache **cache)
{
    if (cache == NULL || *cache == NULL)
        return;
    pthread_mutex_destroy(&(*cache)->lock);
    free(*cache);
    *cache = NULL;
}

const char *tarn_program_cache_dir(const tarn_program_cache *cache)
{
    return cache != NULL && cache->dir[0] != '\0' ? cache->dir : NULL;
}

/* ---- the folder ---- */

struct entry {
    char name[32];
    uint64_t size;
    int64_t use;
};

/* What a process that died left half-written; a live one's is left alone. */
static void remove_leftover(int dir, const char *name)
{
    long writer = strtol(name + strlen(TEMPORARY), NULL, 10);
    if (writer > 0 && kill((pid_t)writer, 0) != 0 && errno == ESRCH)
        unlinkat(dir, name, 0);
}

/* All entries, *count of them; NULL if there are none or no memory. */
static struct entry *list_entries(const tarn_program_cache *cache, size_t *count)
{
    struct entry *entries = NULL;
    size_t room = 0;
    *count = 0;
    DIR *dir = opendir(cache->dir);
    if (dir == NULL)
        return NULL;
    for (struct dirent *at; (at = readdir(dir)) != NULL;) {
        struct stat info;
        if (strncmp(at->d_name, TEMPORARY, strlen(TEMPORARY)) == 0)
            remove_leftover(dirfd(dir), at->d_name);
        if (!has_suffix(at->d_name) || strlen(at->d_name) >= sizeof entries->name ||
            fstatat(dirfd(dir), at->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        if (*count == room) {
            room = room > 0 ? room * 2 : 16;
            struct entry *grown = realloc(entries, room * sizeof *grown);
            if (grown == NULL)
                break;
            entries = grown;
        }
        struct entry *entry = &entries[(*count)++];
        snprintf(entry->name, sizeof entry->name, "%.31s", at->d_name);
        entry->size = (uint64_t)info.st_size;
        entry->use = (int64_t)info.st_mtim.tv_sec;
    }
    closedir(dir);
    return entries;
}

/* The number of this use: higher than all so far, of this process and of those before. */
static struct timespec next_use(tarn_program_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    if (!cache->scanned) {
        size_t count;
        struct entry *entries = list_entries(cache, &count);
        for (size_t i = 0; i < count; i++)
            if (entries[i].use > cache->last_use)
                cache->last_use = entries[i].use;
        free(entries);
        cache->scanned = true;
    }
    cache->last_use += USE_STEP;
    struct timespec use = {.tv_sec = (time_t)cache->last_use};
    pthread_mutex_unlock(&cache->lock);
    return use;
}

static int by_use(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->use > y->use) - (x->use < y->use);
}

static void make_room(tarn_program_cache *cache, uint64_t wanted)
{
    size_t count;
    uint64_t used = wanted;
    struct entry *entries = list_entries(cache, &count);
    for (size_t i = 0; i < count; i++)
        used += entries[i].size;
    if (used > cache->limit) {
        qsort(entries, count, sizeof *entries, by_use);
        for (size_t i = 0; i < count && used > cache->limit; i++) {
            char path[PATH_MAX];
            snprintf(path, sizeof path, "%s/%s", cache->dir, entries[i].name);
            if (unlink(path) == 0 || errno == ENOENT)
                used -= entries[i].size;
        }
    }
    free(entries);
}

/* ---- entries ---- */

static bool read_all(int fd, void *data, size_t size)
{
    char *to = data;
    while (size > 0) {
        ssize_t n = read(fd, to, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        size -= (size_t)n;
    }
    return true;
}

static bool write_all(int fd, const void *data, size_t size)
{
    const char *from = data;
    while (size > 0) {
        ssize_t n = write(fd, from, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        from += n;
        size -= (size_t)n;
    }
    return true;
}

/* A driver will run these bytes: only a plain file that nobody but us or root could write. */
static bool is_ours(const struct stat *info)
{
    return S_ISREG(info->st_mode) && (info->st_uid == geteuid() || info->st_uid == 0) &&
           (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static void *read_entry(int fd, const struct hashes *hashes, uint64_t limit, size_t *size)
{
    uint8_t header[HEADER_SIZE];
    struct stat info;
    if (fstat(fd, &info) != 0 || !is_ours(&info) || info.st_size < HEADER_SIZE ||
        (uint64_t)info.st_size > limit + HEADER_SIZE || !read_all(fd, header, sizeof header))
        return NULL;
    uint64_t length = tarn_get_u64(header + 24);
    if (memcmp(header, MAGIC, 8) != 0 || tarn_get_u64(header + 8) != hashes->low ||
        tarn_get_u64(header + 16) != hashes->high ||
        length != (uint64_t)info.st_size - HEADER_SIZE || length == 0)
        return NULL;
    void *data = malloc((size_t)length);
    if (data == NULL)
        return NULL;
    if (!read_all(fd, data, (size_t)length) ||
        tarn_hash(data, (size_t)length) != tarn_get_u64(header + 32)) {
        free(data);
        return NULL;
    }
    *size = (size_t)length;
    return data;
}

bool tarn_program_cache_get(tarn_program_cache *cache, const struct tarn_program_key *key,
                            void **data, size_t *size)
{
    struct hashes hashes;
    char path[PATH_MAX];
    *data = NULL;
    *size = 0;
    if (cache == NULL || cache->dir[0] == '\0' || !hash_key(key, &hashes))
        return false;
    path_of(cache, &hashes, path);
    /* O_NONBLOCK: what if it is a pipe? */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    *data = read_entry(fd, &hashes, cache->limit, size);
    if (*data != NULL) {
        struct timespec use = next_use(cache), times[2] = {use, use};
        /* on a read-only disk it can't be noted, and nothing is ever removed there either */
        if (futimens(fd, times) != 0)
            tarn_log(TARN_LOG_DEBUG, "gpu: %s: its use isn't noted: %s", path, strerror(errno));
    } else {
        tarn_log(TARN_LOG_INFO, "gpu: %s: damaged, or not ours: ignored", path);
    }
    close(fd);
    return *data != NULL;
}

/* A fresh file beside `path`; its name is in `temporary`. */
static int open_temporary(const tarn_program_cache *cache, char temporary[PATH_MAX])
{
    static atomic_uint serial;
    for (int tries = 0; tries < 100; tries++) {
        snprintf(temporary, PATH_MAX, "%s/" TEMPORARY "%ld-%u", cache->dir, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

void tarn_program_cache_put(tarn_program_cache *cache, const struct tarn_program_key *key,
                            const void *data, size_t size)
{
    struct hashes hashes;
    char path[PATH_MAX], temporary[PATH_MAX];
    uint8_t header[HEADER_SIZE] = MAGIC;
    if (cache == NULL || cache->dir[0] == '\0' || size == 0 || size > cache->limit ||
        HEADER_SIZE + (uint64_t)size > cache->limit || !hash_key(key, &hashes))
        return;
    if (!make_directory(cache->dir)) {
        tarn_log(TARN_LOG_DEBUG, "gpu: no program cache in %s: %s", cache->dir, strerror(errno));
        return;
    }
    tarn_put_u64(header + 8, hashes.low);
    tarn_put_u64(header + 16, hashes.high);
    tarn_put_u64(header + 24, size);
    tarn_put_u64(header + 32, tarn_hash(data, size));
    path_of(cache, &hashes, path);
    struct timespec use = next_use(cache), times[2] = {use, use};
    int fd = open_temporary(cache, temporary);
    /* no fsync: half an entry after a power cut fails its hash, and flash wears */
    bool written = fd >= 0 && write_all(fd, header, sizeof header) && write_all(fd, data, size) &&
                   (futimens(fd, times) == 0 || errno != ENOSPC);
    if (fd >= 0 && close(fd) != 0)
        written = false;
    if (written) {
        unlink(path); /* what it replaces must not count */
        make_room(cache, HEADER_SIZE + (uint64_t)size);
        written = rename(temporary, path) == 0;
    }
    if (!written) {
        tarn_log(TARN_LOG_DEBUG, "gpu: %s isn't written: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(temporary);
    }
}

void tarn_program_cache_drop(tarn_program_cache *cache, const struct tarn_program_key *key)
{
    struct hashes hashes;
    char path[PATH_MAX];
    if (cache == NULL || cache->dir[0] == '\0' || !hash_key(key, &hashes))
        return;
    path_of(cache, &hashes, path);
    unlink(path);
}
