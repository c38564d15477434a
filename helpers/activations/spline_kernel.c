/* Piecewise cubics on even knots: what spline_kernel.py calls on a CPU.

   spline_kernel.py compiles this file once per machine and number type, for the processor that it runs on: with
   -DSINGLE for float, without it for double.

   z, ...   (members, rows, width), contiguous
   tables   (members, units, segments + 2, 4): coefficients of 1, s, s^2, s^3, the two tails first and last; units is
            width, or 1 where all units of a member share one table
   scale    segments / (2 limit), from z to s; half = segments / 2

   An output may be the same memory as an input: number i is read before number i is written. A NaN lands in some
   segment and stays NaN.

   The time goes into finding coefficients and, for the gradient by the table, into adding up at places known only from
   z. Both are done for one number after the other, four neighbours in memory at a time: four gathers of the processor
   take three times as long as a load of each row and a transposition. All else is done in vectors. So everything goes
   through the file in parts of PART numbers, whose intermediate results stay in the nearest cache together with tables
   and sums: twice as many numbers a part were slower, and half as many as well. */

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

#define PART 128

typedef struct {
    int64_t segments;
    real scale, half;
} knots;

/* So that no vector lies across two lines of the cache. */
#define IN_LINES __attribute__((aligned(64)))

/* ---- vectors: those of the processor, and rows of four */

/* A row of a table, and one of its gradient. */
typedef real four __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef double four_sums __attribute__((vector_size(32), aligned(8), may_alias));

/* LANES numbers fill a register, or two where a register has no room for a row. Registers of 64 bytes, where there are
   any, were no faster, and 15 % slower with a table for every unit. EACH_ROW lists where rows begin. */
#if defined(__AVX__) || !defined(SINGLE)
#define BYTES 32
#else
#define BYTES 16
#endif
#ifdef SINGLE
#define LANES (BYTES / 4)
#else
#define LANES (BYTES / 8)
#endif
#if defined(SINGLE) && BYTES == 32
#define EACH_ROW(list) list(0), list(4)
#else
#define EACH_ROW(list) list(0)
#endif
typedef real vector __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef integer integers __attribute__((vector_size(BYTES)));

#ifdef __clang__
#define SHUFFLE(a, b, list) __builtin_shufflevector(a, b, EACH_ROW(list))
#else
#define SHUFFLE(a, b, list) __builtin_shuffle(a, b, (integers){EACH_ROW(list)})
#endif
#define FIRST_OF_BOTH(k) k, k + LANES, k + 1, k + 1 + LANES
#define LAST_OF_BOTH(k) k + 2, k + 2 + LANES, k + 3, k + 3 + LANES
#define FIRST_PAIRS(k) k, k + 1, k + LANES, k + 1 + LANES
#define LAST_PAIRS(k) k + 2, k + 3, k + 2 + LANES, k + 3 + LANES

/* From rows to columns and back: every 4 x 4 block of v is transposed where it is, which processors do faster than
   moving numbers across a register. For that, the row of number i has to lie in place `row_of(i)`: block l of v[j] is
   the row of number 4 l + j, and afterwards number 4 l + j of v[0], v[1], v[2], v[3] is what was in that row. */
INLINED void transpose(vector v[4]) {
    const vector a = SHUFFLE(v[0], v[1], FIRST_OF_BOTH), b = SHUFFLE(v[2], v[3], FIRST_OF_BOTH),
                 c = SHUFFLE(v[0], v[1], LAST_OF_BOTH), d = SHUFFLE(v[2], v[3], LAST_OF_BOTH);
    v[0] = SHUFFLE(a, b, FIRST_PAIRS), v[1] = SHUFFLE(a, b, LAST_PAIRS);
    v[2] = SHUFFLE(c, d, FIRST_PAIRS), v[3] = SHUFFLE(c, d, LAST_PAIRS);
}

INLINED int row_of(int i) {
    return i - i % LANES + i % 4 * (LANES / 4) + i % LANES / 4;
}

/* ---- one part */

/* row  where the row of the number's segment begins in the tables of its member
   r    s counted from the left end of the segment; that of a right tail is its only end */
typedef struct {
    integer row[PART] IN_LINES;
    real r[PART] IN_LINES;
} places;

/* first  where the table of each number begins

   The pragma promises that no turn of the loop reads what another one writes. Without it the compiler must assume the
   opposite, and uses no vectors. */
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

/* t is r without the length of a tail, where s^2 and s^3 have no part: a large r, squared, would be infinite, and
   infinity times 0 is NaN. By masks, for C chooses between numbers only, not between vectors; a NaN is in neither. */
INLINED vector without_tail(vector r) {
    const vector one = (vector){0} + 1;
    const integers above = (integers)(r > one), below = (integers)(r < one - one);
    return (vector)(~below & ((above & (integers)one) | (~above & (integers)r)));
}

enum task { VALUE, VALUE_AND_SLOPE, PULL_BACK, SUMS_AND_PULL_BACK };

typedef struct {
    const real *grad, *z;
    real *out, *slope;
} numbers;

/* PART neighbouring numbers, the first of `all`. `task` is a constant in every call: each has a loop of its own, in
   which nothing is decided.

       f(z) = c0 + r (c1 + t (c2 + t c3)),   f'(z) = (c1 + t (2 c2 + 3 t c3)) scale

   and the gradient by the table: the sums of grad, grad r, grad t^2, grad t^3 over the numbers of each segment.
   Neighbours go to four tables of sums by turns: those of one segment would have to wait for each other, since an
   addition takes up what the one before it has just put down. */
INLINED void part(enum task task, numbers all, double *const sums[4], const real *tables, const integer *first,
                  knots at) {
    places p;
    real rows[4 * PART] IN_LINES; /* of coefficients, then of what goes into the sums */
    locate(&p, all.z, first, at);
    for (int i = 0; i < PART; i += LANES)
#pragma GCC unroll 8
        for (int j = i; j < i + LANES; j++)
            *(four *)(rows + 4 * row_of(j)) = *(const four *)(tables + p.row[j]);
    for (int i = 0; i < PART; i += LANES) {
        const vector r = *(vector *)(p.r + i), t = without_tail(r), g = *(const vector *)(all.grad + i);
        vector *const block = (vector *)(rows + 4 * i), c[4] = {block[0], block[1], block[2], block[3]};
        transpose(c);
        const vector f = c[0] + r * (c[1] + t * (c[2] + t * c[3]));
        const vector df = (c[1] + t * (2 * c[2] + t * (3 * c[3]))) * at.scale;
        if (task == VALUE || task == VALUE_AND_SLOPE)
            *(vector *)(all.out + i) = f;
        else
            *(vector *)(all.out + i) = g * df;
        if (task == VALUE_AND_SLOPE)
            *(vector *)(all.slope + i) = df;
        if (task == SUMS_AND_PULL_BACK) {
            vector terms[4] = {g, g * r, g * t * t, g * t * t * t};
            transpose(terms);
            for (int j = 0; j < 4; j++)
                block[j] = terms[j];
        }
    }
    if (task == SUMS_AND_PULL_BACK) {
        /* Copies, since the compiler cannot know that sums do not overwrite where the sums are. */
        double *const turns[4] = {sums[0], sums[1], sums[2], sums[3]};
        for (int i = 0; i < PART; i += LANES)
#pragma GCC unroll 8
            for (int j = i; j < i + LANES; j++) {
                const four terms = *(four *)(rows + 4 * row_of(j));
                *(four_sums *)(turns[j % 4] + p.row[j]) += __builtin_convertvector(terms, four_sums);
            }
    }
}

/* n numbers, part by part; `unit` is that of the first. What is left at the end is copied to where a whole part has
   room, with zeros after it, which add nothing to sums. */
INLINED void parts(enum task task, numbers all, double *const sums[4], const real *tables, const integer *first,
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

static void stretch(enum task task, numbers all, double *const sums[4], const real *tables, const integer *first,
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
    int64_t shares = 1; /* a power of 2, which most numbers of cores divide */
    while (shares < MOST_SHARES && n / (2 * shares) >= (SHARE > 32 * size ? SHARE : 32 * size))
        shares *= 2;
    const int64_t copies = shares * turns;
    integer *first = beginnings(units, table);
    double *more = calloc(members * (copies - 1) * size + 1, sizeof(double));
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t share = 0; share < shares; share++) {
            const int64_t from = n * share / shares, end = n * (share + 1) / shares, i = m * n + from;
            double *mine[4];
            for (int j = 0; j < 4; j++) {
                const int64_t copy = share * turns + j % turns;
                mine[j] = copy == 0 ? sums + m * size : more + (m * (copies - 1) + copy - 1) * size;
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
