#!/bin/bash
# An import of more than one head holds ends with a compaction, unless told not to; a second one
# that adds little does not. The answers are the same. ctest: timeout=300 serial plain
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
. "$KEEL_SOURCE/tests/support/expect.sh"

# events FROM TO: one event a number, of 5,000 people over three months
events() {
    awk -v from="$1" -v to="$2" 'BEGIN {
        for (i = from; i < to; i++)
            printf "{\"type\":\"track\",\"messageId\":\"m%d\",\"anonymousId\":\"a%d\",\"event\":\"E%d\",\"timestamp\":\"2024-%02d-%02dT%02d:00:00.000Z\"}\n",
                i, i * 7919 % 5000, i % 3, 1 + i * 3 / to, 1 + i % 28, i % 24
    }'
}

count=540000 # STORE_HEAD_ROWS is 524,288
events 0 $count >events.ndjson
for name in whole pieces; do "$KEEL" init $name >/dev/null || fail "init $name"; done
"$KEEL" import --data whole --segment events.ndjson >/dev/null 2>whole.err || fail "import"
"$KEEL" import --data pieces --no-compact --segment events.ndjson >/dev/null 2>pieces.err || fail "import --no-compact"
grep -q '^compacting: ' whole.err || fail "no compaction is told of: $(cat whole.err)"
grep -q '^compacting: ' pieces.err && fail "--no-compact compacts: $(cat pieces.err)"

said=$("$KEEL" compact --data whole)
[[ $said == "0 months rewritten: 3 parts"* ]] || fail "the import left pieces: $said"
for name in whole pieces; do
    "$KEEL" query --data $name --format csv 'trend of events by month since 2024-01-01 before 2024-04-01' >$name.csv || fail "query $name"
    "$KEEL" doctor $name >/dev/null || fail "doctor $name"
done
cmp -s whole.csv pieces.csv || fail "the answers differ: $(cat whole.csv pieces.csv)"

events $count $((count + 1000)) | "$KEEL" import --data whole --segment - >report 2>more.err || fail "import more"
grep -q "1000 new" report || fail "the second import says $(cat report)"
grep -q '^compacting: ' more.err && fail "a small import compacts all: $(cat more.err)"

exit $((failures > 0))
