#include <openssl/ssl.h>
#include <liburing.h>
#include <vector>
// #include <re2/re2.h> in a comment is not an include
