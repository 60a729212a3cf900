/* Fuzzes the part reader behind its checksums: the input is a part's directory (unpacked) and body;
 * every checksum, the header's magic and the trailer are made right here, so that the fuzzer
 * reaches what lies behind them. All of a part's operations run on it: no crash, no hang, no read
 * out of bounds; errors name the file (part_exercise.h).
 *
 * Input: u32 bytes of the directory (little-endian) | directory | body behind the header.
 * The corpus holds small parts of histories, taken apart by `test_store_part --make-fuzz-corpus`.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "fault_os.h"
#include "part_exercise.h"
#include "part_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { HEADER = 64, INPUT_MOST = 1 << 20 };

static const uint8_t STORE[16] = "fuzzed part file";
static char dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 16];

static void remove_dir(void) { temp_remove(dir); }

static void put_header(struct buf *body) {
    uint8_t header[HEADER] = "KEELPART";
    header[8] = 1;
    memcpy(header + 16, STORE, sizeof STORE);
    int code = buf_add(body, header, sizeof header);
    K_ASSERT_OP(code, ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint32_t n;
    struct buf body, out;
    struct keel_error err;
    uint64_t digest;
    int fd;
    if (size < 4 || size > INPUT_MOST) return 0;
    memcpy(&n, bytes, 4);
    if (n > size - 4) return 0;
    if (!dir[0]) {
        temp_make(dir);
        snprintf(path, sizeof path, "%s/fuzz.part", dir);
        atexit(remove_dir);
    }
    buf_init(&body, 4 << 20);
    buf_init(&out, 8 << 20);
    put_header(&body);
    int code = buf_add(&body, bytes + 4 + n, size - 4 - n);
    K_ASSERT_OP(code, ==, 0);
    part_file_join(&body, (struct str){(const char *)bytes + 4, n}, NULL, &out);
    code = file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, &err);
    if (code == 0) code = file_write_all(fd, out.p, out.n, path, &err);
    K_ASSERT_OP(code, ==, 0);
    file_close(fd);
    (void)!part_exercise(path, STORE, &digest, NULL, &err);
    buf_release(&body);
    buf_release(&out);
    return 0;
}
