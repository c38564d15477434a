/* Piecewise cubics on even knots, one number after the other: what spline_kernel.py calls on a CPU.

   spline_kernel.py compiles this file once for each number type, on the machine and for the processor that it runs on:
   REAL is float or double, INDEX a whole number of the same size, FLOOR the function that rounds down. The loops are
   written so that a compiler can turn them into vector instructions.

   tables   (members, units, 4, segments + 2): coefficients of 1, s, s^2, s^3, the two tails first and last
   z, ...   (members, rows, units), contiguous; with units = 1 a whole row shares one table
   scale    segments / (2 limit), from z to s; half = segments / 2

   An output may be the input of the same place. By the letter of C `restrict` forbids that; without it the loops are a
   third slower, and with it compilers still read a vector before they write in its place, which the tests watch. A NaN
   lands in some segment and stays NaN. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef REAL real;
typedef INDEX whole;

/* Always inlined: where `shared` is a constant, the compiler makes a loop of its own for either value. */
#define INLINE static inline __attribute__((always_inline))

/* ---- one number */

/* The segment in which z lies (0 and segments + 1 are the tails), r = s within it, and t, which is r without the length
   of a tail: a tail has no s^2 and s^3, and powers of a large r could overflow. */
INLINE whole locate(real z, int64_t segments, real scale, real half, real *within, real *cut) {
    const real s = z * scale + half;
    real left = FLOOR(s);
    left = left > (real)-1 ? left : (real)-1; /* in this order a NaN becomes -1, the left tail */
    left = left < (real)segments ? left : (real)segments;
    const real r = s - (left > 0 ? left : (real)0);
    real t = r > 1 ? (real)1 : r;
    t = t < 0 ? (real)0 : t;
    *within = r, *cut = t;
    return (whole)left + 1;
}

/* f = c0 + r (c1 + t (c2 + t c3)), and f' by z, from a segment's coefficients. */
INLINE real value_of(real r, real t, real c0, real c1, real c2, real c3) {
    return c0 + r * (c1 + t * (c2 + t * c3));
}

INLINE real slope_of(real t, real c1, real c2, real c3, real scale) {
    return (c1 + t * (2 * c2 + t * (3 * c3))) * scale;
}

/* ---- a row of numbers: the table of its first starts at c0, the next one's lies 4 (segments + 2) further, unless they
   share one */

INLINE whole table_of(whole i, int64_t segments, int shared) { return shared ? 0 : i * 4 * (whole)(segments + 2); }

INLINE void value_row(real *restrict out, const real *restrict z, const real *restrict c0, int64_t n, int64_t segments,
                      real scale, real half, int shared) {
    const int64_t table = segments + 2;
    const real *restrict c1 = c0 + table, *restrict c2 = c1 + table, *restrict c3 = c2 + table;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real r, t;
        const whole k = locate(z[i], segments, scale, half, &r, &t);
        const whole at = shared ? k : k + table_of(i, segments, shared);
        out[i] = value_of(r, t, c0[at], c1[at], c2[at], c3[at]);
    }
}

INLINE void value_and_slope_row(real *restrict out, real *restrict slope, const real *restrict z,
                                const real *restrict c0, int64_t n, int64_t segments, real scale, real half,
                                int shared) {
    const int64_t table = segments + 2;
    const real *restrict c1 = c0 + table, *restrict c2 = c1 + table, *restrict c3 = c2 + table;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real r, t;
        const whole k = locate(z[i], segments, scale, half, &r, &t);
        const whole at = shared ? k : k + table_of(i, segments, shared);
        out[i] = value_of(r, t, c0[at], c1[at], c2[at], c3[at]);
        slope[i] = slope_of(t, c1[at], c2[at], c3[at], scale);
    }
}

INLINE void pull_back_row(const real *grad, real *out, const real *restrict z, const real *restrict c0, int64_t n,
                          int64_t segments, real scale, real half, int shared) {
    const int64_t table = segments + 2;
    const real *restrict c1 = c0 + table, *restrict c2 = c1 + table, *restrict c3 = c2 + table;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        real r, t;
        const whole k = locate(z[i], segments, scale, half, &r, &t);
        const whole at = shared ? k : k + table_of(i, segments, shared);
        out[i] = grad[i] * slope_of(t, c1[at], c2[at], c3[at], scale);
    }
}

/* ---- all rows, over `threads` cores: a member with one table is one long row, cut into blocks */

enum { BLOCK = 16384 };

struct block {
    int64_t start, n; /* its first number among all, and how many it has */
    const real *table;
};

static int64_t block_length(int64_t units, int64_t width) { return units == 1 ? BLOCK : width; }

static int64_t blocks_of(int64_t rows, int64_t units, int64_t width) {
    const int64_t length = block_length(units, width);
    return (rows * width + length - 1) / length;
}

INLINE struct block block_at(int64_t m, int64_t b, const real *tables, int64_t rows, int64_t units, int64_t width,
                             int64_t segments) {
    const int64_t n = rows * width, length = block_length(units, width), left = n - b * length;
    return (struct block){m * n + b * length, left < length ? left : length, tables + m * units * 4 * (segments + 2)};
}

/* f(z) */
void value(real *out, const real *z, const real *tables, int64_t members, int64_t rows, int64_t units, int64_t width,
           int64_t segments, real scale, real half, int threads) {
    const int64_t blocks = blocks_of(rows, units, width);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t b = 0; b < blocks; b++) {
            const struct block at = block_at(m, b, tables, rows, units, width, segments);
            if (units == 1)
                value_row(out + at.start, z + at.start, at.table, at.n, segments, scale, half, 1);
            else
                value_row(out + at.start, z + at.start, at.table, at.n, segments, scale, half, 0);
        }
}

/* f(z) and f'(z) */
void value_and_slope(real *out, real *slope, const real *z, const real *tables, int64_t members, int64_t rows,
                     int64_t units, int64_t width, int64_t segments, real scale, real half, int threads) {
    const int64_t blocks = blocks_of(rows, units, width);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t b = 0; b < blocks; b++) {
            const struct block at = block_at(m, b, tables, rows, units, width, segments);
            real *o = out + at.start, *d = slope + at.start;
            if (units == 1)
                value_and_slope_row(o, d, z + at.start, at.table, at.n, segments, scale, half, 1);
            else
                value_and_slope_row(o, d, z + at.start, at.table, at.n, segments, scale, half, 0);
        }
}

/* grad f'(z) */
void pull_back(const real *grad, real *out, const real *z, const real *tables, int64_t members, int64_t rows,
               int64_t units, int64_t width, int64_t segments, real scale, real half, int threads) {
    const int64_t blocks = blocks_of(rows, units, width);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t b = 0; b < blocks; b++) {
            const struct block at = block_at(m, b, tables, rows, units, width, segments);
            const real *g = grad + at.start;
            if (units == 1)
                pull_back_row(g, out + at.start, z + at.start, at.table, at.n, segments, scale, half, 1);
            else
                pull_back_row(g, out + at.start, z + at.start, at.table, at.n, segments, scale, half, 0);
        }
}

/* ---- the gradient of the tables */

enum { PART = 256 }; /* numbers that are located before they are added up */
typedef double four __attribute__((vector_size(32), aligned(8)));

/* Adds grad, grad r, grad t^2 and grad t^3 of up to PART numbers to the sums of their segments. First what vectors can
   do, then the adding up. Number i has its sums `step` behind those of number i - 1; where all share a table, step = 0,
   they go to four places by turns, since an addition that waits for the one before it is slow. */
static void add_part(const real *restrict grad, four *sums, const real *restrict z, int n, int64_t step,
                     int64_t segments, real scale, real half) {
    whole where[PART];
    real g1[PART], g2[PART], g3[PART];
#pragma omp simd
    for (int i = 0; i < n; i++) {
        real r, t;
        where[i] = locate(z[i], segments, scale, half, &r, &t);
        g1[i] = grad[i] * r, g2[i] = grad[i] * t * t, g3[i] = grad[i] * t * t * t;
    }
    for (int i = 0; i < n; i++) {
        four *sum = sums + (step ? i * step : (i & 3) * (segments + 2));
        sum[where[i]] += (four){grad[i], g1[i], g2[i], g3[i]};
    }
}

/* The gradient of the tables, (members, units, segments + 2, 4), set to 0 by the caller, where `grad` is that of f(z).
   With fewer members than threads each member's numbers are shared out, and every thread has sums of its own. */
void sums(const real *grad, double *found, const real *z, int64_t members, int64_t rows, int64_t units, int64_t width,
          int64_t segments, real scale, real half, int threads) {
    const int64_t table = segments + 2, step = units == 1 ? 0 : table, n = rows * width;
    const int64_t turns = units == 1 ? 4 : units, length = units == 1 ? PART : width;
    const int64_t pieces = (n + length - 1) / length, shares = members < threads ? threads : 1;
    four *partial = calloc(members * shares * turns * table, sizeof(four)); /* (members, shares, turns, table) */
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t m = 0; m < members; m++)
        for (int64_t share = 0; share < shares; share++) {
            four *mine = partial + (m * shares + share) * turns * table;
            for (int64_t piece = pieces * share / shares; piece < pieces * (share + 1) / shares; piece++)
                for (int64_t at = 0; at < length && piece * length + at < n; at += PART) {
                    const int64_t from = piece * length + at, end = (piece + 1) * length, stop = end < n ? end : n;
                    const int many = stop - from < PART ? (int)(stop - from) : PART;
                    add_part(grad + m * n + from, mine + at * step, z + m * n + from, many, step, segments, scale,
                             half);
                }
        }
    for (int64_t m = 0; m < members; m++)
        for (int64_t i = 0; i < shares * turns * table; i++)
            ((four *)found)[m * units * table + i % (units * table)] += partial[m * shares * turns * table + i];
    free(partial);
}
