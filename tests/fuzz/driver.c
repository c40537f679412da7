/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: every file of a folder as it is, and ROUNDS changes of
 * each, the same ones every time.
 *
 *     driver FOLDER ROUNDS
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"

/* A few of the changes that find bugs: bits, edge values, cuts, copies of one place to another. */
static size_t change(uint8_t *data, size_t size, struct tarn_rng *rng)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '"', ',', '\n', '.', '-'};
    for (uint32_t n = 1 + tarn_rng_below(rng, 4); n > 0 && size > 0; n--) {
        uint32_t at = tarn_rng_below(rng, (uint32_t)size);
        uint32_t length = 1 + tarn_rng_below(rng, 16), from = tarn_rng_below(rng, (uint32_t)size);
        switch (tarn_rng_below(rng, 5)) {
        case 0:
            data[at] ^= (uint8_t)(1u << tarn_rng_below(rng, 8));
            break;
        case 1:
            data[at] = edges[tarn_rng_below(rng, sizeof edges)];
            break;
        case 2:
            size = tarn_rng_below(rng, 4) == 0 ? at : size;
            break;
        case 3:
            for (uint32_t i = 0; i < length && at + i < size; i++)
                data[at + i] = (uint8_t)tarn_rng_next(rng);
            break;
        default:
            if (from + length <= size && at + length <= size)
                memmove(data + at, data + from, length);
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s FOLDER ROUNDS\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    long rounds = strtol(argv[2], NULL, 10), runs = 0;
    if (folder == NULL) {
        perror(argv[1]);
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[1024];
        void *seed;
        size_t size;
        struct tarn_rng rng;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (tarn_file_read(path, 1 << 20, &seed, &size, NULL) != TARN_OK) {
            fprintf(stderr, "%s: can't be read\n", path);
            return 1;
        }
        LLVMFuzzerTestOneInput(seed, size);
        runs++;
        /* A copy of the exact size, so that a sanitizer sees the first byte beyond. */
        tarn_rng_seed(&rng, size);
        for (long i = 0; i < rounds; i++) {
            uint8_t *work = malloc(size + 1);
            if (work == NULL)
                return 1;
            memcpy(work, seed, size);
            size_t left = change(work, size, &rng);
            uint8_t *exact = realloc(work, left > 0 ? left : 1);
            if (exact == NULL)
                return 1;
            LLVMFuzzerTestOneInput(exact, left);
            runs++;
            free(exact);
        }
        free(seed);
    }
    closedir(folder);
    printf("%ld runs\n", runs);
    return runs > 0 ? 0 : 1;
}
