/* .NET 3.1 looks for OpenSSL 1.1, and Debian has 3. Three of the names that it needs are others there; every other name and the
 * way they are called is the same. For tests only: a .NET of today knows OpenSSL 3. */

#include <stddef.h>

int EVP_MD_get_size(const void *digest);
void *SSL_get1_peer_certificate(const void *ssl);
void ERR_new(void);
void ERR_set_debug(const char *file, int line, const char *function);
void ERR_set_error(int library, int reason, const char *format, ...);

int EVP_MD_size(const void *digest) { return EVP_MD_get_size(digest); }

void *SSL_get_peer_certificate(const void *ssl) { return SSL_get1_peer_certificate(ssl); }

void ERR_put_error(int library, int function, int reason, const char *file, int line)
{
    (void)function;
    ERR_new();
    ERR_set_debug(file, line, NULL);
    ERR_set_error(library, reason, NULL);
}
