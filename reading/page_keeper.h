/* SPDX-License-Identifier: Apache-2.0 */
/* page_keeper -- pages that compactions write take the place in the page cache of those that they
 * were made from (struct tac_page_keeper). Else every record would have to be read from the device
 * again after its compaction, however often it is read. */
#ifndef TACTUS_READING_PAGE_KEEPER_H
#define TACTUS_READING_PAGE_KEEPER_H

#include "reading/read_side.h"
#include "stages/stage.h"

struct tac_page_keeper tac_page_keeper_of(struct tac_read_side *side);

#endif
