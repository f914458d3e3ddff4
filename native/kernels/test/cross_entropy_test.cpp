#include "cross_entropy.h"

#include <algorithm>
#include <optional>

#include "prepack.h"
#include "support.h"

namespace multibit {
namespace {

// An output layer and a batch. Sizes around those of a block of classes (192) and of a chunk of rows (320).
struct Size {
  int64_t classes, batch, cols;
};
const Size kLayers[] = {{1, 1, 1},      {7, 3, 17},     {191, 319, 33}, {192, 320, 64},
                        {193, 321, 65}, {385, 641, 20}, {400, 2, 300}};

enum class Kind { kFloat, kPacked, kMasked };

struct Layer : Size {
  Kind kind;
  std::vector<float> bias, loss_weights;
  std::vector<int32_t> labels;
  std::vector<float> weights, x, panels;  // values; x is 0 where dropped
  std::optional<Packed> packed_weights, packed_x;
  std::vector<uint64_t> masks;
  // Received; filled with garbage.
  std::vector<float> exponentials, scales, losses, input_gradient, weight_gradient, bias_gradient, scratch;

  Layer(const Size& size, Kind kind)
      : Size(size),
        kind(kind),
        bias(GaussianRows(classes, 1)),
        loss_weights(GaussianRows(batch, 2)),
        weights(GaussianRows(classes * cols, 3)),
        x(GaussianRows(batch * cols, 4)),
        exponentials(batch * classes, -9),
        scales(ClassBlocks(classes) * batch, -9),
        losses(batch, -9),
        input_gradient(batch * cols, -9),
        weight_gradient(classes * cols, -9),
        bias_gradient(classes, -9),
        scratch(CrossEntropyScratch(batch, cols), -9) {
    Random random(5);
    for (int64_t r = 0; r < batch; ++r) labels.push_back(static_cast<int32_t>(random() % classes));
    labels[0] = static_cast<int32_t>(classes - 1);
    for (float& w : loss_weights) w = std::fabs(w);
    if (batch > 1) loss_weights[1] = 0;
    // Logits of a few units, of which some rows have their largest in the last block.
    for (float& w : weights) w *= 3 / std::sqrt(static_cast<float>(cols));
    bias[classes - 1] += 4;
    if (kind == Kind::kFloat) {
      panels.resize(Panels(classes) * cols * kPanelColumns);
      PrepackWeights(weights.data(), cols, classes, true, 0, Panels(classes), panels.data());
      return;
    }
    packed_weights = Quantize(Tier(), Method(kGreedy), weights, cols, 2);
    packed_x = Quantize(Tier(), Method(kGreedy), x, cols, 3, 1);
    if (kind == Kind::kMasked) masks = RandomMasks(batch, cols, 6);
    for (int64_t i = 0; i < classes * cols; ++i) {
      weights[i] = static_cast<float>(packed_weights->Value(i / cols, i % cols));
    }
    for (int64_t i = 0; i < batch * cols; ++i) {
      const bool retained = masks.empty() || IsRetained(masks, i / cols, i % cols, cols);
      x[i] = retained ? static_cast<float>(packed_x->Value(i / cols, i % cols)) : 0;
    }
  }

  CrossEntropyArgs Args() {
    return {.classes = classes,
            .cols = cols,
            .batch = batch,
            .bias = bias.data(),
            .labels = labels.data(),
            .loss_weights = loss_weights.data(),
            .x = x.data(),
            .exponentials = exponentials.data(),
            .scales = scales.data(),
            .losses = losses.data(),
            .input_gradient = input_gradient.data()};
  }
  void InputPass(int64_t first, int64_t last) {
    if (kind == Kind::kFloat) {
      const FloatLinear linear = {.weights = weights.data(), .panels = panels.data()};
      CrossEntropyInputPass(&Tier(), linear, Args(), first, last, scratch.data());
      return;
    }
    const PackedLinear linear = {.weight_planes = packed_weights->planes.data(),
                                 .weight_coefficients = packed_weights->coefficients.data(),
                                 .weight_bits = packed_weights->bits,
                                 .activation_planes = packed_x->planes.data(),
                                 .activation_coefficients = packed_x->coefficients.data(),
                                 .activation_bits = packed_x->bits,
                                 .masks = masks.empty() ? nullptr : masks.data()};
    CrossEntropyInputPass(&Tier(), linear, Args(), first, last, scratch.data());
  }
  void WeightPass(int64_t first, int64_t last, bool add = false) {
    CrossEntropyWeightPass(&Tier(), Args(), first, last, scratch.data(), add, weight_gradient.data(),
                           bias_gradient.data());
  }
};

template <typename Function>
void ForEachLayer(const Function& f) {
  for (const Size& size : kLayers) {
    for (Kind kind : {Kind::kFloat, Kind::kPacked, Kind::kMasked}) {
      SCOPED_TRACE(testing::Message() << size.classes << " classes, " << size.batch << " rows, " << size.cols
                                      << " columns, kind " << static_cast<int>(kind));
      f(Layer(size, kind));
    }
  }
}

// Losses and gradients of a layer, in double; and the sums of the magnitudes of the gradients' terms.
struct Doubles {
  std::vector<double> losses, input, weight, bias, input_terms, weight_terms, bias_terms;

  explicit Doubles(const Layer& l)
      : input(l.x.size()),
        weight(l.weights.size()),
        bias(l.bias.size()),
        input_terms(l.x.size()),
        weight_terms(l.weights.size()),
        bias_terms(l.bias.size()) {
    std::vector<double> logits(l.classes);
    for (int64_t r = 0; r < l.batch; ++r) {
      for (int64_t c = 0; c < l.classes; ++c) {
        logits[c] = l.bias[c];
        for (int64_t j = 0; j < l.cols; ++j) {
          logits[c] += static_cast<double>(l.weights[c * l.cols + j]) * l.x[r * l.cols + j];
        }
      }
      const double max = *std::max_element(logits.begin(), logits.end());
      double sum = 0;
      for (double logit : logits) sum += std::exp(logit - max);
      losses.push_back(max + std::log(sum) - logits[l.labels[r]]);
      for (int64_t c = 0; c < l.classes; ++c) {
        const double softmax = std::exp(logits[c] - max) / sum;
        const double delta = l.loss_weights[r] * (softmax - (c == l.labels[r]));
        const double terms = l.loss_weights[r] * (softmax + (c == l.labels[r]));
        bias[c] += delta;
        bias_terms[c] += terms;
        for (int64_t j = 0; j < l.cols; ++j) {
          const double w = l.weights[c * l.cols + j], x = l.x[r * l.cols + j];
          input[r * l.cols + j] += delta * w;
          input_terms[r * l.cols + j] += terms * std::fabs(w);
          weight[c * l.cols + j] += delta * x;
          weight_terms[c * l.cols + j] += terms * std::fabs(x);
        }
      }
    }
  }
};

void ExpectNear(const std::vector<double>& expected, const std::vector<double>& terms,
                const std::vector<float>& actual) {
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(expected[i], actual[i], 1e-5 * terms[i] + 1e-12) << i;
}

TEST(CrossEntropy, MatchesDouble) {
  ForEachLayer([](Layer layer) {
    const Doubles expected(layer);
    layer.InputPass(0, layer.batch);
    for (int64_t r = 0; r < layer.batch; ++r) {
      ASSERT_NEAR(expected.losses[r], layer.losses[r], 1e-5 * std::max(1.0, expected.losses[r]));
    }
    ExpectNear(expected.input, expected.input_terms, layer.input_gradient);
    layer.WeightPass(0, ClassBlocks(layer.classes));
    ExpectNear(expected.weight, expected.weight_terms, layer.weight_gradient);
    ExpectNear(expected.bias, expected.bias_terms, layer.bias_gradient);
  });
}

TEST(CrossEntropy, AddsToTheGradients) {
  ForEachLayer([](Layer layer) {
    const Doubles gradient(layer);
    layer.InputPass(0, layer.batch);
    const std::vector<float> weights_before = GaussianRows(layer.weight_gradient.size(), 8);
    const std::vector<float> bias_before = GaussianRows(layer.classes, 9);
    layer.weight_gradient = weights_before;
    layer.bias_gradient = bias_before;
    layer.WeightPass(0, ClassBlocks(layer.classes), true);
    const auto expect_sum = [](const std::vector<float>& before, std::vector<double> sums, std::vector<double> terms,
                               const std::vector<float>& actual) {
      for (size_t i = 0; i < sums.size(); ++i) {
        sums[i] += before[i];
        terms[i] += std::fabs(before[i]);
      }
      ExpectNear(sums, terms, actual);
    };
    expect_sum(weights_before, gradient.weight, gradient.weight_terms, layer.weight_gradient);
    expect_sum(bias_before, gradient.bias, gradient.bias_terms, layer.bias_gradient);
  });
}

TEST(CrossEntropy, PartsHaveTheBitsOfTheWhole) {
  ForEachLayer([](const Layer& layer) {
    Layer whole = layer, parts = layer;
    const int64_t blocks = ClassBlocks(layer.classes), split = layer.batch / 3;
    whole.InputPass(0, layer.batch);
    whole.WeightPass(0, blocks);
    parts.InputPass(split, layer.batch);
    parts.InputPass(0, split);
    for (int64_t block = blocks; block-- > 0;) parts.WeightPass(block, block + 1);
    EXPECT_TRUE(SameBits(whole.exponentials, parts.exponentials));
    EXPECT_TRUE(SameBits(whole.scales, parts.scales));
    EXPECT_TRUE(SameBits(whole.losses, parts.losses));
    EXPECT_TRUE(SameBits(whole.input_gradient, parts.input_gradient));
    EXPECT_TRUE(SameBits(whole.weight_gradient, parts.weight_gradient));
    EXPECT_TRUE(SameBits(whole.bias_gradient, parts.bias_gradient));
  });
}

TEST(CrossEntropy, ABiasMayHaveNoGradient) {
  Layer layer(kLayers[4], Kind::kPacked);
  layer.InputPass(0, layer.batch);
  Layer without = layer;
  layer.WeightPass(0, 2);
  CrossEntropyWeightPass(&Tier(), without.Args(), 0, 2, without.scratch.data(), false, without.weight_gradient.data(),
                         nullptr);
  EXPECT_TRUE(SameBits(layer.weight_gradient, without.weight_gradient));
}

TEST(CrossEntropy, NanStaysNan) {
  Layer layer(kLayers[4], Kind::kFloat);
  layer.x[7 * layer.cols] = NAN;
  layer.InputPass(0, layer.batch);
  for (int64_t r = 0; r < layer.batch; ++r) ASSERT_EQ(r == 7, std::isnan(layer.losses[r])) << r;
}

TEST(CrossEntropy, TouchesNothingOutside) {
  for (Side side : kSides) {
    ForEachLayer([&](const Layer& l) {
      Guarded<float> bias(l.bias, side), loss_weights(l.loss_weights, side), weights(l.weights, side), x(l.x, side);
      Guarded<float> panels(l.panels, side), scratch(l.scratch.size(), side);
      Guarded<int32_t> labels(l.labels, side);
      Guarded<float> exponentials(l.exponentials.size(), side), scales(l.scales.size(), side);
      Guarded<float> losses(l.losses.size(), side), input_gradient(l.input_gradient.size(), side);
      Guarded<float> weight_gradient(l.weight_gradient.size(), side), bias_gradient(l.bias_gradient.size(), side);
      const CrossEntropyArgs args = {.classes = l.classes,
                                     .cols = l.cols,
                                     .batch = l.batch,
                                     .bias = bias.data(),
                                     .labels = labels.data(),
                                     .loss_weights = loss_weights.data(),
                                     .x = x.data(),
                                     .exponentials = exponentials.data(),
                                     .scales = scales.data(),
                                     .losses = losses.data(),
                                     .input_gradient = input_gradient.data()};
      if (l.kind == Kind::kFloat) {
        const FloatLinear linear = {.weights = weights.data(), .panels = panels.data()};
        CrossEntropyInputPass(&Tier(), linear, args, 0, l.batch, scratch.data());
      } else {
        Guarded<uint64_t> weight_planes(l.packed_weights->planes, side), planes(l.packed_x->planes, side);
        Guarded<float> weight_coefficients(l.packed_weights->coefficients, side);
        Guarded<float> coefficients(l.packed_x->coefficients, side);
        Guarded<uint64_t> masks(l.masks, side);
        const PackedLinear linear = {.weight_planes = weight_planes.data(),
                                     .weight_coefficients = weight_coefficients.data(),
                                     .weight_bits = l.packed_weights->bits,
                                     .activation_planes = planes.data(),
                                     .activation_coefficients = coefficients.data(),
                                     .activation_bits = l.packed_x->bits,
                                     .masks = l.masks.empty() ? nullptr : masks.data()};
        CrossEntropyInputPass(&Tier(), linear, args, 0, l.batch, scratch.data());
      }
      for (bool add : {false, true}) {
        CrossEntropyWeightPass(&Tier(), args, 0, ClassBlocks(l.classes), scratch.data(), add, weight_gradient.data(),
                               bias_gradient.data());
      }
    });
  }
}

}  // namespace
}  // namespace multibit
