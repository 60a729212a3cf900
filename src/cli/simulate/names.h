/* Words of the simulated market: countries, devices, categories, products, searches, messages.
 * Layers: none. Threads: constant data. */
#pragma once

#include <stdint.h>

enum {
    COUNTRIES = 12,
    CATEGORIES = 24,
    NOUNS = 8,
    ADJECTIVES = 40,
    AGE_BANDS = 6,
    FIRST_NAMES = 32,
    AD_CAMPAIGNS = 24,
    MAIL_CAMPAIGNS = 48,
    MESSAGES = 18,
    REVIEWS = 15
};

struct country {
    const char *name, *locale;
    int8_t hours_east; /* standard time: daylight saving would move a visit by an hour at most */
    uint8_t share;     /* of 100 */
};
extern const struct country COUNTRY[COUNTRIES];

struct category {
    const char *name;
    uint32_t cents; /* a typical price */
    uint8_t share;  /* of the views, of 120 */
    const char *nouns[NOUNS];
};
extern const struct category CATEGORY[CATEGORIES];

extern const char *const ADJECTIVE[ADJECTIVES];
extern const char *const AGE_BAND[AGE_BANDS];
extern const char *const FIRST_NAME[FIRST_NAMES];

/* A device with what runs on it: the constant part of an event's context. */
enum profile {
    PROFILE_WINDOWS,
    PROFILE_MAC,
    PROFILE_LINUX,
    PROFILE_ANDROID_WEB,
    PROFILE_IPHONE_WEB,
    PROFILE_TABLET,
    PROFILE_ANDROID_APP,
    PROFILE_IPHONE_APP,
    PROFILE_KIOSK,
    PROFILE_TILL,
    PROFILE_CALL,
    PROFILE_MAILER,
    PROFILE_BACK_OFFICE,
    PROFILE_CRAWLER,
    PROFILES,
    PROFILE_NONE = 255
};
struct device_profile {
    const char *channel, *device, *os, *library, *version, *user_agent; /* NULL: not sent */
};
extern const struct device_profile PROFILE[PROFILES];

struct message {
    const char *topic, *text;
    int8_t sentiment; /* -1, 0, 1 */
};
extern const struct message MESSAGE[MESSAGES]; /* the first MESSAGES_ORDER are about an order */
enum { MESSAGES_ORDER = 12 };

struct review {
    const char *text;
    uint8_t rating;
};
extern const struct review REVIEW[REVIEWS];
