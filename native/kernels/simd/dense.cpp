// Products of full-precision matrices. They run in the caller's threads, so that no BLAS threads wait for work on the
// cores meanwhile, and on weights in panels, which BLAS would lay out anew for each time step.
#include "simd/vectors.h"

namespace multibit {
namespace {

constexpr int kVectors = 2;                        // vectors of a tile's row
constexpr int kWidth = kVectors * kFloatLanes;     // columns of a tile
constexpr int kRows = kFloatLanes == 16 ? 12 : 6;  // rows of a tile: as many as have their sums in registers
constexpr int64_t kMostInner = 320;                // a tile's operands stay in the first-level cache
constexpr int64_t kMostCols = 512;                 // those of a row of tiles in the second-level cache
constexpr int64_t kMostRows = 576;                 // rows that share what was loaded of b
constexpr int64_t kCopiedRows = 96;                // where a lies by columns, of which this many are copied at a time

// Where the operands of some tiles lie; b's first column is a tile's.
struct Operands {
  const float* a;
  int64_t a_row, a_inner;
  const float* b;
  int64_t b_inner, inner;
};

struct Target {
  float* c;
  int64_t row, cols;  // stride; columns, up to kWidth
  float alpha;
  const float* start;  // what the sums are added to; null = nothing
  int64_t start_row;   // its stride; 0 = one row for all
};

template <int kCount, int kWide>
HWY_INLINE void Tile(const Operands& o, const Target& t) {
  Floats sums[kCount][kWide];
  for (int r = 0; r < kCount; ++r) {
    for (int v = 0; v < kWide; ++v) sums[r][v] = hn::Zero(kFloats);
  }
  for (int r = 0; r < kCount; ++r) {
    for (int v = 0; v < kWide; ++v) __builtin_prefetch(t.c + r * t.row + v * kFloatLanes, 1);
  }
  const float* a = o.a;
  const float* b = o.b;
  const int64_t a_row = o.a_row, a_inner = o.a_inner, b_inner = o.b_inner;
  for (int64_t k = 0; k < o.inner; ++k, a += a_inner, b += b_inner) {
    Floats row[kWide];
    for (int v = 0; v < kWide; ++v) row[v] = hn::LoadU(kFloats, b + v * kFloatLanes);
    for (int r = 0; r < kCount; ++r) {
      const Floats x = hn::Set(kFloats, a[r * a_row]);
      for (int v = 0; v < kWide; ++v) sums[r][v] = hn::MulAdd(x, row[v], sums[r][v]);
    }
  }
  const Floats alpha = hn::Set(kFloats, t.alpha);
  for (int r = 0; r < kCount; ++r) {
    for (int v = 0; v < kWide; ++v) {
      float* c = t.c + r * t.row + v * kFloatLanes;
      const int64_t left = t.cols - v * kFloatLanes;
      if (left <= 0) continue;
      const Floats sum = hn::Mul(sums[r][v], alpha);
      StoreUpTo(t.start ? hn::Add(LoadUpTo(t.start + r * t.start_row + v * kFloatLanes, left, 0), sum) : sum, c, left);
    }
  }
}

template <int kCount>
void Tiles(const Operands& o, const Target& t) {
  if (t.cols > kFloatLanes) {
    Tile<kCount, kVectors>(o, t);
  } else {
    Tile<kCount, 1>(o, t);
  }
}

using TileFunction = void (*)(const Operands&, const Target&);
constexpr TileFunction kTiles[] = {Tiles<1>,  Tiles<2>, Tiles<3>, Tiles<4>,
                                   Tiles<5>,  Tiles<6>,
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
                                   Tiles<7>,  Tiles<8>, Tiles<9>, Tiles<10>,
                                   Tiles<11>, Tiles<12>
#endif
};

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void Gemm(const GemmArgs& p, int64_t first_row, int64_t last_row) {
  const int64_t blocks = (p.inner + kMostInner - 1) / kMostInner;
  alignas(64) float last_columns[kMostInner * kWidth];
  alignas(64) float a_rows[kMostInner * kCopiedRows];
  const int64_t most_rows = p.a_inner == 1 ? kMostRows : kCopiedRows;
  for (int64_t from_col = 0; from_col < p.cols; from_col += kMostCols) {
    const int64_t to_col = p.cols - from_col < kMostCols ? p.cols : from_col + kMostCols;
    for (int64_t from_row = first_row; from_row < last_row; from_row += most_rows) {
      const int64_t rows = last_row - from_row < most_rows ? last_row - from_row : most_rows;
      const int64_t groups = (rows + kRows - 1) / kRows;
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t k0 = block * p.inner / blocks;
        const int64_t k1 = (block + 1) * p.inner / blocks;
        const auto b_at = [&](int64_t col) {
          return p.b + k0 * p.b_inner + col / kPanelColumns * p.b_panel + col % kPanelColumns;
        };
        // A tile reads whole vectors: the last columns are filled up.
        const int64_t tail = (to_col - from_col) % kWidth;
        if (tail > 0) {
          for (int64_t k = k0; k < k1; ++k) {
            float* row = last_columns + (k - k0) * kWidth;
            std::memset(row, 0, kWidth * sizeof(float));
            std::memcpy(row, b_at(to_col - tail) + (k - k0) * p.b_inner, tail * sizeof(float));
          }
        }
        // Columns far apart would be looked up anew for every group.
        for (int64_t k = k0; k < k1 && p.a_inner != 1; ++k) {
          std::memcpy(a_rows + (k - k0) * kCopiedRows, p.a + from_row + k * p.a_inner, rows * sizeof(float));
        }
        for (int64_t group = 0; group < groups; ++group) {
          const int64_t row = from_row + group * rows / groups;
          const int count = static_cast<int>(from_row + (group + 1) * rows / groups - row);
          Operands o = {p.a + row * p.a_row + k0 * p.a_inner, p.a_row, p.a_inner, nullptr, p.b_inner, k1 - k0};
          if (p.a_inner != 1) {
            o.a = a_rows + (row - from_row);
            o.a_row = 1;
            o.a_inner = kCopiedRows;
          }
          for (int64_t col = from_col; col < to_col; col += kWidth) {
            const bool last = to_col - col < kWidth;
            o.b = last ? last_columns : b_at(col);
            o.b_inner = last ? kWidth : p.b_inner;
            Target t = {p.c + row * p.c_row + col, p.c_row, last ? tail : kWidth, p.alpha, nullptr, 0};
            if (p.add || block > 0) {
              t.start = t.c;
              t.start_row = p.c_row;
            } else if (p.bias) {
              t.start = p.bias + col;
            }
            kTiles[count - 1](o, t);
          }
        }
      }
    }
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit
