// Any bytes as a model file: an error and its message, or a model that runs.
#include <cstdlib>
#include <memory>
#include <vector>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // From a file and from memory it is the same; memory that ends with the bytes shows what reads past them.
  const FileInMemory file(data, size);
  multibit_model* from_file = nullptr;
  const int code = multibit_model_open(file.path(), &from_file);
  multibit_model_close(from_file);
  void* memory = nullptr;
  Require(posix_memalign(&memory, 64, std::max<size_t>(size, 1)) == 0);
  if (size > 0) std::memcpy(memory, data, size);
  const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
  multibit_model* model = nullptr;
  Require(multibit_model_open_memory(memory, size, "memory", &model) == code);
  if (code != MULTIBIT_OK) {
    Require(code == MULTIBIT_ERROR_FORMAT);
    Require(multibit_last_error()[0] != '\0');
    return 0;
  }
  multibit_model_info info;
  Require(multibit_model_describe(model, &info) == MULTIBIT_OK);
  // Values may overflow, which is an error of the format; nothing else can go wrong.
  const auto ran = [](int result) { Require(result == MULTIBIT_OK || result == MULTIBIT_ERROR_FORMAT); };
  multibit_session* session = nullptr;
  const float* logits = nullptr;
  if (info.classes > 0) {
    Require(multibit_session_new(model, &session) == MULTIBIT_OK);
    const std::vector<float> steps(2 * static_cast<size_t>(info.input_size), 0.5f);
    const int stepped = multibit_session_step_floats(session, steps.data(), steps.size());
    ran(stepped);
    if (stepped == MULTIBIT_OK) ran(multibit_session_logits(session, &logits));
    multibit_session_free(session);
    multibit_model_close(model);
    return 0;
  }
  const int32_t last = info.vocabulary_size - 1;
  for (const int32_t token : {0, last}) {
    const char* word = nullptr;
    size_t length = 0;
    int32_t found = -1;
    Require(multibit_model_word(model, token, &word, &length) == MULTIBIT_OK);
    Require(multibit_model_token(model, word, length, &found) == MULTIBIT_OK);
    Require(found == token);
  }

  Require(multibit_session_new(model, &session) == MULTIBIT_OK);
  const int32_t targets[] = {last, 0, last};
  double loss = 0;
  ran(multibit_session_evaluate(session, info.eos_token, targets, 3, &loss));
  Require(multibit_session_reset(session) == MULTIBIT_OK);
  const int stepped = multibit_session_step(session, last);
  ran(stepped);
  int32_t generated[2];
  if (stepped == MULTIBIT_OK) ran(multibit_session_generate(session, 1, 0, 1, generated, 2));
  multibit_session_free(session);

  multibit_batch* batch = nullptr;
  Require(multibit_batch_new(model, 3, &batch) == MULTIBIT_OK);
  const int32_t tokens[] = {last, MULTIBIT_IDLE, 0};
  const int batched = multibit_batch_step(batch, tokens);
  ran(batched);
  if (batched == MULTIBIT_OK) ran(multibit_batch_logits(batch, &logits));
  multibit_batch_free(batch);
  multibit_model_close(model);
  return 0;
}

FUZZ_SEEDS {
  for (const std::string& model : SmallModels()) write(model);
}
