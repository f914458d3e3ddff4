#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <utility>

#include "batch.h"
#include "error.h"
#include "model.h"
#include "multibit.h"
#include "session.h"

struct multibit_model {
  std::unique_ptr<const multibit::Model> model;
};

struct multibit_batch {
  multibit::Batch batch;
};

struct multibit_session {
  multibit::Session session;
};

namespace {

using multibit::Fail;

// Not a std::string: reporting that memory is exhausted must not allocate.
thread_local char last_error[1024];

int Report(int code, const char* message) {
  std::snprintf(last_error, sizeof(last_error), "%s", message);
  return code;
}

// Runs a function; what it throws becomes a code and a message. A thread that is cancelled goes on unwinding.
template <typename Function>
int Guarded(const Function& function) {
  try {
    function();
    return MULTIBIT_OK;
  } catch (const multibit::Error& error) {
    return Report(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return Report(MULTIBIT_ERROR_MEMORY, "Out of memory");
  } catch (const std::length_error&) {
    return Report(MULTIBIT_ERROR_MEMORY, "Out of memory");
  } catch (const std::exception& error) {
    return Report(MULTIBIT_ERROR_ARGUMENT, error.what());
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return Report(MULTIBIT_ERROR_ARGUMENT, "An exception of an unknown type was thrown");
  }
}

void RequireNotNull(const void* pointer, const char* name) {
  if (pointer == nullptr) Fail(MULTIBIT_ERROR_ARGUMENT, "The argument %s is null", name);
}

}  // namespace

const char* multibit_last_error(void) { return last_error; }

const char* multibit_version(void) { return MULTIBIT_VERSION; }

int multibit_isa(const char** name) {
  return Guarded([&] {
    RequireNotNull(name, "name");
    *name = multibit::ChosenKernels().name;
  });
}

int multibit_model_open(const char* path, multibit_model** model) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    *model = nullptr;
    RequireNotNull(path, "path");
    *model = new multibit_model{multibit::LoadModel(path, multibit::ChosenKernels())};
  });
}

int multibit_model_open_memory(const void* data, size_t size, const char* name, multibit_model** model) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    *model = nullptr;
    RequireNotNull(data, "data");
    RequireNotNull(name, "name");
    constexpr uintptr_t kAlignment = 64;
    const auto misplaced = static_cast<unsigned>(reinterpret_cast<uintptr_t>(data) % kAlignment);
    if (misplaced != 0) {
      Fail(MULTIBIT_ERROR_ARGUMENT, "The memory of %s starts %u bytes past a multiple of 64: allocate it aligned", name,
           misplaced);
    }
    const multibit::Kernels& kernels = multibit::ChosenKernels();
    multibit::FileBytes bytes(static_cast<const uint8_t*>(data), size);
    *model = new multibit_model{multibit::LoadModel(std::move(bytes), name, kernels)};
  });
}

void multibit_model_close(multibit_model* model) { delete model; }

int multibit_model_describe(const multibit_model* model, multibit_model_info* info) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    RequireNotNull(info, "info");
    const multibit::Model& m = *model->model;
    const bool language_model = m.head == multibit::Head::kLanguageModel;
    info->vocabulary_size = m.words.size();
    info->embedding_size = language_model ? m.input_size : 0;
    info->hidden_size = m.hidden_size;
    info->layers = static_cast<int32_t>(m.layers.size());
    info->eos_token = m.eos;
    info->unknown_token = m.unknown;
    info->embedding_bits = m.embedding.weight_bits;
    info->weight_bits = m.layers[0].recurrent.weight_bits;
    info->activation_bits = m.layers[0].recurrent.activation_bits;
    info->file_bytes = static_cast<int64_t>(m.file.size());
    info->cell = m.Kind().name;
    info->head = m.HeadName();
    info->input_size = language_model ? 0 : m.input_size;
    info->classes = language_model ? 0 : m.classes;
  });
}

int multibit_model_word(const multibit_model* model, int32_t token, const char** word, size_t* length) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    RequireNotNull(word, "word");
    RequireNotNull(length, "length");
    const multibit::Model& m = *model->model;
    m.CheckToken(token);
    *word = m.words[token].data();
    *length = m.words[token].size();
  });
}

int multibit_model_token(const multibit_model* model, const char* word, size_t length, int32_t* token) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    RequireNotNull(word, "word");
    RequireNotNull(token, "token");
    *token = model->model->words.Find({word, length});
  });
}

int multibit_model_metadata(const multibit_model* model, const char* key, const char** value) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    RequireNotNull(key, "key");
    RequireNotNull(value, "value");
    const auto found = model->model->metadata.find(key);
    *value = found == model->model->metadata.end() ? nullptr : found->second.c_str();
  });
}

int multibit_model_set_threads(multibit_model* model, int32_t threads) {
  return Guarded([&] {
    RequireNotNull(model, "model");
    if (threads < 1 || threads > multibit::ThreadPool::kMaxThreads) {
      Fail(MULTIBIT_ERROR_ARGUMENT, "A model runs on 1 to %d threads, not %d", multibit::ThreadPool::kMaxThreads,
           threads);
    }
    model->model->pool.SetThreads(std::min(threads, multibit::ThreadPool::AvailableCores()));
  });
}

int multibit_session_new(const multibit_model* model, multibit_session** session) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    *session = nullptr;
    RequireNotNull(model, "model");
    *session = new multibit_session{multibit::Session(*model->model)};
  });
}

void multibit_session_free(multibit_session* session) { delete session; }

int multibit_session_reset(multibit_session* session) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    session->session.Reset();
  });
}

int multibit_session_step(multibit_session* session, int32_t token) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    session->session.Step(token);
  });
}

int multibit_session_step_floats(multibit_session* session, const float* inputs, size_t count) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    RequireNotNull(inputs, "inputs");
    session->session.Step(inputs, count);
  });
}

int multibit_session_write_logits(multibit_session* session, float* logits) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    RequireNotNull(logits, "logits");
    session->session.WriteLogits(logits);
  });
}

int multibit_session_logits(multibit_session* session, const float** logits) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    RequireNotNull(logits, "logits");
    *logits = session->session.Logits();
  });
}

int multibit_session_evaluate(multibit_session* session, int32_t first, const int32_t* tokens, size_t count,
                              double* total_loss) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    if (count > 0) RequireNotNull(tokens, "tokens");
    RequireNotNull(total_loss, "total_loss");
    *total_loss += session->session.Evaluate(first, tokens, count);
  });
}

int multibit_session_generate(multibit_session* session, float temperature, int32_t top_k, uint64_t seed,
                              int32_t* tokens, size_t count) {
  return Guarded([&] {
    RequireNotNull(session, "session");
    if (count > 0) RequireNotNull(tokens, "tokens");
    session->session.Generate(temperature, top_k, seed, count, [&](int32_t token) { *tokens++ = token; });
  });
}

int multibit_batch_new(const multibit_model* model, int32_t streams, multibit_batch** batch) {
  return Guarded([&] {
    RequireNotNull(batch, "batch");
    *batch = nullptr;
    RequireNotNull(model, "model");
    model->model->Require(multibit::Head::kLanguageModel);
    *batch = new multibit_batch{multibit::Batch(*model->model, streams)};
  });
}

void multibit_batch_free(multibit_batch* batch) { delete batch; }

int multibit_batch_reset(multibit_batch* batch, int32_t stream) {
  return Guarded([&] {
    RequireNotNull(batch, "batch");
    batch->batch.Reset(stream);
  });
}

int multibit_batch_reset_all(multibit_batch* batch) {
  return Guarded([&] {
    RequireNotNull(batch, "batch");
    batch->batch.Reset();
  });
}

int multibit_batch_step(multibit_batch* batch, const int32_t* tokens) {
  return Guarded([&] {
    RequireNotNull(batch, "batch");
    RequireNotNull(tokens, "tokens");
    batch->batch.Step(tokens);
  });
}

int multibit_batch_logits(multibit_batch* batch, const float** logits) {
  return Guarded([&] {
    RequireNotNull(batch, "batch");
    RequireNotNull(logits, "logits");
    *logits = batch->batch.Logits();
  });
}
