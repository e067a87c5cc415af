#include "mtls/context.h"
