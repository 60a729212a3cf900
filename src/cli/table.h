/* Moved: base/table.h. */
#pragma once
#include "base/table.h"
