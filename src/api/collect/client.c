/* Implementation of client.h. Some hundred words against some hundred bytes take 3 us, and the same
 * agents come again and again: each thread remembers what it found for the last ones. */
#include "api/collect/client.h"

#include <arpa/inet.h>

#include "base/hash.h"

enum { MEMORY_SLOTS = 512 };

static const struct str BOTS[] = {
#define BOT(word) {word, sizeof word - 1},
#include "api/collect/bots.def"
#undef BOT
};

static const struct str DEVICES[] = {
#define DEVICE(word)                                                                               \
    { word, sizeof word - 1 }
    DEVICE("mozilla/"),
    DEVICE("opera/"),
    DEVICE("dalvik/"),
    DEVICE("cfnetwork/"),
    DEVICE("analytics-kotlin"),
    DEVICE("analytics-swift"),
    DEVICE("analytics-ios"),
    DEVICE("analytics-android"),
    DEVICE("analytics-react-native"),
    DEVICE("analytics-flutter"),
#undef DEVICE
};

static bool contains_any(struct str text, const struct str *words, size_t n) {
    char lower[CLIENT_AGENT_BYTES];
    if (text.n > sizeof lower) text.n = sizeof lower;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    for (size_t i = 0; i < n; i++)
        if (str_contains((struct str){lower, text.n}, words[i])) return true;
    return false;
}

bool client_is_bot(struct str user_agent) {
    static _Thread_local uint64_t memory[MEMORY_SLOTS]; /* hash of an agent, the last bit: a bot */
    uint64_t hash = hash_str(user_agent) | 1;
    uint64_t *slot = &memory[(hash >> 1) % MEMORY_SLOTS];
    if ((*slot | 1) != hash)
        *slot = contains_any(user_agent, BOTS, sizeof BOTS / sizeof *BOTS) ? hash : hash - 1;
    return *slot & 1;
}

bool client_is_device(struct str user_agent) {
    return contains_any(user_agent, DEVICES, sizeof DEVICES / sizeof *DEVICES);
}

/* Clears the host's part; the text in out, or "" if the text is no address. */
static struct str truncate_address(struct str address, char *out) {
    char text[CLIENT_ADDRESS_BYTES];
    struct in6_addr six;
    struct in_addr four;
    const char *shown = NULL;
    if (address.n >= sizeof text) return STR("");
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (inet_pton(AF_INET, text, &four) == 1) {
        four.s_addr &= htonl(0xffffff00);
        shown = inet_ntop(AF_INET, &four, out, CLIENT_ADDRESS_BYTES);
    } else if (inet_pton(AF_INET6, text, &six) == 1) {
        /* ::ffff:1.2.3.4 is an IPv4 address: its last byte alone is the host's */
        size_t kept = IN6_IS_ADDR_V4MAPPED(&six) ? 15 : 6;
        memset(six.s6_addr + kept, 0, sizeof six.s6_addr - kept);
        shown = inet_ntop(AF_INET6, &six, out, CLIENT_ADDRESS_BYTES);
    }
    return shown ? str_from(shown) : STR("");
}

struct str client_address(enum client_ip policy, struct str address, char *out) {
    if (policy == CLIENT_IP_KEEP) return address;
    if (policy == CLIENT_IP_DROP) return STR("");
    return truncate_address(address, out);
}
