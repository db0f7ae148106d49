/* SPDX-License-Identifier: Apache-2.0 */
/* options -- struct tactus_options inside: from text, checked, and with `auto` replaced. */
#ifndef TACTUS_PIPELINE_OPTIONS_H
#define TACTUS_PIPELINE_OPTIONS_H

#include "lsm/superblock.h"

TAC_MUST_CHECK int tac_options_set(struct tactus_options *options, const char *name,
                                   const char *value, struct tac_error *error);
/* The byte-shaping part; check it with tac_shape_check. */
void tac_options_shape(const struct tactus_options *options, struct tac_shape *ret_shape);
/* The other way round: what a create needs to make a store of this shape. */
void tac_options_from_shape(struct tactus_options *options, const struct tac_shape *shape);
/* Replaces `auto` and checks what is free at every open. */
TAC_MUST_CHECK int tac_options_resolve(struct tactus_options *options, struct tac_error *error);

#endif
