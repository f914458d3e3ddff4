// The table of one tier.
#include "tier.h"

namespace multibit {

extern const Kernels MULTIBIT_KERNELS;
const Kernels MULTIBIT_KERNELS = {
    .name = MULTIBIT_TIER,
#define KERNEL(result, Name, ...) .Name = MULTIBIT_TIER_SPACE::Name,
#include "kernel_list.h"
};

}  // namespace multibit
