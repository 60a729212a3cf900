# tools/check finds what it claims to: a small repository that breaks each quick rule once.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$KEEL_SOURCE/tools" "$work/"
mkdir -p "$work/cmake" "$work/src/base" "$work/src/store" "$work/tests/store" "$work/build"
cp "$KEEL_SOURCE/cmake/rooms.txt" "$work/cmake/"
grep '^#' "$KEEL_SOURCE/tools/checks/allowed.txt" >"$work/tools/checks/allowed.txt"
cd "$work"
echo 'add_test(known.one true)' >build/CTestTestfile.cmake

expect() { # expect CHECK TEXT: the check fails and says so
    if out=$(python3 tools/check --build build "$1"); then
        echo "$1 passed, expected: $2"
        exit 1
    fi
    grep -qF -- "$2" <<<"$out" || { echo "$1 said: $out"; echo "expected: $2"; exit 1; }
}
passes() { python3 tools/check --build build "$@"; }

passes layers calls banned size sql links tests

echo '#include "store/part.h"' >src/base/up.c
expect layers 'src/base/up.c:1: base includes store/part.h'
echo '/* #include "store/part.h" */' >src/base/up.c
passes layers

echo 'int f(char *p) { strcpy(p, "free(p)"); return p->read(1); } // malloc(1)' >src/store/a.c
expect banned 'src/store/a.c:1: strcpy()'
echo 'banned src/store/a.c strcpy' >>tools/checks/allowed.txt
expect banned 'expected: CHECK PATH SUBJECT # reason'
sed -i '$s/$/ # a literal/' tools/checks/allowed.txt
passes banned
echo 'int f(void) { return 0; }' >src/store/a.c
expect banned 'excuses nothing any more'

echo 'int g(sqlite3 *db, char *s) { return sqlite3_exec(db, s, 0, 0, 0); }' >src/store/a.c
expect sql 'src/store/a.c:1: sqlite3_exec(s)'
echo 'int g(sqlite3 *db) { return sqlite3_exec(db, "SELECT f(1, 2)" X, 0, 0, 0); }' >src/store/a.c
passes sql

{ echo 'int h(int x) {'; yes 'x++;' | head -160; echo 'return x; }'; } >src/store/a.c
expect size 'h() has 162 lines'
{ echo 'int h(int x) {'; yes 'if (x) x++;' | head -26; echo 'return x; }'; } >src/store/a.c
expect size 'h() has complexity 27'
yes '' | head -1001 >src/store/a.c
expect size 'src/store/a.c: 1001 lines'

echo '[a](#here) [b](gone.md)' >README.md
expect links 'link to gone.md: no such file'
expect links 'link to #here: no such heading'

touch tests/store/test_lost.c
expect tests 'tests/store/test_lost.c: is not run by CTest'
mv tests/store/test_lost.c tests/store/lost.c
expect tests 'tests/store/lost.c: is no test'

mkdir -p tests/fuzz/corpus/orphan
touch tests/fuzz/corpus/orphan/1
expect tests 'tests/fuzz/corpus/orphan: no fuzz target reads it'
