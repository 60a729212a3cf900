/* Helpers of source.h. */
#include "store/source.h"

#include "base/time.h"

void vec_buffer_init(struct vec_buffer *v) {
    memset(&v->vec, 0, sizeof v->vec);
    buf_init(&v->bytes, (size_t)1 << 30);
}

void vec_buffer_release(struct vec_buffer *v) { buf_release(&v->bytes); }

uint32_t first_customer(const uint32_t *list, uint32_t n, uint64_t customer) {
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (list[mid] < customer)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t bucket_of(int64_t time_ms) {
    int64_t days = time_ms / MS_PER_DAY - (time_ms % MS_PER_DAY < 0);
    int year, month, day;
    civil_from_day((int32_t)days, &year, &month, &day);
    return (year - 1970) * 12 + month - 1;
}

int64_t bucket_start(int32_t bucket) {
    int32_t year = bucket / 12 - (bucket % 12 < 0), month = bucket - year * 12;
    return (int64_t)day_from_civil(1970 + year, month + 1, 1) * MS_PER_DAY;
}
