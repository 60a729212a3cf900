/* Implementation of link.h. An address that stands for every address is shown as localhost. */
#include "cli/link.h"

void link_print(struct output *o, struct str listen, bool tls, const char *screen,
                const char *secret) {
    struct str host = listen;
    while (host.n && host.p[host.n - 1] != ':') host.n--;
    struct str port = {listen.p + host.n, listen.n - host.n};
    if (host.n) host.n--;
    if (host.n == 0 || str_is(host, "0.0.0.0") || str_is(host, "[::]")) host = STR("localhost");
    output_printf(o, "%s://%.*s:%.*s/%s#%s\n", tls ? "https" : "http", STR_ARG(host), STR_ARG(port),
                  screen, secret);
}
