# For tests in bash: what is expected of a command. Ends with: [ "$failures" = 0 ]
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# expect STATUS TEXT COMMAND...: exit status, and a text in what it prints (either stream)
expect() {
    local status=$1 text=$2 out code
    shift 2
    out=$("$@" 2>&1)
    code=$?
    if [ "$code" != "$status" ] || [[ $out != *"$text"* ]]; then
        fail "$* gave $code, expected $status and \"$text\":"$'\n'"$out"
    fi
}

# same WHAT EXPECTED ACTUAL
same() { [ "$2" = "$3" ] || fail "$1 is"$'\n'"$3"$'\n'"expected"$'\n'"$2"; }
