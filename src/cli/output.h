/* Moved: base/output.h. */
#pragma once
#include "base/output.h"
