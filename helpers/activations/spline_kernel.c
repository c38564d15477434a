/* Piecewise cubics on even knots, one number after the other: what spline_kernel.py calls on a CPU.

   spline_kernel.py compiles this file once per machine and number type, for the processor that it runs on: with -DSINGLE
   for float, without it for double.

   tables   (members, units, 4, segments + 2): coefficients of 1, s, s^2, s^3, the two tails first and last
   z, ...   (members, rows, width), contiguous; units is width, or 1 where all units of a member share one table
   scale    segments / (2 limit), from z to s; half = segments / 2

   An output may be the same memory as an input: number i is read before number i is written. A NaN lands in some segment
   and stays NaN. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* `integer` is as wide as `real`, so that a vector register holds as many of either. */
#ifdef SINGLE
typedef float real;
typedef int32_t integer;
#define FLOOR floorf
#else
typedef double real;
typedef int64_t integer;
#define FLOOR floor
#endif

/* Inlined in every call, so that an argument which is a constant there is a constant in the loop. */
#define INLINED static inline __attribute__((always_inline))

typedef struct {
    int64_t segments;
    real scale, half;
} knots;

/* ---- one number */

/* segment  0 and segments + 1 are the tails
   r        s counted from the left end of the segment; that of a right tail is its only end
   t        r without the length of a tail, where s^2 and s^3 have no part: a large r, squared, would be infinite, and
            infinity times 0 is NaN */
typedef struct {
    integer segment;
    real r, t;
} place;

INLINED place locate(real z, knots at) {
    const real s = z * at.scale + at.half;
    real whole = FLOOR(s);
    /* In this order, a NaN, which is not greater than anything, becomes -1 and stays inside the table. */
    whole = whole > (real)-1 ? whole : (real)-1;
    whole = whole < (real)at.segments ? whole : (real)at.segments;
    const real r = s - (whole > 0 ? whole : (real)0);
    const real below = r > 1 ? (real)1 : r;
    const real t = below < 0 ? (real)0 : below;
    return (place){(integer)whole + 1, r, t};
}

/* ---- f(z) = c0 + r (c1 + t (c2 + t c3)) and f'(z) = (c1 + t (2 c2 + 3 t c3)) scale */

enum task { VALUE, VALUE_AND_SLOPE, PULL_BACK };

typedef struct {
    const real *grad, *z;
    real *out, *slope;
} numbers;

/* n neighbouring numbers, the first of `all`. `task` and `shared` are constants in every call: each pair has a loop of
   its own, in which nothing is decided. The pragma promises that no turn of the loop reads what another one writes, which
   is so when an output is an input; a compiler that cannot be told so would have to assume the opposite. */
INLINED void loop(enum task task, int shared, numbers all, const real *table, int64_t n, knots at) {
    const real *c0 = table, *c1 = c0 + at.segments + 2, *c2 = c1 + at.segments + 2, *c3 = c2 + at.segments + 2;
    const integer step = shared ? 0 : 4 * (integer)(at.segments + 2); /* from the table of a unit to that of the next */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const place p = locate(all.z[i], at);
        const integer k = shared ? p.segment : p.segment + (integer)i * step;
        const real r = p.r, t = p.t;
        /* Both are computed before either is written: after a write the coefficients would have to be read again. */
        const real f = c0[k] + r * (c1[k] + t * (c2[k] + t * c3[k]));
        const real df = (c1[k] + t * (2 * c2[k] + t * (3 * c3[k]))) * at.scale;
        if (task == PULL_BACK)
            all.out[i] = all.grad[i] * df;
        else
            all.out[i] = f;
        if (task == VALUE_AND_SLOPE)
            all.slope[i] = df;
    }
}

static void block(enum task task, int shared, numbers all, const real *table, int64_t n, knots at) {
    if (task == VALUE && shared)
        loop(VALUE, 1, all, table, n, at);
    else if (task == VALUE)
        loop(VALUE, 0, all, table, n, at);
    else if (task == VALUE_AND_SLOPE && shared)
        loop(VALUE_AND_SLOPE, 1, all, table, n, at);
    else if (task == VALUE_AND_SLOPE)
        loop(VALUE_AND_SLOPE, 0, all, table, n, at);
    else if (shared)
        loop(PULL_BACK, 1, all, table, n, at);
    else
        loop(PULL_BACK, 0, all, table, n, at);
}

/* All members, over `threads` cores: row by row, but where units share a table, in blocks of a size that suits a core. */
#define BLOCK 16384

static void everything(enum task task, numbers all, const real *tables, int64_t members, int64_t rows, int64_t units,
                       int64_t width, knots at, int threads) {
    const int shared = units == 1;
    const int64_t n = rows * width, table = 4 * (at.segments + 2);
    const int64_t length = shared ? BLOCK : width, blocks = (n + length - 1) / length;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t first = m * n + b * length, left = n - b * length;
            const numbers part = {all.grad + first, all.z + first, all.out + first, all.slope + first};
            block(task, shared, part, tables + m * units * table, left < length ? left : length, at);
        }
}

void value(real *out, const real *z, const real *tables, int64_t members, int64_t rows, int64_t units, int64_t width,
           int64_t segments, real scale, real half, int threads) {
    const numbers all = {z, z, out, out};
    everything(VALUE, all, tables, members, rows, units, width, (knots){segments, scale, half}, threads);
}

void value_and_slope(real *out, real *slope, const real *z, const real *tables, int64_t members, int64_t rows,
                     int64_t units, int64_t width, int64_t segments, real scale, real half, int threads) {
    const numbers all = {z, z, out, slope};
    everything(VALUE_AND_SLOPE, all, tables, members, rows, units, width, (knots){segments, scale, half}, threads);
}

/* grad f'(z) */
void pull_back(const real *grad, real *out, const real *z, const real *tables, int64_t members, int64_t rows,
               int64_t units, int64_t width, int64_t segments, real scale, real half, int threads) {
    const numbers all = {grad, z, out, out};
    everything(PULL_BACK, all, tables, members, rows, units, width, (knots){segments, scale, half}, threads);
}

/* ---- sums over the numbers of each segment of grad, grad r, grad t^2, grad t^3: the gradient by the table */

#define PART 256
typedef double four __attribute__((vector_size(32), aligned(8)));

/* At most PART numbers: first what vectors can do, then the adding up, one number after the other. Where numbers share a
   table, neighbours go to four sums by turns: an addition would wait for the one before it, into the same place. */
static void part_of_sums(const real *grad, const real *z, four *sums, int n, int64_t step, knots at) {
    integer segment[PART];
    real g1[PART], g2[PART], g3[PART];
#pragma omp simd
    for (int i = 0; i < n; i++) {
        const place p = locate(z[i], at);
        segment[i] = p.segment;
        g1[i] = grad[i] * p.r, g2[i] = grad[i] * p.t * p.t, g3[i] = grad[i] * p.t * p.t * p.t;
    }
    for (int i = 0; i < n; i++) {
        four *mine = sums + (step ? i * step : (i & 3) * (at.segments + 2));
        mine[segment[i]] += (four){grad[i], g1[i], g2[i], g3[i]};
    }
}

/* sums  (members, units, segments + 2, 4), which the caller has set to 0

   Every share of the work adds to a place of its own, and shares are added up in their order at the end. There is more
   than one share a member only where there are fewer members than threads. */
void sums(const real *grad, double *sums, const real *z, int64_t members, int64_t rows, int64_t units, int64_t width,
          int64_t segments, real scale, real half, int threads) {
    const knots at = {segments, scale, half};
    const int shared = units == 1;
    const int64_t table = segments + 2, step = shared ? 0 : table, n = rows * width;
    const int64_t turns = shared ? 4 : units, length = shared ? PART : width;
    const int64_t pieces = (n + length - 1) / length, shares = members < threads ? threads : 1;
    four *partial = calloc(members * shares * turns * table, sizeof(four));
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t share = 0; share < shares; share++) {
            four *mine = partial + (m * shares + share) * turns * table;
            for (int64_t piece = pieces * share / shares; piece < pieces * (share + 1) / shares; piece++) {
                const int64_t end = (piece + 1) * length < n ? (piece + 1) * length : n;
                for (int64_t from = piece * length; from < end; from += PART) {
                    const int64_t left = end - from;
                    /* A row of units with tables of their own starts at the first; its later parts start further on. */
                    part_of_sums(grad + m * n + from, z + m * n + from, mine + (from - piece * length) * step,
                                 left < PART ? (int)left : PART, step, at);
                }
            }
        }
    for (int64_t m = 0; m < members; m++)
        for (int64_t i = 0; i < shares * turns * table; i++)
            ((four *)sums)[m * units * table + i % (units * table)] += partial[m * shares * turns * table + i];
    free(partial);
}
