#!/bin/bash
# A tour through the program as a user takes it: import, ask, look at one customer, verify; and what
# each mistake on the way is answered with. Only the binary, its output and exit status are looked at.
set -u
dir=$(mktemp -d)
importer=""
trap '[ -z "$importer" ] || kill "$importer" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
. "$KEEL_SOURCE/tests/support/expect.sh"

query() { "$KEEL" query --data data "$@" 2>/dev/null; }
count() { query --format csv "$1" | tail -1; }

# ---- a table by a map: broken rows, lines of one order apart, commas in quotes ----

cat >shop.toml <<'EOF'
namespace = "shop"

[[event]]
name = "Order Completed"
group_by = "order"
time = { column = "date", format = "%Y-%m-%d %H:%M" }
user_id = "{customer}"

[event.properties]
revenue = { sum = "quantity * price" }

[event.items]
name = "products"

[event.items.properties]
sku = "sku"
quantity = { column = "quantity", type = "number" }
price = { column = "price", type = "number" }
EOF
cat >orders.csv <<'EOF'
order,date,customer,sku,quantity,price
1,2024-01-02 10:00,ann,lamp,1,20.50
2,2024-01-05 11:30,bob,"bulb, ""warm""",10,0.10
1,2024-01-02 10:00,ann,"bulb, ""warm""",2,1.25
3,2024-01-09 09:15,ann,vase,1,12
4,someday,bob,vase,1,12
5,2024-01-10 12:00,cem,vase,one,12
6,2024-01-10 12:00
7,2024-01-10 12:00,,vase,1,12
EOF

expect 0 "data is ready (time zone UTC, currency EUR)" "$KEEL" init data --currency EUR
same "an empty directory's count" 0 "$(count 'count customers')"
same "the report of the first import" "8 rows read: 3 events, 3 new, 0 known already
4 refused, see data/rejects.csv:
  1  wrong number of columns
  1  no valid time
  1  not a number
  1  no identifier" "$("$KEEL" import --data data --map shop.toml --quiet orders.csv 2>&1)"
same "the reject file" 'file,line,cause,detail,raw
"orders.csv",6,"no valid time","rule “Order Completed”: column “date” is “someday”","4,someday,bob,vase,1,12"
"orders.csv",7,"not a number","rule “Order Completed”: column “quantity” is “one”","5,2024-01-10 12:00,cem,vase,one,12"
"orders.csv",8,"wrong number of columns","2 columns, expected 6","6,2024-01-10 12:00"
"orders.csv",9,"no identifier","rule “Order Completed”: column “customer” is empty","7,2024-01-10 12:00,,vase,1,12"' \
    "$(cat data/rejects.csv)"
expect 0 "3 events, 0 new, 3 known already" "$KEEL" import --data data --map shop.toml orders.csv

# The same rows, however they come, are known.
gzip -k orders.csv
zstd -q orders.csv
for file in orders.csv.gz orders.csv.zst; do
    expect 0 "3 events, 0 new, 3 known already" "$KEEL" import --data data --map shop.toml "$file"
done
expect 0 "3 events, 0 new, 3 known already" \
    "$KEEL" import --data data --map shop.toml - <orders.csv
grep -q '^"standard input",6,' data/rejects.csv || fail "rejects of standard input say so"

# ---- Segment events: anonymous days first, then who it was; broken lines ----

cat >events.ndjson <<'EOF'
{"type":"page","messageId":"m1","anonymousId":"a1","name":"Home","timestamp":"2024-01-03T08:00:00Z"}
{"type":"track","messageId":"m2","anonymousId":"a1","event":"Product Viewed","properties":{"sku":"lamp"},"timestamp":"2024-01-03T08:01:00Z"}
{"type":"track","messageId":"m3","anonymousId":"a2","event":"Product Viewed","properties":{"sku":"vase"},"timestamp":"2024-01-03T08:02:00Z"}
{"type":"track","messageId":"m3","anonymousId":"a2","event":"Product Viewed","properties":{"sku":"vase"},"timestamp":"2024-01-03T08:02:00Z"}
{"type":"track","messageId":
{"type":"tracks","messageId":"m4","anonymousId":"a2","timestamp":"2024-01-03T08:03:00Z"}
{"type":"track","messageId":"m5","event":"Product Viewed","timestamp":"2024-01-03T08:04:00Z"}
EOF
expect 0 "7 lines read: 4 events, 3 new, 1 known already" \
    "$KEEL" import --data data --segment events.ndjson
same "lines and causes of refused events" '5,"not valid JSON"
6,"unknown event type"
7,"no identifier"' "$(cut -d, -f2,3 data/rejects.csv | tail -n +2)"
grep -qF '"{""type"":""track"",""messageId"":"' data/rejects.csv || fail "the raw line is kept"
same "customers before they are joined" 4 "$(count 'count customers')"

echo '{"type":"identify","messageId":"m6","anonymousId":"a1","userId":"bob","traits":{"city":"Ulm"},"timestamp":"2024-01-03T08:05:00Z"}' |
    zstd -q >identify.zst
expect 0 "1 line read: 1 event, 1 new, 0 known already" "$KEEL" import --data data --segment - <identify.zst
same "customers after they are joined" 3 "$(count 'count customers')"
same "the past of the joined customer" 1 \
    "$(count 'count customers where did "Product Viewed" followed by "Order Completed" within 7 days')"
[ -e data/rejects.csv ] && fail "an import without rejects leaves no reject file behind"

# ---- answers in three forms ----

spent='list customers where identified with sum("Order Completed".revenue), trait city order by sum("Order Completed".revenue) desc'
same "a table" 'customer  sum("Order Completed".revenue)  trait city
--------  ------------------------------  ----------
ann                                   35  -
bob                                    1  Ulm' "$(query "$spent")"
same "CSV" 'customer,"sum(""Order Completed"".revenue)",trait city
ann,35,
bob,1,Ulm' "$(query --format csv "$spent")"
json=$(query --format json "$spent")
shape='^\{"query":"list customers where identified with .*","columns":\[\{"name":"customer","type":"string"\},\{"name":"sum\(\\"Order Completed\\"\.revenue\)","type":"number"\},\{"name":"trait city","type":"string"\}\],"rows":\[\["ann",35,null\],\["bob",1,"Ulm"\]\],"cost":\{"rows":[0-9]+,.*"ms":[0-9.]+,"cpu_ms":[0-9.]+\}\}$'
tr -d '\n' <<<"$json" | grep -qE "$shape" || fail "JSON has another shape: $json"
if command -v python3 >/dev/null; then
    python3 -m json.tool <<<"$json" >/dev/null || fail "this is not JSON: $json"
fi
expect 0 'did you mean "Order Completed"?' "$KEEL" query --data data 'count customers where did "Order Complete"'
expect 0 "2 rows; read" "$KEEL" query --data data "$spent"
same "a question as of then" 1 \
    "$(query --at 2024-01-05 --format csv 'count customers where did "Order Completed"' | tail -1)"
same "a question from standard input" 3 "$(echo 'count customers' | query --format csv - | tail -1)"

# ---- one customer ----

profile=$("$KEEL" profile --data data anonymous_id=a1)
for text in "user bob" "anonymous_id a1" 'city  "Ulm"' " Product Viewed, last" "Z  identify  {"; do
    [[ $profile == *"$text"* ]] || fail "the profile lacks \"$text\": $profile"
done
json=$("$KEEL" profile --data data --format json user_id=bob)
[[ $json == *'"traits":{"city":"Ulm"}'*'"revenue":1,"products":[{"sku":"bulb, \"warm\""'* ]] ||
    fail "the JSON profile is $json"
if command -v python3 >/dev/null; then
    python3 -m json.tool <<<"$json" >/dev/null || fail "this is not JSON: $json"
fi
expect 66 "nobody has the identifier user_id=eve" "$KEEL" profile --data data user_id=eve

# ---- what goes wrong is said with a status of its own (base/errors.def) ----

expect 64 "unknown command" "$KEEL" qeury
expect 64 "--data DIR is missing" "$KEEL" query 'count customers'
expect 64 "--segment, or --map" "$KEEL" import --data data orders.csv
expect 65 'did you mean "customers"?' "$KEEL" query --data data 'count custmers'
echo 'nmespace = "shop"' >bad.toml
expect 65 "bad.toml:1:1: unknown key" "$KEEL" import --data data --map bad.toml orders.csv
expect 66 "keel init nowhere" "$KEEL" query --data nowhere 'count customers'
expect 66 "keel init nowhere" "$KEEL" doctor nowhere
expect 65 "--segment instead of --map" "$KEEL" import --data data --map shop.toml events.ndjson
expect 65 "for CSV say --map" "$KEEL" import --data data --segment orders.csv
expect 66 "none.csv; nothing was imported" \
    "$KEEL" import --data data --map shop.toml orders.csv none.csv
expect 73 "data directory already" "$KEEL" init data
expect 64 "exclude each other" "$KEEL" import --data data --segment --map shop.toml orders.csv
for command in "query --data data count\ customers" "profile --data data user_id=bob" "doctor data" \
    "query --print text count\ customers" "import --data data --quiet --map shop.toml orders.csv"; do
    eval "\"\$KEEL\" $command" >/dev/full 2>error
    same "the status of $command on a full disk" 74 $?
    grep -q "standard output: No space left" error || fail "$command says: $(cat error)"
done
# Through a link: should the program ever remove what is no file, it is only the link.
ln -s /dev/full full
expect 74 "full: No space left" "$KEEL" import --data data --map shop.toml --rejects full orders.csv
[ -c full ] || fail "an import removed a device that was named as its reject file"
# A file of which nothing can be taken is no success, though each row is told.
sed 1q orders.csv >refused.csv
printf '%s\n' '7,31/02/2024 12:00,bob,vase,1,12' >>refused.csv
expect 65 "nothing was imported: 1 refused, most of them for “no valid time”; " \
    "$KEEL" import --data data --map shop.toml refused.csv
expect 65 "1 row read: 0 events" "$KEEL" import --data data --map shop.toml refused.csv
expect 0 "5 refused" "$KEEL" import --data data --map shop.toml refused.csv orders.csv

expect 64 "name another file with --rejects" \
    "$KEEL" import --data data --map shop.toml --rejects orders.csv orders.csv
[ -s orders.csv ] || fail "an import overwrote its own input"

# An init that found no room can be run again.
(trap '' XFSZ && ulimit -f 1000 && exec "$KEEL" init small) >out 2>&1
same "the status of an init without room" 74 $?
expect 66 "keel init small" "$KEEL" query --data small 'count customers'
expect 0 "small is ready" "$KEEL" init small

# What may not be looked into is not taken for missing; root may look into everything.
if [ "$(id -u)" = 0 ]; then
    as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
else
    as_nobody=()
fi
mkdir -m 755 shut
cp "$KEEL" shut/keel
cp -r data shut/data
chmod 755 .
chmod 000 shut/data/keel.db
expect 74 "data/keel.db: Permission denied" "${as_nobody[@]}" shut/keel query --data shut/data 'count customers'
chmod 000 shut/data
expect 74 "data/lock: Permission denied" "${as_nobody[@]}" shut/keel doctor shut/data
chmod 700 shut/data

# One process at a time: this one waits for its input while others are refused. It must get through
# between the queries that look whether it has begun.
mkfifo pipe
"$KEEL" import --data data --segment --quiet - <pipe >report 2>&1 &
importer=$!
exec 3>pipe
for _ in $(seq 200); do
    "$KEEL" query --data data 'count customers' >answer 2>&1
    code=$?
    [ $code = 75 ] && break
    sleep 0.05
done
same "the status while another process has the directory" 75 $code
grep -q "in use by another keel process" answer || fail "a directory in use: $(cat answer)"
expect 75 "in use" "$KEEL" doctor data
echo '{"type":"track","messageId":"m7","userId":"cem","event":"Order Completed","timestamp":"2024-01-11T08:00:00Z"}' >&3
exec 3>&-
wait "$importer" || fail "the waiting import: $(cat report)"
importer=""
same "customers after the waiting import" 4 "$(count 'count customers')"

# ---- the doctor: sound; then a flipped bit anywhere in a part is found, and never a wrong answer ----

expect 0 "0 faults" "$KEEL" doctor data
expect 0 "0 months rewritten: 1 part" "$KEEL" compact --data data
expect 0 "0 faults" "$KEEL" doctor data
revenue='total of sum("Order Completed".revenue)'
same "the revenue" 36 "$(count "$revenue")"
part=$(find data/parts -name '*.part' | head -1)
cp "$part" sound.part
size=$(stat -c %s "$part")
for i in $(seq 0 11); do
    at=$((i * (size - 1) / 11))
    byte=$(od -An -tu1 -j "$at" -N 1 sound.part)
    # shellcheck disable=SC2059 # the escape is the format
    printf "\\x$(printf %x $((byte ^ 1 << i % 8)))" |
        dd of="$part" bs=1 seek="$at" conv=notrunc status=none
    expect 65 "$part" "$KEEL" doctor data
    answer=$(count "$revenue") # sound if it did not need this byte, else none
    [ "$answer" = 36 ] || [ -z "$answer" ] || fail "with byte $at flipped the answer is $answer"
    cp sound.part "$part"
done
expect 0 "0 faults" "$KEEL" doctor data

[ $failures = 0 ] && echo "the tour is complete"
exit $((failures > 0))
