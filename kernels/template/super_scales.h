/* Scales of a super-block as products with a dot instruction use them, and the float end of such a product. */
#ifndef HEARTH_TEMPLATE_SUPER_SCALES_H
#define HEARTH_TEMPLATE_SUPER_SCALES_H

/* Lanes are rows. */
struct super_scales {
    veci scale[16]; /* int32, 8 or 16 of them */
    veci pair[8];   /* int16 pairs of mins that meet pairs of sums in vpdpwssd, 4 or 8 of them; only where there are mins */
    vecf d, dmin;   /* the latter likewise */
};

/* acc + s * sum * d. */
HEARTH_ALWAYS_INLINE vecf add_without_mins(vecf acc, veci sum, const struct super_scales *scales, const struct hearth_q8_256 *x)
{
    const vecf g = vecf_mul(veci_to_f(sum), scales->d);
    return vecf_fma(g, vecf_set1(x->s), acc);
}

/* acc + s * (sum * d - M * dmin), M from the mins: at most 63 * 127 * 256 = 2 048 256. */
HEARTH_ALWAYS_INLINE vecf add_with_mins(vecf acc, veci sum, const struct super_scales *scales, const struct hearth_q8_256 *x,
                                        size_t sub_blocks)
{
    const int16_t *sums = sub_blocks == 8 ? x->sums32 : x->sums16;
    veci mins = veci_zero();
    UNROLL
    for (size_t j = 0; j < sub_blocks / 2; j++)
        mins = add_dot16(mins, scales->pair[j], broadcast_dword(sums + 2 * j));
    vecf g = vecf_mul(veci_to_f(sum), scales->d);
    g = vecf_fnma(veci_to_f(mins), scales->dmin, g);
    return vecf_fma(g, vecf_set1(x->s), acc);
}

#endif
