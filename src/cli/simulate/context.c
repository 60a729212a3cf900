/* The constant parts of a line, rendered once: heads by kind, contexts by device and country,
 * campaigns, pages.
 * Layers: emit.h. Threads: none. */
#include "cli/simulate/emit.h"

static const char *const EVENT_NAME[KINDS] = {
#define K(name, text) [KIND_##name] = text,
    EVENT_KINDS(K)
#undef K
};

static struct piece finish(const struct emitter *e, size_t from) {
    return (struct piece){(uint32_t)from, (uint32_t)(e->text.n - from)};
}

static struct piece heads(struct emitter *e, enum kind kind, bool app) {
    size_t from = e->text.n;
    const char *type = kind == KIND_IDENTIFY ? "identify"
                       : kind != KIND_PAGE   ? "track"
                       : app                 ? "screen"
                                             : "page";
    (void)buf_printf(&e->text, "{\"type\":\"%s\",\"messageId\":\"", type);
    return finish(e, from);
}

static struct piece events(struct emitter *e, enum kind kind) {
    size_t from = e->text.n;
    (void)buf_printf(&e->text, "\",\"event\":\"%s\",\"properties\":{", EVENT_NAME[kind]);
    return finish(e, from);
}

/* category == CATEGORIES: the front page. */
static struct piece pages(struct emitter *e, uint32_t category, bool app) {
    size_t from = e->text.n;
    bool home = category == CATEGORIES;
    const char *name = home ? "Home" : CATEGORY[category].name;
    if (app)
        (void)buf_printf(&e->text, "\",\"name\":\"%s\",\"properties\":{\"name\":\"%s\"", name,
                         name);
    else if (home)
        (void)buf_printf(&e->text,
                         "\",\"name\":\"Home\",\"properties\":{\"name\":\"Home\",\"path\":\"/\","
                         "\"url\":\"https://shop.example.test/\",\"title\":\"Welcome\"");
    else
        (void)buf_printf(&e->text,
                         "\",\"name\":\"%s\",\"properties\":{\"name\":\"%s\",\"path\":\"/c/%u\","
                         "\"url\":\"https://shop.example.test/c/%u\",\"title\":\"%s\"",
                         name, name, category, category, name);
    return finish(e, from);
}

static struct piece contexts(struct emitter *e, uint32_t profile, uint32_t country) {
    size_t from = e->text.n;
    const struct device_profile *p = &PROFILE[profile];
    const struct country *c = &COUNTRY[country];
    (void)buf_printf(&e->text, ",\"context\":{\"channel\":\"%s\"", p->channel);
    if (p->device) (void)buf_printf(&e->text, ",\"device\":{\"type\":\"%s\"}", p->device);
    if (p->os) (void)buf_printf(&e->text, ",\"os\":{\"name\":\"%s\"}", p->os);
    (void)buf_printf(&e->text,
                     ",\"locale\":\"%s\",\"location\":{\"country\":\"%s\"},\"library\":{\"name\":"
                     "\"%s\",\"version\":\"%s\"}",
                     c->locale, c->name, p->library, p->version);
    if (p->user_agent) (void)buf_printf(&e->text, ",\"userAgent\":\"%s\"", p->user_agent);
    return finish(e, from);
}

/* 1 .. AD_CAMPAIGNS are advertisements, the rest mailings. */
static struct piece campaigns(struct emitter *e, uint32_t i) {
    static const char *const TOPIC[] = {"spring", "outdoor", "brand",
                                        "school", "gifts",   "clearance"};
    static const char *const SOURCE[][2] = {
        {"google", "cpc"}, {"instagram", "paid-social"}, {"bing", "cpc"}, {"partner", "affiliate"}};
    size_t from = e->text.n;
    if (i > AD_CAMPAIGNS)
        (void)buf_printf(&e->text,
                         ",\"campaign\":{\"name\":\"mail-%02u\",\"source\":\"newsletter\","
                         "\"medium\":\"email\"}",
                         i - AD_CAMPAIGNS);
    else if (i)
        (void)buf_printf(&e->text,
                         ",\"campaign\":{\"name\":\"%s-%s\",\"source\":\"%s\",\"medium\":\"%s\"}",
                         TOPIC[(i - 1) / 4], SOURCE[(i - 1) % 4][0], SOURCE[(i - 1) % 4][0],
                         SOURCE[(i - 1) % 4][1]);
    return finish(e, from);
}

int emitter_prepare(struct emitter *e) {
    for (uint32_t k = 0; k < KINDS; k++) {
        e->head[k][0] = heads(e, k, false);
        e->head[k][1] = heads(e, k, true);
        e->event[k] = events(e, k);
    }
    for (uint32_t c = 0; c <= CATEGORIES; c++) {
        e->page[c][0] = pages(e, c, false);
        e->page[c][1] = pages(e, c, true);
    }
    for (uint32_t p = 0; p < PROFILES; p++)
        for (uint32_t c = 0; c < COUNTRIES; c++) e->context[p][c] = contexts(e, p, c);
    for (uint32_t i = 0; i <= CAMPAIGNS; i++) e->campaign[i] = campaigns(e, i);
    return e->text.failed;
}
