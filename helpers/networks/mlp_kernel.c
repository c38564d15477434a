/* Training of fully connected networks, one network after another: forward, backward and the optimiser's step.

   A layer is z = a W + b with W (inputs, outputs), and a = phi(z). Samples lie side by side in vectors: a batch is cut
   into panels of PANEL samples, and a panel of activations is (units, PANEL). Then all three products of a layer are
   one micro-kernel, numbers times vectors, on memory as it lies:

       forward    z[o, samples]  = sum over i       W[i, o]       a[i, samples]
       backward   da[i, samples] = sum over o       W[i, o]       dz[o, samples]
       gradient   G[i, outputs]  = sum over samples a[i, sample]  dz[sample, outputs]

   where only the last wants dz the other way round. A layer's weights are read once for its backward product and its
   step, and a network's weights stay in the second cache on their way through a layer.
*/

#include <stdlib.h>
#include <string.h>
#include "phi.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define PANEL (2 * LANES)
#ifndef ROWS /* of a tile of sums held in registers, two vectors each: 16 of 32 registers, or 12 of 16 */
#if defined(__AVX512F__) || defined(__aarch64__)
#define ROWS 8
#else
#define ROWS 6
#endif
#endif

/* A tile's loops are unrolled, so that its sums are registers. */
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { SGD, MOMENTUM, ADAM, GRADIENT_STATS };
enum { ACT_MEAN, ACT_STD, PRE_STD, GRAD_NORM, GRAD_MEAN_ABS, STATS };

/* What a call is about; `mlp_kernel.py` has the same. */
typedef struct {
    int64_t networks, depth, inputs, width, classes, seeds, phi, rule, affine, threads;
    int64_t n, total;                              /* samples of a batch, and of all batches or of the evaluation */
    int64_t steps_before;                          /* that the networks have gone already, for Adam */
    int64_t nesterov, decoupled;                   /* kinds of momentum, and of weight decay */
    double scale, shift, input_scale;              /* scale (phi(input_scale z) - shift), if affine */
    double mu, beta2, epsilon;                     /* of momentum and Adam */
    double decay;                                  /* of weights and biases */
    const int64_t *layers, *seed_of;               /* (networks,) */
    real *const *weights, *const *biases;          /* (networks, depth + 1), the output layer's last */
    real *const *first, *const *second;            /* moments: (2, networks, depth + 1), of weights and of biases */
    const double *lr;                              /* (networks,) */
    const real *x;                                 /* (N, inputs) */
    const int64_t *y;                              /* (N,) */
    const int64_t *index;                          /* (seeds, total), which samples; NULL for the first */
    double *loss, *stats;                          /* (networks,); (STATS, networks, depth) */
    int64_t *correct;                              /* (networks,) */
    real *space;                                   /* space_needed() numbers */
} Call;

INLINE int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* ---- the micro-kernel */

/* sums[r] += sum over k of s[r * rs + k * ks] * v[k * vs], for `rows` numbers and `vectors` vectors at a time */
INLINE void multiply(const int rows, const int vectors, V sums[ROWS][2], const real *s, int64_t rs, int64_t ks,
                     const real *v, int64_t vs, int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        V v0 = load(v + k * vs), v1 = vectors == 2 ? load(v + k * vs + LANES) : v0;
        UNROLL
        for (int r = 0; r < rows; r++) {
            V number = splat(s[r * rs + k * ks]);
            sums[r][0] += number * v0;
            if (vectors == 2) sums[r][1] += number * v1;
        }
    }
}

/* out[r, samples] = start[r] + the product, for one panel; start may be NULL */
INLINE void panel_rows(const int rows, real *out, const real *start, const real *s, int64_t rs, int64_t ks,
                       const real *v, int64_t count) {
    V sums[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = splat(start ? start[r] : 0);
    multiply(rows, 2, sums, s, rs, ks, v, PANEL, count);
    UNROLL
    for (int r = 0; r < rows; r++) {
        store(out + r * PANEL, sums[r][0]);
        store(out + r * PANEL + LANES, sums[r][1]);
    }
}

/* out (units, PANEL) = start + the product; W[unit, k] is s[unit * rs + k * ks]. Meanwhile the `ahead` numbers at
   `next` come into the second cache: the weights of a deep network have no room there, and memory is slow to answer. */
INLINE void panel_product(real *out, const real *start, int64_t units, const real *s, int64_t rs, int64_t ks,
                          const real *v, int64_t count, const real *next, int64_t ahead) {
    int64_t u = 0, line = 64 / sizeof(real), share = up(ahead * ROWS / units + 1, line);
    const real *end = next + ahead;
    for (; u + ROWS <= units; u += ROWS) {
        for (const real *stop = next + share; next < stop && next < end; next += line) __builtin_prefetch(next, 0, 2);
        panel_rows(ROWS, out + u * PANEL, start ? start + u : NULL, s + u * rs, rs, ks, v, count);
    }
    for (; u + 2 <= units; u += 2)
        panel_rows(2, out + u * PANEL, start ? start + u : NULL, s + u * rs, rs, ks, v, count);
    for (; u < units; u++) panel_rows(1, out + u * PANEL, start ? start + u : NULL, s + u * rs, rs, ks, v, count);
}

static void forward_product(real *z, const real *a, const real *w, const real *b, int64_t inputs, int64_t outputs,
                            const real *next, int64_t ahead) {
    panel_product(z, b, outputs, w, 1, outputs, a, inputs, next, ahead);
}

static void backward_product(real *da, const real *dz, const real *w, int64_t inputs, int64_t outputs,
                             const real *next, int64_t ahead) {
    panel_product(da, NULL, inputs, w, outputs, 1, dz, outputs, next, ahead);
}

/* ---- the optimiser's step, straight from the sums of a tile */

/* Sums in double precision, a register at a time: compilers take longer vectors apart, number by number. */
typedef double D __attribute__((vector_size(BYTES)));
#define NARROW (BYTES / sizeof(double) * sizeof(real)) /* bytes of as many reals */
typedef real Narrow __attribute__((vector_size(NARROW), aligned(sizeof(real)), may_alias));
#define D_LANES ((int)(BYTES / sizeof(double)))
#define PER_VECTOR (LANES / D_LANES)

INLINE D doubles(const real *from) { return __builtin_convertvector(*(const Narrow *)from, D); }

INLINE double sum_of(const D *sums, int count) {
    double sum = 0;
    for (int q = 0; q < count; q++)
        for (int i = 0; i < D_LANES; i++) sum += sums[q][i];
    return sum;
}

typedef struct {
    real lr, mu, first_share, beta2, second_share, epsilon, correct1, correct2; /* shares: 1 - mu, 1 - beta2 */
    real added, kept; /* of weight decay: added w joins the gradient, or kept w is what is left of w */
    int nesterov;
    D squares[PER_VECTOR], magnitudes[PER_VECTOR]; /* in double: the squares of a faded signal underflow in float */
} Step;

#ifdef SINGLE
#define ROOT sqrtf
#else
#define ROOT sqrt
#endif

/* w after its step by the gradient g */
INLINE V changed(const int rule, V w, V g, real *first, real *second, Step *step) {
    if (step->added != 0) g += step->added * w;
    if (step->kept != 1) w *= step->kept;
    if (rule == SGD) return w - g; /* the learning rate came down with dz */
    if (rule == MOMENTUM) { /* v <- mu v + g; w <- w - lr v */
        V v = step->mu * load(first) + g;
        store(first, v);
        if (step->nesterov) v = g + step->mu * v;
        return w - step->lr * v;
    }
    V m = load(first), v = load(second); /* Kingma & Ba 2015 */
    m += step->first_share * (g - m);
    v = step->beta2 * v + step->second_share * g * g;
    store(first, m);
    store(second, v);
    V root = v;
    for (int i = 0; i < LANES; i++) root[i] = ROOT(v[i]);
    return w - step->lr * (m / step->correct1 / (root / step->correct2 + step->epsilon));
}

/* Some numbers, fewer than LANES, as a vector and back. */
INLINE V load_some(const real *from, int count) {
    V v = splat(0);
    memcpy(&v, from, count * sizeof(real));
    return v;
}

INLINE void apply(const int rule, V g, int count, real *w, real *first, real *second, Step *step) {
    if (rule == GRADIENT_STATS) { /* columns beyond the last are 0 */
        real numbers[2 * LANES];
        store(numbers, g), store(numbers + LANES, magnitude(g));
        for (int q = 0; q < PER_VECTOR; q++) {
            D wide = doubles(numbers + q * D_LANES);
            step->squares[q] += wide * wide;
            step->magnitudes[q] += doubles(numbers + LANES + q * D_LANES);
        }
    } else if (count >= LANES) {
        store(w, changed(rule, load(w), g, first, second, step));
    } else {
        real moments[2 * LANES];
        if (rule >= MOMENTUM) store(moments, load_some(first, count));
        if (rule >= ADAM) store(moments + LANES, load_some(second, count));
        V found = changed(rule, load_some(w, count), g, moments, moments + LANES, step);
        memcpy(w, &found, count * sizeof(real));
        if (rule >= MOMENTUM) memcpy(first, moments, count * sizeof(real));
        if (rule >= ADAM) memcpy(second, moments + LANES, count * sizeof(real));
    }
}

/* One tile of G = a' dz over all panels, and the step of its weights. */
INLINE void tile_step(const int rule, const int rows, const int vectors, int64_t i, int64_t o, const real *a,
                      const real *dz, real *w, real *first, real *second, int64_t inputs, int64_t outputs,
                      int64_t panels, Step *step) {
    V sums[ROWS][2];
    int64_t row = up(outputs, LANES);
    UNROLL
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = splat(0);
    for (int64_t p = 0; p < panels; p++)
        multiply(rows, vectors, sums, a + (p * inputs + i) * PANEL, PANEL, 1, dz + p * PANEL * row + o, row, PANEL);
    UNROLL
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++) {
            int64_t at = (i + r) * outputs + o + j * LANES;
            apply(rule, sums[r][j], (int)(outputs - o - j * LANES), w + at, first + at, second + at, step);
        }
}

INLINE void weights_step(const int rule, const real *a, const real *dz, real *w, real *first, real *second,
                         int64_t inputs, int64_t outputs, int64_t panels, Step *step) {
    for (int64_t o = 0; o < outputs; o += PANEL) {
        int64_t i = 0;
#define TILES(rows, vectors)                                                                                           \
    for (; i + rows <= inputs; i += rows)                                                                              \
        tile_step(rule, rows, vectors, i, o, a, dz, w, first, second, inputs, outputs, panels, step);
        if (o + LANES < outputs) {
            TILES(ROWS, 2) TILES(2, 2) TILES(1, 2)
        } else {
            TILES(ROWS, 1) TILES(2, 1) TILES(1, 1)
        }
#undef TILES
    }
}

/* b <- its step by the sums of dz (samples, outputs) over the samples */
INLINE void biases_step(const int rule, const real *dz, real *b, real *first, real *second, int64_t outputs,
                        int64_t samples, Step *step) {
    int64_t row = up(outputs, LANES);
    for (int64_t o = 0; o < outputs; o += LANES) {
        V g = splat(0);
        for (int64_t i = 0; i < samples; i++) g += load(dz + i * row + o);
        apply(rule, g, (int)(outputs - o), b + o, first + o, second + o, step);
    }
}

/* ---- one layer's numbers */

INLINE void activate_as(const int phi, real *z, real *slope, int64_t count, const Call *c) {
    for (int64_t i = 0; i < count; i += LANES) {
        V s = splat(0), a;
        if (c->affine) {
            a = value(phi, load(z + i) * (real)c->input_scale, &s);
            if (is_by_output(phi)) s = slope_of_output(phi, a);
            a = (a - (real)c->shift) * (real)c->scale;
            s *= (real)(c->scale * c->input_scale);
        } else {
            a = value(phi, load(z + i), &s);
        }
        store(z + i, a);
        if (slope) store(slope + i, s);
    }
}

INLINE void pull_back_as(const int phi, real *da, const real *a, const real *slope, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES)
        store(da + i, load(da + i) * (slope ? load(slope + i) : slope_of_output(phi, load(a + i))));
}

#define FOR_EACH_PHI(DO)                                                                                               \
    switch (c->phi) {                                                                                                  \
        DO(RELU) DO(LEAKY_RELU) DO(TANH) DO(SIGMOID) DO(ELU) DO(SELU) DO(LINEAR) DO(GELU) DO(SILU) DO(SOFTPLUS)        \
        DO(ERF) DO(SIN)                                                                                                \
    }

/* z -> phi(z) in place, and phi'(z) where it is not to be had from that; slope NULL: nothing is kept */
static void activate(const Call *c, real *z, real *slope, int64_t count) {
#define DO(phi) case phi: activate_as(phi, z, slope, count, c); break;
    FOR_EACH_PHI(DO)
#undef DO
}

/* da -> dz = da phi'(z) in place */
static void pull_back(const Call *c, real *da, const real *a, const real *slope, int64_t count) {
#define DO(phi) case phi: pull_back_as(phi, da, a, slope, count); break;
    FOR_EACH_PHI(DO)
#undef DO
}

static int keeps_slope(const Call *c) { return c->affine || !is_by_output((int)c->phi); }

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif

/* (units, PANEL) -> (PANEL, row) with zeros up to the row's end */
static void turn(real *to, const real *from, int64_t units, int64_t row) {
    typedef real Q __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
    typedef whole I __attribute__((vector_size(4 * sizeof(real)), unused));
    int64_t u = 0;
    for (; u + 4 <= units; u += 4)
        for (int s = 0; s < PANEL; s += 4) {
            const real *at = from + u * PANEL + s;
            Q a = *(Q *)at, b = *(Q *)(at + PANEL), c = *(Q *)(at + 2 * PANEL), d = *(Q *)(at + 3 * PANEL);
            Q ac = SHUFFLE(a, c, 0, 4, 1, 5), bd = SHUFFLE(b, d, 0, 4, 1, 5);
            Q ac2 = SHUFFLE(a, c, 2, 6, 3, 7), bd2 = SHUFFLE(b, d, 2, 6, 3, 7);
            real *out = to + s * row + u;
            *(Q *)out = SHUFFLE(ac, bd, 0, 4, 1, 5);
            *(Q *)(out + row) = SHUFFLE(ac, bd, 2, 6, 3, 7);
            *(Q *)(out + 2 * row) = SHUFFLE(ac2, bd2, 0, 4, 1, 5);
            *(Q *)(out + 3 * row) = SHUFFLE(ac2, bd2, 2, 6, 3, 7);
        }
    for (; u < row; u++)
        for (int s = 0; s < PANEL; s++) to[s * row + u] = u < units ? from[u * PANEL + s] : 0;
}

static int is_zero(const real *v, int64_t count) {
    W some = {0};
    for (int64_t i = 0; i < count; i += LANES) some |= (W)(load(v + i) != 0);
    for (int i = 0; i < LANES; i++)
        if (some[i]) return 0;
    return 1;
}

/* Mean and standard deviation of (panels, units, PANEL) over the n samples that are some, in double precision. */
static void mean_and_std(const real *v, int64_t units, int64_t n, double *mean, double *deviation) {
    double about = 0;
    for (int pass = 0; pass < 2; pass++) {
        double total = 0;
        for (int64_t p = 0; p * PANEL < n; p++) {
            D sums[PANEL / D_LANES], middle = about - (D){0};
            memset(sums, 0, sizeof sums);
            for (const real *at = v + p * units * PANEL; at < v + (p + 1) * units * PANEL; at += PANEL) {
                UNROLL
                for (int q = 0; q < PANEL / D_LANES; q++) {
                    D d = doubles(at + q * D_LANES) - middle;
                    sums[q] += pass ? d * d : d;
                }
            }
            for (int i = 0; i < PANEL && p * PANEL + i < n; i++) total += sums[i / D_LANES][i % D_LANES];
        }
        total /= (double)(n * units);
        if (pass == 0) *mean = about = total;
        else *deviation = sqrt(total);
    }
}

/* ---- the loss */

/* Softmax cross-entropy of one panel of logits (classes, PANEL); they become scale times its gradient.

   Adds the losses and the number of right answers of the panel's first n samples; the gradient of the others is 0. */
static void loss_and_gradient(real *logits, int64_t classes, const int64_t *labels, int64_t n, real scale, double *loss,
                              int64_t *correct) {
    for (int half = 0; half < 2; half++) {
        real *z = logits + half * LANES;
        V most = load(z), sum = splat(0);
        W best = {0};
        for (int64_t c = 1; c < classes; c++) {
            V at = load(z + c * PANEL);
            W above = (W)(at > most);
            most = pick(above, at, most);
            best = (above & (whole)c) | (~above & best);
        }
        for (int64_t c = 0; c < classes; c++) sum += exp_(load(z + c * PANEL) - most);
        for (int i = 0; i < LANES; i++) {
            int64_t s = half * LANES + i;
            if (s >= n) {
                for (int64_t c = 0; c < classes; c++) z[c * PANEL + i] = 0;
                most[i] = 0, sum[i] = INFINITY;
                continue;
            }
            *loss += log((double)sum[i]) + most[i] - z[labels[s] * PANEL + i];
            *correct += best[i] == labels[s];
        }
        V share = scale / sum;
        for (int64_t c = 0; c < classes; c++) store(z + c * PANEL, exp_(load(z + c * PANEL) - most) * share);
        for (int i = 0; i < LANES && half * LANES + i < n; i++) z[labels[half * LANES + i] * PANEL + i] -= scale;
    }
}

/* ---- one network */

typedef struct {
    real *a, *slope;    /* (depth, panels, width, PANEL): phi(z) of each hidden layer, and phi'(z) */
    real *da, *other;   /* (panels, wider of width and classes, PANEL) */
    real *turned;       /* (samples, that rounded up) */
} Space;

static int64_t wider(const Call *c) { return c->width > c->classes ? c->width : c->classes; }

static int64_t space_of_network(const Call *c, int64_t n, int64_t kept) {
    int64_t samples = up(n, PANEL), widest = up(wider(c), PANEL);
    return samples * (kept * up(c->width, PANEL) * (keeps_slope(c) ? 2 : 1) + 3 * widest);
}

static Space space_at(const Call *c, real *at, int64_t n, int64_t kept) {
    int64_t samples = up(n, PANEL), widest = up(wider(c), PANEL), layer = samples * up(c->width, PANEL);
    Space s = {at, NULL, NULL, NULL, NULL};
    at += kept * layer;
    if (keeps_slope(c)) s.slope = at, at += kept * layer;
    s.da = at, s.other = at + samples * widest, s.turned = at + 2 * samples * widest;
    return s;
}

/* Logits of network r into s.da, (panels, classes, PANEL). `keep` the activations of all layers, or of two in turn. */
static void forward(const Call *c, int64_t r, const real *x, int64_t n, Space s, int keep, int with_stats) {
    int64_t panels = up(n, PANEL) / PANEL, layers = c->layers[r], size = c->width * PANEL;
    int64_t layer_size = panels * size;
    real *const *weights = c->weights + r * (c->depth + 1), *const *biases = c->biases + r * (c->depth + 1);
    const real *below = x;
    for (int64_t l = 0; l < layers; l++) {
        int64_t inputs = l ? c->width : c->inputs;
        real *z = s.a + (keep ? l : l % 2) * layer_size;
        real *slope = keep && s.slope ? s.slope + l * layer_size : NULL;
        int64_t ahead = l + 1 < layers ? c->width * c->width : 0; /* the next layer's weights, with the first panel */
        for (int64_t p = 0; p < panels; p++) {
            forward_product(z + p * size, below + p * inputs * PANEL, weights[l], biases[l], inputs, c->width,
                            weights[l + 1], p ? 0 : ahead);
            if (!with_stats) activate(c, z + p * size, slope ? slope + p * size : NULL, size);
        }
        if (with_stats) {
            double *stats = c->stats + r * c->depth + l, nothing;
            int64_t next = c->networks * c->depth;
            mean_and_std(z, c->width, n, &nothing, stats + PRE_STD * next);
            activate(c, z, slope, layer_size);
            mean_and_std(z, c->width, n, stats + ACT_MEAN * next, stats + ACT_STD * next);
        }
        below = z;
    }
    for (int64_t p = 0; p < panels; p++)
        forward_product(s.da + p * c->classes * PANEL, below + p * size, weights[c->depth], biases[c->depth], c->width,
                        c->classes, NULL, 0);
}

/* Walk from the gradient by the logits, in s.da, down; each layer takes its step by `rule` on the way. */
INLINE void backward(const int rule, const Call *c, int64_t r, const real *x, int64_t n, Space s, Step *step) {
    int64_t panels = up(n, PANEL) / PANEL, size = c->width * PANEL, layer_size = panels * size;
    real *const *weights = c->weights + r * (c->depth + 1), *const *biases = c->biases + r * (c->depth + 1);
    int64_t all = c->networks * (c->depth + 1);
    for (int64_t l = c->layers[r]; l >= 0; l--) { /* l = layers is the output layer, which has the last place */
        int is_output = l == c->layers[r];
        int64_t at = is_output ? c->depth : l;
        int64_t inputs = l ? c->width : c->inputs, outputs = is_output ? c->classes : c->width;
        int64_t row = up(outputs, LANES);
        const real *a = l ? s.a + (l - 1) * layer_size : x;
        if (!is_output) pull_back(c, s.da, s.a + l * layer_size, s.slope ? s.slope + l * layer_size : NULL, layer_size);
        /* Once a gradient is exactly 0, so are all those below, and there is nothing to change. Moments, decay go on. */
        if (((rule == SGD && step->kept == 1) || rule == GRADIENT_STATS) && is_zero(s.da, panels * outputs * PANEL))
            return;
        int64_t ahead = l > 1 ? c->width * c->width : 0;
        for (int64_t p = 0; p < panels; p++) {
            turn(s.turned + p * PANEL * row, s.da + p * outputs * PANEL, outputs, row);
            if (l) /* before the step changes the weights */
                backward_product(s.other + p * size, s.da + p * outputs * PANEL, weights[at], inputs, outputs,
                                 l > 1 ? weights[l - 1] : NULL, p ? 0 : ahead);
        }
        real *w = weights[at], *b = biases[at];
        if (rule != GRADIENT_STATS) {
            /* w and b stand for moments that the rule does not have: they are not touched there */
            int64_t moment = r * (c->depth + 1) + at;
            int has_first = rule >= MOMENTUM, has_second = rule == ADAM;
            weights_step(rule, a, s.turned, w, has_first ? c->first[moment] : w, has_second ? c->second[moment] : w,
                         inputs, outputs, panels, step);
            biases_step(rule, s.turned, b, has_first ? c->first[all + moment] : b,
                        has_second ? c->second[all + moment] : b, outputs, panels * PANEL, step);
        } else if (!is_output) { /* only hidden layers are asked for */
            memset(step->squares, 0, sizeof step->squares), memset(step->magnitudes, 0, sizeof step->magnitudes);
            weights_step(rule, a, s.turned, w, w, w, inputs, outputs, panels, step);
            double *stats = c->stats + r * c->depth + l, all_weights = (double)(inputs * outputs);
            stats[GRAD_NORM * c->networks * c->depth] = sqrt(sum_of(step->squares, PER_VECTOR));
            stats[GRAD_MEAN_ABS * c->networks * c->depth] = sum_of(step->magnitudes, PER_VECTOR) / all_weights;
        }
        real *swap = s.da;
        s.da = s.other, s.other = swap;
    }
}

/* Samples from..from + n of a seed as panels, (panels, inputs, PANEL); what is beyond the last is 0. */
static void gather(const Call *c, int64_t seed, real *to, int64_t from, int64_t n) {
    for (int64_t p = 0; p * PANEL < n; p++, to += c->inputs * PANEL) {
        const real *samples[PANEL];
        for (int64_t i = 0; i < PANEL; i++) {
            int64_t k = from + p * PANEL + i;
            samples[i] = k < from + n ? c->x + c->inputs * (c->index ? c->index[seed * c->total + k] : k) : NULL;
        }
        for (int64_t d = 0; d < c->inputs; d += 16) { /* some rows of the panel, which the first cache holds */
            int64_t end = d + 16 < c->inputs ? d + 16 : c->inputs;
            for (int64_t i = 0; i < PANEL; i++)
                for (int64_t e = d; e < end; e++) to[e * PANEL + i] = samples[i] ? samples[i][e] : 0;
        }
    }
}

#define AT_ONCE (4 * PANEL) /* samples of an evaluation: two layers of them stay in the second cache */

static int64_t in_lines(int64_t numbers) { return up(numbers, 64 / sizeof(real)); }

static int64_t steps_of(const Call *c) { return (c->total + c->n - 1) / c->n; }

/* How many numbers `space` has: the samples of a call as panels, and what every thread works with. */
int64_t space_needed(const Call *c, int evaluate) {
    int64_t batches = evaluate ? 1 : c->seeds * steps_of(c), n = evaluate ? AT_ONCE : up(c->n, PANEL);
    return in_lines(batches * n * c->inputs) + c->threads * in_lines(space_of_network(c, n, evaluate ? 2 : c->depth));
}

/* ---- subnormal numbers take a processor many times as long: they are 0 in here */

#if defined(__SSE2__)
#include <xmmintrin.h>
static unsigned int flush(void) {
    unsigned int before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static void restore(unsigned int before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
static uint64_t flush(void) {
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1 << 24)));
    return before;
}
static void restore(uint64_t before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#else
static int flush(void) { return 0; }
static void restore(int before) { (void)before; }
#endif

/* ---- what is called: each does something for all networks */

#ifdef _OPENMP
#define NETWORKS_SIDE_BY_SIDE _Pragma("omp parallel for schedule(dynamic, 1) num_threads((int)c->threads)")
static int thread_number(void) { return omp_get_thread_num(); }
#else
#define NETWORKS_SIDE_BY_SIDE
static int thread_number(void) { return 0; }
#endif

static void labels_of(const Call *c, int64_t seed, int64_t from, int64_t n, int64_t *labels) {
    for (int64_t i = 0; i < n; i++) labels[i] = c->y[c->index ? c->index[seed * c->total + from + i] : from + i];
}

/* Loss and right answers of network r, whose logits lie in s.da and become their gradient. */
static void losses(const Call *c, int64_t r, int64_t from, int64_t n, real scale, Space s) {
    int64_t labels[PANEL];
    for (int64_t p = 0; p * PANEL < n; p++) {
        int64_t here = n - p * PANEL < PANEL ? n - p * PANEL : PANEL;
        labels_of(c, c->seed_of[r], from + p * PANEL, here, labels);
        loss_and_gradient(s.da + p * c->classes * PANEL, c->classes, labels, here, scale, c->loss + r, c->correct + r);
    }
}

/* Steps of every network on its seed's batches of n samples, the last of which may have fewer; adds to loss and
   correct. A network takes all steps of a call before the next one's turn: if it is no larger than the second cache,
   it stays there. With rule GRADIENT_STATS a probe instead: nothing is changed, and stats filled. */
void train(const Call *c) {
    int64_t steps = steps_of(c), batch = up(c->n, PANEL) * c->inputs;
    int64_t each = in_lines(space_of_network(c, c->n, c->depth));
    real *x = c->space, *spaces = c->space + in_lines(c->seeds * steps * batch);
    for (int64_t seed = 0; seed < c->seeds; seed++)
        for (int64_t k = 0; k < steps; k++) {
            int64_t here = c->total - k * c->n < c->n ? c->total - k * c->n : c->n;
            gather(c, seed, x + (seed * steps + k) * batch, k * c->n, here);
        }
    NETWORKS_SIDE_BY_SIDE
    for (int64_t r = 0; r < c->networks; r++) {
        __typeof__(flush()) before = flush();
        Space s = space_at(c, spaces + thread_number() * each, c->n, c->depth);
        Step step = {.lr = (real)c->lr[r], .mu = (real)c->mu, .beta2 = (real)c->beta2, .epsilon = (real)c->epsilon,
                     .first_share = (real)(1 - c->mu), .second_share = (real)(1 - c->beta2),
                     .added = (real)(c->decoupled ? 0 : c->decay), .nesterov = (int)c->nesterov,
                     .kept = (real)(c->decoupled ? 1 - c->lr[r] * c->decay : 1)};
        for (int64_t k = 0; k < steps; k++) {
            const real *mine = x + ((c->index ? c->seed_of[r] : 0) * steps + k) * batch;
            int64_t here = c->total - k * c->n < c->n ? c->total - k * c->n : c->n;
            double t = (double)(c->steps_before + k + 1);
            step.correct1 = (real)(1 - pow(c->mu, t)), step.correct2 = (real)sqrt(1 - pow(c->beta2, t));
            forward(c, r, mine, here, s, 1, c->rule == GRADIENT_STATS);
            losses(c, r, k * c->n, here, (real)((c->rule == SGD ? c->lr[r] : 1.0) / (double)here), s);
            switch (c->rule) {
            case SGD: backward(SGD, c, r, mine, here, s, &step); break;
            case MOMENTUM: backward(MOMENTUM, c, r, mine, here, s, &step); break;
            case ADAM: backward(ADAM, c, r, mine, here, s, &step); break;
            default: backward(GRADIENT_STATS, c, r, mine, here, s, &step);
            }
        }
        restore(before);
    }
}

/* Loss and right answers of every network on all samples, summed. */
void evaluate(const Call *c) {
    int64_t each = in_lines(space_of_network(c, AT_ONCE, 2));
    real *x = c->space, *spaces = c->space + in_lines(AT_ONCE * c->inputs);
    for (int64_t from = 0; from < c->total; from += AT_ONCE) {
        int64_t here = c->total - from < AT_ONCE ? c->total - from : AT_ONCE;
        gather(c, 0, x, from, here);
        NETWORKS_SIDE_BY_SIDE
        for (int64_t r = 0; r < c->networks; r++) {
            __typeof__(flush()) before = flush();
            Space s = space_at(c, spaces + thread_number() * each, AT_ONCE, 2);
            forward(c, r, x, here, s, 0, 0);
            losses(c, r, from, here, 0, s);
            restore(before);
        }
    }
}

/* phi and phi' of (count) numbers, a whole number of vectors: for the tests. */
void phi_and_slope(const Call *c, real *z, real *slope, int64_t count) {
    if (keeps_slope(c)) {
        activate(c, z, slope, count);
    } else {
        activate(c, z, NULL, count);
        for (int64_t i = 0; i < count; i++) slope[i] = 1;
        pull_back(c, slope, z, NULL, count);
    }
}
