/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stress/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (256 * 1024)
#define NEAR_BYTES 64
#define OFFSETS_TRIED_MAX 200
#define PLACES_A_STEP 4096

/* One copy, and what became of it. */
struct damage {
    struct tac_stress_scene scene; /* Of the copy */
    const char             *path;
    char                    copy[PATH_MAX];
    uint64_t                offset;  /* Of the byte that was changed */
    uint64_t                damages; /* That verify has named */
};

static void damage_fail(const struct damage *damage, const char *what)
{
    tac_stress_violation(damage->scene.board, "%s, a copy with another byte at %" PRIu64 ": %s",
                         damage->copy, damage->offset, what);
}

/* ---- the copy ------------------------------------------------------------------------------- */

static bool bytes_copy(int from, int to)
{
    static uint8_t buffer[COPY_BYTES];
    ssize_t        size;

    while ((size = read(from, buffer, sizeof buffer)) > 0) {
        for (ssize_t done = 0, written; done < size; done += written) {
            written = write(to, buffer + done, (size_t)(size - done));
            if (written <= 0) {
                return false;
            }
        }
    }
    return size == 0;
}

static bool file_copy(const char *from_path, const char *to_path)
{
    int  from = open(from_path, O_RDONLY | O_CLOEXEC);
    int  to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool is_copied = from >= 0 && to >= 0 && bytes_copy(from, to);
    int  cause = errno;

    if (from >= 0) {
        close(from);
    }
    if (to >= 0 && close(to) != 0) {
        return false;
    }
    errno = cause;
    return is_copied;
}

/* The store, and its log if there is one. */
static bool store_copy(const struct damage *damage)
{
    char log[PATH_MAX + 8], log_copy[PATH_MAX + 8];

    snprintf(log, sizeof log, "%s-wal", damage->path);
    snprintf(log_copy, sizeof log_copy, "%s-wal", damage->copy);
    return file_copy(damage->path, damage->copy) &&
           (access(log, F_OK) != 0 || file_copy(log, log_copy));
}

static void copy_remove(const struct damage *damage)
{
    char log_copy[PATH_MAX + 8];

    snprintf(log_copy, sizeof log_copy, "%s-wal", damage->copy);
    (void)unlink(damage->copy);
    (void)unlink(log_copy);
}

/* Whether anything but zeros is near: most of a file may never have been used. */
static bool is_used(int file, uint64_t offset)
{
    uint8_t near[NEAR_BYTES];
    ssize_t size = pread(file, near, sizeof near, (off_t)offset);

    for (ssize_t i = 0; i < size; i++) {
        if (near[i] != 0) {
            return true;
        }
    }
    return false;
}

static bool byte_change(int file, uint64_t offset, struct tac_prng *prng)
{
    uint8_t byte;

    if (pread(file, &byte, 1, (off_t)offset) != 1) {
        return false;
    }
    byte ^= (uint8_t)(1 + tac_prng_below(prng, 255));
    return pwrite(file, &byte, 1, (off_t)offset) == 1;
}

static bool copy_spoil(struct damage *damage, struct tac_prng *prng)
{
    int         file = open(damage->copy, O_RDWR | O_CLOEXEC);
    struct stat status;
    bool        is_changed = false;

    if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0) {
        for (uint32_t i = 0; i < OFFSETS_TRIED_MAX; i++) {
            damage->offset = tac_prng_below(prng, (uint64_t)status.st_size);
            if (is_used(file, damage->offset)) {
                break;
            }
        }
        is_changed = byte_change(file, damage->offset, prng);
    }
    if (file >= 0) {
        close(file);
    }
    return is_changed;
}

/* ---- what it gives -------------------------------------------------------------------------- */

static void damage_count(void *context, const char *text)
{
    struct damage *damage = context;

    (void)text;
    damage->damages++;
}

static void place_fail(const struct damage *damage, uint32_t place, uint32_t found,
                       uint32_t version)
{
    char place_text[TAC_STRESS_TEXT_BYTES], found_text[TAC_STRESS_TEXT_BYTES];
    char version_text[TAC_STRESS_TEXT_BYTES], text[4 * TAC_STRESS_TEXT_BYTES];

    tac_stress_place_text(damage->scene.world, place, place_text);
    tac_stress_found_text(found, found_text);
    tac_stress_version_text(damage->scene.world, place, version, version_text);
    snprintf(text, sizeof text, "%s: found %s, expected %s or an error", place_text, found_text,
             version_text);
    damage_fail(damage, text);
}

/* True: right, or an error that verify explains. */
static bool place_check(const struct damage *damage, uint32_t place)
{
    const struct tac_stress_scene *scene = &damage->scene;
    uint32_t                       version =
        tac_stress_version_now(scene->ledger, tac_stress_item_of(scene->world, place));
    uint32_t found = TAC_STRESS_WRONG;
    int      code = tac_stress_place_get(scene, place, place % 2 == 0, &found);

    if (code == TACTUS_ECORRUPT && damage->damages > 0) {
        TAC_STRESS_COUNT(scene->row, damages_lost_reads);
        return true;
    }
    if (code != TACTUS_OK) {
        damage_fail(damage, tactus_message());
        return false;
    }
    if (!tac_stress_is_match(scene->world, place, found, version)) {
        place_fail(damage, place, found, version);
        return false;
    }
    return true;
}

static bool places_check(const struct damage *damage)
{
    for (uint32_t place = 0; place < damage->scene.world->places; place++) {
        if (place % PLACES_A_STEP == 0) {
            tac_stress_step_begin(damage->scene.row);
        }
        if (!place_check(damage, place)) {
            return false;
        }
    }
    return true;
}

static bool open_copy_check(struct damage *damage)
{
    struct tactus_verify_report report;
    int                         code = tac_stress_trees_find(&damage->scene);

    if (code == TACTUS_OK) {
        code = tactus_verify(damage->scene.store, damage_count, damage, &report);
    }
    if (code != TACTUS_OK && code != TACTUS_ECORRUPT) {
        damage_fail(damage, tactus_message());
        return false;
    }
    if (!places_check(damage)) {
        return false;
    }
    if (damage->damages > 0) {
        TAC_STRESS_COUNT(damage->scene.row, damages_found);
    } else {
        TAC_STRESS_COUNT(damage->scene.row, damages_harmless);
    }
    return true;
}

/* An open that refuses the copy has found it. */
static bool copy_check(struct damage *damage, const struct tactus_options *options)
{
    int  code = tactus_open(damage->copy, options, &damage->scene.store);
    bool is_right;

    if (code == TACTUS_ECORRUPT || code == TACTUS_EFORMAT) {
        TAC_STRESS_COUNT(damage->scene.row, damages_found);
        return true;
    }
    if (code != TACTUS_OK) {
        damage_fail(damage, tactus_message());
        return false;
    }
    is_right = open_copy_check(damage);
    tactus_abandon(damage->scene.store);
    return is_right;
}

void tac_stress_damage_try(const struct tac_stress_scene *scene, const char *path,
                           const struct tactus_options *options, struct tac_prng *prng)
{
    struct damage damage = {.scene = *scene, .path = path};

    snprintf(damage.copy, sizeof damage.copy, "%s.damaged", path);
    tac_stress_step_begin(scene->row);
    if (!store_copy(&damage) || !copy_spoil(&damage, prng)) {
        damage_fail(&damage, strerror(errno));
        copy_remove(&damage);
        return;
    }
    if (copy_check(&damage, options)) {
        copy_remove(&damage);
    }
}
