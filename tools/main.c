/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

static const struct tarn_command *const commands[] = {
#define X(name) &tarn_command_##name,
#include "commands.def"
#undef X
    NULL,
};

int main(int argc, char **argv)
{
    return tarn_cli_main(commands, argc, argv);
}
