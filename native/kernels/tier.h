// The functions of one tier, MULTIBIT_TIER_SPACE; kernel_list.h describes them.
#pragma once

#include "kernels.h"

namespace multibit {
namespace MULTIBIT_TIER_SPACE {

#define KERNEL(result, Name, ...) result Name(__VA_ARGS__);
#include "kernel_list.h"

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit
