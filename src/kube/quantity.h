/* quantity: numbers as Kubernetes writes them: whole digits and one suffix, never a fraction.
 *
 * All round toward zero, as prometheus-adapter does. False, and nothing written, for what a quantity
 * cannot hold: NaN, infinities and what is beyond 2^63-1 of the unit. */
#ifndef KUBE_QUANTITY_H
#define KUBE_QUANTITY_H

#include <stdbool.h>

#include "base/buf.h"

bool quantity_add_milli(struct buf *out, double value); /* 450, 100500m */
bool quantity_add_nano(struct buf *out, double value);  /* 12500000n: cores */
bool quantity_add_bytes(struct buf *out, double value); /* 20480Ki, 1000 */
bool quantity_is_possible(double value);                /* Whether quantity_add_milli writes. */

#endif
