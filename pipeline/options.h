/* SPDX-License-Identifier: Apache-2.0 */
/* options -- struct tactus_options inside: from text, checked, and with `auto` replaced. */
#ifndef TACTUS_PIPELINE_OPTIONS_H
#define TACTUS_PIPELINE_OPTIONS_H

#include "lsm/superblock.h"

/* A program's struct, which may be of an earlier or a later version, as one of this version, but
 * for struct_size, which stays the program's. TACTUS_EOPTION. Export is the way back. */
TAC_MUST_CHECK int tac_options_import(const struct tactus_options *options,
                                      struct tactus_options *ret_options, struct tac_error *error);
void tac_options_export(const struct tactus_options *options, struct tactus_options *ret_options);
TAC_MUST_CHECK int tac_options_set(struct tactus_options *options, const char *name,
                                   const char *value, struct tac_error *error);
/* The option's place among all, below 64; UINT32_MAX: there is none of the name. */
uint32_t tac_options_index(const char *name);
/* By that place; NULL past the last one. */
const char *tac_options_name(uint32_t index);
bool        tac_options_is_shaping(uint32_t index);
/* As tac_options_set takes it, exactly. text_size: at least 64. */
void tac_options_value(const struct tactus_options *options, uint32_t index, char *text,
                       size_t text_size);
void tac_options_size_text(uint64_t bytes, char *text, size_t text_size);
/* The byte-shaping part; check it with tac_shape_check. */
void tac_options_shape(const struct tactus_options *options, struct tac_shape *ret_shape);
/* The other way round: what a create needs to make a store of this shape. */
void tac_options_from_shape(struct tactus_options *options, const struct tac_shape *shape);
/* Replaces `auto` and checks what is free at every open. */
TAC_MUST_CHECK int tac_options_resolve(struct tactus_options *options, struct tac_error *error);
/* After it, once it is known what everything but the caches takes: the sizes of these
 * that are `auto`. */
TAC_MUST_CHECK int tac_options_resolve_caches(struct tactus_options  *options,
                                              const struct tac_shape *shape, uint64_t others_bytes,
                                              struct tac_error *error);

#endif
