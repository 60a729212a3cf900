/* The server's certificate: read at the start, and again when it is asked for (server_reload).
 *
 * GnuTLS asks for it at each handshake, through libmicrohttpd. What is replaced is kept until the
 * server ends: a handshake may be using it, and nobody says when it is through. A certificate that
 * cannot be read, or does not belong to its key, replaces nothing.
 *
 * Layers: server_int.h, GnuTLS. Threads: those of the loops ask; server_reload is called by one.
 * Limits: PEM_BYTES a file, CHAIN_MOST certificates.
 */
#include <gnutls/abstract.h>

#include "api/server/server_int.h"
#include "base/os.h"

enum { PEM_BYTES = 1 << 20, CHAIN_MOST = 16 };

struct tls {
    struct tls *older;
    gnutls_certificate_credentials_t credentials; /* proves that the two belong together */
    gnutls_pcert_st chain[CHAIN_MOST];
    unsigned n;
    gnutls_privkey_t key;
};

static void tls_free(struct tls *t) {
    for (unsigned i = 0; i < t->n; i++) gnutls_pcert_deinit(&t->chain[i]);
    if (t->key) gnutls_privkey_deinit(t->key);
    if (t->credentials) gnutls_certificate_free_credentials(t->credentials);
    k_free(t);
}

static int parse(struct tls *t, const struct buf *cert, const struct buf *key) {
    const gnutls_datum_t cert_pem = {cert->p, (unsigned)cert->n},
                         key_pem = {key->p, (unsigned)key->n};
    unsigned n = CHAIN_MOST;
    int code = gnutls_certificate_allocate_credentials(&t->credentials);
    if (code >= 0)
        code = gnutls_certificate_set_x509_key_mem(t->credentials, &cert_pem, &key_pem,
                                                   GNUTLS_X509_FMT_PEM);
    if (code >= 0)
        code = gnutls_pcert_list_import_x509_raw(t->chain, &n, &cert_pem, GNUTLS_X509_FMT_PEM, 0);
    if (code >= 0) t->n = n;
    if (code >= 0) code = gnutls_privkey_init(&t->key);
    if (code >= 0)
        code = gnutls_privkey_import_x509_raw(t->key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    return code;
}

static int read_both(const struct server *s, struct tls *t, struct keel_error *err) {
    const struct server_options *o = &s->options;
    struct buf cert, key;
    buf_init(&cert, PEM_BYTES);
    buf_init(&key, PEM_BYTES);
    int code = file_read(o->cert_path, &cert, err);
    if (code == 0) code = file_read(o->key_path, &key, err);
    if (code == 0) {
        int got = parse(t, &cert, &key);
        if (got < 0)
            code = error_set(err, KEEL_E_INVALID,
                             "cannot serve TLS with %s and %s; are they a certificate and its key? "
                             "(%s)",
                             o->cert_path, o->key_path, gnutls_strerror(got));
    }
    if (key.p) explicit_bzero(key.p, key.n);
    buf_release(&cert);
    buf_release(&key);
    return code;
}

int server_reload(struct server *s, struct keel_error *err) {
    if (!s->options.cert_path) return 0;
    struct tls *t = k_zalloc(sizeof *t);
    int code = read_both(s, t, err);
    if (code < 0) {
        tls_free(t);
        return code;
    }
    t->older = atomic_load(&s->tls);
    atomic_store(&s->tls, t);
    return 0;
}

void tls_release(struct server *s) {
    for (struct tls *t = atomic_load(&s->tls), *older; t; t = older) {
        older = t->older;
        tls_free(t);
    }
    atomic_store(&s->tls, NULL);
}

/* libmicrohttpd's connection is what its session points at. */
static int give(gnutls_session_t session, const gnutls_datum_t *authorities, int n_authorities,
                const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **out,
                unsigned *out_n, gnutls_privkey_t *out_key) {
    (void)authorities, (void)n_authorities, (void)algorithms, (void)n_algorithms;
    struct MHD_Connection *mhd = gnutls_session_get_ptr(session);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    const struct connection *c = info ? info->socket_context : NULL;
    struct tls *t = c ? atomic_load(&c->server->tls) : NULL;
    if (!t) return -1;
    *out = t->chain;
    *out_n = t->n;
    *out_key = t->key;
    return 0;
}

struct MHD_OptionItem tls_option(void) {
    gnutls_certificate_retrieve_function2 *function = give;
    struct MHD_OptionItem item = {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, NULL};
    memcpy(&item.ptr_value, &function, sizeof function); /* C has no cast from one to the other */
    return item;
}
