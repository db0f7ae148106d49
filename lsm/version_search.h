/* SPDX-License-Identifier: Apache-2.0 */
/* version_search -- a tree's fences, where its runs are at some keys. Private to lsm/. */
#ifndef TACTUS_LSM_VERSION_SEARCH_H
#define TACTUS_LSM_VERSION_SEARCH_H

#include "lsm/manifest.h"

/* Floors that a tree's fences have for each of its tables, at most. */
#define TAC_VERSION_FLOORS 4

/* Makes the fences of a tree with table_count tables, whose levels are filled. The caller has given
 * fences.keys room for table_count keys and fences.floors for TAC_VERSION_FLOORS times as many. */
void tac_version_fences_fill(struct tac_version_tree *tree, uint32_t table_count);

#endif
