/* password: libxcrypt's bcrypt with the rules of Go's golang.org/x/crypto/bcrypt around it.
 *
 *     $2y$10$<22 letters of salt><31 letters of hash>
 *
 * Go reads no difference into the letter behind the 2; libxcrypt does, so it is always told 'b', the current form. Bytes
 * of a password beyond 72 do not count, as everywhere with bcrypt. */
#include "net/password.h"

#include <crypt.h>
#include <stdio.h>

#include "base/mem.h"

#define HASH_BYTES_MIN     59
#define TAIL_BYTES         53 /* Salt and hash. */
#define PASSWORD_BYTES_MAX 4096
#define COST_MIN           4
#define COST_MAX           31

/* Where the two digits of the cost begin. */
static size_t cost_at(struct str hash)
{
    return hash.ptr[2] == '$' ? 3 : 4;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : -1;
}

static bool cost_read(struct str hash, int *out, struct err *err)
{
    struct str text = str_from(hash.ptr + cost_at(hash), 2);
    int tens = digit(text.ptr[0]), ones = digit(text.ptr[1]);
    bool is_signed = text.ptr[0] == '+' || text.ptr[0] == '-';
    if (ones < 0 || (tens < 0 && !is_signed))
        return err_set(err, ERR_BAD_DATA, "strconv.Atoi: parsing \"" STR_FMT "\": invalid syntax",
                       STR_ARG(text));
    *out = is_signed ? (text.ptr[0] == '-' ? -ones : ones) : tens * 10 + ones;
    if (*out < COST_MIN || *out > COST_MAX)
        return err_set(err, ERR_BAD_DATA, "crypto/bcrypt: cost %d is outside allowed range (%d,%d)",
                       *out, COST_MIN, COST_MAX);
    return true;
}

bool password_hash_check(struct str hash, struct err *err)
{
    int cost;
    if (hash.len < HASH_BYTES_MIN)
        return err_set(err, ERR_BAD_DATA,
                       "crypto/bcrypt: hashedSecret too short to be a bcrypted password");
    if (hash.ptr[0] != '$')
        return err_set(err, ERR_BAD_DATA,
                       "crypto/bcrypt: bcrypt hashes must start with '$', but hashedSecret started "
                       "with '%c'",
                       hash.ptr[0]);
    if (hash.ptr[1] > '2')
        return err_set(err, ERR_BAD_DATA,
                       "crypto/bcrypt: bcrypt algorithm version '%c' requested is newer than "
                       "current version '2'",
                       hash.ptr[1]);
    return cost_read(hash, &cost, err);
}

/* In a time that does not tell where they differ. */
static bool same_bytes(const char *a, const char *b, size_t len)
{
    unsigned differs = 0;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned)(unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}

bool password_matches(struct str hash, struct str password)
{
    struct err err;
    char setting[HASH_BYTES_MIN + 10];
    int cost;
    if (!password_hash_check(hash, &err) || !cost_read(hash, &cost, &err) ||
        password.len > PASSWORD_BYTES_MAX ||
        (password.len > 0 && memchr(password.ptr, '\0', password.len)))
        return false;
    struct str tail = str_after(hash, cost_at(hash) + 3);
    if (tail.len < TAIL_BYTES)
        return false;
    snprintf(setting, sizeof(setting), "$2b$%02d$%.*s", cost, TAIL_BYTES, tail.ptr);
    char *text = str_dup(password);
    struct crypt_data *data = MEM_NEW(struct crypt_data);
    const char *made = crypt_rn(text, setting, data, (int)sizeof(*data));
    bool good =
        made && strlen(made) == strlen(setting) && same_bytes(made, setting, strlen(setting));
    explicit_bzero(text, password.len);
    mem_free(text);
    mem_free(data);
    return good;
}
