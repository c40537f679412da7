/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of the history fuzzer: some records. seeds-history FILE */
#include <stdio.h>
#include <string.h>

#include "deploy/history.h"

int main(int argc, char **argv)
{
    uint8_t data[TARN_HISTORY_HEADER + 6 * TARN_HISTORY_RECORD_MAX];
    size_t size = TARN_HISTORY_HEADER;
    FILE *file = argc == 2 ? fopen(argv[1], "wb") : NULL;
    if (file == NULL)
        return 1;
    tarn_history_write_header(data);
    for (uint8_t kind = 0; kind < 6; kind++) {
        struct tarn_history_record event = {.kind = kind,
                                            .reason = kind,
                                            .failed = kind == 2,
                                            .metrics = kind,
                                            .sequence = kind + 1u,
                                            .version = kind,
                                            .hash = 0x1234567890u};
        memset(event.text, 'x', kind * 10u);
        size += tarn_history_encode(&event, data + size);
    }
    bool ok = fwrite(data, 1, size, file) == size;
    ok = fclose(file) == 0 && ok;
    printf("%s\n", argv[1]);
    return !ok;
}
