/* What the connection says of a customer's device: address and user agent.
 *
 * An event of a browser or an app often names neither; then those of the connection are its own. A
 * server that sends for its customers has a connection too, but that says nothing of them. Whatever
 * named the address, the source's policy decides what of it is kept.
 *
 * Bots: a user agent that contains one of the words of bots.def, upper or lower case.
 *
 * Layers: base. Threads: pure. Limits: of a user agent, CLIENT_AGENT_BYTES are looked at.
 */
#pragma once

#include "base/str.h"

enum { CLIENT_ADDRESS_BYTES = 46, CLIENT_AGENT_BYTES = 1024 };

enum client_ip { CLIENT_IP_KEEP, CLIENT_IP_TRUNCATE, CLIENT_IP_DROP, CLIENT_IP_POLICIES };

struct client {
    struct str address;    /* of the connection, in text; "" unknown               */
    struct str user_agent; /* its header; "" unknown                               */
    enum client_ip ip;
    bool own;        /* the connection is the customer's: its address and agent are, too */
    int64_t sent_ms; /* by the request's clock, for events that do not say; 0: unknown   */
};

bool client_is_bot(struct str user_agent);

/* Is this the user agent of a device (a browser, an app), and not of a server? */
bool client_is_device(struct str user_agent);

/* The address as the policy keeps it: as it is; without the last 8 bits of an IPv4 and the last 80
 * of an IPv6 address; or "" (dropped, or no address to be truncated). out holds
 * CLIENT_ADDRESS_BYTES; the result may be `address` itself. */
struct str client_address(enum client_ip policy, struct str address, char *out);
