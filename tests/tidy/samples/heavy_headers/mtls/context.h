#include "mtls/handles.h"
