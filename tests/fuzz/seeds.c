/* SPDX-License-Identifier: Apache-2.0 */
/* seeds -- what a target has beside libFuzzer: before the corpus is read, the target's own inputs
 * are written into the folder that TACTUS_FUZZ_SEEDS names. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

uint64_t fuzz_accepted;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static uint8_t data[FUZZ_INPUT_MAX];
    const char    *folder = getenv("TACTUS_FUZZ_SEEDS");
    size_t         size;

    (void)argc;
    (void)argv;
    for (uint32_t i = 0; folder != NULL && (size = fuzz_seed(i, data)) > 0; i++) {
        char  path[512];
        FILE *file;

        snprintf(path, sizeof path, "%s/seed-%u", folder, i);
        file = fopen(path, "wb");
        if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
            fprintf(stderr, "cannot write %s\n", path);
            exit(1);
        }
    }
    return 0;
}
