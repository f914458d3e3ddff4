#include "batch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "error.h"
#include "multibit.h"

namespace multibit {
namespace {

constexpr int64_t kLanes = 8;

// No more rows than fit the L2 cache are multiplied with one stream's floats after another, so that the next finds them
// there. No smaller blocks of planes: each makes its tables anew.
constexpr int64_t kCachedBytes = 128 << 10;

// Rows whose sums for one stream are still in the L1 cache when the bias is added.
constexpr int64_t kCachedSums = 2048;

// The least that a part of a product takes, by the estimate below. Measured with two threads: steps of a model of
// 20,000 words and 300 hidden units take 0.65 of their time, of 10,000 words none is gained.
constexpr int64_t kLeastNanoseconds = 20000;
// More parts than threads: who comes late, or is interrupted, takes fewer.
constexpr int64_t kPartsPerThread = 4;

int64_t Words(int64_t cols) { return (cols + 63) / 64; }

// Roughly how long a product takes, for `count` vectors.
int64_t Nanoseconds(const Matrix& matrix, int64_t count) {
  const int64_t bits = static_cast<int64_t>(matrix.weight_bits) * matrix.activation_bits;
  const int64_t per_row = bits > 0                 ? Words(matrix.cols) * bits / 8
                          : matrix.weight_bits > 0 ? Words(matrix.cols) * matrix.weight_bits / 3
                                                   : matrix.cols / 8;
  return matrix.rows * (per_row + 1) * count;
}

// Calls task(first, last) for parts of the matrix's rows that make up all, by several threads where that gains.
template <typename Task>
void ForRows(const Model& model, const Matrix& matrix, int64_t count, const Task& task) {
  const int64_t threads = model.pool.threads();
  const int64_t blocks = (matrix.rows + kLanes - 1) / kLanes;
  const int64_t parts =
      threads == 1 ? 1 : std::min({threads * kPartsPerThread, Nanoseconds(matrix, count) / kLeastNanoseconds, blocks});
  if (parts < 2) {
    task(int64_t{0}, matrix.rows);
    return;
  }
  model.pool.Run(static_cast<int>(parts), [&](int part) {
    task(part * blocks / parts * kLanes, std::min(matrix.rows, (part + 1) * blocks / parts * kLanes));
  });
}

int32_t CheckedStreams(int32_t streams) {
  if (streams < 1 || streams > Batch::kMaxStreams) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "A batch has 1 to %d streams, not %d", Batch::kMaxStreams, streams);
  }
  return streams;
}

}  // namespace

Activations::Activations(int64_t streams, int64_t size)
    : streams_(streams), size_(size), words_(Words(size)), values_(static_cast<size_t>(streams * size)) {}

void Activations::Reserve(const Kernels& kernels, const Matrix& matrix, Workspace* work) {
  if (matrix.weight_bits == 0 && streams_ > 1 && work->values.size() < values_.size()) {
    work->values.resize(values_.size());
  }
  const int bits = matrix.activation_bits;
  if (bits == 0) return;
  Codes* codes = Find(bits);
  if (codes == nullptr) codes = &codes_.emplace_back(Codes{bits, {}, {}, {}, {}});
  codes->current.resize(streams_);
  codes->planes.resize(streams_ * words_ * bits);
  codes->coefficients.resize(streams_ * bits);
  if (matrix.weight_bits == 0) codes->values.resize(values_.size());
  const size_t scratch = (kernels.QuantizeScratch(size_, bits) + sizeof(float) - 1) / sizeof(float);
  if (work->quantize_scratch.size() < scratch) work->quantize_scratch.resize(scratch);
  if (streams_ == 1) return;
  if (work->planes.size() < codes->planes.size()) work->planes.resize(codes->planes.size());
  if (work->coefficients.size() < codes->coefficients.size()) work->coefficients.resize(codes->coefficients.size());
}

Activations::Codes* Activations::Find(int bits) {
  const auto found = std::find_if(codes_.begin(), codes_.end(), [&](const Codes& codes) { return codes.bits == bits; });
  return found == codes_.end() ? nullptr : &*found;
}

float* Activations::Change(int64_t stream) {
  for (Codes& codes : codes_) codes.current[stream] = false;
  return values_.data() + stream * size_;
}

void Activations::Embed(const Kernels& kernels, const Matrix& embedding, int64_t stream, int32_t token) {
  float* values = Change(stream);
  const int bits = embedding.weight_bits;
  if (bits == 0) {
    std::copy_n(embedding.weights + token * size_, size_, values);
    return;
  }
  const int64_t block = token / kLanes;
  const int64_t lane = token % kLanes;
  Codes& codes = *Find(bits);
  uint64_t* planes = codes.planes.data() + stream * words_ * bits;
  const uint64_t* from = embedding.planes + block * words_ * bits * kLanes + lane;
  for (int64_t i = 0; i < words_ * bits; ++i) planes[i] = from[i * kLanes];
  float* coefficients = codes.coefficients.data() + stream * bits;
  const float* from_coefficients = embedding.coefficients + block * bits * kLanes + lane;
  for (int i = 0; i < bits; ++i) coefficients[i] = from_coefficients[i * kLanes];
  if (!codes.values.empty()) {
    kernels.Dequantize(planes, coefficients, 0, 1, size_, bits, 1, codes.values.data() + stream * size_);
  }
  codes.current[stream] = true;
}

void Activations::Copy(int64_t stream, const Activations& others, int64_t other) {
  std::copy_n(others.values_.data() + other * size_, size_, Change(stream));
  for (const Codes& from : others.codes_) {
    Codes* to = Find(from.bits);
    if (to == nullptr || !from.current[other] || (from.values.empty() && !to->values.empty())) continue;
    std::copy_n(from.planes.data() + other * words_ * from.bits, words_ * from.bits,
                to->planes.data() + stream * words_ * from.bits);
    std::copy_n(from.coefficients.data() + other * from.bits, from.bits, to->coefficients.data() + stream * from.bits);
    if (!to->values.empty()) {
      std::copy_n(from.values.data() + other * size_, size_, to->values.data() + stream * size_);
    }
    to->current[stream] = true;
  }
}

void Activations::Quantize(const Model& model, Codes* codes, Streams streams, void* scratch) const {
  const Kernels& kernels = *model.kernels;
  const int bits = codes->bits;
  for (int64_t i = 0; i < streams.count; ++i) {
    const int64_t stream = streams.list[i];
    if (codes->current[stream]) continue;
    uint64_t* planes = codes->planes.data() + stream * words_ * bits;
    float* coefficients = codes->coefficients.data() + stream * bits;
    if (kernels.Quantize(model.quantizer, values_.data() + stream * size_, 1, size_, 0, 1, bits, 1, planes,
                         coefficients, scratch) >= 0) {
      Fail(MULTIBIT_ERROR_FORMAT, "The hidden state is not finite: the model's values are too large");
    }
    if (!codes->values.empty()) {
      kernels.Dequantize(planes, coefficients, 0, 1, size_, bits, 1, codes->values.data() + stream * size_);
    }
    codes->current[stream] = true;
  }
}

bool Activations::Multiply(const Model& model, const Matrix& matrix, const float* bias, Streams streams,
                           Workspace* work, float* out) {
  const Kernels& kernels = *model.kernels;
  const int bits = matrix.activation_bits;
  Codes* codes = nullptr;
  if (bits > 0) {
    codes = Find(bits);
    Quantize(model, codes, streams, work->quantize_scratch.data());
  }
  std::atomic<bool> finite{true};
  const auto add_bias = [&](int64_t first, int64_t last) {
    for (int64_t i = 0; bias != nullptr && i < streams.count; ++i) {
      if (!kernels.Add(bias + first, last - first, out + i * matrix.rows + first)) finite = false;
    }
  };
  const auto cached_rows = [&](int64_t row_bytes) {
    return streams.count == 1 ? matrix.rows : std::max(kLanes, kCachedBytes / row_bytes / kLanes * kLanes);
  };
  if (matrix.weight_bits == 0) {
    const float* x = (codes == nullptr ? values_.data() : codes->values.data()) + streams.list[0] * size_;
    if (!streams.Adjacent()) {
      for (int64_t i = 0; i < streams.count; ++i) {
        std::copy_n(x + (streams.list[i] - streams.list[0]) * size_, size_, work->values.data() + i * size_);
      }
      x = work->values.data();
    }
    const int64_t cached = cached_rows(size_ * static_cast<int64_t>(sizeof(float)));
    ForRows(model, matrix, streams.count, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; row += cached) {
        const int64_t end = std::min(last, row + cached);
        kernels.GemmRows(matrix.weights, row, end, size_, x, streams.count, out, matrix.rows);
        add_bias(row, end);
      }
    });
    return finite;
  }
  if (bits == 0) {
    const int64_t cached = cached_rows(words_ * matrix.weight_bits * 8);
    ForRows(model, matrix, streams.count, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; row += cached) {
        const int64_t end = std::min(last, row + cached);
        for (int64_t i = 0; i < streams.count; ++i) {
          kernels.PackedGemvFloat(matrix.planes, matrix.coefficients, row, end, size_, matrix.weight_bits,
                                  values_.data() + streams.list[i] * size_, out + i * matrix.rows);
        }
        add_bias(row, end);
      }
    });
    return finite;
  }
  const int64_t plane_words = words_ * bits;
  const uint64_t* planes = codes->planes.data() + streams.list[0] * plane_words;
  const float* coefficients = codes->coefficients.data() + streams.list[0] * bits;
  if (!streams.Adjacent()) {
    for (int64_t i = 0; i < streams.count; ++i) {
      const int64_t stream = streams.list[i];
      std::copy_n(codes->planes.data() + stream * plane_words, plane_words, work->planes.data() + i * plane_words);
      std::copy_n(codes->coefficients.data() + stream * bits, bits, work->coefficients.data() + i * bits);
    }
    planes = work->planes.data();
    coefficients = work->coefficients.data();
  }
  ForRows(model, matrix, streams.count, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row += kCachedSums) {
      const int64_t end = std::min(last, row + kCachedSums);
      kernels.PackedGemm(matrix.planes, matrix.coefficients, row, end, size_, matrix.weight_bits, planes, coefficients,
                         bits, streams.count, out, matrix.rows);
      add_bias(row, end);
    }
  });
  return finite;
}

void ComputeLogits(const Model& model, Activations* hidden, Streams streams, Workspace* work, float* out) {
  // What no trained model has is refused here, so that neither losses nor draws have to deal with it.
  const bool finite = hidden->Multiply(model, model.softmax, model.softmax_bias, streams, work, out);
  if (!finite) Fail(MULTIBIT_ERROR_FORMAT, "The logits are not finite: the model's values are too large");
}

Batch::Batch(const Model& model, int32_t streams)
    : model_(model),
      streams_(CheckedStreams(streams)),
      input_(streams, model.input_size),
      input_product_(static_cast<size_t>(streams) * model.Kind().gates * model.hidden_size),
      recurrent_product_(input_product_.size()),
      logits_(static_cast<size_t>(streams) * model.classes) {
  Activations* x = &input_;
  hidden_.reserve(model.layers.size());
  for (const Layer& layer : model.layers) {
    x->Reserve(*model.kernels, layer.input, &work_);
    x = &hidden_.emplace_back(streams, model.hidden_size);
    x->Reserve(*model.kernels, layer.recurrent, &work_);
    state_.emplace_back(static_cast<size_t>(streams) * model.hidden_size);
  }
  x->Reserve(*model.kernels, model.softmax, &work_);
  fed_.reserve(streams);
}

void Batch::Reset() {
  fed_.clear();
  for (int32_t stream = 0; stream < streams_; ++stream) Reset(stream);
}

void Batch::Reset(int32_t stream) {
  if (stream < 0 || stream >= streams_) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "There is no stream %d in a batch of %d", stream, streams_);
  }
  const int64_t size = model_.hidden_size;
  for (Activations& h : hidden_) std::fill_n(h.Change(stream), size, 0.0f);
  for (std::vector<float>& c : state_) std::fill_n(c.data() + stream * size, size, 0.0f);
  fed_.erase(std::remove(fed_.begin(), fed_.end(), stream), fed_.end());
}

void Batch::Step(const int32_t* tokens) {
  for (int32_t stream = 0; stream < streams_; ++stream) {
    if (tokens[stream] != kIdle) model_.CheckToken(tokens[stream]);
  }
  fed_.clear();
  for (int32_t stream = 0; stream < streams_; ++stream) {
    if (tokens[stream] != kIdle) fed_.push_back(stream);
  }
  for (const int32_t stream : fed_) input_.Embed(*model_.kernels, model_.embedding, stream, tokens[stream]);
  StepLayers();
}

void Batch::Step(const float* vectors) {
  fed_.resize(streams_);
  std::iota(fed_.begin(), fed_.end(), 0);
  const int64_t size = model_.input_size;
  for (const int32_t stream : fed_) std::copy_n(vectors + stream * size, size, input_.Change(stream));
  StepLayers();
}

void Batch::StepLayers() {
  logits_current_ = false;
  if (fed_.empty()) return;
  try {
    const Streams streams = Fed();
    Activations* x = &input_;
    for (size_t l = 0; l < model_.layers.size(); ++l) {
      const Layer& layer = model_.layers[l];
      Activations& h = hidden_[l];
      x->Multiply(model_, layer.input, nullptr, streams, &work_, input_product_.data());
      h.Multiply(model_, layer.recurrent, nullptr, streams, &work_, recurrent_product_.data());
      for (int64_t i = 0; i < streams.count; ++i) Advance(l, i);
      x = &h;
    }
  } catch (...) {
    fed_.clear();
    throw;
  }
}

void Batch::Advance(size_t layer, int64_t i) {
  const Kernels& kernels = *model_.kernels;
  const Layer& weights = model_.layers[layer];
  const int64_t size = model_.hidden_size;
  const int64_t sums = model_.Kind().gates * size;
  float* from_input = input_product_.data() + i * sums;
  float* from_state = recurrent_product_.data() + i * sums;
  const int64_t stream = fed_[i];
  float* h = hidden_[layer].Change(stream);
  // In the order of the layers that trained the model: their sums are these, to the bit.
  kernels.Add(weights.bias, sums, from_input);
  if (model_.Kind().separate_sums) kernels.Add(weights.recurrent_bias, sums, from_state);
  KernelsOf(kernels, model_.cell).step(from_input, from_state, size, state_[layer].data() + stream * size, h);
}

const float* Batch::Logits() {
  if (fed_.empty()) Fail(MULTIBIT_ERROR_ARGUMENT, "There are no logits yet: feed a step first");
  if (!logits_current_) {
    WriteLogits(logits_.data());
    logits_current_ = true;
  }
  return logits_.data();
}

void Batch::WriteLogits(float* out) {
  if (fed_.empty()) Fail(MULTIBIT_ERROR_ARGUMENT, "There are no logits yet: feed a step first");
  if (logits_current_) {
    std::copy(logits_.begin(), logits_.end(), out);
    return;
  }
  ComputeLogits(model_, &hidden_.back(), Fed(), &work_, out);
  // To their places, from the last to the first: a place never lies before what goes there.
  const int64_t size = model_.classes;
  for (int64_t i = Fed().count - 1; i >= 0 && fed_[i] != i; --i) {
    std::copy_n(out + i * size, size, out + fed_[i] * size);
  }
}

}  // namespace multibit
