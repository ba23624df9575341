/* binary_histogram: operators when at least one side is a histogram. */
#include "eval.h"

static struct binary_result kept(const struct histogram *histogram)
{
    return (struct binary_result){.keep = true, .note = NOTE_NONE, .histogram = histogram};
}

static struct binary_result dropped(enum binary_note note)
{
    return (struct binary_result){.note = note};
}

static void annotate_types(const struct frame *frame, const struct expr *binary, const char *lhs,
                           const char *rhs)
{
    const char *op = binary_op_text(binary->as.binary.op);
    struct str text = arena_strf(&frame->query->arena,
                                 "PromQL info: incompatible sample types encountered for binary "
                                 "operator \"%s\": %s %s %s",
                                 op, lhs, op, rhs);
    annotate(frame->query, false, binary, text);
}

static void binary_annotate(const struct frame *frame, const struct expr *binary,
                            enum binary_note note)
{
    struct query *query = frame->query;
    bool subtracts = binary->as.binary.op == OP_SUB;
    bool lhs = note == NOTE_HISTOGRAM_FLOAT || note == NOTE_HISTOGRAM_HISTOGRAM;
    bool rhs = note == NOTE_FLOAT_HISTOGRAM || note == NOTE_HISTOGRAM_HISTOGRAM;

    switch (note) {
    case NOTE_FLOAT_FLOAT:
    case NOTE_FLOAT_HISTOGRAM:
    case NOTE_HISTOGRAM_FLOAT:
    case NOTE_HISTOGRAM_HISTOGRAM:
        annotate_types(frame, binary, lhs ? "histogram" : "float", rhs ? "histogram" : "float");
        return;
    case NOTE_LAYOUT:
        annotate_text(query, true, binary,
                      subtracts ? "incompatible bucket layout encountered for binary operator -"
                                : "incompatible bucket layout encountered for binary operator +");
        return;
    case NOTE_COLLISION:
        annotate_text(query, true, binary,
                      subtracts ? "conflicting counter resets during histogram subtraction"
                                : "conflicting counter resets during histogram addition");
        return;
    case NOTE_RECONCILED:
        annotate_text(query, false, binary,
                      subtracts ? BOUNDS_RECONCILED "subtraction" : BOUNDS_RECONCILED "addition");
        return;
    case NOTE_NONE:
        return;
    }
}

void binary_notes_add(struct binary_notes *notes, const struct frame *frame, size_t step,
                      enum binary_note note)
{
    if (note == NOTE_NONE)
        return;
    if (!notes->by_step)
        notes->by_step = arena_zalloc(&frame->query->arena, frame->steps);
    notes->by_step[step] = (uint8_t)(note + 1);
}

void binary_notes_annotate(const struct binary_notes *notes, const struct frame *frame,
                           const struct expr *binary)
{
    for (size_t t = 0; notes->by_step && t < frame->steps; t++)
        if (notes->by_step[t] && (t == 0 || notes->by_step[t] != notes->by_step[t - 1]))
            binary_annotate(frame, binary, (enum binary_note)(notes->by_step[t] - 1));
}

static bool resets_collide(const struct histogram *lhs, const struct histogram *rhs)
{
    return (lhs->hint == HISTOGRAM_RESET && rhs->hint == HISTOGRAM_NOT_RESET) ||
           (lhs->hint == HISTOGRAM_NOT_RESET && rhs->hint == HISTOGRAM_RESET);
}

bool binary_fails(enum binary_op op, const struct histogram *lhs, const struct histogram *rhs)
{
    bool trims = op == OP_TRIM_UPPER || op == OP_TRIM_LOWER;
    if (!lhs && !rhs)
        return trims;
    if (!lhs || !rhs)
        return op != OP_MUL && !(lhs && (op == OP_DIV || trims));
    if (op == OP_EQL || op == OP_NEQ)
        return false;
    return (op != OP_ADD && op != OP_SUB) || histogram_is_custom(lhs) != histogram_is_custom(rhs) ||
           resets_collide(lhs, rhs);
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
static struct binary_result with_number(struct query *query, enum binary_op op,
                                        struct binary_operand lhs, struct binary_operand rhs)
{
    const struct histogram *histogram = lhs.histogram ? lhs.histogram : rhs.histogram;
    if (op == OP_MUL)
        return kept(scaled(query, histogram, lhs.histogram ? rhs.value : lhs.value, false));
    if (lhs.histogram && op == OP_DIV)
        return kept(scaled(query, histogram, rhs.value, true));
    if (lhs.histogram && (op == OP_TRIM_UPPER || op == OP_TRIM_LOWER))
        return kept(histogram_trimmed(&query->arena, histogram, rhs.value, op == OP_TRIM_UPPER));
    return dropped(lhs.histogram ? NOTE_HISTOGRAM_FLOAT : NOTE_FLOAT_HISTOGRAM);
}

static struct binary_result added(struct query *query, bool subtracts, const struct histogram *lhs,
                                  const struct histogram *rhs)
{
    struct histogram_added added;
    histogram_sum_set(&query->sum, lhs);
    bool ok = subtracts ? histogram_sum_subtract(&query->sum, rhs, &added)
                        : histogram_sum_add(&query->sum, rhs, &added);
    if (!ok)
        return dropped(NOTE_LAYOUT);
    if (added.reset_collision)
        return dropped(NOTE_COLLISION);
    if (subtracts)
        query->sum.head.hint = HISTOGRAM_GAUGE;
    struct binary_result result = kept(histogram_sum_take(&query->sum, false, &query->arena));
    if (added.bounds_reconciled)
        result.note = NOTE_RECONCILED;
    return result;
}

struct binary_result binary_histograms(const struct frame *frame, const struct expr *binary,
                                       struct binary_operand lhs, struct binary_operand rhs)
{
    enum binary_op op = binary->as.binary.op;
    if (!lhs.histogram || !rhs.histogram)
        return with_number(frame->query, op, lhs, rhs);
    if (op == OP_ADD || op == OP_SUB)
        return added(frame->query, op == OP_SUB, lhs.histogram, rhs.histogram);
    if (op != OP_EQL && op != OP_NEQ)
        return dropped(NOTE_HISTOGRAM_HISTOGRAM);
    bool holds = histogram_equal(lhs.histogram, rhs.histogram) == (op == OP_EQL);
    if (binary->as.binary.return_bool)
        return (struct binary_result){.keep = true, .note = NOTE_NONE, .value = holds ? 1 : 0};
    return holds ? kept(lhs.histogram) : dropped(NOTE_NONE);
}
