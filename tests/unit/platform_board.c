/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "platform/board.h"
#include "sysfs.h"

static bool is(const char *root, const char *name, const char *profile)
{
    struct tarn_board board;
    tarn_board_find(root, &board);
    if (strcmp(board.name, name) == 0 && strcmp(board.profile, profile) == 0)
        return true;
    printf("# \"%s\" \"%s\", not \"%s\" \"%s\"\n", board.name, board.profile, name, profile);
    return false;
}

static void recorded_boards(void)
{
    CHECK(is(recorded("rk3588"), "Radxa ROCK 5B", "mali"));
    CHECK(is(recorded("rpi5"), "Raspberry Pi 5 Model B Rev 1.0", "videocore"));
    CHECK(is(recorded("rpi4"), "Raspberry Pi 4 Model B Rev 1.4", "videocore"));
    CHECK(is(recorded("jetson-orin"), "NVIDIA Jetson Orin Nano Developer Kit", "jetson"));
    CHECK(is(recorded("adreno-phone"), "Qualcomm Technologies, Inc. SM8550 QRD", ""));
    CHECK(is(recorded("laptop-amdgpu"), "LENOVO 21CF004PGE", ""));
    CHECK(is(recorded("container"), "", ""));
    CHECK(is("/nowhere/at/all", "", ""));
}

static void the_gpus_node_comes_first(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put_bytes(root, "proc/device-tree/compatible", "maker,box\0maker,chip", 21);
    CHECK(is(root, "", ""));
    put_bytes(root, "proc/device-tree/soc/gpu@ff9a0000/compatible",
              "maker,chip-mali\0arm,mali-bifrost", 33);
    CHECK(is(root, "", "mali"));
    /* without a NUL at its end, and more than fits */
    put_bytes(root, "proc/device-tree/soc/gpu@ff9a0000/compatible", "nvidia,ga10b", 12);
    CHECK(is(root, "", "jetson"));
    destroy_tree(root);
}

static void names_are_tidied(void)
{
    char *root = create_tree(), *many = malloc(100000);
    REQUIRE(root != NULL && many != NULL);
    put(root, "sys/class/dmi/id/sys_vendor", "To Be Filled By O.E.M.\n");
    put(root, "sys/class/dmi/id/product_name", "Default string\n");
    put(root, "sys/class/dmi/id/board_name", "  B550-X\t\xff\n second line");
    CHECK(is(root, "B550-X??", ""));
    put(root, "sys/class/dmi/id/sys_vendor", "Acme\n");
    put(root, "sys/class/dmi/id/product_name", "Acme Box 3\n");
    CHECK(is(root, "Acme Box 3", ""));
    put(root, "sys/class/dmi/id/product_name", "Box 3\n");
    CHECK(is(root, "Acme Box 3", ""));
    /* the longest there may be, and what is too long to be true */
    memset(many, 'x', 100000);
    put_bytes(root, "sys/firmware/devicetree/base/model", many, 4000);
    struct tarn_board board;
    tarn_board_find(root, &board);
    CHECK_NUMBER(strlen(board.name), sizeof board.name - 1);
    put_bytes(root, "sys/firmware/devicetree/base/model", many, 100000);
    CHECK(is(root, "Acme Box 3", ""));
    put(root, "sys/firmware/devicetree/base/model", "\n");
    CHECK(is(root, "Acme Box 3", ""));
    free(many);
    destroy_tree(root);
}

CHECK_MAIN(CASE(recorded_boards), CASE(the_gpus_node_comes_first), CASE(names_are_tidied))
