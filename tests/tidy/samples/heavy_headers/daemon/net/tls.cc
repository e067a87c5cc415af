#include <string>
#include "mtls/context.h"
