/* SPDX-License-Identifier: Apache-2.0 */
/* mutant -- see mutant.h. In builds with --enable-mutants only. */
#include "base/mutant.h"

#include <stdio.h>
#include <stdlib.h>

unsigned tac_mutant_now;

/* Before main, so that no thread ever sees it change. */
__attribute__((constructor)) static void mutant_choose(void)
{
    const char *text = getenv("TACTUS_MUTANT");
    char       *end;

    if (text == NULL || *text == 0) {
        return;
    }
    tac_mutant_now = (unsigned)strtoul(text, &end, 10);
    if (*end != 0 || tac_mutant_now == 0 || tac_mutant_now >= TAC_MUTANT_NUMBER_END) {
        fprintf(stderr, "TACTUS_MUTANT has no mutant's number: %s\n", text);
        exit(99);
    }
}
