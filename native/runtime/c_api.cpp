#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "error.h"
#include "model.h"
#include "multibit.h"
#include "session.h"

struct multibit_model {
  explicit multibit_model(const char* path) : model(path) {}
  multibit::Model model;
};

struct multibit_session {
  explicit multibit_session(const multibit::Model& model) : session(model) {}
  multibit::Session session;
};

namespace {

using multibit::Error;

// Fixed memory: reporting that memory ran out must not allocate.
thread_local char last_error[1024] = "";

int Report(int code, const char* message) {
  std::strncpy(last_error, message, sizeof last_error - 1);
  return code;
}

// Runs the body; no exception leaves.
template <typename Body>
int Guard(Body body) {
  try {
    body();
    return MULTIBIT_OK;
  } catch (const Error& e) {
    return Report(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return Report(MULTIBIT_ERROR_MEMORY, "Out of memory");
  } catch (const std::exception& e) {
    return Report(MULTIBIT_ERROR_ARGUMENT, e.what());
  }
}

void Require(bool holds, const char* what) {
  if (!holds) throw Error(MULTIBIT_ERROR_ARGUMENT, what);
}

}  // namespace

extern "C" {

const char* multibit_last_error(void) { return last_error; }

const char* multibit_version(void) { return MULTIBIT_VERSION; }

int multibit_isa(const char** name) {
  return Guard([&] {
    Require(name, "name is null");
    const char* error = nullptr;
    const multibit::Kernels* kernels = multibit::SelectKernels(&error);
    if (!kernels) throw Error(MULTIBIT_ERROR_ISA, error ? error : "No kernels for this CPU");
    *name = kernels->name;
  });
}

int multibit_model_open(const char* path, multibit_model** model) {
  return Guard([&] {
    Require(path && model, "path or model is null");
    *model = nullptr;
    *model = new multibit_model(path);
  });
}

void multibit_model_close(multibit_model* model) { delete model; }

int multibit_model_describe(const multibit_model* model, multibit_model_info* info) {
  return Guard([&] {
    Require(model && info, "model or info is null");
    const multibit::Model& m = model->model;
    const multibit::Matrix& recurrent = m.layers[0].recurrent;
    *info = {m.vocabulary_size,
             m.embedding_size,
             m.hidden_size,
             static_cast<int32_t>(m.layers.size()),
             m.eos,
             m.unknown,
             m.embedding.bits,
             recurrent.bits,
             recurrent.activation_bits,
             static_cast<int64_t>(m.file.file_bytes()),
             "lstm"};
  });
}

int multibit_model_word(const multibit_model* model, int32_t token, const char** word, size_t* length) {
  return Guard([&] {
    Require(model && word && length, "model, word or length is null");
    Require(token >= 0 && token < model->model.vocabulary_size, "The token is outside the vocabulary");
    const std::string_view text = model->model.words[static_cast<size_t>(token)];
    *word = text.data();
    *length = text.size();
  });
}

int multibit_model_token(const multibit_model* model, const char* word, size_t length, int32_t* token) {
  return Guard([&] {
    Require(model && (word || length == 0) && token, "model, word or token is null");
    const auto found = model->model.tokens.find(std::string_view(word, length));
    *token = found == model->model.tokens.end() ? -1 : found->second;
  });
}

int multibit_model_metadata(const multibit_model* model, const char* key, const char** value) {
  return Guard([&] {
    Require(model && key && value, "model, key or value is null");
    const auto found = model->model.metadata_text.find(key);
    *value = found == model->model.metadata_text.end() ? nullptr : found->second.c_str();
  });
}

int multibit_session_new(const multibit_model* model, multibit_session** session) {
  return Guard([&] {
    Require(model && session, "model or session is null");
    *session = nullptr;
    *session = new multibit_session(model->model);
  });
}

void multibit_session_free(multibit_session* session) { delete session; }

int multibit_session_reset(multibit_session* session) {
  return Guard([&] {
    Require(session, "session is null");
    session->session.Reset();
  });
}

int multibit_session_step(multibit_session* session, int32_t token) {
  return Guard([&] {
    Require(session, "session is null");
    session->session.Step(token);
  });
}

int multibit_session_logits(multibit_session* session, const float** logits) {
  return Guard([&] {
    Require(session && logits, "session or logits is null");
    *logits = session->session.Logits();
  });
}

int multibit_session_evaluate(multibit_session* session, int32_t first, const int32_t* tokens, size_t count,
                              double* total_loss) {
  return Guard([&] {
    Require(session && (tokens || count == 0) && total_loss, "session, tokens or total_loss is null");
    *total_loss += session->session.Evaluate(first, tokens, count);
  });
}

int multibit_session_generate(multibit_session* session, float temperature, int32_t top_k, uint64_t seed,
                              int32_t* tokens, size_t count) {
  return Guard([&] {
    Require(session && (tokens || count == 0), "session or tokens is null");
    session->session.Generate(temperature, top_k, seed, tokens, count);
  });
}

}  // extern "C"
