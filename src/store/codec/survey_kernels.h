/* What the encoder of integers asks of every value before it chooses a layout: see unpack.h.
 *
 * Part of unpack_kernels.h, which has the vectors' width: compiled once for each instruction set.
 * Asking value by value was a tenth of an import.
 */
#pragma once

typedef int64_t signed_long_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));
typedef int32_t int_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));
typedef float float_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));

enum { LONGS = UNPACK_VECTOR_BYTES / 8, WORDS = UNPACK_VECTOR_BYTES / 4 };

static signed_long_vector choose(signed_long_vector mask, signed_long_vector a,
                                 signed_long_vector b) {
    return (a & mask) | (b & ~mask);
}

static void survey_all(const int64_t *v, size_t n, struct survey *out) {
    struct survey s = {.min = v[0], .max = v[0], .runs = 1};
    size_t i = 1;
    if (n > LONGS) {
        signed_long_vector min, max, changes = {0};
        memcpy(&min, v, sizeof min);
        max = min;
        for (; i + LONGS <= n; i += LONGS) {
            signed_long_vector here, before;
            memcpy(&here, v + i, sizeof here);
            memcpy(&before, v + i - 1, sizeof before);
            min = choose(here < min, here, min);
            max = choose(here > max, here, max);
            changes += here != before;
        }
        for (size_t lane = 0; lane < LONGS; lane++) {
            s.min = min[lane] < s.min ? min[lane] : s.min;
            s.max = max[lane] > s.max ? max[lane] : s.max;
            s.runs += (size_t)-changes[lane];
        }
    }
    for (; i < n; i++) {
        s.min = v[i] < s.min ? v[i] : s.min;
        s.max = v[i] > s.max ? v[i] : s.max;
        s.runs += v[i] != v[i - 1];
    }
    *out = s;
}

static void count_above_all(const uint32_t *v, unsigned widest, uint8_t *above) {
    for (unsigned width = 0; width < widest; width++) {
        const uint32_t most = (uint32_t)((UINT64_C(1) << width) - 1);
        wide_vector more = {0};
        for (size_t i = 0; i < PACK_BLOCK; i += WORDS) {
            wide_vector here;
            memcpy(&here, v + i, sizeof here);
            more -= (wide_vector)(here > most);
        }
        uint32_t count = 0;
        for (size_t lane = 0; lane < WORDS; lane++) count += more[lane];
        above[width] = (uint8_t)count;
    }
}

/* Bits of each lane, which is below 2^31: a float's exponent, after a second bit that could round
 * it up has been taken away. */
static int_vector lane_bits(int_vector v) {
    float_vector f = __builtin_convertvector(v & ~(v >> 1), float_vector);
    int_vector exponent;
    memcpy(&exponent, &f, sizeof exponent);
    exponent = (exponent >> 23) - 126;
    return exponent & (v != 0);
}

static uint64_t step_bits_all(const uint32_t *v, size_t n, bool *falling) {
    int_vector sum = {0}, any = {0};
    size_t i = 1;
    for (; i + WORDS <= n; i += WORDS) {
        int_vector here, before;
        memcpy(&here, v + i, sizeof here);
        memcpy(&before, v + i - 1, sizeof before);
        int_vector step = here - before, below = step >> 31;
        any |= below;
        sum += lane_bits((step ^ below) - below);
    }
    uint64_t total = 0;
    int32_t fell = 0;
    for (size_t lane = 0; lane < WORDS; lane++) {
        total += (uint32_t)sum[lane];
        fell |= any[lane];
    }
    for (; i < n; i++) {
        int32_t step = (int32_t)v[i] - (int32_t)v[i - 1];
        uint32_t size = (uint32_t)(step < 0 ? -step : step);
        fell |= step < 0;
        total += size ? 32 - (unsigned)__builtin_clz(size) : 0;
    }
    *falling = fell != 0;
    return total;
}
