/* SPDX-License-Identifier: Apache-2.0 */
/* create and tree -- making stores and trees. */
#include <string.h>
#include <unistd.h>

#include "tools/command.h"

/* A layout without a size of keys: the longest that the store's blocks allow. */
static int tree_make(struct tactus *store, const char *name, struct tactus_layout layout)
{
    bool is_longest = layout.key_size == 0;
    int  code;

    layout.key_size = is_longest ? TACTUS_KEY_SIZE_MAX : layout.key_size;
    code = tactus_tree_create(store, name, &layout, NULL);
    while (is_longest && code == TACTUS_EKEYSIZE && layout.key_size > 1) {
        layout.key_size /= 2;
        code = tactus_tree_create(store, name, &layout, NULL);
    }
    return code;
}

int tac_cmd_create(struct tac_arguments *arguments)
{
    struct tactus_options options = arguments->options;
    struct tactus        *store;
    int                   code, status;

    code = tactus_create(arguments->store_path, &arguments->options);
    if (code != TACTUS_OK) {
        return tac_fail_create(code);
    }
    options.log = TACTUS_LOG_NONE; /* The tree goes into a checkpoint: there is but one file */
    code = tactus_open(arguments->store_path, &options, &store);
    if (code == TACTUS_OK) {
        code = tree_make(store, arguments->tree, arguments->layout);
        if (code == TACTUS_OK) {
            code = tactus_close(store);
        } else {
            tactus_abandon(store);
        }
    }
    if (code == TACTUS_OK) {
        return TAC_EXIT_OK;
    }
    status = tac_fail_code(code);
    (void)unlink(arguments->store_path); /* Made above, and nobody's yet */
    return status;
}

static int tree_list(struct tactus *store)
{
    struct tactus_tree_info trees[TACTUS_TREES_MAX];
    uint32_t                count;
    int                     code = tactus_tree_list(store, trees, TACTUS_TREES_MAX, &count);

    if (code != TACTUS_OK) {
        return tac_fail_code(code);
    }
    tac_assert(count <= TACTUS_TREES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct tactus_layout *layout = &trees[i].layout;

        printf("%s\t%s\t%u\t%u\n", trees[i].name,
               layout->kind == TACTUS_LAYOUT_FIXED ? "fixed" : "variable", layout->key_size,
               layout->value_size);
    }
    return TAC_EXIT_OK;
}

static int tree_create(struct tactus *store, const struct tac_arguments *arguments)
{
    int code = tree_make(store, arguments->operands[1], arguments->layout);

    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* The close drains, and so gives the space back; but not that of a store with a log. */
static int tree_drop(struct tactus *store, const char *name)
{
    uint32_t tree;
    int      code = tactus_tree_find(store, name, &tree);

    if (code == TACTUS_OK) {
        code = tactus_tree_drop(store, tree);
    }
    if (code == TACTUS_OK) {
        code = tactus_drain(store);
    }
    return code == TACTUS_OK ? TAC_EXIT_OK : tac_fail_code(code);
}

/* What a tree's layout is to be: for `create` alone. */
static int layout_check(const struct tactus_layout *layout, bool is_create)
{
    bool is_given =
        layout->kind != TACTUS_LAYOUT_VARIABLE || layout->key_size != 0 || layout->value_size != 0;

    if (is_given && !is_create) {
        return tac_fail(TAC_EXIT_USAGE, "--layout, --key-size and --value-size are for create\n"
                                        "  A tree keeps the layout that it was made with.");
    }
    if (layout->kind == TACTUS_LAYOUT_FIXED && layout->key_size == 0) {
        return tac_fail(TAC_EXIT_USAGE, "--layout fixed: the size of the keys is missing\n"
                                        "  Add --key-size N, and --value-size N unless values are "
                                        "empty.");
    }
    return TAC_EXIT_OK;
}

int tac_cmd_tree(struct tac_arguments *arguments)
{
    const char        *verb = arguments->operands[0];
    struct tac_session session;
    bool               is_list = strcmp(verb, "list") == 0;
    bool               is_drop = strcmp(verb, "drop") == 0;
    int                status;

    tac_assert(arguments->operand_count == 1 || arguments->operand_count == 2);
    if ((!is_list && !is_drop && strcmp(verb, "create") != 0) ||
        arguments->operand_count != (is_list ? 1 : 2)) {
        return tac_fail(TAC_EXIT_USAGE,
                        "expected STORE create NAME, STORE drop NAME, or STORE list\n"
                        "  `tactus tree --help` explains.");
    }
    status = layout_check(&arguments->layout, !is_list && !is_drop);
    if (status == TAC_EXIT_OK) {
        status = tac_session_open(arguments, true, &session);
    }
    if (status != TAC_EXIT_OK) {
        return status;
    }
    if (is_list) {
        status = tree_list(session.store);
        tac_session_release(&session);
        return status;
    }
    return tac_session_close(&session, is_drop ? tree_drop(session.store, arguments->operands[1])
                                               : tree_create(session.store, arguments));
}
