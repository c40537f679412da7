/* SPDX-License-Identifier: Apache-2.0 */
/* The suite on a simulated device; the board is the argument. */
#include "suite.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    char id[32];
    snprintf(id, sizeof id, "virtual:%s", argc > 1 ? argv[1] : "mali");
    return gpu_suite(id);
}
