/* http_auth: who a request says that it is. Files with secrets are read each time: they change while
 * the configuration stays. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "config.h"

#define SECRET_BYTES_MAX 65536

static bool file_read_secret(struct str path, const char *what, struct arena *arena,
                             struct str *out, struct err *err)
{
    struct str name = arena_str(arena, path);
    char *bytes = arena_alloc(arena, SECRET_BYTES_MAX);
    size_t len = 0;
    ssize_t got = 1;

    /* Without waiting: the name may be that of a pipe to which nobody writes. */
    int fd = open(name.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, ERR_IO, "unable to read %s: open %s: %s", what, name.ptr,
                       strerror(errno));
    while (got > 0 && len < SECRET_BYTES_MAX) {
        got = read(fd, bytes + len, SECRET_BYTES_MAX - len);
        len += got > 0 ? (size_t)got : 0;
    }
    int saved = errno;
    (void)close(fd);
    if (got < 0)
        return err_set(err, ERR_IO, "unable to read %s: read %s: %s", what, name.ptr,
                       strerror(saved));
    *out = str_trim(str_from(bytes, len));
    return true;
}

static bool secret_get(struct str text, struct str file, const char *what, struct arena *arena,
                       struct str *out, struct err *err)
{
    *out = text;
    return file.len == 0 || file_read_secret(file, what, arena, out, err);
}

bool config_http_auth_read(struct config_http_auth *out, const struct config_http_client *http,
                           struct arena *arena, struct err *err)
{
    struct str secret;

    *out = (struct config_http_auth){0};
    if (!secret_get(http->basic_user, http->basic_user_file, "basic auth username", arena,
                    &out->user, err) ||
        !secret_get(http->basic_password, http->basic_password_file, "basic auth password", arena,
                    &out->password, err) ||
        !secret_get(http->credentials, http->credentials_file, "authorization credentials", arena,
                    &secret, err))
        return false;
    if (secret.len == 0)
        return true;
    if (http->authorization_type.len == 0 || str_eq_nocase(http->authorization_type, STR("Bearer")))
        out->bearer_token = secret;
    else
        out->header = arena_strf(arena, "Authorization: " STR_FMT " " STR_FMT,
                                 STR_ARG(http->authorization_type), STR_ARG(secret));
    return true;
}
