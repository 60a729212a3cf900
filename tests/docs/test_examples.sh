#!/bin/bash
# The documents' examples run, so that they cannot rot.
#
#   ```sh                  all lines run, in the document's order, in one folder with keel on the PATH
#   ```sh no-test          is not run
#   ```sh needs=FILE       runs where FILE lies below $KEEL_SHARED/data, and finds it in its folder
#   ```text                directly behind an sh block: exactly what that prints (standard output)
#   ```LANGUAGE file=NAME  is written to NAME first: the files of an example
#   ```query               each line is a question that a small marketplace answers
#
# ctest: timeout=300
set -u
failures=0
blocks=0
root=$(cd "$KEEL_SOURCE" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
ln -s "$KEEL" "$dir/bin/keel"
export PATH=$dir/bin:$PATH

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# blocks_of DOCUMENT FOLDER: each fenced block as FOLDER/NNNN, its info string as FOLDER/NNNN.info;
# a block that stands on the line behind another's end has FOLDER/NNNN.follows too.
blocks_of() {
    awk -v folder="$2" '
        /^```/ && !inside {
            inside = 1; name = sprintf("%s/%04d", folder, ++n); info = substr($0, 4)
            printf "%s\n", info >(name ".info"); printf "" >name
            if (NR == end + 1) printf "" >(name ".follows")
            next
        }
        /^```/ { inside = 0; end = NR; close(name); close(name ".info"); next }
        inside { print >name }' "$1"
}

# Runs an sh block, and compares with the text block behind it.
run_block() {
    local block=$1 info=$2 next needed
    if [[ $info == *needs=* ]]; then
        needed=${info##*needs=}
        if [ ! -e "${KEEL_SHARED:-}/data/$needed" ]; then
            echo "left out for want of $needed (KEEL_SHARED): $(head -1 "$block")"
            return
        fi
        ln -sf "$(realpath "$KEEL_SHARED")/data/$needed" .
    fi
    bash -e "$block" >out 2>err || fail "$block gives $?: $(cat "$block" err)"
    blocks=$((blocks + 1))
    next=$(printf '%s/%04d' "${block%/*}" $((10#${block##*/} + 1)))
    if [ -e "$next.follows" ] && [[ $(cat "$next.info") == text* ]]; then
        sed -i 's/^\(write key of the source "default": \).*/\1…/' out # chance gives it
        diff "$next" out >diff.out || fail "prints something else than written (<): $(cat "$block" diff.out)"
    fi
}

for document in README.md docs/import.md docs/query-language.md docs/collectors.md \
    docs/tracking-plan.md docs/backup.md docs/export.md docs/webhooks.md \
    docs/segments.md docs/kpis.md; do
    work=$dir/${document//\//_}
    mkdir -p "$work/blocks"
    cd "$work" || exit 1
    ln -s "$root/examples" .
    blocks_of "$root/$document" "$work/blocks"
    for block in blocks/[0-9][0-9][0-9][0-9]; do
        info=$(cat "$block.info")
        case $info in
            *file=*) cp "$block" "${info##*file=}" ;;
            "sh no-test"*) ;;
            sh*) run_block "$work/$block" "$info" ;;
        esac
    done
done

# ---- the language's own examples ----

work=$dir/queries
mkdir -p "$work/blocks"
cd "$work" || exit 1
blocks_of "$root/docs/query-language.md" blocks
keel simulate --customers 300 --days 10 --events 5k --quiet --out events.ndjson &&
    keel init data >out && keel import --data data --segment --quiet events.ndjson >out &&
    keel segment --data data add VIP 'did "Order Completed" at least 2 times' >out ||
    fail "there is no marketplace to ask"
queries=0
while read -r query; do
    [ -n "$query" ] || continue
    keel query --data data --at 2024-01-11 --format csv "$query" >out 2>err ||
        fail "keel query '$query': $(cat err)"
    queries=$((queries + 1))
done < <(grep -l '^query' blocks/*.info | sed 's/\.info$//' | xargs cat)

# Should the marks change, a test of nothing must not pass.
[ $blocks -ge 5 ] || fail "only $blocks blocks were found to run"
[ $queries -ge 20 ] || fail "only $queries questions were found to ask"
echo "$blocks blocks and $queries questions of the documents run"
exit $((failures > 0))
