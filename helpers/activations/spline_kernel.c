/* Piecewise cubics on even knots, one number after the other: what spline_kernel.py calls on a CPU.

   Compiled once per machine by spline_kernel.py, for the processor that it runs on. The loops are written so that a
   compiler can turn them into vector instructions.

   tables   (members, units, 4, segments + 2): coefficients of 1, s, s^2, s^3, the two tails first and last
   z, ...   (members, rows, units), contiguous; with units = 1 a whole row shares one table
   scale    segments / (2 limit), from z to s; half = segments / 2

   An output may be the input of the same place. By the letter of C `restrict` forbids that; without it the loops are a
   third slower, and with it compilers still read a vector before they write in its place, which the tests watch. A NaN
   lands in some segment and stays NaN. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* The segment k of z (0 and segments + 1 are the tails), r = s within it, and t, which is r without the length of a
   tail: a tail has no s^2 and s^3, and powers of a large r could overflow. */
#define LOCATE(T, INT, FLOOR)                                   \
    const T s = z[i] * scale + half;                            \
    T whole = FLOOR(s);                                         \
    whole = whole > (T)-1 ? whole : (T)-1;                      \
    whole = whole < (T)segments ? whole : (T)segments;          \
    const INT k = (INT)whole + 1;                               \
    const T r = s - (whole > 0 ? whole : (T)0);                 \
    T t = r > 1 ? (T)1 : r;                                     \
    t = t < 0 ? (T)0 : t;

#define VALUE (c0[at] + r * (c1[at] + t * (c2[at] + t * c3[at])))
#define SLOPE ((c1[at] + t * (2 * c2[at] + t * (3 * c3[at]))) * scale)

/* One row of n numbers. `shared` is constant in either call below, so the compiler makes two loops of it. */
#define ROW(NAME, T, INT, FLOOR, ARGUMENTS, WORK)                                                            \
    static inline __attribute__((always_inline)) void row_##NAME(                                            \
        ARGUMENTS, const T *restrict z, const T *restrict c0, int64_t n, int64_t segments, T scale, T half,  \
        int shared) {                                                                                        \
        const T *restrict c1 = c0 + segments + 2, *restrict c2 = c1 + segments + 2;                          \
        const T *restrict c3 = c2 + segments + 2;                                                            \
        const INT step = shared ? 0 : 4 * (INT)(segments + 2);                                               \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                \
            LOCATE(T, INT, FLOOR)                                                                            \
            const INT at = shared ? k : k + (INT)i * step;                                                   \
            WORK                                                                                             \
        }                                                                                                    \
    }

/* All rows, over `threads` cores. A member with one table is one long row, cut into blocks. */
#define BLOCK 16384
#define ALL(NAME, T, PARAMETERS, AT)                                                                          \
    void NAME(PARAMETERS, const T *z, const T *tables, int64_t members, int64_t rows,         \
                              int64_t units, int64_t width, int64_t segments, T scale, T half, int threads) { \
        const int64_t n = rows * width, table = 4 * (segments + 2);                                           \
        const int64_t length = units == 1 ? BLOCK : width, blocks = (n + length - 1) / length;                \
        _Pragma("omp parallel for collapse(2) num_threads(threads) schedule(static)")                         \
        for (int64_t m = 0; m < members; m++)                                                                 \
            for (int64_t b = 0; b < blocks; b++) {                                                            \
                const int64_t at = m * n + b * length, left = n - b * length;                                 \
                const T *mine = tables + m * units * table;                                                   \
                const int64_t many = left < length ? left : length;                                           \
                if (units == 1)                                                                               \
                    row_##NAME(AT, z + at, mine, many, segments, scale, half, 1);                             \
                else                                                                                          \
                    row_##NAME(AT, z + at, mine, many, segments, scale, half, 0);                             \
            }                                                                                                 \
    }

#define COMMA ,

/* sums(grad, sums): of grad, grad r, grad t^2, grad t^3 over the numbers in each segment, which is the gradient of the
   table; (members, units, segments + 2, 4), set to 0 by the caller. First what vectors can do, then the adding up: where
   numbers share a table, in four places by turns, since an addition that waits for the one before it is slow. */
#define PART 256
typedef double four __attribute__((vector_size(32), aligned(8)));

#define SUMS(T, INT, FLOOR, _)                                                                                \
    static void part_of_sums_##_(const T *restrict grad, four *sums, const T *restrict z, int n,              \
                                 int64_t step, int64_t segments, T scale, T half) {                           \
        INT where[PART];                                                                                      \
        T g1[PART], g2[PART], g3[PART];                                                                       \
        _Pragma("omp simd") for (int i = 0; i < n; i++) {                                                     \
            LOCATE(T, INT, FLOOR)                                                                             \
            where[i] = k;                                                                                     \
            g1[i] = grad[i] * r, g2[i] = grad[i] * t * t, g3[i] = grad[i] * t * t * t;                        \
        }                                                                                                     \
        for (int i = 0; i < n; i++) {                                                                         \
            four *sum = sums + (step ? i * step : (i & 3) * (segments + 2));                                  \
            sum[where[i]] += (four){grad[i], g1[i], g2[i], g3[i]};                                            \
        }                                                                                                     \
    }                                                                                                         \
    void sums_##_(const T *grad, double *sums, const T *z, int64_t members, int64_t rows, int64_t units,      \
                  int64_t width, int64_t segments, T scale, T half, int threads) {                            \
        const int64_t table = segments + 2, step = units == 1 ? 0 : table, n = rows * width;                  \
        const int64_t turns = units == 1 ? 4 : units, length = units == 1 ? PART : width;                     \
        const int64_t pieces = (n + length - 1) / length, shares = members < threads ? threads : 1;           \
        four *partial = calloc(members * shares * turns * table, sizeof(four));                               \
        _Pragma("omp parallel for collapse(2) num_threads(threads) schedule(static)")                         \
        for (int64_t m = 0; m < members; m++)                                                                 \
            for (int64_t share = 0; share < shares; share++) {                                                \
                four *mine = partial + (m * shares + share) * turns * table;                                  \
                for (int64_t piece = pieces * share / shares; piece < pieces * (share + 1) / shares; piece++) \
                    for (int64_t at = 0; at < length && piece * length + at < n; at += PART) {                \
                        const int64_t from = piece * length + at, end = (piece + 1) * length;                 \
                        const int64_t stop = end < n ? end : n;                                               \
                        part_of_sums_##_(grad + m * n + from, mine + at * step, z + m * n + from,             \
                                         stop - from < PART ? (int)(stop - from) : PART, step, segments,      \
                                         scale, half);                                                        \
                    }                                                                                         \
            }                                                                                                 \
        for (int64_t m = 0; m < members; m++)                                                                 \
            for (int64_t i = 0; i < shares * turns * table; i++)                                              \
                ((four *)sums)[m * units * table + i % (units * table)] +=                                    \
                    partial[m * shares * turns * table + i];                                                  \
        free(partial);                                                                                        \
    }

/* value(out): f(z).  value_and_slope(out, slope): f(z) and f'(z).  pull_back(grad, out): grad f'(z). */
#define KERNELS(T, INT, FLOOR, _)                                                                             \
    ROW(value_##_, T, INT, FLOOR, T *restrict out, out[i] = VALUE;)                                                    \
    ALL(value_##_, T, T *out, out + at)                                                                       \
    ROW(value_and_slope_##_, T, INT, FLOOR, T *restrict out COMMA T *restrict slope, out[i] = VALUE; slope[i] = SLOPE;)         \
    ALL(value_and_slope_##_, T, T *out COMMA T *slope, out + at COMMA slope + at)                             \
    ROW(pull_back_##_, T, INT, FLOOR, const T *grad COMMA T *out, out[i] = grad[i] * SLOPE;)                  \
    ALL(pull_back_##_, T, const T *grad COMMA T *out, grad + at COMMA out + at)                               \
    SUMS(T, INT, FLOOR, _)

KERNELS(float, int32_t, floorf, float)
KERNELS(double, int64_t, floor, double)
