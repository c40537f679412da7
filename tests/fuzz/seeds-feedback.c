/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of the feedback fuzzer: some records. seeds-feedback FILE */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "experts/feedback.h"

int main(int argc, char **argv)
{
    const char *const names[TARN_FEEDBACK_EXPERTS] = {"network", "lfu"};
    struct tarn_feedback *feedback = NULL;
    uint8_t *data = malloc(tarn_feedback_file_limit());
    FILE *file = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (file == NULL || data == NULL || tarn_feedback_create(names, &feedback) != TARN_OK)
        return 1;
    for (uint64_t i = 1; i < 4; i++) {
        struct tarn_feedback_record record = {
            .end = 3000 * i,
            .version = i,
            .workload = (tarn_workload_class)i,
            .confidence = 0.5f,
            .figures = {.requests = 3000, .misses = 1000, .sampled = 300, .cost = 100},
        };
        tarn_feedback_add(feedback, &record);
    }
    size_t size = tarn_feedback_encode(feedback, data);
    bool ok = fwrite(data, 1, size, file) == size;
    ok = fclose(file) == 0 && ok;
    printf("%s\n", argv[1]);
    free(data);
    tarn_feedback_free(&feedback);
    return !ok;
}
