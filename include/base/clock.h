/* clock: the two times that we use. Tests may set the wall clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* Unix time; may jump. */
int64_t clock_wall_ns(void);
int64_t clock_mono_ns(void); /* Never goes back. */
int64_t clock_mono_coarse_ns(void); /* The same some milliseconds ago at most, for a few ns. */
int64_t clock_mono_ms(void);

/* Tests only: freezes clock_wall_* at this time; INT64_MIN thaws it. */
void clock_set_wall_ms(int64_t now_ms);

#endif
