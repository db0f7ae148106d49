/* SPDX-License-Identifier: Apache-2.0 */
/* planner_internal -- what planner.c (the bar), planner_index.c (overlap and depth),
 * planner_pick.c (which tables), planner_shape.c (how much of them) and planner_cut.c (where their
 * output is cut) share. Nothing else includes it.
 *
 * Index   A table is its index in input->tables. All arrays here are allocated once, sized by
 *         tables_max; "edges" arrays have one entry more than there can be ranks.
 * Spread  Where the bytes of a table lie is only known as a whole: they are spread evenly over
 *         `weight`, a measure of the key space in which every cell of the ruler counts the same.
 */
#ifndef TACTUS_PIPELINE_PLANNER_INTERNAL_H
#define TACTUS_PIPELINE_PLANNER_INTERNAL_H

#include "base/units.h"
#include "pipeline/planner.h"

#define TAC_PLAN_CANDIDATES_MAX 24 /* Candidates whose cost is known exactly, at a time */
#define TAC_PLAN_DEPTH_OUT_OF_REACH (1 << 24) /* Less than any depth, when subtracted */

/* The tables that one compaction would take. */
struct tac_plan_candidate {
    uint32_t            *members; /* Of the source level, newest first: any suffix may go alone */
    uint32_t             count;
    uint32_t             edge_first, edge_last; /* Hull of the members, inclusive */
    uint64_t             bytes;                 /* Of the members; once shaped: below edge_slice */
    uint64_t             weight; /* The same with a record more for every tombstone */
    uint32_t             target_first, target_end; /* Tables of the target level that take part */
    uint64_t             target_bytes;
    uint32_t             level_source, level_target;
    enum tac_plan_kind   kind;
    uint32_t             edge_slice;
    uint64_t             stamp;
    enum tac_plan_reason reason;
};

/* Outputs of this bar's compactions, by the level in which they will lie. */
struct tac_plan_arrival {
    uint32_t level;
    uint32_t edge_first, edge_last;
};

struct tac_plan_pool_entry {
    uint32_t seed;
    uint32_t edge_first;
    uint64_t cost; /* Bytes of the target per 4096 bytes of the source */
};

struct tac_planner {
    /* Fixed at create. */
    struct tac_planner_options options;
    uint32_t                   growth;
    uint32_t                   edges_max, compactions_max, jobs_max, cuts_max;

    /* The plan under way. */
    const struct tac_plan_input *input;
    uint32_t                     last_level;  /* K */
    uint64_t                     unit_bytes;  /* U */
    uint64_t                     table_bytes; /* T */
    uint64_t        record_bytes; /* Mean record of the tree: what a tombstone weighs on top */
    uint64_t        whole_max;    /* Candidates of the level with more bytes are a last resort */
    uint64_t        visits;       /* Tables looked at while collecting candidates … */
    uint64_t        visits_max;   /* … and the bound that keeps a plan short */
    uint64_t        flush_weight;
    uint64_t        arriving[TACTUS_LEVELS_MAX + 1]; /* Weight that reaches a level this bar */
    uint64_t        chosen[TACTUS_LEVELS_MAX + 1];   /* Weight taken, in place too */
    int64_t         balance[TACTUS_LEVELS_MAX + 1];  /* Weight within reach after the plan */
    uint64_t        dead_bytes; /* What the tombstones above the last level stand for */
    struct tac_plan plan;
    struct tac_plan_candidate candidate;
    struct tac_plan_arrival  *arrivals;
    uint32_t                  arrival_count;

    /* By table. */
    uint32_t *rest_edge; /* 0: free; TAC_EDGE_NONE: taken or out of reach; else: what is left
                               of it begins here, and is out of reach until the next bar */
    uint32_t *mark;      /* == mark_epoch: member of the set under construction */
    uint32_t  mark_epoch;
    uint64_t *bytes_before; /* Sum of the bytes of the tables before it */
    uint32_t *over_tree;    /* Per level a tree of the largest edge_max */
    uint32_t  over_start[TACTUS_LEVELS_MAX + 1];
    uint32_t  over_leaves[TACTUS_LEVELS_MAX + 1];
    uint32_t *members, *stack, *heap, *sort_a, *sort_b;
    uint32_t *order;      /* The seeds of a level, cheapest first by estimate */
    uint64_t *order_cost; /* By table: the estimate */
    uint32_t  order_count, order_next;
    uint32_t  lone_next;  /* Walk over the tables of a level: the next one … */
    uint32_t  lone_reach; /* … and where those before it end */
    struct tac_plan_pool_entry pool[TAC_PLAN_CANDIDATES_MAX];
    uint32_t                   pool_count;
    bool                       pool_is_whole;

    /* By edge. */
    uint64_t *weight;
    uint32_t *cell;      /* How many first keys of the ruler lie at or below the edge */
    int64_t  *rate;      /* Bytes per weight that begin here less those that end; else 0 */
    uint64_t *lump;      /* Bytes of tables that are one point; 0 between uses */
    uint64_t *below;     /* Bytes of the stream below the edge */
    uint8_t  *cut_class; /* How good a place for a cut the edge is; see planner_cut.c */
    uint32_t  cut_class_level;
    int64_t  *depth_most, *depth_add; /* Tree over the edges: tables of a level over each */
    uint32_t  depth_leaves;
};

static inline const struct tac_plan_table *tac_plan_table_at(const struct tac_planner *planner,
                                                             uint32_t                  table)
{
    return &planner->input->tables[table];
}

/* True if the tables of the level may not overlap. */
static inline bool tac_plan_is_run(const struct tac_planner *planner, uint32_t level)
{
    return level == planner->last_level || planner->options.runs_per_level == 1;
}

/* ---- planner_index.c ------------------------------------------------------------------------ */

/* Indexes the input: overlap trees, sums, and the tables that damage puts out of reach. */
void tac_plan_index_build(struct tac_planner *planner);

/* The tables of a level that overlap [edge_first, edge_last] are those that
 *     for (i = next(level, start, edge_first); i < end(level, edge_last);
 *          i = next(level, i + 1, edge_first))
 * goes through: next is the first table at or after `from` that reaches edge_first, end the first
 * that begins behind edge_last. */
uint32_t tac_plan_index_next(const struct tac_planner *planner, uint32_t level, uint32_t from,
                             uint32_t edge_first);
uint32_t tac_plan_index_end(const struct tac_planner *planner, uint32_t level, uint32_t edge_last);

/* Depth of one level: its tables, what is left of sliced ones, this bar's arrivals; not what is
 * taken or damaged. find: the first edge at or after `from` with at least that depth. */
void tac_plan_depth_build(struct tac_planner *planner, uint32_t level);
void tac_plan_depth_add(struct tac_planner *planner, uint32_t first, uint32_t last, int32_t value);
uint32_t tac_plan_depth_max(const struct tac_planner *planner);
uint32_t tac_plan_depth_find(const struct tac_planner *planner, uint32_t from, uint32_t depth);

void tac_plan_sort_u32(uint32_t *values, uint32_t *scratch, uint32_t count);

/* ---- planner_pick.c ------------------------------------------------------------------------- */

/* Each fills planner->candidate, not yet shaped, and returns false when it has found none:
 * deepest   of a place where the level has at least depth_min; of equally deep ones the cheapest
 *           into a run, else the one with most bytes, then the smallest key
 * cheapest  least of the target for the bytes of the source
 * over      of the newest table over the edge that can be taken */
bool tac_pick_deepest(struct tac_planner *planner, uint32_t level, uint32_t depth_min);
bool tac_pick_cheapest(struct tac_planner *planner, uint32_t level);
bool tac_pick_lone(struct tac_planner *planner, uint32_t level);
void tac_pick_lone_begin(struct tac_planner *planner, uint32_t level);
bool tac_pick_over(struct tac_planner *planner, uint32_t level, uint32_t edge);
/* Orders the level's seeds for tac_pick_cheapest. */
void tac_pick_cheapest_begin(struct tac_planner *planner, uint32_t level);

/* Sets hull, bytes, weight and target tables of the candidate's members as they now are. */
void tac_pick_measure(struct tac_planner *planner);
/* Sets the candidate's target tables: of a run those that overlap its hull below edge_slice;
 * disjoint, so they are neighbours. */
void tac_pick_target(const struct tac_planner *planner, struct tac_plan_candidate *candidate);

/* ---- planner_shape.c ------------------------------------------------------------------------ */

/* Fits the candidate into its bounds and decides its kind. False: it collides with what this bar
 * has taken already. */
bool tac_shape_fit(struct tac_planner *planner, uint64_t bytes_max, bool may_merge_in_place);
/* Marks the candidate's tables and its output. */
void tac_shape_take(struct tac_planner *planner);
/* Keeps tac_pick_deepest from coming back to the candidate's range in this pass. */
void tac_shape_reject(struct tac_planner *planner);

/* ---- planner_cut.c -------------------------------------------------------------------------- */

void tac_cut_ruler_build(struct tac_planner *planner);
/* Classes of all edges as places to cut the output into `level`. */
void tac_cut_classes_build(struct tac_planner *planner, uint32_t level);

#define TAC_CUT_CLASS_NONE 0
#define TAC_CUT_CLASS_NEXT 1 /* A table edge of the level below, straddled by none of its tables */
#define TAC_CUT_CLASS_EDGE 2 /* A table edge of the level */
#define TAC_CUT_CLASS_FREE 3 /* A table edge of the level, straddled by none of its tables */

/* Bytes of the candidate's members below an edge are summed by walking up from its first edge:
 * spread_begin once, then spread_step for every next edge, then spread_end. */
struct tac_plan_spread {
    int64_t  rate;
    uint64_t bytes;
    uint32_t edge;
};
void tac_cut_spread_begin(struct tac_planner *planner, const uint32_t *tables, uint32_t count,
                          struct tac_plan_spread *spread, uint32_t edge);
void tac_cut_spread_step(const struct tac_planner *planner, struct tac_plan_spread *spread);
void tac_cut_spread_end(struct tac_planner *planner, const uint32_t *tables, uint32_t count);
/* Of a table's bytes those below an edge that is above its edge_min. */
uint64_t tac_cut_bytes_below(const struct tac_planner *planner, uint32_t table, uint32_t edge);

/* Appends the shaped candidate, with its jobs and cuts, to the plan; false when it does not fit. */
bool tac_cut_emit(struct tac_planner *planner);
/* The same for the flush; runs of 1: with the tables of level 0 that it overlaps. */
void tac_cut_emit_flush(struct tac_planner *planner);

#endif
