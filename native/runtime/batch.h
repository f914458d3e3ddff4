// Streams through one model, a step of all of them at a time: the weights are read once per step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model.h"

namespace multibit {

// Streams of a batch, ascending.
struct Streams {
  const int32_t* list;
  int64_t count;

  // Whether they lie side by side in arrays of all streams.
  bool Adjacent() const { return list[count - 1] - list[0] == count - 1; }
};

// Room that products need, shared by all products of a batch.
struct Workspace {
  std::vector<float> quantize_scratch;
  // Of streams that are not adjacent, side by side.
  std::vector<uint64_t> planes;
  std::vector<float> coefficients;
  std::vector<float> values;
};

// Vectors that products read, one for each stream: their floats, and their codes at each number of bits that a product
// asks for. Codes are made when first asked for after the floats changed, so that products with equal bits share them.
class Activations {
 public:
  Activations(int64_t streams, int64_t size);

  // Makes room for what a product with this matrix needs.
  void Reserve(const Kernels& kernels, const Matrix& matrix, Workspace* work);

  // The floats of a stream, to be written: its codes are no longer current.
  float* Change(int64_t stream);
  // A stream becomes a row of the embedding: its floats, or its codes as they lie there.
  void Embed(const Kernels& kernels, const Matrix& embedding, int64_t stream, int32_t token);
  // A stream becomes one of other activations of this size.
  void Copy(int64_t stream, const Activations& others, int64_t other);
  // out[i * matrix.rows + r] = row r of the matrix times the i-th of the streams + bias[r]; null adds nothing. Returns
  // whether all sums with a bias are finite. Throws an Error if the floats cannot be quantized.
  bool Multiply(const Model& model, const Matrix& matrix, const float* bias, Streams streams, Workspace* work,
                float* out);

 private:
  struct Codes {
    int bits;
    std::vector<uint8_t> current;  // per stream
    std::vector<uint64_t> planes;
    std::vector<float> coefficients;
    std::vector<float> values;  // for full-precision matrices, else empty
  };

  Codes* Find(int bits);
  void Quantize(const Model& model, Codes* codes, Streams streams, void* scratch) const;

  int64_t streams_;
  int64_t size_;
  int64_t words_;
  std::vector<float> values_;
  std::vector<Codes> codes_;
};

// out[i * classes + c] = the logits of the i-th of the streams. Throws an Error if they are not finite.
void ComputeLogits(const Model& model, Activations* hidden, Streams streams, Workspace* work, float* out);

class Batch {
 public:
  static constexpr int32_t kMaxStreams = 4096;
  static constexpr int32_t kIdle = -1;

  // 1..kMaxStreams streams with zero state.
  Batch(const Model& model, int32_t streams);

  void Reset();
  // Throws an Error if there is no such stream.
  void Reset(int32_t stream);
  // One token for each stream, or kIdle: the stream stays as it is.
  void Step(const int32_t* tokens);
  // One vector of finite floats for each stream, [streams, input size].
  void Step(const float* vectors);
  // [streams, classes]: the rows of the streams that the last step fed; the others hold anything. Valid until the next
  // call. Throws an Error if none was fed.
  const float* Logits();
  // The same, to [streams, V].
  void WriteLogits(float* out);

  const Model& model() const { return model_; }
  // h of the last layer.
  const Activations& hidden() const { return hidden_.back(); }

 private:
  // The layers, for the streams to be fed, whose input is there.
  void StepLayers();
  // From the products, the i-th of the fed streams, to the states of a layer.
  void Advance(size_t layer, int64_t i);
  Streams Fed() const { return {fed_.data(), static_cast<int64_t>(fed_.size())}; }

  const Model& model_;
  int32_t streams_;
  Activations input_;
  std::vector<Activations> hidden_;        // h of each layer
  std::vector<std::vector<float>> state_;  // c of each layer, [streams, H]; of a GRU not used
  std::vector<float> input_product_;       // [streams, GH]
  std::vector<float> recurrent_product_;   // [streams, GH]
  std::vector<float> logits_;              // [streams, classes]
  std::vector<int32_t> fed_;               // the streams that the last step fed
  bool logits_current_ = false;
  Workspace work_;
};

}  // namespace multibit
