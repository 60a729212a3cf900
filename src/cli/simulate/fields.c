/* The part of a line that differs by kind: event name and properties, or traits.
 *
 * Names follow Segment's e-commerce spec (v2) and e-mail spec. revenue is the sum of price times
 * quantity, without shipping and tax; total adds both. merchant_id and offer_id extend the spec.
 * Layers: emit.h. Threads: pure.
 */
#include "cli/simulate/emit.h"

#define CURRENCY ",\"currency\":\"EUR\""

enum { FREE_SHIPPING = 5000, SHIPPING = 495, TAX_PERCENT = 20 };

const char TWO_DIGITS[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334"
    "3536373839404142434445464748495051525354555657585960616263646566676869"
    "707172737475767778798081828384858687888990919293949596979899";

char *put_u32(char *p, uint32_t v) {
    char digits[10];
    unsigned at = sizeof digits;
    while (v >= 100) {
        at -= 2;
        put_two(digits + at, v % 100);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        put_two(digits + at, v);
    } else {
        digits[--at] = (char)('0' + v);
    }
    return put_bytes(p, digits + at, sizeof digits - at);
}

char *put_money(char *p, uint32_t cents) {
    p = put_u32(p, cents / 100);
    uint32_t rest = cents % 100;
    if (!rest) return p;
    *p++ = '.';
    if (rest % 10) return put_two(p, rest);
    *p++ = (char)('0' + rest / 10);
    return p;
}

/* "product_id" to "offer_id", without braces */
static char *put_product(char *p, const struct emitter *e, uint32_t i, uint32_t cents) {
    const struct world *w = &e->m->world;
    const struct product *product = &w->products[i];
    p = put_bytes(p, w->text.p + product->head_at, product->head_n);
    p = put_money(p, cents);
    return put_bytes(p, w->text.p + product->tail_at, product->tail_n);
}

static char *put_products(char *p, const struct emitter *e, const struct record *r,
                          const struct line *lines) {
    p = PUT(p, ",\"products\":[");
    for (uint32_t i = 0; i < r->lines; i++) {
        p = i ? PUT(p, ",{") : PUT(p, "{");
        p = put_product(p, e, lines[i].product, lines[i].cents);
        p = PUT(p, ",\"quantity\":");
        p = put_u32(p, lines[i].quantity);
        *p++ = '}';
    }
    *p++ = ']';
    return p;
}

static char *put_named_money(char *p, const char *name, uint32_t cents) {
    p = put_text(p, name);
    return put_money(p, cents);
}

/* Checkout Started, Order Completed, Order Refunded */
static char *put_order(char *p, const struct emitter *e, const struct record *r,
                       const struct line *lines) {
    uint32_t shipping = r->cents >= FREE_SHIPPING || r->profile == PROFILE_TILL ? 0 : SHIPPING;
    uint32_t tax = r->cents * TAX_PERCENT / 100;
    p = PUT(p, "\"order_id\":\"o");
    p = put_u32(p, r->ref);
    *p++ = '"';
    if (r->kind == KIND_REFUND) {
        p = put_named_money(p, ",\"total\":", r->cents);
    } else {
        p = put_named_money(p, r->kind == KIND_ORDER ? ",\"revenue\":" : ",\"value\":", r->cents);
        p = put_named_money(p, ",\"shipping\":", shipping);
        p = put_named_money(p, ",\"tax\":", tax);
        if (r->kind == KIND_ORDER) p = put_named_money(p, ",\"total\":", r->cents + shipping + tax);
    }
    p = PUT(p, CURRENCY);
    return put_products(p, e, r, lines);
}

/* What people type: half only the thing, half with an adjective, in lower case. */
static char *put_query(char *p, const struct emitter *e, const struct record *r) {
    const struct product *product = &e->m->world.products[r->item];
    const char *adjective = ADJECTIVE[product->adjective];
    p = PUT(p, "\"query\":\"");
    if (r->seq & 1) {
        char *first = p;
        p = put_text(p, adjective);
        *first = (char)(*first | 0x20);
        *p++ = ' ';
    }
    p = put_text(p, CATEGORY[product->category].nouns[product->noun]);
    *p++ = '"';
    return p;
}

static char *put_traits(char *p, const struct emitter *e, const struct record *r) {
    const struct shopper *s = &e->m->shoppers[r->person];
    bool second = r->flags & RECORD_ACCOUNT2;
    uint64_t name = hash_mix(e->m->config.seed + r->person);
    p = PUT(p, "\",\"traits\":{\"email\":\"user");
    p = put_u32(p, shopper_user(r->person, second));
    p = PUT(p, "@example.test\",\"firstName\":\"");
    p = put_text(p, FIRST_NAME[name % FIRST_NAMES]);
    p = PUT(p, "\",\"country\":\"");
    p = put_text(p, COUNTRY[s->country].name);
    p = PUT(p, "\",\"age_band\":\"");
    p = put_text(p, AGE_BAND[s->age]);
    p = PUT(p, "\",\"plan\":\"");
    return name >> 32 & 3 ? PUT(p, "basic\"") : PUT(p, "plus\"");
}

static char *put_mail(char *p, const struct record *r) {
    p = PUT(p, "\"campaign_id\":\"mail-");
    p = put_two(p, r->campaign - AD_CAMPAIGNS);
    if (r->kind != KIND_MAIL_CLICK) return PUT(p, "\"");
    return PUT(p, "\",\"link_url\":\"https://shop.example.test/offers\"");
}

static char *put_support(char *p, const struct record *r) {
    p = PUT(p, "\"topic\":\"");
    p = put_text(p, MESSAGE[r->item].topic);
    p = PUT(p, "\",\"message\":\"");
    p = put_text(p, MESSAGE[r->item].text);
    *p++ = '"';
    if (!r->ref) return p;
    p = PUT(p, ",\"order_id\":\"o");
    p = put_u32(p, r->ref);
    *p++ = '"';
    return p;
}

static char *put_review(char *p, const struct record *r) {
    p = PUT(p, "\"product_id\":\"p");
    p = put_u32(p, 10000 + r->item);
    p = PUT(p, "\",\"review_id\":\"r");
    p = put_u32(p, r->seq);
    p = PUT(p, "\",\"rating\":");
    p = put_u32(p, REVIEW[r->detail].rating);
    p = PUT(p, ",\"review_body\":\"");
    p = put_text(p, REVIEW[r->detail].text);
    *p++ = '"';
    return p;
}

/* Product Viewed, Product Added, Product Removed */
static char *put_product_event(char *p, const struct emitter *e, const struct record *r) {
    if (r->kind != KIND_VIEW) {
        p = PUT(p, "\"cart_id\":\"c");
        p = put_u32(p, r->ref);
        p = PUT(p, "\",");
    }
    p = put_product(p, e, r->item, r->cents);
    p = PUT(p, CURRENCY);
    if (r->kind == KIND_VIEW) return r->detail ? PUT(p, ",\"in_stock\":false") : p;
    p = PUT(p, ",\"quantity\":");
    return put_u32(p, r->lines);
}

static char *put_properties(char *p, const struct emitter *e, const struct record *r,
                            const struct line *lines) {
    switch (r->kind) {
    case KIND_SEARCH: return put_query(p, e, r);
    case KIND_LIST:
        p = PUT(p, "\"list_id\":\"l");
        p = put_u32(p, r->item);
        p = PUT(p, "\",\"category\":\"");
        p = put_text(p, CATEGORY[r->item].name);
        *p++ = '"';
        return p;
    case KIND_VIEW:
    case KIND_ADD:
    case KIND_REMOVE: return put_product_event(p, e, r);
    case KIND_CART:
        p = PUT(p, "\"cart_id\":\"c");
        p = put_u32(p, r->ref);
        *p++ = '"';
        return put_products(p, e, r, lines);
    case KIND_CHECKOUT:
    case KIND_ORDER:
    case KIND_REFUND: return put_order(p, e, r, lines);
    case KIND_REVIEW: return put_review(p, r);
    case KIND_SUPPORT: return put_support(p, r);
    case KIND_MAIL:
    case KIND_MAIL_OPEN:
    case KIND_MAIL_CLICK:
    case KIND_UNSUBSCRIBE: return put_mail(p, r);
    default: return p; /* Ad Clicked, Signed Up: no properties */
    }
}

char *put_fields(char *p, const struct emitter *e, const struct record *r,
                 const struct line *lines) {
    if (r->kind == KIND_PAGE) {
        bool app = r->profile == PROFILE_ANDROID_APP || r->profile == PROFILE_IPHONE_APP;
        p = put_piece(p, e, e->page[r->item][app]);
    } else if (r->kind == KIND_IDENTIFY) {
        p = put_traits(p, e, r);
    } else {
        p = put_piece(p, e, e->event[r->kind]);
        p = put_properties(p, e, r, lines);
    }
    *p++ = '}';
    return p;
}
