// Products of quantized weights and quantized activations: the places where planes differ are counted, 64 columns of
// some rows at a time, and combined with the coefficients once per row.
#include "simd/sums.h"

namespace multibit {
namespace {

// Carry-save adders cost less than counting bits by table, but no less than one instruction that counts them.
constexpr bool kCarrySave = HWY_TARGET != HWY_AVX3_DL;
// Vectors of rows that are counted together: two blocks fill a vector of floats.
constexpr int kMostVectors = kRows == 8 ? 2 : 1;

constexpr int64_t kPrefetchWords = 512;

struct Product {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int64_t first_row, last_row, cols;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  int64_t batch;
  float* out;
  int64_t out_stride;
};

// a ^ (b & c)
HWY_INLINE WordVector XorAnd(WordVector a, WordVector b, WordVector c) {
#if HWY_TARGET == HWY_AVX3
  return WordVector{_mm512_ternarylogic_epi64(a.raw, b.raw, c.raw, 0x78)};
#else
  return hn::Xor(a, hn::And(b, c));
#endif
}

// ---------------------------------------------------------------------------------------------------------------------
// One activation vector

// kV vectors of rows times one activation vector. kW x kA planes are counted at a time; if kAll, these are all. If
// kAhead, rows to come are read ahead.
template <int kW, int kA, int kV, bool kAll, bool kAhead>
HWY_INLINE void VectorProduct(const Product& p, const uint64_t* weights, const float* a, const uint64_t* activations,
                              const float* c, float* y) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  const int64_t words = Words(p.cols);
  const int64_t step = weight_bits * 8;  // from word to word
  const int64_t block = words * step;    // from block to block
  // A matrix is read once, from front to back: the same place in blocks to come, some KB ahead.
  const int64_t ahead = (kPrefetchWords + kV * block - 1) / (kV * block) * (kV * block);
  const RowTag<kV> floats;
  auto sum = hn::Zero(floats);
  for (int i = 0; i < weight_bits; i += kW) {
    for (int j = 0; j < activation_bits; j += kA) {
      BitCounter differ[kW * kA][kV];
      for (int64_t start = 0; start < words;) {
        const int64_t end = words - start < BitCounter::kMostAdded ? words : start + BitCounter::kMostAdded;
        for (int64_t word = start; word < end; ++word) {
          const uint64_t* w = weights + word * step + i * 8;
          WordVector planes[kW][kV];
          for (int q = 0; q < kW; ++q) {
            for (int v = 0; v < kV; ++v) {
              if constexpr (kAhead) __builtin_prefetch(weights + ahead + ((word * kW + q) * kV + v) * 8);
              planes[q][v] = hn::LoadU(kWords, w + v * block + q * 8);
            }
          }
          for (int r = 0; r < kA; ++r) {
            const WordVector d = hn::Set(kWords, activations[word * activation_bits + j + r]);
            for (int q = 0; q < kW; ++q) {
              for (int v = 0; v < kV; ++v) differ[q * kA + r][v].Add(hn::Xor(planes[q][v], d));
            }
          }
        }
        for (auto& rows : differ) {
          for (BitCounter& counter : rows) counter.Flush();
        }
        start = end;
      }
      for (int q = 0; q < kW; ++q) {
        const auto ai = RowCoefficients<kV>(a + (i + q) * 8, weight_bits * 8);
        for (int r = 0; r < kA; ++r) {
          WordVector counts[kV];
          for (int v = 0; v < kV; ++v) counts[v] = differ[q * kA + r][v].Sum();
          AddPlanes<kV>(ai, c[j + r], counts, p.cols, &sum);
        }
      }
    }
  }
  hn::StoreU(sum, floats, y);
}

// The sums y of kCount rows from r on, of vector b; rows past the last are left out.
template <int kCount>
HWY_INLINE void Write(const Product& p, int64_t r, int64_t b, const float* y) {
  float* to = p.out + b * p.out_stride + r;
  const int64_t rows = p.last_row - r;
  if (rows >= kCount) {
    std::memcpy(to, y, kCount * sizeof(float));
  } else {
    for (int64_t i = 0; i < rows; ++i) to[i] = y[i];
  }
}

template <int kV>
struct Vectors {
  static constexpr int kVectors = kV;
};

template <bool kReadAhead>
struct Ahead {
  static constexpr bool kAhead = kReadAhead;
};

// Calls f(Vectors<kV>(), r) for 8 kV rows from r on, till all rows are done.
template <typename Function>
HWY_INLINE void ForEachBlocks(const Product& p, const Function& f) {
  int64_t r = p.first_row;
  if constexpr (kMostVectors == 2) {
    for (; r + 8 < p.last_row; r += 16) f(Vectors<2>(), r);
  }
  for (; r < p.last_row; r += 8) f(Vectors<1>(), r);
}

template <int kW, int kA, bool kAll>
void MultiplyVectors(const Product& p) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  const int64_t words = Words(p.cols);
  ForEachBlocks(p, [&](auto vectors, int64_t r) ALWAYS_INLINE {
    constexpr int kV = decltype(vectors)::kVectors;
    const uint64_t* weights = p.weight_planes + r * words * weight_bits;
    const float* a = p.weight_coefficients + r * weight_bits;
    const auto multiply = [&](auto ahead, int64_t b) ALWAYS_INLINE {
      float y[8 * kV];
      for (int row = 0; row < 8; row += kRows) {
        VectorProduct<kW, kA, kV, kAll, decltype(ahead)::kAhead>(
            p, weights + row, a + row, p.activation_planes + b * words * activation_bits,
            p.activation_coefficients + b * activation_bits, y + row);
      }
      Write<8 * kV>(p, r, b, y);
    };
    if (p.batch > 0) multiply(Ahead<true>(), 0);
    for (int64_t b = 1; b < p.batch; ++b) multiply(Ahead<false>(), b);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Many activation vectors
//
// A word of a weight plane and one of an activation plane differ in w ^ d. Instead of counting the bits of each such
// word, a carry-save adder first adds up three: their sum has the bit s ^ x ^ y, their carry, which counts twice, the
// majority of s, x and y. With s = sw ^ sd, x = xw ^ xd, y = yw ^ yd, of weights and activations,
//   sum   = (sw ^ xw ^ yw) ^ (sd ^ xd ^ yd)
//   carry = maj(sw, xw, yw) ^ maj(sd, xd, yd) ^ (sw ^ yw)(xd ^ yd) ^ (xw ^ yw)(sd ^ yd)
// where everything in parentheses belongs to weights or activations alone and is computed once for all their products;
// and the sum has the form w ^ d itself, to go into the next adder. Two words then cost one popcount instead of two.

// One adder's words of an activation plane. Of a weight plane they are vectors of rows, with first and second swapped.
struct Adder {
  uint64_t majority;  // maj(s, x, y)
  uint64_t first;     // x ^ y
  uint64_t second;    // s ^ y
};

// Past the adders: the sum that is left, and, of an even number of words, the last word.
struct Rest {
  uint64_t parity;
  uint64_t last;
};

constexpr int64_t kMostWords = 64;  // of a row; longer rows are counted word by word
constexpr int64_t kMostAdders = (kMostWords - 1) / 2;
constexpr int64_t kLeastVectors = 4;  // fewer are not worth the preparations
constexpr int64_t kMostVectorsAtATime = 64;
constexpr int64_t kMostActivationBytes = 32 << 10;  // of the vectors multiplied at a time: they stay in the L1 cache

HWY_INLINE int64_t Adders(int64_t words) { return (words - 1) / 2; }

HWY_INLINE uint64_t Majority(uint64_t a, uint64_t b, uint64_t c) { return c ^ ((a ^ c) & (b ^ c)); }

// The activations' side of one vector; adders[(k * tile + t) * kA + j] for adder k, vector t of its tile, plane j.
template <int kA>
void PrepareActivations(const uint64_t* planes, int64_t words, int64_t tile, int64_t t, Adder* adders, Rest* rests) {
  for (int j = 0; j < kA; ++j) {
    uint64_t s = planes[j];
    for (int64_t k = 0; k < Adders(words); ++k) {
      const uint64_t x = planes[(2 * k + 1) * kA + j];
      const uint64_t y = planes[(2 * k + 2) * kA + j];
      adders[(k * tile + t) * kA + j] = {Majority(s, x, y), x ^ y, s ^ y};
      s ^= x ^ y;
    }
    rests[t * kA + j] = {s, words % 2 == 0 ? planes[(words - 1) * kA + j] : 0};
  }
}

// The weights' side of a vector of rows: of adder k, plane i at words [(k * kW + i) * 3 * kRows], of what is left after
// all adders at rests[i * 2 * kRows]. `next` is what to read ahead, as a distance in words.
template <int kW>
HWY_INLINE void PrepareWeights(const uint64_t* weights, int64_t words, int64_t next, uint64_t* adders,
                               uint64_t* rests) {
  for (int i = 0; i < kW; ++i) {
    const uint64_t* w = weights + i * 8;
    WordVector s = hn::LoadU(kWords, w);
    for (int64_t k = 0; k < Adders(words); ++k) {
      __builtin_prefetch(w + (2 * k + 1) * kW * 8 + next);
      __builtin_prefetch(w + (2 * k + 2) * kW * 8 + next);
      const WordVector x = hn::LoadU(kWords, w + (2 * k + 1) * kW * 8);
      const WordVector y = hn::LoadU(kWords, w + (2 * k + 2) * kW * 8);
      const WordVector first = hn::Xor(s, y);
      const WordVector second = hn::Xor(x, y);
      uint64_t* to = adders + (k * kW + i) * 3 * kRows;
      hn::StoreU(XorAnd(y, first, second), kWords, to);
      hn::StoreU(first, kWords, to + kRows);
      hn::StoreU(second, kWords, to + 2 * kRows);
      s = hn::Xor(s, second);
    }
    uint64_t* to = rests + i * 2 * kRows;
    hn::StoreU(s, kWords, to);
    hn::StoreU(words % 2 == 0 ? hn::LoadU(kWords, w + (words - 1) * kW * 8) : hn::Zero(kWords), kWords, to + kRows);
  }
}

// A word in all lanes, in a register: the compiler would read it from memory for each use.
HWY_INLINE WordVector Broadcast(uint64_t word) {
  WordVector all = hn::Set(kWords, word);
#if HWY_TARGET == HWY_AVX3
  asm("" : "+v"(all.raw));
#endif
  return all;
}

// In how many places a vector of rows and each of kTile activation vectors differ: of planes i and j and vector t at
// differ[((t * kW + i) * kA + j) * kRows].
template <int kW, int kA, int kTile>
HWY_INLINE void CountTile(int64_t words, const uint64_t* weights, const uint64_t* weight_rests,
                          const Adder* activations, const Rest* activation_rests, uint64_t* differ) {
  const int64_t adders = Adders(words);
  BitCounter carries[kTile][kA][kW];
  for (int64_t start = 0; start < adders;) {
    const int64_t end = adders - start < BitCounter::kMostAdded ? adders : start + BitCounter::kMostAdded;
    for (int64_t k = start; k < end; ++k) {
      const uint64_t* w = weights + k * kW * 3 * kRows;
#pragma GCC unroll 4
      for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 4
        for (int j = 0; j < kA; ++j) {
          const Adder& adder = activations[(k * kTile + t) * kA + j];
          const WordVector majority = Broadcast(adder.majority);
          const WordVector first = Broadcast(adder.first);
          const WordVector second = Broadcast(adder.second);
#pragma GCC unroll 4
          for (int i = 0; i < kW; ++i) {
            const uint64_t* from = w + i * 3 * kRows;
            const WordVector one = XorAnd(hn::LoadU(kWords, from), hn::LoadU(kWords, from + kRows), first);
            const WordVector other = XorAnd(majority, hn::LoadU(kWords, from + 2 * kRows), second);
            carries[t][j][i].Add(hn::Xor(one, other));
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 4
      for (int j = 0; j < kA; ++j) {
#pragma GCC unroll 4
        for (int i = 0; i < kW; ++i) carries[t][j][i].Flush();
      }
    }
    start = end;
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTile; ++t) {
#pragma GCC unroll 4
    for (int j = 0; j < kA; ++j) {
      const Rest& rest = activation_rests[t * kA + j];
#pragma GCC unroll 4
      for (int i = 0; i < kW; ++i) {
        BitCounter& counter = carries[t][j][i];
        const uint64_t* from = weight_rests + i * 2 * kRows;
        counter.Double();
        counter.Add(hn::Xor(hn::LoadU(kWords, from), hn::Set(kWords, rest.parity)));
        if (words % 2 == 0) counter.Add(hn::Xor(hn::LoadU(kWords, from + kRows), hn::Set(kWords, rest.last)));
        counter.Flush();
        hn::StoreU(counter.Sum(), kWords, differ + ((t * kW + i) * kA + j) * kRows);
      }
    }
  }
}

// Vectors multiplied side by side: as many as there are registers for their counters.
template <int kW, int kA>
constexpr int Tile() {
  constexpr int kFit = (HWY_TARGET == HWY_AVX3 ? 16 : 6) / (kW * kA);
  return kFit >= 4 ? 4 : kFit >= 2 ? 2 : 1;
}

// The first `count` vectors with all rows; count is a multiple of kTile, and what they need fits kMostActivationBytes.
template <int kW, int kA, int kTile>
void MultiplyTiles(const Product& p, int64_t count) {
  const int64_t words = Words(p.cols);
  const int64_t adders = Adders(words);
  alignas(64) Adder activations[kMostActivationBytes / sizeof(Adder)];
  Rest activation_rests[kMostVectorsAtATime * kA];
  for (int64_t t = 0; t < count; ++t) {
    PrepareActivations<kA>(p.activation_planes + t * words * kA, words, kTile, t % kTile,
                           activations + t / kTile * kTile * adders * kA, activation_rests + t / kTile * kTile * kA);
  }
  alignas(64) uint64_t weights[kMostVectors][kMostAdders * kW * 3 * kRows];
  alignas(64) uint64_t weight_rests[kMostVectors][kW * 2 * kRows];
  ForEachBlocks(p, [&](auto vectors, int64_t r) ALWAYS_INLINE {
    constexpr int kV = decltype(vectors)::kVectors;
    const RowTag<kV> floats;
    const int64_t block = words * kW * 8;
    for (int row = 0; row < 8; row += kRows) {
      for (int v = 0; v < kV; ++v) {
        PrepareWeights<kW>(p.weight_planes + r * words * kW + v * block + row, words, kV * block, weights[v],
                           weight_rests[v]);
      }
      for (int64_t t = 0; t < count; t += kTile) {
        alignas(64) uint64_t differ[kV][kTile * kW * kA * kRows];
        for (int v = 0; v < kV; ++v) {
          CountTile<kW, kA, kTile>(words, weights[v], weight_rests[v], activations + t * adders * kA,
                                   activation_rests + t * kA, differ[v]);
        }
        for (int q = 0; q < kTile; ++q) {
          const float* c = p.activation_coefficients + (t + q) * kA;
          auto sum = hn::Zero(floats);
          for (int i = 0; i < kW; ++i) {
            const auto ai = RowCoefficients<kV>(p.weight_coefficients + (r * kW + i * 8) + row, kW * 8);
            for (int j = 0; j < kA; ++j) {
              WordVector counts[kV];
              for (int v = 0; v < kV; ++v) {
                counts[v] = hn::LoadU(kWords, differ[v] + ((q * kW + i) * kA + j) * kRows);
              }
              AddPlanes<kV>(ai, c[j], counts, p.cols, &sum);
            }
          }
          float y[kV * kRows];
          hn::StoreU(sum, floats, y);
          Write<kV * kRows>(p, r + row, t + q, y);
        }
      }
    }
  });
}

// The rows' products with all vectors: many with carry-save adders; few, and what remains, word by word.
template <int kW, int kA>
void Multiply(const Product& p) {
  const int64_t words = Words(p.cols);
  Product rest = p;
  if constexpr (kCarrySave) {
    constexpr int kTile = Tile<kW, kA>();
    const int64_t bytes = Adders(words) * kA * static_cast<int64_t>(sizeof(Adder));  // of one vector
    const int64_t fit = bytes * kMostVectorsAtATime <= kMostActivationBytes
                            ? kMostVectorsAtATime
                            : kMostActivationBytes / bytes / kTile * kTile;
    if (words > kMostWords || p.batch < kLeastVectors) return MultiplyVectors<kW, kA, true>(p);
    while (rest.batch >= kTile) {
      const int64_t count = rest.batch < fit ? rest.batch / kTile * kTile : fit;
      MultiplyTiles<kW, kA, kTile>(rest, count);
      rest.activation_planes += count * words * kA;
      rest.activation_coefficients += count * kA;
      rest.out += count * p.out_stride;
      rest.batch -= count;
    }
  }
  MultiplyVectors<kW, kA, true>(rest);
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void PackedGemm(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
                int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
                int activation_bits, int64_t batch, float* out, int64_t out_stride) {
  constexpr void (*kMultiply[4][4])(const Product&) = {
      {Multiply<1, 1>, Multiply<1, 2>, Multiply<1, 3>, Multiply<1, 4>},
      {Multiply<2, 1>, Multiply<2, 2>, Multiply<2, 3>, Multiply<2, 4>},
      {Multiply<3, 1>, Multiply<3, 2>, Multiply<3, 3>, Multiply<3, 4>},
      {Multiply<4, 1>, Multiply<4, 2>, Multiply<4, 3>, Multiply<4, 4>}};
  const Product product = {weight_planes,     weight_coefficients,     first_row,       last_row, cols, weight_bits,
                           activation_planes, activation_coefficients, activation_bits, batch,    out,  out_stride};
  if (weight_bits <= 4 && activation_bits <= 4) {
    kMultiply[weight_bits - 1][activation_bits - 1](product);
  } else {
    MultiplyVectors<1, 1, false>(product);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit
