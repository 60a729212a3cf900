/* Implementation of personal.h. */
#include "desk/plan/personal.h"

#include "desk/plan/phone.h"

enum { PHONE_FEWEST = 8, MOST_NAME = 64 };

static const struct {
    const char *word;
    enum personal_kind kind;
    bool of_traits; /* means it of persons only */
} NAMES[] = {
    {"email", PERSONAL_EMAIL, false},        {"emailaddress", PERSONAL_EMAIL, false},
    {"mail", PERSONAL_EMAIL, true},          {"phone", PERSONAL_PHONE, false},
    {"phonenumber", PERSONAL_PHONE, false},  {"mobile", PERSONAL_PHONE, true},
    {"mobilephone", PERSONAL_PHONE, false},  {"tel", PERSONAL_PHONE, true},
    {"telephone", PERSONAL_PHONE, false},    {"firstname", PERSONAL_NAME, false},
    {"lastname", PERSONAL_NAME, false},      {"fullname", PERSONAL_NAME, false},
    {"surname", PERSONAL_NAME, false},       {"givenname", PERSONAL_NAME, false},
    {"familyname", PERSONAL_NAME, false},    {"name", PERSONAL_NAME, true},
    {"username", PERSONAL_NAME, true},       {"birthday", PERSONAL_NAME, false},
    {"birthdate", PERSONAL_NAME, false},     {"dateofbirth", PERSONAL_NAME, false},
    {"address", PERSONAL_NAME, true},        {"street", PERSONAL_NAME, false},
    {"streetaddress", PERSONAL_NAME, false}, {"password", PERSONAL_SECRET, false},
    {"secret", PERSONAL_SECRET, false},      {"iban", PERSONAL_SECRET, false},
    {"cardnumber", PERSONAL_SECRET, false},  {"ssn", PERSONAL_SECRET, false},
};

/* The last part, without case, '_', '-' and spaces: first_name and firstName are one. */
static struct str plain_word(struct str name, char *out) {
    size_t n = 0, from = name.n;
    while (from > 0 && name.p[from - 1] != '.') from--;
    for (size_t i = from; i < name.n && n < MOST_NAME; i++) {
        char c = name.p[i];
        if (c == '_' || c == '-' || c == ' ') continue;
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return (struct str){out, n};
}

enum personal_kind personal_by_name(struct str name, bool trait) {
    char word[MOST_NAME];
    struct str plain = plain_word(name, word);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if ((trait || !NAMES[i].of_traits) && str_is(plain, NAMES[i].word)) return NAMES[i].kind;
    return PERSONAL_NOT;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

/* Something@domain.tld anywhere in it. */
static bool has_email(struct str s) {
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] != '@' || s.p[i - 1] == ' ' || !is_word(s.p[i + 1])) continue;
        size_t end = i + 1;
        while (end < s.n && (is_word(s.p[end]) || s.p[end] == '-' || s.p[end] == '.')) end++;
        for (size_t dot = i + 2; dot + 1 < end; dot++)
            if (s.p[dot] == '.' && is_word(s.p[dot + 1])) return true;
    }
    return false;
}

enum personal_kind personal_by_shape(struct str text) {
    if (text.n >= 5 && memchr(text.p, '@', text.n) && has_email(text)) return PERSONAL_EMAIL;
    return text.n >= PHONE_FEWEST && phone_in(text) ? PERSONAL_PHONE : PERSONAL_NOT;
}
