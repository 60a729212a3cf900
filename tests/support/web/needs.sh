# What walks of the screens need; without it they are skipped.
skip() { echo "skipped: $*"; exit 77; }
for tool in node chromium; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done
[ -d "$here/../../web/node_modules/playwright-core" ] || skip "the screens are not built: npm has not fetched its packages"
