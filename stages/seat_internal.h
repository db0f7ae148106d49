/* SPDX-License-Identifier: Apache-2.0 */
/* seat_internal -- shared by seat.c, seat_source.c and seat_run.c. */
#ifndef TACTUS_STAGES_SEAT_INTERNAL_H
#define TACTUS_STAGES_SEAT_INTERNAL_H

#include "stages/seat.h"

/* A request has at least one block of the allotment, so there are always enough. */
struct tac_request *tac_seat_request_take(struct tac_seat *seat);
void                tac_seat_request_give_back(struct tac_seat *seat, struct tac_request *request);
void                tac_seat_request_send(struct tac_seat *seat, struct tac_request *request);
struct tac_block   *tac_seat_block_take(struct tac_seat *seat);
void                tac_seat_block_give_back(struct tac_seat *seat, struct tac_block *block);
void tac_seat_fail(struct tac_seat *seat, int code, const char *message, struct tac_table *damaged);
struct tac_builder_sink tac_seat_sink(struct tac_seat *seat);

/* Asks for whatever the sources have room for. */
void tac_seat_feed(struct tac_seat *seat);
/* A finished read or gather. */
void tac_seat_source_mail(struct tac_seat *seat, struct tac_request *request);
/* The merge has used up the source's block: gives the next one or the end. False: it is not here
 * yet. */
bool tac_seat_source_advance(struct tac_seat *seat, uint32_t source_index);
/* After the merge: what was taken of each source's last table goes to that table. */
void tac_seat_sources_account(struct tac_seat *seat);
/* Everything a source still holds goes back to the seat; nothing of it is under way. */
void tac_seat_source_drop(struct tac_seat *seat, struct tac_source *source);

#endif
