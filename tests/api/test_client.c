/* What a connection says of a device: addresses as policies keep them, bots, devices. */
#include "api/collect/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *address, *truncated;
    } cases[] = {
        {"203.0.113.77", "203.0.113.0"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
        {"::1", "::"},
        {"::ffff:203.0.113.77", "::ffff:203.0.113.0"},
        {"", ""},
        {"unix", ""},
        {"203.0.113.77:443", ""},
        {"203.0.113.077.1", ""},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", ""},
    };
    char out[CLIENT_ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str address = str_from(cases[i].address);
        struct str got = client_address(CLIENT_IP_TRUNCATE, address, out);
        if (!str_is(got, cases[i].truncated))
            fail_msg("%s becomes %.*s", cases[i].address, STR_ARG(got));
        assert_true(str_eq(client_address(CLIENT_IP_KEEP, address, out), address));
        assert_int_equal(client_address(CLIENT_IP_DROP, address, out).n, 0);
    }
}

static void test_agents(void **state) {
    (void)state;
    static const struct {
        const char *agent;
        bool bot, device;
    } cases[] = {
        {"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true, true},
        {"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0)", true, true},
        {"Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/140.0.0.0 Safari/537.36", true, true},
        {"facebookexternalhit/1.1", true, false},
        {"curl/8.5.0", true, false},
        {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0 Safari/537.36", false, true},
        {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", false, true},
        {"Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) Chrome/120.0 Mobile", false, true},
        {"analytics-kotlin/1.16.3", false, true},
        {"analytics-node-next/latest", false, false},
        {"analytics-ruby/2.4.0", false, false},
        {"", false, false},
    };
    for (int again = 0; again < 2; again++) /* the second time from memory */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (client_is_bot(str_from(cases[i].agent)) != cases[i].bot)
                fail_msg("bot or not: %s", cases[i].agent);
            if (client_is_device(str_from(cases[i].agent)) != cases[i].device)
                fail_msg("device or not: %s", cases[i].agent);
        }
}

/* Many agents on few places of the memory, each asked twice in turn. */
static void test_memory(void **state) {
    (void)state;
    char agent[64];
    for (int again = 0; again < 2; again++)
        for (int i = 0; i < 5000; i++) {
            snprintf(agent, sizeof agent, i % 3 ? "Mozilla/5.0 %d" : "Spider %d", i);
            assert_int_equal(client_is_bot(str_from(agent)), i % 3 == 0);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_agents),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
