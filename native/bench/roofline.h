// What bounds a product of quantized matrices in one thread: reading the weights and counting bits.
#pragma once

#include <cstdint>

namespace multibit {

// The two, as a tier can do them at best.
struct Roofline {
  const char* isa;
  // Reads so many words.
  uint64_t (*ReadWords)(const uint64_t* words, int64_t count);
  // Counts the bits of so many words that are in registers or the nearest cache.
  uint64_t (*CountBits)(int64_t words);
};

}  // namespace multibit
