/* Any bytes as a batch of events: an error or a clean end, every string inside the input. */
#include "store/event.h"

static void check_text(struct str text, const uint8_t *data, size_t size) {
    const uint8_t *p = (const uint8_t *)text.p;
    K_ASSERT(text.n == 0 || (p >= data && p + text.n <= data + size));
}

static void read_fields(const struct batch_reader *b, struct event_view *view, const uint8_t *data,
                        size_t size) {
    struct field_view field, part;
    uint32_t fields = 0;
    while (field_next(b, view, &field)) {
        K_ASSERT_OP(++fields, <=, EVENT_MAX_FIELDS);
        K_ASSERT_OP(field.name, <, b->name_count);
        check_text(field.text, data, size);
        if (field.items % 2) continue; /* left for field_next to skip */
        for (uint32_t i = 0; i < field.items && !view->r.bad; i++) {
            item_next(view);
            while (item_field(b, view, &part)) check_text(part.text, data, size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    arena_init(&arena, 16 << 20);
    bool open = batch_open(&b, (struct str){(const char *)data, size}, &arena, NULL) == 0;
    while (open && batch_next(&b, &view, NULL) == 1) {
        check_text(view.head.name, data, size);
        check_text(view.head.user_id, data, size);
        check_text(view.head.anonymous_id, data, size);
        check_text(view.head.related_id, data, size);
        read_fields(&b, &view, data, size);
    }
    arena_release(&arena);
    return 0;
}
