// Models, sessions and batches of the C API that free themselves.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "multibit.h"

struct CloseModel {
  void operator()(multibit_model* model) const { multibit_model_close(model); }
};
struct FreeSession {
  void operator()(multibit_session* session) const { multibit_session_free(session); }
};
struct FreeBatch {
  void operator()(multibit_batch* batch) const { multibit_batch_free(batch); }
};
using ModelPointer = std::unique_ptr<multibit_model, CloseModel>;
using SessionPointer = std::unique_ptr<multibit_session, FreeSession>;
using BatchPointer = std::unique_ptr<multibit_batch, FreeBatch>;

inline ModelPointer Open(const char* path) {
  multibit_model* model = nullptr;
  EXPECT_EQ(MULTIBIT_OK, multibit_model_open(path, &model)) << multibit_last_error();
  return ModelPointer(model);
}

inline SessionPointer NewSession(const ModelPointer& model) {
  multibit_session* session = nullptr;
  EXPECT_EQ(MULTIBIT_OK, multibit_session_new(model.get(), &session)) << multibit_last_error();
  return SessionPointer(session);
}

inline const float* Logits(const SessionPointer& session) {
  const float* logits = nullptr;
  EXPECT_EQ(MULTIBIT_OK, multibit_session_logits(session.get(), &logits)) << multibit_last_error();
  return logits;
}

inline BatchPointer NewBatch(const ModelPointer& model, int32_t streams) {
  multibit_batch* batch = nullptr;
  EXPECT_EQ(MULTIBIT_OK, multibit_batch_new(model.get(), streams, &batch)) << multibit_last_error();
  return BatchPointer(batch);
}

inline const float* Logits(const BatchPointer& batch) {
  const float* logits = nullptr;
  EXPECT_EQ(MULTIBIT_OK, multibit_batch_logits(batch.get(), &logits)) << multibit_last_error();
  return logits;
}

inline std::vector<float> CopyOfLogits(const SessionPointer& session, int vocabulary) {
  const float* logits = Logits(session);
  return logits == nullptr ? std::vector<float>() : std::vector<float>(logits, logits + vocabulary);
}
