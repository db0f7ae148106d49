/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the mutants of base/mutant.h for tests/mutants.sh, one a line: number, name, the test that
 * kills it, the bug of the past, what is wrong; with a tab between. */
#include "base/mutant.h"

#include <stdio.h>

int main(void)
{
#define PRINT(number, name, killer, stands_for, wrong)                                             \
    printf("%d\t%s\t%s\t%s\t%s\n", number, #name, killer, stands_for, wrong);
    TAC_MUTANTS(PRINT)
#undef PRINT
    return 0;
}
