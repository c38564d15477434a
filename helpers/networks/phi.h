/* Activation functions on vectors: phi(z), and phi'(z) where the way back wants it.

   float: polynomials, fitted for the smallest relative error on their interval (that of each stands beside it).
   double: libm, a number at a time; it is there to check the rest.
*/

#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif

#ifdef SINGLE
typedef float real;
typedef int32_t whole;
#else
typedef double real;
typedef int64_t whole;
#endif

#define LANES ((int)(BYTES / sizeof(real)))
#define INLINE static inline __attribute__((always_inline))

/* A vector of reals, or of whole numbers of the same size, anywhere in memory. */
typedef real V __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef whole W __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));

INLINE V load(const real *from) { return *(const V *)from; }
INLINE void store(real *to, V v) { *(V *)to = v; }
INLINE V splat(real x) { return x - (V){0}; } /* not {0} + x, which makes 0 of -0 */
INLINE V pick(W where, V yes, V no) { return (V)((where & (W)yes) | (~where & (W)no)); }
INLINE V larger(V a, V b) { return pick(a < b, b, a); } /* a NaN in a stays */
INLINE V smaller(V a, V b) { return pick(a > b, b, a); }
INLINE V magnitude(V x) { return pick(x < 0, -x, x); }

#define EACH(f) for (int i = 0; i < LANES; i++) y[i] = f

#ifdef SINGLE

/* (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2 */
INLINE V exp_rest(V r) {
    V p = 0.00138365434f * r + 0.00837505423f;
    p = p * r + 0.0416682436f;
    p = p * r + 0.166664173f;
    return p * r + 0.5f;
}

/* e^x = 2^n e^r, |r| <= ln 2 / 2; 2e-9 on r. Below -87.3 it is 0, above 88.7 the largest float. */
INLINE V exp_(V x) {
    const V lo = splat(-87.33654f), hi = splat(88.72283f), shift = splat(12582912.f); /* 1.5 * 2^23 rounds */
    V within = smaller(larger(x, lo), hi);
    V n = (within * 1.44269504f + shift) - shift;
    V r = within - n * 0.693359375f + n * 2.12194440e-4f;
    V p = (exp_rest(r) * r + 1) * r + 1;
    /* in two factors, since 2^128 is no float; from n + shift the low bits are n */
    W half = (W)(n * 0.5f + shift) - (W)shift, rest = ((W)(n + shift) - (W)shift) - half;
    V found = p * (V)((half + 127) << 23) * (V)((rest + 127) << 23);
    return pick(x < lo, splat(0), found);
}

/* e^x - 1 for x <= 0, also where e^x rounds to 1 */
INLINE V expm1_(V x) { return pick(x > -0.34f, x + x * x * exp_rest(x), exp_(x) - 1); }

/* Phi(-u) = e^(-u^2/2) q(1 / (1 + 0.26 u)) for u >= 0; 2.5e-8 up to u = 14, where it ends below the smallest float */
INLINE V tail_over_exp(V u) {
    V t = 1 / (1 + 0.26f * u);
    V q = 0.0305049418f * t - 0.152829101f;
    q = q * t + 0.251491857f;
    q = q * t - 0.150949605f;
    q = q * t + 0.16094829f;
    q = q * t + 0.0510275021f;
    q = q * t + 0.103030298f;
    q = q * t + 0.103016745f;
    return (q * t + 0.10375906f) * t;
}

/* tanh x: x p(x^2) with 5e-9 where x^2 <= 0.4, elsewhere by e^(2|x|) */
INLINE V tanh_(V x) {
    V s = x * x, u = magnitude(x);
    V p = -0.00560273809f * s + 0.0205399358f;
    p = p * s - 0.0537053197f;
    p = p * s + 0.133309322f;
    p = p * s - 0.333332522f;
    p = x + x * (p * s);
    V far = 1 - 2 / (exp_(2 * u) + 1);
    return pick(s <= 0.4f, p, pick(x < 0, -far, far));
}

/* log(1 + y), 0 <= y <= 1: 2 artanh(y / (2 + y)), 1e-10 */
INLINE V log1p_(V y) {
    V w = y / (2 + y), s = w * w;
    V p = 0.122065318f * s + 0.10696626f;
    p = p * s + 0.14310361f;
    p = p * s + 0.199993455f;
    p = p * s + 0.333333397f;
    return 2 * (w + w * (p * s));
}

/* erf x: x p(x^2) with 1e-9 where |x| <= 1, elsewhere 1 - 2 Phi(-sqrt(2) |x|) */
INLINE V erf_(V x) {
    V s = x * x, u = magnitude(x);
    V p = 7.85385926e-5f * s - 0.000801019299f;
    p = p * s + 0.00518832761f;
    p = p * s - 0.0268538119f;
    p = p * s + 0.112835851f;
    p = p * s - 0.376126258f;
    p = p * s + 1.12837917f;
    V far = 1 - 2 * exp_(-s) * tail_over_exp(u * 1.41421356f);
    return pick(s <= 1, x * p, pick(x < 0, -far, far));
}

INLINE V normal_cdf(V z, V bell) { /* bell = e^(-z^2/2) */
    V q = bell * tail_over_exp(magnitude(z));
    return pick(z < 0, q, 1 - q);
}
INLINE V sin_(V x) { V y; EACH(sinf(x[i])); return y; }
INLINE V cos_(V x) { V y; EACH(cosf(x[i])); return y; }

#else

INLINE V exp_(V x) { V y; EACH(exp(x[i])); return y; }
INLINE V expm1_(V x) { V y; EACH(expm1(x[i])); return y; }
INLINE V tanh_(V x) { V y; EACH(tanh(x[i])); return y; }
INLINE V log1p_(V x) { V y; EACH(log1p(x[i])); return y; }
INLINE V erf_(V x) { V y; EACH(erf(x[i])); return y; }
INLINE V normal_cdf(V z, V bell) { V y; (void)bell; EACH(0.5 * erfc(-z[i] * 0.70710678118654752440)); return y; }
INLINE V sin_(V x) { V y; EACH(sin(x[i])); return y; }
INLINE V cos_(V x) { V y; EACH(cos(x[i])); return y; }

#endif

/* ---- the table: as `table.py` has it */

enum { RELU, LEAKY_RELU, TANH, SIGMOID, ELU, SELU, LINEAR, GELU, SILU, SOFTPLUS, ERF, SIN };

#define LEAKY_SLOPE ((real)0.01)
#define SELU_ALPHA ((real)1.6732632423543772)
#define SELU_SCALE ((real)1.0507009873554805)

/* Whether phi' can be had from a = phi(z): nothing else is kept then. */
static int is_by_output(int phi) { return phi <= LINEAR; }

/* phi(z), and phi'(z) of those that have it not from the output */
INLINE V value(const int phi, V z, V *slope) {
    V one = splat(1);
    switch (phi) {
    case RELU: return larger(z, splat(0));
    case LEAKY_RELU: return pick(z > 0, z, z * LEAKY_SLOPE);
    case TANH: return tanh_(z);
    case SIGMOID: return 1 / (1 + exp_(-z));
    case ELU: return pick(z > 0, z, expm1_(smaller(z, splat(0))));
    case SELU: return SELU_SCALE * pick(z > 0, z, SELU_ALPHA * expm1_(smaller(z, splat(0))));
    case GELU: {
        V bell = exp_(z * z * (real)-0.5), cdf = normal_cdf(z, bell);
        *slope = cdf + z * bell * (real)0.39894228040143267794;
        return z * cdf;
    }
    case SILU: {
        V s = 1 / (1 + exp_(-z));
        *slope = s * (1 + z * (1 - s));
        return z * s;
    }
    case SOFTPLUS: {
        V e = exp_(-magnitude(z));
        *slope = pick(z < 0, e, one) / (1 + e);
        return larger(z, splat(0)) + log1p_(e);
    }
    case ERF: *slope = (real)1.12837916709551257390 * exp_(-z * z); return erf_(z);
    case SIN: *slope = cos_(z); return sin_(z);
    default: return z;
    }
}

/* phi'(z) from a = phi(z) */
INLINE V slope_of_output(const int phi, V a) {
    V one = splat(1);
    switch (phi) {
    case RELU: return pick(a > 0, one, splat(0));
    case LEAKY_RELU: return pick(a > 0, one, splat(LEAKY_SLOPE));
    case TANH: return 1 - a * a;
    case SIGMOID: return a * (1 - a);
    case ELU: return pick(a > 0, one, a + 1);
    case SELU: return pick(a > 0, splat(SELU_SCALE), a + SELU_SCALE * SELU_ALPHA);
    default: return one;
    }
}
