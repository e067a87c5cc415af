#include "daemon/model/used.h"
