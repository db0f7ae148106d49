/* SPDX-License-Identifier: Apache-2.0 */
/* ck_tsan -- Concurrency Kit as ThreadSanitizer can see it. Only for builds with -fsanitize=thread,
 * where every file is compiled with `-include queues/ck_tsan.h`.
 *
 * CK's own loads and stores are assembly or volatile accesses between fences, and the sanitizer
 * sees neither: it reports the correct rings of CK as races. Here each load is an acquire, each
 * store a release, and each read-modify-write a __sync builtin.
 *
 * What this gives up: it cannot find a fence that is missing inside CK. What it keeps: a race on
 * what travels through a ring, and the use of a single-producer end by two producers. Functions
 * that live in libck itself (ck_epoch, ck_hp, ck_ht) are not compiled with it and stay unseen. */
#ifndef TACTUS_QUEUES_CK_TSAN_H
#define TACTUS_QUEUES_CK_TSAN_H

#ifdef CK_PR_H
#error "queues/ck_tsan.h must come before ck_pr.h: use -include"
#endif

#define CK_USE_CC_BUILTINS 1
#include <ck_pr.h>

#define TAC_CK_LOAD(word) __atomic_load_n((word), __ATOMIC_ACQUIRE)
#define TAC_CK_STORE(word, value)                                                                  \
    __atomic_store_n((word), (__typeof__(*(word)))(value), __ATOMIC_RELEASE)

#undef ck_pr_load_char
#undef ck_pr_load_int
#undef ck_pr_load_uint
#undef ck_pr_load_8
#undef ck_pr_load_16
#undef ck_pr_load_32
#undef ck_pr_load_64
#undef ck_pr_load_ptr
#define ck_pr_load_char(word) TAC_CK_LOAD(word)
#define ck_pr_load_int(word) TAC_CK_LOAD(word)
#define ck_pr_load_uint(word) TAC_CK_LOAD(word)
#define ck_pr_load_8(word) TAC_CK_LOAD(word)
#define ck_pr_load_16(word) TAC_CK_LOAD(word)
#define ck_pr_load_32(word) TAC_CK_LOAD(word)
#define ck_pr_load_64(word) TAC_CK_LOAD(word)
#define ck_pr_load_ptr(word) TAC_CK_LOAD(word)

#undef ck_pr_store_char
#undef ck_pr_store_int
#undef ck_pr_store_uint
#undef ck_pr_store_8
#undef ck_pr_store_16
#undef ck_pr_store_32
#undef ck_pr_store_64
#undef ck_pr_store_ptr
#define ck_pr_store_char(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_int(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_uint(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_8(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_16(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_32(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_64(word, value) TAC_CK_STORE(word, value)
#define ck_pr_store_ptr(word, value) TAC_CK_STORE(word, value)

#endif
