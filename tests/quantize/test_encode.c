/* The encoders against the golden vectors of their definition, and what must hold for any numbers. */
#include "encode/encode.h"
#include "kernels.h"
#include "support/rng.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 512, BYTES_MAX = K * 4 };

static const uint32_t formats[] = {HEARTH_Q4_0, HEARTH_Q4_1, HEARTH_Q5_0, HEARTH_Q5_1,
                                   HEARTH_Q8_0, HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static const char *name_of(uint32_t format)
{
    return hearth_format_info(format)->name;
}

static bool encode(uint32_t format, uint8_t *out, const float *x, const float *importance, size_t k)
{
    return hearth_encoder(format)(out, x, importance, k);
}

static void decode(uint32_t format, float *y, const uint8_t *row, size_t k)
{
    struct hearth_kernel_set set;
    hearth_kernels_choose(&set, HEARTH_CPU_REFERENCE, NULL);
    set.chosen[HEARTH_OP_DEQUANTIZE][format]->dequantize(y, row, k);
}

/* ---- Golden vectors --------------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t format;
    bool weighed;
    const char *bytes;
} golden[] = {
    {HEARTH_Q4_0, false, "a0a22ebb367ea5a99a5ae763bbe206e8b856"},
    {HEARTH_Q4_0, true, "c5a22ebb367ea5a99a5ae763bbe206e8b856"},
    {HEARTH_Q4_1, false, "552240add033c9705a4664a5079c330df8064698"},
    {HEARTH_Q4_1, true, "4d221badd033c8705a4664a5078c330df8064698"},
    {HEARTH_Q5_0, false, "a09eeb64726d4d675cec4a5115a4cec576d40dc151bd"},
    {HEARTH_Q5_0, true, "0f9feb64726d5c666dfc3a4114a3cfd666c51db151bd"},
    {HEARTH_Q5_1, false, "211e40ad149a8592a07792f0a59cc95a0f29770af11d8d41"},
    {HEARTH_Q5_1, true, "001e41ad149b8d92b077a200a59dd95a002a770bf21d8d42"},
    {HEARTH_Q8_0, false, "ad129bcb1d9e32f6dce30c56d05d1af9f91a5dd0560ce3dcf6329e1dcb9b7fa0d52b"},
    {HEARTH_Q8_0, true, "ad129bcb1d9e32f6dce30c56d05d1af9f91a5dd0560ce3dcf6329e1dcb9b7fa0d52b"},
    {HEARTH_Q4_K, false,
     "1417eb21878dd4dc878fd6db64d804ff20d399808ac6048517edc3cdf836a638fdd3ddf7259416daa099b3f04fd0744a"
     "1293470df40f3b890aad6149527ecc3cdf836a638fdc3cce7158406ba807893df04fd1744a224c78d748fbb097a1dd1b"
     "9b2ef3cad3fe3cac3ef2c8c1ec19890a6aa716874b11e913409e20b3887079a6047417cca3bcd8369638dcb3bcd72484"},
    {HEARTH_Q4_K, true,
     "7416be21888fd6e1878fd7dc77eb06ff20c3887089b6047417dcb3cce826a638fcc3cce7249416c99098a3e04ed07339"
     "1294370de40f3b890a9d5149427fbc3dcf836a638fcc3cbe7148405b9807893df04fd1744a224c78d748fbb097a1dd1b"
     "9b2ef3dad3fe3cac3ef2c9c1ec19890a6aa716984b11f91340af20c388708ab6047417dcb3bde836a638edc3cce72494"},
    {HEARTH_Q5_K, false,
     "5d12b421888fd6de8790d7de88fb47ff609a23c45b06d41e24df32a7e32cfe953f1a27f2acfed43f9a67f2a6fd923c95"
     "40a620f0137b08093ec88689e06c5c60e99698de59283ba3403066e09da0f78235478e1af80e7622145ad292a40da989"
     "be26d4d52eb888ac02a090d7501f227af19fb2f9845488f1be90f6703f52ba36374ce6a3a6fc68576cf49183d8230105"
     "d55f1d207713f328914f408711e0046c09fa2fa9677ac15d3d61da8789cf4a19"},
    {HEARTH_Q5_K, true,
     "5c12b821888fd6de8790d7dd88fb58ff609a23c45b06d41e24df32a7e32cfe953f1a27f2acfed43f9a67f2a6fd923c95"
     "40a620f0137b08093ec88689e06c5c60e99698de59283ba3403066e09da0f78235478e0af90e7622045ad292a40da979"
     "be26d5d52eb878ac02a090d7500f227af19fb2f9845488f1be90f6703f52ba36374ce6a3a6fd68586cf49193d8230205"
     "d55f1d207713f328914e408711e1046c09fa2fa9677ac15d4d61da8789cf4a19"},
    {HEARTH_Q6_K, false,
     "61101982e00d2597649bb19d782ebea8183c5a3d27d9f263a9f9fd09d018abb54856b68f0390d091953a22937fdcabcd"
     "e18bece386ea1aca467942d20d0991f029e018bbd5445dbb810e92db9f973a21cda2c33503117b2c23761a0a3ac6a9c2"
     "203e9891d1960181b85e40d2b916e92b1a1663ac1b31e3d5b3d2fd5f46daaf6ff07daac42bcd9159d24fbd9fbe410982"
     "c0b250718ec64ec1b7557653d8239a0d9358e35a8dff1ce9b249f12755b7506d24ac13c1f3c0dc24ac13c1f3c0dd25ad"
     "0df01be4d8d6c032b0bab0ac90ab8070a10a"},
    {HEARTH_Q6_K, true,
     "61101982e00d2597649bb19d782ebea8183c5a3d27d9f263a9f9fd09d018abb54856b68f0390d091953a22937fdcabcd"
     "e18bece386ea1aba467952d20d1991f029e018bbd5445dbb810e92db9f973a21cda2c33503117b2c23761a0a3ac6a9c2"
     "203e9891d1960181b85e40d2b916e92b1a1663ac1b31e3d5b3d2fd5f46daaf6ff07daac42bcd9159d24fbd9fbe410982"
     "c0b250718ec64ec1b7557653d8239a0d9358e35a8dff1ce9b249f12755b7506d24ac13c1f3c0dc24ac13c1f3c0dd25ad"
     "0df01be4d8d6c033b0bab0ac90ac8070a00a"},
};

Test(encode, golden_vectors)
{
    float x[256], importance[256];
    for (int i = 0; i < 256; i++) {
        x[i] = (float)(((7 * i * i + 13 * i + 5) % 101) - 47) * (float)(1 + i / 32) / 512.0f;
        importance[i] = 1.0f + (float)(i % 7) / 4.0f;
    }
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        uint8_t block[256];
        char text[513];
        const size_t k = hearth_format_info(golden[i].format)->block_elems, n = hearth_format_info(golden[i].format)->block_bytes;
        cr_expect(encode(golden[i].format, block, x, golden[i].weighed ? importance : NULL, k));
        for (size_t b = 0; b < n; b++)
            (void)snprintf(text + 2 * b, 3, "%02x", block[b]);
        cr_expect_str_eq(text, golden[i].bytes, "%s%s:\n%s", name_of(golden[i].format), golden[i].weighed ? " weighed" : "", text);
    }
}

/* ---- Any numbers -------------------------------------------------------------------------------------------------------- */

/* Twelve uniform numbers: variance 1. */
static float normal(struct rng *rng)
{
    float sum = 0.0f;
    for (int i = 0; i < 12; i++)
        sum += rng_uniform(rng, -0.5f, 0.5f);
    return sum;
}

/* Relative error of many numbers of a normal distribution, against what the definition's encoders reach. */
Test(encode, error_of_normal_numbers)
{
    static const struct {
        uint32_t format;
        double plain, flat; /* without importance, and with the same one everywhere */
    } rows[] = {{HEARTH_Q8_0, 0.0053, 0.0053}, {HEARTH_Q6_K, 0.0178, 0.0173}, {HEARTH_Q5_K, 0.0361, 0.0354},
                {HEARTH_Q5_1, 0.0379, 0.0338}, {HEARTH_Q5_0, 0.0427, 0.0404}, {HEARTH_Q4_K, 0.0714, 0.0708},
                {HEARTH_Q4_1, 0.0783, 0.0699}, {HEARTH_Q4_0, 0.0860, 0.0817}};
    struct rng rng = rng_from(7);
    float ones[K];
    for (size_t i = 0; i < K; i++)
        ones[i] = 1.0f;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (int weighed = 0; weighed < 2; weighed++) {
            double error = 0, all = 0;
            for (int n = 0; n < 400; n++) {
                float x[K], y[K];
                uint8_t row[BYTES_MAX];
                for (size_t i = 0; i < K; i++)
                    x[i] = normal(&rng);
                cr_assert(encode(rows[r].format, row, x, weighed ? ones : NULL, K));
                decode(rows[r].format, y, row, K);
                for (size_t i = 0; i < K; i++) {
                    error += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
                    all += (double)x[i] * (double)x[i];
                }
            }
            const double reached = sqrt(error / all), wanted = weighed ? rows[r].flat : rows[r].plain;
            cr_expect(reached < 1.02 * wanted && reached > 0.95 * wanted, "%s%s: %.5f, not %.5f", name_of(rows[r].format),
                      weighed ? " weighed" : "", reached, wanted);
        }
}

/* The pattern p of hard rows: zeros, one number, constants of either sign, tiny, subnormal, large, ties. */
static float hard(unsigned p, size_t i, struct rng *rng)
{
    switch (p) {
    case 0:
        return 0.0f;
    case 1:
        return i == 37 ? -3.0f : 0.0f;
    case 2:
        return 0.7f;
    case 3:
        return -0.7f;
    case 4:
        return rng_uniform(rng, 1.0f, 2.0f);
    case 5:
        return rng_uniform(rng, -2.0f, -1.0f);
    case 6:
        return rng_uniform(rng, -1e-20f, 1e-20f);
    case 7:
        return rng_magnitude(rng, -126, -120) * 0x1p-10f;
    case 8:
        return rng_uniform(rng, -6e4f, 6e4f);
    case 9:
        return (float)((int)(i % 33) - 16) * 0.5f;
    default:
        return rng_magnitude(rng, -20, 3);
    }
}
enum { N_HARD = 11 };

/* Decoded numbers are finite and no further off than the range of their block. */
Test(encode, hard_rows)
{
    struct rng rng = rng_start();
    for (size_t f = 0; f < N_FORMATS; f++)
        for (unsigned p = 0; p < N_HARD; p++)
            for (int weighed = 0; weighed < 3; weighed++) {
                float x[K], y[K], importance[K], range = 0.0f;
                uint8_t row[BYTES_MAX];
                for (size_t i = 0; i < K; i++) {
                    x[i] = hard(p, i, &rng);
                    importance[i] = weighed == 2 ? 0.0f : rng_uniform(&rng, 0.0f, 2.0f);
                    range = fmaxf(range, fabsf(x[i]));
                }
                cr_expect(encode(formats[f], row, x, weighed ? importance : NULL, K), "%s, pattern %u", name_of(formats[f]), p);
                decode(formats[f], y, row, K);
                for (size_t i = 0; i < K; i++)
                    cr_assert(fabsf(y[i] - x[i]) <= 1.01f * range, "%s, pattern %u, element %zu: %g became %g", name_of(formats[f]),
                              p, i, (double)x[i], (double)y[i]);
            }
}

Test(encode, what_does_not_fit)
{
    float x[K] = {0.0f};
    uint8_t row[BYTES_MAX];
    for (size_t f = 0; f < N_FORMATS; f++)
        for (float large = 1e8f; large < 1e38f; large *= 1e5f)
            for (int weighed = 0; weighed < 2; weighed++) {
                float importance[K];
                for (size_t i = 0; i < K; i++) {
                    x[i] = large * (float)((int)(i % 7) - 3);
                    importance[i] = 1.0f;
                }
                cr_expect_not(encode(formats[f], row, x, weighed ? importance : NULL, K), "%s took %g", name_of(formats[f]),
                              (double)large);
            }
    x[0] = 65519.0f;
    cr_expect(encode(HEARTH_F16, row, x, NULL, 1));
    x[0] = -65520.0f;
    cr_expect_not(encode(HEARTH_F16, row, x, NULL, 1));
    x[0] = 3.4e38f;
    cr_expect_not(encode(HEARTH_BF16, row, x, NULL, 1));
}

Test(encode, not_finite_is_seen)
{
    float x[77] = {0.0f};
    for (size_t i = 0; i < 77; i++) {
        x[i] = NAN;
        cr_expect_not(hearth_encode_finite(x, 77));
        x[i] = -INFINITY;
        cr_expect_not(hearth_encode_finite(x, 77));
        x[i] = 3e38f;
        cr_expect(hearth_encode_finite(x, 77));
    }
}

/* Blocks of a row do not see each other: but for the variance of a weighed row of the 32-element formats, which is the row's. */
Test(encode, blocks_stand_alone)
{
    struct rng rng = rng_start();
    float x[K], importance[K];
    for (size_t i = 0; i < K; i++) {
        x[i] = rng_uniform(&rng, -1.0f, 1.0f);
        importance[i] = rng_uniform(&rng, 0.0f, 1.0f);
    }
    for (size_t f = 0; f < N_FORMATS; f++)
        for (int weighed = 0; weighed < 2; weighed++) {
            uint8_t whole[BYTES_MAX], apart[BYTES_MAX];
            const size_t n = hearth_format_info(formats[f])->block_elems;
            if (weighed && n == 32)
                continue;
            (void)encode(formats[f], whole, x, weighed ? importance : NULL, K);
            for (size_t i = 0; i < K; i += n)
                (void)encode(formats[f], apart + hearth_row_bytes(formats[f], i), x + i, weighed ? importance + i : NULL, n);
            cr_expect_arr_eq(whole, apart, hearth_row_bytes(formats[f], K), "%s", name_of(formats[f]));
        }
}

/* Lanes that stand for no block change nothing: the first rows of a longer row of the same variance. */
Test(encode, odd_numbers_of_blocks)
{
    float x[K], importance[K];
    for (size_t i = 0; i < K; i++) {
        x[i] = (float)((int)(i * 37 % 32) - 13) * 0.01f; /* each block the same numbers in the same order */
        importance[i] = 1.0f + (float)(i % 32);
    }
    for (size_t f = 0; f < 4; f++)
        for (size_t n = 1; n <= 16; n++) {
            uint8_t row[BYTES_MAX];
            const size_t bytes = hearth_format_info(formats[f])->block_bytes;
            (void)encode(formats[f], row, x, importance, 32 * n);
            for (size_t b = 1; b < n; b++)
                cr_expect_arr_eq(row, row + b * bytes, bytes, "%s, block %zu of %zu", name_of(formats[f]), b, n);
        }
}

/* Encoding decoded blocks gives them again, where their codes reach the end of the range. */
Test(encode, again)
{
    struct rng rng = rng_start();
    static const uint32_t exact[] = {HEARTH_Q4_0, HEARTH_Q5_0, HEARTH_Q8_0};
    for (size_t f = 0; f < 3; f++)
        for (int n = 0; n < 200; n++) {
            float x[K];
            uint8_t first[BYTES_MAX], second[BYTES_MAX];
            for (size_t i = 0; i < K; i++)
                x[i] = normal(&rng);
            (void)encode(exact[f], first, x, NULL, K);
            decode(exact[f], x, first, K);
            (void)encode(exact[f], second, x, NULL, K);
            cr_expect_arr_eq(first, second, hearth_row_bytes(exact[f], K), "%s", name_of(exact[f]));
        }
}
