/* Piecewise cubics on even knots: what spline_kernel.py calls on a CPU.

   spline_kernel.py compiles this file once per machine and number type, for the processor that it runs on: with -DSINGLE
   for float, without it for double.

   z, ...   (members, rows, width), contiguous
   tables   (members, units, segments + 2, 4): coefficients of 1, s, s^2, s^3, the two tails first and last; units is
            width, or 1 where all units of a member share one table
   scale    segments / (2 limit), from z to s; half = segments / 2

   An output may be the same memory as an input: number i is read before number i is written. A NaN lands in some segment
   and stays NaN.

   The time goes into finding coefficients and, for the gradient by the table, into adding up at places known only from
   z. Both are done for one number after the other, with one load or one addition of four neighbours each: a gather of
   the processor takes twice as long for the same. All else is done in vectors. So everything goes through the file in
   parts of PART numbers, whose intermediate results stay in the nearest cache, step by step. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* The row of a table, and of its gradient: one vector each, wherever in memory. */
typedef real four __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef double four_sums __attribute__((vector_size(32), aligned(8), may_alias));

#define PART 256

typedef struct {
    int64_t segments;
    real scale, half;
} knots;

/* ---- one part */

/* row      where the row of the number's segment begins in the tables of its member
   r        s counted from the left end of the segment; that of a right tail is its only end */
typedef struct {
    integer row[PART];
    real r[PART];
} places;

/* first    where the table of each number begins

   The pragma promises that no turn of a loop reads what another one writes: true, even where an output is an input.
   Without it the compiler must assume the opposite, and uses no vectors. */
INLINED void locate(places *p, const real *z, const integer *first, knots at) {
    const real last = (real)at.segments;
#pragma omp simd
    for (int i = 0; i < PART; i++) {
        const real s = z[i] * at.scale + at.half;
        real whole = FLOOR(s);
        /* In this order, a NaN, which is not greater than anything, becomes -1 and stays inside the table. */
        whole = whole > (real)-1 ? whole : (real)-1;
        whole = whole < last ? whole : last;
        p->r[i] = s - (whole > 0 ? whole : (real)0);
        p->row[i] = first[i] + 4 * ((integer)whole + 1);
    }
}

INLINED void fetch(real *c, const real *tables, const places *p) {
    for (int i = 0; i < PART; i += 4)
        for (int j = i; j < i + 4; j++)
            *(four *)(c + 4 * j) = *(const four *)(tables + p->row[j]);
}

/* t is r without the length of a tail, where s^2 and s^3 have no part: a large r, squared, would be infinite, and
   infinity times 0 is NaN. */
INLINED real without_tail(real r) {
    const real below = r > 1 ? (real)1 : r;
    return below < 0 ? (real)0 : below;
}

enum task { VALUE, VALUE_AND_SLOPE, PULL_BACK, SUMS_AND_PULL_BACK };

typedef struct {
    const real *grad, *z;
    real *out, *slope;
} numbers;

/* PART neighbouring numbers, the first of `all`. `task` is a constant in every call: each has a loop of its own, in which
   nothing is decided.

       f(z) = c0 + r (c1 + t (c2 + t c3)),   f'(z) = (c1 + t (2 c2 + 3 t c3)) scale

   and the gradient by the table: the sums of grad, grad r, grad t^2, grad t^3 over the numbers of each segment. Neighbours
   go to four tables of sums by turns: those of one segment would have to wait for each other, since an addition takes up
   what the one before it has just put down. */
INLINED void part(enum task task, numbers all, four_sums *const sums[4], const real *tables, const integer *first,
                  knots at) {
    places p;
    real c[4 * PART];
    locate(&p, all.z, first, at);
    fetch(c, tables, &p);
#pragma omp simd
    for (int i = 0; i < PART; i++) {
        const real r = p.r[i], t = without_tail(r), c0 = c[4 * i], c1 = c[4 * i + 1], c2 = c[4 * i + 2],
                   c3 = c[4 * i + 3], g = all.grad[i];
        /* Both are computed before either is written, since `slope` or `grad` may be the same memory as `out`. */
        const real f = c0 + r * (c1 + t * (c2 + t * c3));
        const real df = (c1 + t * (2 * c2 + t * (3 * c3))) * at.scale;
        all.out[i] = task == PULL_BACK || task == SUMS_AND_PULL_BACK ? g * df : f;
        if (task == VALUE_AND_SLOPE)
            all.slope[i] = df;
        if (task == SUMS_AND_PULL_BACK)
            c[4 * i] = g, c[4 * i + 1] = g * r, c[4 * i + 2] = g * t * t, c[4 * i + 3] = g * t * t * t;
    }
    if (task == SUMS_AND_PULL_BACK)
        for (int i = 0; i < PART; i += 4)
            for (int j = 0; j < 4; j++) {
                const four terms = *(four *)(c + 4 * (i + j));
                *(four_sums *)((double *)sums[j] + p.row[i + j]) += __builtin_convertvector(terms, four_sums);
            }
}

/* n numbers, part by part; `unit` is that of the first. What is left at the end is copied to where a whole part has room,
   with zeros after it, which add nothing to sums. */
INLINED void parts(enum task task, numbers all, four_sums *const sums[4], const real *tables, const integer *first,
                   int64_t n, int64_t unit, int64_t units, knots at) {
    for (; n >= PART; n -= PART) {
        part(task, all, sums, tables, first + unit, at);
        all = (numbers){all.grad + PART, all.z + PART, all.out + PART, all.slope + PART};
        unit = (unit + PART) % units;
    }
    if (n > 0) {
        const size_t bytes = n * sizeof(real);
        real grad[PART] = {0}, z[PART] = {0}, out[PART], slope[PART];
        memcpy(grad, all.grad, bytes), memcpy(z, all.z, bytes);
        part(task, (numbers){grad, z, out, slope}, sums, tables, first + unit, at);
        memcpy(all.out, out, bytes);
        if (task == VALUE_AND_SLOPE)
            memcpy(all.slope, slope, bytes);
    }
}

static void stretch(enum task task, numbers all, four_sums *const sums[4], const real *tables, const integer *first,
                    int64_t n, int64_t unit, int64_t units, knots at) {
    if (task == VALUE)
        parts(VALUE, all, sums, tables, first, n, unit, units, at);
    else if (task == VALUE_AND_SLOPE)
        parts(VALUE_AND_SLOPE, all, sums, tables, first, n, unit, units, at);
    else if (task == PULL_BACK)
        parts(PULL_BACK, all, sums, tables, first, n, unit, units, at);
    else
        parts(SUMS_AND_PULL_BACK, all, sums, tables, first, n, unit, units, at);
}

/* ---- all members, over `threads` cores */

/* Where the table of a number begins, for PART numbers in a row of which the first is of any of the units. */
static integer *beginnings(int64_t units, int64_t table) {
    integer *first = malloc((units + PART) * sizeof(integer));
    for (int64_t i = 0; i < units + PART; i++)
        first[i] = i < units ? (integer)(i * table) : first[i - units];
    return first;
}

#define STRETCH 16384

static void everything(enum task task, numbers all, const real *tables, int64_t members, int64_t rows, int64_t units,
                       int64_t width, knots at, int threads) {
    const int64_t n = rows * width, table = 4 * (at.segments + 2), stretches = (n + STRETCH - 1) / STRETCH;
    if (n == 0)
        return;
    integer *first = beginnings(units, table);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t b = 0; b < stretches; b++) {
            const int64_t from = b * STRETCH, i = m * n + from, left = n - from;
            const numbers mine = {all.grad + i, all.z + i, all.out + i, all.slope + i};
            stretch(task, mine, NULL, tables + m * units * table, first, left < STRETCH ? left : STRETCH, from % units,
                    units, at);
        }
    free(first);
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

/* The same, and the gradient by the tables.

   sums  like the tables, in double, which the caller has set to 0

   A member's numbers are shared out, in a way that depends on their count alone. Every share adds to tables of its own,
   four where units share one, and these are added up in their order at the end: so the sums are the same to the last
   digit on any number of threads. The first table is the caller's. */
#define SHARE 131072
#define MOST_SHARES 16

void sums_and_pull_back(const real *grad, real *out, double *sums, const real *z, const real *tables, int64_t members,
                        int64_t rows, int64_t units, int64_t width, int64_t segments, real scale, real half,
                        int threads) {
    const knots at = {segments, scale, half};
    const int64_t n = rows * width, table = 4 * (segments + 2), size = units * table, turns = units == 1 ? 4 : 1;
    if (n == 0)
        return;
    const int64_t wanted = 1 + n / (SHARE > 16 * size ? SHARE : 16 * size);
    const int64_t shares = wanted < MOST_SHARES ? wanted : MOST_SHARES, copies = shares * turns;
    integer *first = beginnings(units, table);
    double *more = calloc(members * (copies - 1) * size + 1, sizeof(double));
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t share = 0; share < shares; share++) {
            const int64_t from = n * share / shares, end = n * (share + 1) / shares, i = m * n + from;
            four_sums *mine[4];
            for (int j = 0; j < 4; j++) {
                const int64_t copy = share * turns + j % turns;
                mine[j] = (four_sums *)(copy == 0 ? sums + m * size : more + (m * (copies - 1) + copy - 1) * size);
            }
            stretch(SUMS_AND_PULL_BACK, (numbers){grad + i, z + i, out + i, out + i}, mine, tables + m * size, first,
                    end - from, from % units, units, at);
        }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t copy = 0; copy < copies - 1; copy++)
            for (int64_t i = 0; i < size; i++)
                sums[m * size + i] += more[(m * (copies - 1) + copy) * size + i];
    free(first);
    free(more);
}
