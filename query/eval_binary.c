/* eval_binary: arithmetic and comparisons; between two vectors eval_match.c finds the partners. */
#include "eval.h"
#include "model/math_go.h"

double binary_value(enum binary_op op, double lhs, double rhs)
{
    switch (op) {
    case OP_ADD:
        return lhs + rhs;
    case OP_SUB:
        return lhs - rhs;
    case OP_MUL:
        return lhs * rhs;
    case OP_DIV:
        return lhs / rhs;
    case OP_POW:
        return go_pow(lhs, rhs);
    case OP_MOD:
        return fmod(lhs, rhs);
    case OP_ATAN2:
        return go_atan2(lhs, rhs);
    default:
        return lhs; /* A comparison that holds keeps its left side. */
    }
}

bool binary_keeps(enum binary_op op, double lhs, double rhs)
{
    switch (op) {
    case OP_EQL:
        return lhs == rhs;
    case OP_NEQ:
        return lhs != rhs;
    case OP_GTR:
        return lhs > rhs;
    case OP_LSS:
        return lhs < rhs;
    case OP_GTE:
        return lhs >= rhs;
    case OP_LTE:
        return lhs <= rhs;
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
        return false; /* For histograms only. */
    default:
        return true;
    }
}

bool binary_drops_name(enum binary_op op)
{
    return op >= OP_ADD;
}

static bool scalar_scalar(const struct frame *frame, enum binary_op op, double *lhs,
                          const double *rhs, struct err *err)
{
    if (op == OP_TRIM_UPPER || op == OP_TRIM_LOWER)
        return err_set(err, ERR_EXECUTION, "operator \"%s\" not allowed for Scalar operations",
                       binary_op_text(op));
    bool compares = binary_op_is_comparison(op);
    for (size_t t = 0; t < frame->steps; t++)
        lhs[t] = compares ? (binary_keeps(op, lhs[t], rhs[t]) ? 1 : 0)
                          : binary_value(op, lhs[t], rhs[t]);
    return true;
}

/* Comparison that filters: absent where it does not hold. The value is the vector's, whichever side
 * it is on. */
static void filter_series(const struct frame *frame, enum binary_op op, struct series *series,
                          const double *scalar, bool swapped)
{
    series_need_bitmap(frame, series);
    for (size_t t = series->from; t < series->to; t++) {
        if (series_histogram(series, t))
            continue;
        double value = *series_at(series, t);
        bool keep =
            swapped ? binary_keeps(op, scalar[t], value) : binary_keeps(op, value, scalar[t]);
        if (!keep)
            bitmap_del(series->present, t - series->from);
    }
}

static void compute_series(enum binary_op op, bool return_bool, struct series *series,
                           const double *scalar, bool swapped)
{
    for (size_t t = series->from; t < series->to; t++) {
        double *value = series_at(series, t);
        double lhs = swapped ? scalar[t] : *value, rhs = swapped ? *value : scalar[t];
        *value = return_bool ? (binary_keeps(op, lhs, rhs) ? 1 : 0) : binary_value(op, lhs, rhs);
    }
}

/* The histograms of a series: what cannot be computed goes. */
static void histograms_scalar(const struct frame *frame, const struct expr *binary,
                              struct series *series, const double *scalar, bool swapped,
                              struct binary_notes *notes)
{
    series_need_bitmap(frame, series);
    for (size_t t = series->from; t < series->to; t++) {
        if (!series_has(series, t))
            continue;
        struct binary_operand element = {.histogram = series_histogram(series, t)};
        struct binary_operand number = {.value = scalar[t]};
        if (!element.histogram)
            continue;
        struct binary_result result = binary_histograms(frame, binary, swapped ? number : element,
                                                        swapped ? element : number);
        binary_notes_add(notes, frame, t, result.note);
        series->histograms[t - series->from] = result.histogram;
        if (!result.keep)
            bitmap_del(series->present, t - series->from);
    }
}

static void note_floats(const struct frame *frame, const struct series *series,
                        struct binary_notes *notes)
{
    for (size_t t = series->from; t < series->to; t++)
        if (series_has(series, t) && !series_histogram(series, t))
            binary_notes_add(notes, frame, t, NOTE_FLOAT_FLOAT);
}

static bool vector_scalar(const struct frame *frame, struct expr *binary, struct vector *vector,
                          const double *scalar, bool swapped, struct err *err)
{
    enum binary_op op = binary->as.binary.op;
    bool return_bool = binary->as.binary.return_bool;
    bool trims = op == OP_TRIM_UPPER || op == OP_TRIM_LOWER;
    struct binary_notes notes = {0};
    bool filters = trims || (binary_op_is_comparison(op) && !return_bool);

    for (size_t i = 0; i < vector->count; i++) {
        if (trims)
            note_floats(frame, &vector->items[i], &notes);
        if (vector->items[i].histograms)
            histograms_scalar(frame, binary, &vector->items[i], scalar, swapped, &notes);
        if (filters)
            filter_series(frame, op, &vector->items[i], scalar, swapped);
        else
            compute_series(op, return_bool, &vector->items[i], scalar, swapped);
        if (!query_check(frame->query, err))
            return false;
    }
    binary_notes_annotate(&notes, frame, binary);
    vector_drop_empty(vector);
    return filters || vector_drop_names(frame, vector, err);
}

bool eval_binary(const struct frame *frame, struct expr *binary, struct value *out, struct err *err)
{
    struct value lhs, rhs;
    int64_t before = frame->query->samples;
    enum binary_op op = binary->as.binary.op;
    struct tally gathered = {0};

    frame->query->tally = &gathered;
    bool ok = eval_expr(frame, binary->as.binary.lhs, &lhs, err) &&
              eval_expr(frame, binary->as.binary.rhs, &rhs, err);
    frame->query->tally = NULL;
    if (!ok)
        return false;
    if (lhs.type == TYPE_SCALAR && rhs.type == TYPE_SCALAR) {
        ok = scalar_scalar(frame, op, lhs.scalar, rhs.scalar, err);
        out->scalar = lhs.scalar;
    } else if (rhs.type == TYPE_SCALAR) {
        ok = vector_scalar(frame, binary, &lhs.vector, rhs.scalar, false, err);
        out->vector = lhs.vector;
    } else if (lhs.type == TYPE_SCALAR) {
        ok = vector_scalar(frame, binary, &rhs.vector, lhs.scalar, true, err);
        out->vector = rhs.vector;
    } else if (binary_op_is_set(op)) {
        ok = eval_set(frame, binary, &lhs.vector, &rhs.vector, &out->vector, err);
    } else {
        ok = eval_match(frame, binary, &lhs.vector, &rhs.vector, &out->vector, err);
    }
    return ok && tally_hold(&gathered, frame, before, out, err);
}
