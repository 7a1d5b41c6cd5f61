/* The elementary functions of the bit contract. libm's differ by version and CPU; these are a fixed order of fused
 * multiply-adds, so they give the same bits everywhere. Only fma, fmaf and sqrt, which IEEE defines exactly, come from libm. */
#ifndef HEARTH_COMMON_REAL_H
#define HEARTH_COMMON_REAL_H

#include "common/half.h"
#include <math.h>

/* exp in single precision. n = rne(x / ln 2), r = x - n ln 2 in two steps, Taylor polynomial of degree 7 in r (|r| <= 0.3466,
 * remainder below 5.3e-9), times 2^n by adding to the exponent field. Below -87 the result is +0, above 88 +infinity; in between n
 * lies in
 * [-126, 127] and the result is normal (at n = -126 the polynomial is above 1.4, at n = 127 below 1), so the addition is exact. NaN
 * gives the quiet NaN 0x7fc00000. */
#define HEARTH_EXP_MAX 88.0f
#define HEARTH_EXP_MIN (-87.0f)
#define HEARTH_EXP_LOG2E 0x1.715476p+0f
#define HEARTH_EXP_ROUND 0x1.8p+23f /* adding it leaves rne(x) in the low bits of the sum */
#define HEARTH_EXP_LN2_HI 0x1.62e4p-1f
#define HEARTH_EXP_LN2_LO 0x1.7f7d1cp-20f
#define HEARTH_EXP_C7 0x1.a01a02p-13f
#define HEARTH_EXP_C6 0x1.6c16c2p-10f
#define HEARTH_EXP_C5 0x1.111112p-7f
#define HEARTH_EXP_C4 0x1.555556p-5f
#define HEARTH_EXP_C3 0x1.555556p-3f
#define HEARTH_EXP_C2 0.5f

/* exp(x) = 2^n (1 + r q) with |r| <= ln 2 / 2, by parts: t holds n in its lowest bits. */
struct hearth_exp_parts {
    float t, r, q;
};

static inline struct hearth_exp_parts hearth_exp_parts_of(float x)
{
    const float t = fmaf(x, HEARTH_EXP_LOG2E, HEARTH_EXP_ROUND);
    const float n = t - HEARTH_EXP_ROUND;
    float r = fmaf(n, -HEARTH_EXP_LN2_HI, x);
    r = fmaf(n, -HEARTH_EXP_LN2_LO, r);
    float q = fmaf(HEARTH_EXP_C7, r, HEARTH_EXP_C6);
    q = fmaf(q, r, HEARTH_EXP_C5);
    q = fmaf(q, r, HEARTH_EXP_C4);
    q = fmaf(q, r, HEARTH_EXP_C3);
    q = fmaf(q, r, HEARTH_EXP_C2);
    q = fmaf(q, r, 1.0f);
    return (struct hearth_exp_parts){t, r, q};
}

static inline float hearth_expf(float x)
{
    if (x != x)
        return hearth_f32_from_bits(0x7fc00000u);
    if (x > HEARTH_EXP_MAX)
        return hearth_f32_from_bits(0x7f800000u);
    if (x < HEARTH_EXP_MIN)
        return 0.0f;
    const struct hearth_exp_parts a = hearth_exp_parts_of(x);
    const float p = fmaf(a.q, a.r, 1.0f);
    return hearth_f32_from_bits(hearth_f32_bits(p) + (hearth_f32_bits(a.t) << 23));
}

/* GELU in its tanh form, z/2 (1 + tanh u) with u = sqrt(2/pi) (z + 0.044715 z^3). Since (1 + tanh u)/2 = 1/(1 + exp(-2u)), no tanh
 * is needed and nothing cancels for negative z: the result is within 2^-23 |z| everywhere and two units in the last place for
 * positive z; for negative z its relative error grows with the rounding of u, as 3 (4 + 2|u|) 2^-24. From z = 7 on it is z, from
 * -10.04 down it is -0. */
#define HEARTH_GELU_LINEAR 0x1.988454p+0f /* 2 sqrt(2/pi) */
#define HEARTH_GELU_CUBIC 0x1.2444f2p-4f  /* 2 sqrt(2/pi) 0.044715 */

static inline float hearth_geluf(float z)
{
    const float slope = fmaf(HEARTH_GELU_CUBIC, z * z, HEARTH_GELU_LINEAR);
    return z / (1.0f + hearth_expf(-(slope * z)));
}

/* tanh x = e / (e + 2), e = exp(2x) - 1, without cancellation: exp(r) - 1 comes from the polynomial of hearth_expf as r q, and e =
 * 2^n r q + (2^n - 1). Within 4 units in the last place, never above 1; beyond +-10 it is that of +-10, so |n| <= 29.
 * NaN gives NaN. */
#define HEARTH_TANH_MAX 20.0f /* of 2x */

static inline float hearth_tanhf(float x)
{
    float z = x * 2.0f;
    z = z > HEARTH_TANH_MAX ? HEARTH_TANH_MAX : z;
    z = z < -HEARTH_TANH_MAX ? -HEARTH_TANH_MAX : z;
    const struct hearth_exp_parts a = hearth_exp_parts_of(z);
    const float power = hearth_f32_from_bits((hearth_f32_bits(a.t) << 23) + 0x3f800000u); /* 2^n */
    const float e = fmaf(a.q * a.r, power, power - 1.0f);
    return e / (e + 2.0f);
}

/* cap tanh(x / cap): close to x where |x| is small beside cap, and never beyond it. */
static inline float hearth_softcapf(float x, float cap)
{
    return cap * hearth_tanhf(x / cap);
}

/* Double precision, for tables made once: errors of an ulp or two, arguments of ordinary size (|x| < 700 for exp, < 2^30 for sin
 * and cos, normal and positive for log). */
static inline double hearth_exp64(double x)
{
    const double t = fma(x, 0x1.71547652b82fep+0, 0x1.8p+52);
    const double n = t - 0x1.8p+52;
    double r = fma(n, -0x1.62e42fefa39efp-1, x);
    r = fma(n, -0x1.abc9e3b39803fp-56, r);
    double p = 1.0;
    for (int k = 14; k >= 1; k--)
        p = fma(p, r / (double)k, 1.0);
    uint64_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += (uint64_t)(int64_t)n << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}

static inline double hearth_log64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1.0) / (m + 1.0);
    const double z = s * s;
    double p = 0.0;
    for (int k = 23; k >= 1; k -= 2) /* 2 atanh(s) = 2 (s + s^3/3 + ...), s^2 < 0.0295 */
        p = fma(p, z, 1.0 / (double)k);
    return fma((double)e, 0x1.62e42fefa39efp-1, fma((double)e, 0x1.abc9e3b39803fp-56, 2.0 * s * p));
}

static inline void hearth_sincos64(double x, double *sin_out, double *cos_out)
{
    const double t = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p+52);
    const double n = t - 0x1.8p+52;
    double r = fma(n, -0x1.921fb54442d18p+0, x);
    r = fma(n, -0x1.1a62633145c07p-54, r);
    const double z = r * r;
    double s = 1.0;
    double c = 1.0;
    for (int k = 19; k >= 3; k -= 2)
        s = fma(-s, z / (double)(k * (k - 1)), 1.0);
    for (int k = 20; k >= 2; k -= 2)
        c = fma(-c, z / (double)(k * (k - 1)), 1.0);
    s *= r;
    switch ((int64_t)n & 3) {
    case 0:
        *sin_out = s, *cos_out = c;
        break;
    case 1:
        *sin_out = c, *cos_out = -s;
        break;
    case 2:
        *sin_out = -s, *cos_out = -c;
        break;
    default:
        *sin_out = -c, *cos_out = s;
        break;
    }
}

#endif
