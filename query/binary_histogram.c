/* binary_histogram: operators when at least one side is a histogram. */
#include "eval.h"

static struct binary_result kept(const struct histogram *histogram)
{
    return (struct binary_result){.keep = true, .histogram = histogram};
}

static struct binary_result dropped(void)
{
    return (struct binary_result){0};
}

static const struct histogram *scaled(struct query *query, const struct histogram *histogram,
                                      double factor, bool divides)
{
    histogram_sum_set(&query->sum, histogram);
    if (divides)
        histogram_sum_divide(&query->sum, factor);
    else
        histogram_sum_multiply(&query->sum, factor);
    return histogram_sum_take(&query->sum, false, &query->arena);
}

/* A histogram with a number. */
static struct binary_result with_number(const struct frame *frame, const struct expr *binary,
                                        struct binary_operand lhs, struct binary_operand rhs)
{
    struct query *query = frame->query;
    enum binary_op op = binary->as.binary.op;
    const struct histogram *histogram = lhs.histogram ? lhs.histogram : rhs.histogram;
    if (op == OP_MUL)
        return kept(scaled(query, histogram, lhs.histogram ? rhs.value : lhs.value, false));
    if (lhs.histogram && op == OP_DIV)
        return kept(scaled(query, histogram, rhs.value, true));
    if (lhs.histogram && (op == OP_TRIM_UPPER || op == OP_TRIM_LOWER))
        return kept(histogram_trimmed(&query->arena, histogram, rhs.value, op == OP_TRIM_UPPER));
    binary_annotate_types(frame, binary, lhs.histogram, rhs.histogram);
    return dropped();
}

static struct binary_result added(const struct frame *frame, const struct expr *binary,
                                  const struct histogram *lhs, const struct histogram *rhs)
{
    struct query *query = frame->query;
    bool subtracts = binary->as.binary.op == OP_SUB;
    struct histogram_added added;
    histogram_sum_set(&query->sum, lhs);
    bool ok = subtracts ? histogram_sum_subtract(&query->sum, rhs, &added)
                        : histogram_sum_add(&query->sum, rhs, &added);
    if (!ok) {
        annotate_text(query, true, binary,
                      subtracts ? "incompatible bucket layout encountered for binary operator -"
                                : "incompatible bucket layout encountered for binary operator +");
        return dropped();
    }
    if (added.reset_collision) {
        annotate_text(query, true, binary,
                      subtracts ? "conflicting counter resets during histogram subtraction"
                                : "conflicting counter resets during histogram addition");
        return dropped();
    }
    if (added.bounds_reconciled)
        annotate_text(query, false, binary,
                      subtracts ? BOUNDS_RECONCILED "subtraction" : BOUNDS_RECONCILED "addition");
    if (subtracts)
        query->sum.head.hint = HISTOGRAM_GAUGE;
    return kept(histogram_sum_take(&query->sum, false, &query->arena));
}

struct binary_result binary_histograms(const struct frame *frame, const struct expr *binary,
                                       struct binary_operand lhs, struct binary_operand rhs)
{
    enum binary_op op = binary->as.binary.op;
    if (!lhs.histogram || !rhs.histogram)
        return with_number(frame, binary, lhs, rhs);
    if (op == OP_ADD || op == OP_SUB)
        return added(frame, binary, lhs.histogram, rhs.histogram);
    if (op != OP_EQL && op != OP_NEQ) {
        binary_annotate_types(frame, binary, true, true);
        return dropped();
    }
    bool holds = histogram_equal(lhs.histogram, rhs.histogram) == (op == OP_EQL);
    if (binary->as.binary.return_bool)
        return (struct binary_result){.keep = true, .value = holds ? 1 : 0};
    return holds ? kept(lhs.histogram) : dropped();
}
