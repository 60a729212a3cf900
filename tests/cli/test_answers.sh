#!/bin/bash
# What stands beside an answer: hints for unknown names, cut answers, incomplete periods; questions
# in their JSON form and translated; one customer's page.
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
. "$KEEL_SOURCE/tests/support/expect.sh"

ask() { "$KEEL" query --data data --format csv "$1" 2>/dev/null; }
notes() { "$KEEL" query --data data "$1" 2>&1 >/dev/null | sed -n 's/^note: //p'; }

# event USER NAME DAY PROPERTIES
event() {
    echo '{"type":"track","messageId":"m'$((++id))'","userId":"'"$1"'","event":"'"$2"'","timestamp":"'"$3"'T10:00:00Z","properties":'"$4"'}'
}
id=0
{
    for user in ann bob cem; do
        echo '{"type":"identify","messageId":"i'$user'","userId":"'$user'","timestamp":"2024-01-01T00:00:00Z","traits":{"country":"Germany","plan":"plus"}}'
    done
    event ann "Order Completed" 2024-01-05 '{"revenue":5,"campaign_id":"c1","products":[{"sku":"lamp"}]}'
    event ann "Order Completed" 2024-02-10 '{"revenue":5,"products":[{"sku":"lamp"}]}'
    event bob "Order Completed" 2024-02-01 '{"revenue":7,"products":[{"sku":"vase"}]}'
    event cem "Order Refunded" 2024-03-02 '{"reason":"broken"}'
    event cem "Product Viewed" 2024-03-03 '{"price":3}'
} >events.ndjson
"$KEEL" init data >out && "$KEEL" import --data data --segment --quiet events.ndjson >out || fail "$(cat out)"
same "the report" "8 lines read: 8 events, 8 new, 0 known already" "$(cat out)"

# ---- unknown names ----

same "the note of an event in another case" \
    'no event named "order completed" has been seen; did you mean "Order Completed"?' \
    "$(notes 'count customers where did "order completed"')"
same "the note of an event's beginning" \
    'no event named "Order" has been seen; did you mean "Order Completed" or "Order Refunded"?' \
    "$(notes 'count customers where did "Order"')"
same "the note of an event like no other" 'no event named "Xyzzy" has been seen' \
    "$(notes 'count customers where did "Xyzzy"')"
same "the note of a property that is a trait" \
    '"Order Completed" has no property country; did you mean trait country?' \
    "$(notes 'count customers where did "Order Completed" where country = "Germany"')"
same "the note of a property that line items have" \
    '"Order Completed" has no property sku; did you mean products.sku?' \
    "$(notes 'top 3 "Order Completed".sku')"
same "the note of a property's beginning" \
    '"Order Completed" has no property campaign; did you mean campaign_id?' \
    "$(notes 'count customers where did "Order Completed" where campaign = "c1"')"
same "the note of a property of another event" \
    '"Order Completed" has no property reason; "Order Refunded" has it' \
    "$(notes 'count customers where did "Order Completed" where reason = "broken"')"
same "the note of a misspelt trait" 'no trait coutry has been seen; did you mean trait country?' \
    "$(notes 'count customers by trait coutry')"
same "the note of a trait that is a property" 'no trait price has been seen; it is a property of "Product Viewed"' \
    "$(notes 'count customers where trait price = 3')"
same "a question without a note" "" "$(notes 'count customers where trait country = "Germany"')"
"$KEEL" init empty >out || fail "$(cat out)"
expect 0 "there are no events at all: keel import" "$KEEL" query --data empty 'count customers where did "A"'

# ---- answers cut by a limit ----

for format in table csv json; do
    "$KEEL" query --data data --format $format 'list customers limit 2' >out 2>err || fail "$(cat err)"
    if [ $format = json ]; then
        grep -q '"cut":true' out || fail "JSON hides that it is cut: $(cat out)"
        [ -s err ] && fail "a JSON answer has words beside it: $(cat err)"
        same "the end of a JSON answer" "}" "$(tail -c 2 out)" # no empty line behind it
        [ "$(tail -c 1 out | wc -l)" = 1 ] || fail "a JSON answer ends without a line end"
    else
        same "the note of a cut $format" \
            "note: there are more rows; the answer is cut at its limit of 2" "$(head -1 err)"
    fi
done
"$KEEL" query --data data --format json 'list customers limit 3' | grep -q cut &&
    fail "a whole answer is called cut"
same "the note of a whole answer" "" "$(notes 'list customers limit 3')"
grep -q $'\r' <(ask 'list customers') && fail "CSV has line ends of CRLF"
expect 0 "1 row; read" "$KEEL" query --data data 'count customers'

# More customers than the default limit.
seq 10001 | sed 's/.*/{"type":"track","messageId":"x&","userId":"x&","event":"E","timestamp":"2024-01-01T00:00:00Z"}/' >many.ndjson
"$KEEL" init many >out && "$KEEL" import --data many --segment --quiet many.ndjson >out || fail "$(cat out)"
expect 0 "cut at the default limit of 10000, write limit N for more" \
    "$KEEL" query --data many 'list customers'
same "rows of a list without a limit" 10000 \
    "$("$KEEL" query --data many --format csv 'list customers' 2>/dev/null | tail -n +2 | wc -l)"
same "rows of a list with a higher limit" 10001 \
    "$("$KEEL" query --data many --format csv 'list customers limit 20000' 2>/dev/null | tail -n +2 | wc -l)"

# ---- retention ends with what is known ----

retention='retention from first "Order Completed" to "Order Completed" by month'
same "retention without an end" 'cohort,period,size,customers,rate
2024-01-01,0,1,1,1
2024-01-01,1,1,1,1
2024-01-01,2,1,0,0
2024-02-01,0,1,1,1
2024-02-01,1,1,0,0' "$(ask "$retention")"
same "the note of its last month" \
    "the last month, from 2024-03-01, is incomplete: it is known up to 2024-03-03T10:00:00Z" \
    "$(notes "$retention")"
same "the note of whole months" "" "$(notes "$retention before 2024-03-01")"
same "the last row of retention to a later end" "2024-02-01,3,1,0,0" \
    "$(ask "$retention before 2024-06-01" | tail -1)"

# ---- the JSON form ----

text='count customers where (did "Order Completed" at least 2 times and trait country = "Germany")'
json=$("$KEEL" query --print json "$text") || fail "--print json fails"
same "the text of the JSON form" "$("$KEEL" query --print text "$text")" \
    "$("$KEEL" query --print text "$json")"
same "the JSON form of the text" "$json" "$("$KEEL" query --print json - <<<"$json")"
same "the answer to the JSON form" "$(ask "$text")" "$(ask "$json")"
same "JSON behind spaces, from standard input" "$(ask "$text")" \
    "$(printf '\n  %s' "$json" | "$KEEL" query --data data --format csv - 2>/dev/null)"
expect 65 'there is no member "were" here' "$KEEL" query --data data '{"form":"count","were":{}}'
expect 65 "line 1, column 16" "$KEEL" query --data data '{"form":"count"'
expect 64 "--data DIR is missing" "$KEEL" query 'count customers'
expect 64 "expected one of text|json" "$KEEL" query --print xml 'count customers'

# ---- the people of a row ----

back='retention from first "Order Completed" to "Order Completed" by month'
people() { "$KEEL" query --data data --people "$@"; }
who=$(people '["2024-01-01",1,1,1,1]' "$back") || fail "--people fails"
same "who came back" "min(\"Order Completed\".time) >= 2024-01-01 and min(\"Order Completed\".time) < 2024-02-01 and \
did \"Order Completed\" from 2024-02-01 to 2024-03-01" "$who"
same "those who came back" $'customer\nann' "$(ask "list customers where $who")"
same "who stopped" 'stopped at step 1 of ("Order Completed", "Order Refunded")' \
    "$(people '[1,"Order Completed"]' --column stopped 'funnel "Order Completed", "Order Refunded"')"
same "the count of who lapsed" $'customers\n2' \
    "$(ask "count customers where $(people '["2024-03-01"]' --column lapsed 'lifecycle of "Order Completed" by month')")"
expect 64 "the people of this row cannot be written down: no condition is about sessions" \
    people '[1]' 'sessions with gap 1 hour'
expect 64 "cell 1 of the row is no period" people '["x",1]' "$back"
expect 64 "the row has 1 cells, too few" people '["2024-01-01"]' "$back"
expect 64 "a row is an array of cells" people '{}' "$back"
expect 65 "line 1, column" people '[' "$back"

# ---- questions that are none ----

expect 64 "an empty word; expected QUERY" "$KEEL" query --data data ''
expect 65 "the query is empty; a first one: count customers" "$KEEL" query --data data '  -- a remark'
same "lines of an error without a place" 1 "$("$KEEL" query --data data ' ' 2>&1 | wc -l)"
expect 65 "the query has a NUL byte" "$KEEL" query --data data - < <(printf 'count customers\0')
expect 65 "is not UTF-8 text" "$KEEL" query --data data $'count customers where did "\xff"'
expect 64 "--data is empty: expected DIR" "$KEEL" query --data= 'count customers'
same "an answer when nobody reads its cost" 3 "$("$KEEL" query --data data --format csv 'count customers' 2>&- | tail -1)"

# ---- one customer ----

long=$(printf 'word%.0s ' $(seq 2000))
event ann Essay 2024-03-04 '{"text":"'"$long"'"}' >long.ndjson
printf '%s\n' '{"type":"track","messageId":"e","userId":"esc\u001b[31m","event":"E\u0007","timestamp":"2024-01-01T00:00:00Z"}' >>long.ndjson
"$KEEL" import --data data --segment --quiet long.ndjson >out || fail "$(cat out)"
"$KEEL" profile --data data user_id=ann >out || fail "a long event has no profile"
grep -q "Essay.*$long" out || fail "without a terminal a line is whole"
"$KEEL" profile --data data --width 60 user_id=ann >out || fail "--width fails"
[ "$(awk '{ if (length > n) n = length } END { print n }' out)" -le 60 ] || fail "a line is longer than --width"
same "a folded page's words" 2000 "$(grep -o word out | wc -l)"
"$KEEL" profile --data data $'user_id=esc\033[31m' | grep -q $'\033' && fail "an identifier moves the cursor"
same "an event as of a day" "events: 2" "$("$KEEL" profile --data data --at 2024-02-10 user_id=ann | grep events:)"
expect 64 "at x: not a time" "$KEEL" profile --data data --at x user_id=ann
expect 66 "write user_id=ID or anonymous_id=ID" "$KEEL" profile --data data nobody

# ---- segments, KPIs, keys: what is misspelt is said at once ----

hint='note: no event named "Order" has been seen; did you mean "Order Completed" or "Order Refunded"?'
same "the note of a segment that is saved" "segment 1
$hint" "$("$KEEL" segment add Odd 'did "Order"' --data data 2>&1)"
expect 0 "$hint" "$KEEL" segment preview 'did "Order"' --data data
expect 0 "$hint" "$KEEL" export --data data --quiet --customers 'did "Order"'
same "a segment whose names are known" "segment 2" "$("$KEEL" segment add Even 'did "Order Completed"' --data data 2>&1)"
expect 64 "segment list: --format is text or json; export has csv" "$KEEL" segment list --data data --format csv
expect 64 "segment export: --format is ndjson or csv" "$KEEL" segment export Even --data data --format text
"$KEEL" kpi add orders --query 'total of events of "Order Completed"' --data data >out || fail "$(cat out)"
expect 64 "from is missing: a day, as 2026-12-31" "$KEEL" kpi attribute orders --data data
expect 64 "there are query, kpi.read, " "$KEEL" key add k --scope nothing --data data

exit $((failures > 0))
