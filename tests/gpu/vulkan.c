/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    if (suite_without_drivers()) {
        puts("1..0 # SKIP no drivers under the thread sanitizer");
        return 77;
    }
    const char *id = getenv("TARN_TEST_DEVICE");
    return gpu_suite(id != NULL ? id : "vulkan:0");
}
