#!/bin/bash
# The program's frame: help, version, unknown commands, exit statuses, closed pipes, full disks.
set -u
failures=0

# expect STATUS TEXT COMMAND...: exit status, and a text in what it prints (either stream)
expect() {
    local status=$1 text=$2 out code
    shift 2
    out=$("$@" 2>&1)
    code=$?
    if [ "$code" != "$status" ] || [[ $out != *"$text"* ]]; then
        echo "FAILED: $* gave $code, expected $status and \"$text\":"
        echo "$out"
        failures=$((failures + 1))
    fi
}

expect 0 "Usage: keel COMMAND" "$KEEL"
expect 0 "Usage: keel COMMAND" "$KEEL" --help
expect 0 "simulate" "$KEEL" help
expect 0 "keel 0." "$KEEL" --version
expect 0 "keel 0." "$KEEL" version
expect 0 "74  input or output failed" "$KEEL" help errors
expect 0 "--customers N" "$KEEL" help simulate
expect 0 "--customers N" "$KEEL" simulate --days 3 --help
expect 64 'unknown command "simulat"; did you mean simulate?' "$KEEL" simulat
expect 64 'unknown command "xyzzy"; see: keel help' "$KEEL" xyzzy
expect 64 'there is no command "xyzzy"' "$KEEL" help xyzzy
expect 64 'unexpected "more"' "$KEEL" version more

# Every command explains itself.
for command in $("$KEEL" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    expect 0 "Usage: keel $command" "$KEEL" help "$command"
    expect 0 "Usage: keel $command" "$KEEL" "$command" --help
done

# Pages fit a terminal; the questions that help shows are questions.
for page in $("$KEEL" help | sed -n 's/^  \([a-z]*\)  .*/\1/p') language errors; do
    wide=$("$KEEL" help "$page" | grep -v '^  keel ' | LC_ALL=C.UTF-8 wc -L)
    [ "$wide" -le 80 ] || { echo "FAILED: keel help $page is $wide wide"; failures=$((failures + 1)); }
done
questions=0
while read -r question; do
    expect 0 "" "$KEEL" query --print json "$question"
    questions=$((questions + 1))
done < <("$KEEL" help language | sed -n 's/^  //p')
[ $questions -ge 12 ] || { echo "FAILED: keel help language shows $questions questions"; failures=$((failures + 1)); }

# Completion, as bash asks for it; the manual page, where there is a program to read it.
complete_last() { # WORD...: what completes the last one
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _keel
    echo "${COMPREPLY[*]-}"
}
# shellcheck disable=SC1090
source <("$KEEL" help completion) || { echo "FAILED: the completion is no bash"; failures=$((failures + 1)); }
for try in "keel prof=profile" "keel query --fo=--format" "keel query --format =table json csv" \
    "keel query --data =" "keel simulate --cust=--customers"; do
    # shellcheck disable=SC2086 # words
    set -- ${try%%=*}
    [[ ${try%%=*} != *" " ]] || set -- "$@" ""
    got=$(complete_last "$@")
    [ "$got" = "${try#*=}" ] || { echo "FAILED: ${try%%=*} completes to $got"; failures=$((failures + 1)); }
done
expect 0 ".TH KEEL 1" "$KEEL" help man
if command -v groff >/dev/null; then
    complaints=$("$KEEL" help man | groff -K utf8 -man -Tutf8 -ww -z 2>&1)
    [ -z "$complaints" ] || { echo "FAILED: groff says $complaints"; failures=$((failures + 1)); }
fi

# KEEL_DATA stands for --data, which goes before it.
expect 66 "keel init here" env KEEL_DATA=here "$KEEL" query 'count customers'
expect 66 "keel init there" env KEEL_DATA=here "$KEEL" query --data there 'count customers'

# One line on standard error, nothing on standard output.
out=$("$KEEL" xyzzy 2>/dev/null)
err=$("$KEEL" xyzzy 2>&1 >/dev/null)
if [ -n "$out" ] || [ "$(wc -l <<<"$err")" != 1 ] || [[ $err != "keel: "* ]]; then
    echo "FAILED: an error is one line on standard error: $err"
    failures=$((failures + 1))
fi

"$KEEL" help >/dev/full 2>/dev/null
[ $? = 74 ] || { echo "FAILED: a full disk is exit status 74"; failures=$((failures + 1)); }

# A reader that leaves ends the writer at once and without a word.
words=$({ "$KEEL" simulate --customers 100k --days 365 --quiet | head -c 100 >/dev/null; } 2>&1)
[ -z "$words" ] || { echo "FAILED: a closed pipe is quiet: $words"; failures=$((failures + 1)); }

exit $((failures > 0))
