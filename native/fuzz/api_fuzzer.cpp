// The C API called in any order with any arguments that C allows: each byte string is a list of calls. Handles are
// valid or null; what is freed is forgotten.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "fuzz.h"

namespace {

// Takes one thing after another from the input; zeros past its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }

  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }

  // Small numbers mostly, also the extremes.
  int32_t Number() {
    const uint8_t byte = Byte();
    switch (byte) {
      case 250:
        return INT32_MAX;
      case 251:
        return INT32_MIN;
      case 252:
        return -2;
      case 253:
        return 1 << 20;
      case 254: {
        int32_t any = 0;
        for (int i = 0; i < 4; ++i) any = static_cast<int32_t>(static_cast<uint32_t>(any) << 8 | Byte());
        return any;
      }
      default:
        return byte < 128 ? byte % 16 - 1 : byte;
    }
  }

  float Float() {
    const float choices[] = {0, 1, 0.5f, 1e-30f, 1e30f, -1, INFINITY, NAN};
    return choices[Byte() % 8];
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Batch {
  multibit_batch* handle;
  int32_t streams;
};

// A model with all that depends on it, which is freed first.
struct Model {
  multibit_model* handle = nullptr;
  int32_t vocabulary = 0;
  int32_t input_size = 0;  // of a classifier
  int32_t classes = 0;     // words of a language model
  std::vector<multibit_session*> sessions;
  std::vector<Batch> batches;
};

const std::vector<std::string>& Files() {
  static const std::vector<std::string> files = SmallModels();
  return files;
}

void Free(Model* model) {
  for (multibit_session* session : model->sessions) multibit_session_free(session);
  for (const Batch& batch : model->batches) multibit_batch_free(batch.handle);
  multibit_model_close(model->handle);
  *model = Model();
}

void Open(Input* in, Model* model) {
  std::string bytes = Files()[in->Byte() % Files().size()];
  // Intact, with bytes changed, or cut.
  const uint8_t damages = in->Byte() % 8;
  for (int i = 4; i < damages; ++i) {
    const size_t at = (in->Byte() << 8 | in->Byte()) % bytes.size();
    bytes[at] = static_cast<char>(in->Byte());
  }
  if (damages == 3) bytes.resize((in->Byte() << 8 | in->Byte()) % bytes.size());
  const FileInMemory file(bytes);
  multibit_model* opened = nullptr;
  const int code = multibit_model_open(file.path(), &opened);
  Require((code == MULTIBIT_OK) == (opened != nullptr));
  Require(damages >= 3 || code == MULTIBIT_OK);
  if (opened == nullptr) return;
  Free(model);
  model->handle = opened;
  multibit_model_info info;
  Require(multibit_model_describe(opened, &info) == MULTIBIT_OK);
  model->vocabulary = info.vocabulary_size;
  model->input_size = info.input_size;
  model->classes = std::max(info.vocabulary_size, info.classes);
}

// Which of the models, sessions and batches a call takes.
struct Chosen {
  multibit_session* session = nullptr;
  Batch batch = {nullptr, 0};
};

Chosen Choose(Input* in, const Model& model) {
  Chosen chosen;
  const uint8_t byte = in->Byte();
  if (byte == 255) return chosen;
  if (!model.sessions.empty()) chosen.session = model.sessions[byte % model.sessions.size()];
  if (!model.batches.empty()) chosen.batch = model.batches[byte % model.batches.size()];
  return chosen;
}

void CallModel(Input* in, const Model& model) {
  const bool null = in->Byte() == 255;
  multibit_model_info info;
  multibit_model_describe(model.handle, null ? nullptr : &info);
  const char* text = nullptr;
  size_t length = 0;
  const int32_t token = in->Number();
  if (multibit_model_word(model.handle, token, null ? nullptr : &text, &length) == MULTIBIT_OK) {
    Require(token >= 0 && token < model.vocabulary);
    int32_t found = -1;
    Require(multibit_model_token(model.handle, text, length, &found) == MULTIBIT_OK && found == token);
  }
  int32_t found = 0;
  multibit_model_token(model.handle, null ? nullptr : "w5", in->Byte() % 3, &found);
  multibit_model_metadata(model.handle, null ? nullptr : "general.architecture", &text);
  multibit_model_metadata(model.handle, "", null ? nullptr : &text);
}

void CallSession(Input* in, const Chosen& chosen, const Model& model) {
  std::vector<int32_t> tokens(in->Byte() % 40);
  const float* logits = nullptr;
  double loss = 0;
  switch (in->Byte() % 6) {
    case 0:
      multibit_session_step(chosen.session, in->Number());
      break;
    case 1:
      if (multibit_session_logits(chosen.session, in->Byte() == 255 ? nullptr : &logits) == MULTIBIT_OK) {
        for (int32_t c = 0; c < model.classes; ++c) Require(std::isfinite(logits[c]));
        std::vector<float> written(model.classes);
        Require(multibit_session_write_logits(chosen.session, written.data()) == MULTIBIT_OK);
        Require(std::memcmp(written.data(), logits, model.classes * sizeof(float)) == 0);
      }
      break;
    case 2:
      for (int32_t& token : tokens) token = in->Number();
      multibit_session_evaluate(chosen.session, in->Number(), tokens.data(), tokens.size(),
                                in->Byte() == 255 ? nullptr : &loss);
      break;
    case 3:
      if (multibit_session_generate(chosen.session, in->Float(), in->Number(), in->Byte(), tokens.data(),
                                    tokens.size()) == MULTIBIT_OK) {
        for (const int32_t token : tokens) Require(token >= 0 && token < model.vocabulary);
      }
      break;
    case 4: {
      // Steps of a classifier, mostly whole ones.
      const size_t count = static_cast<size_t>(model.input_size) * (in->Byte() % 3) + in->Byte() % 2;
      std::vector<float> inputs(count);
      for (float& value : inputs) value = in->Float();
      const bool finite = std::all_of(inputs.begin(), inputs.end(), [](float value) { return std::isfinite(value); });
      if (multibit_session_step_floats(chosen.session, in->Byte() == 255 ? nullptr : inputs.data(), count) ==
          MULTIBIT_OK) {
        Require(model.input_size > 0 && count > 0 && count % model.input_size == 0 && finite);
      }
      break;
    }
    default:
      multibit_session_reset(chosen.session);
  }
}

void CallBatch(Input* in, const Chosen& chosen, int32_t vocabulary) {
  std::vector<int32_t> tokens(chosen.batch.streams);
  const float* logits = nullptr;
  switch (in->Byte() % 4) {
    case 0:
      for (int32_t& token : tokens) token = in->Number();
      if (multibit_batch_step(chosen.batch.handle, tokens.data()) == MULTIBIT_OK) {
        // The first stream's logits are finite if it took part.
        if (multibit_batch_logits(chosen.batch.handle, &logits) == MULTIBIT_OK && tokens[0] != MULTIBIT_IDLE) {
          for (int32_t v = 0; v < vocabulary; ++v) Require(std::isfinite(logits[v]));
        }
      }
      break;
    case 1:
      multibit_batch_logits(chosen.batch.handle, in->Byte() == 255 ? nullptr : &logits);
      break;
    case 2:
      multibit_batch_reset(chosen.batch.handle, in->Number());
      break;
    default:
      multibit_batch_reset_all(chosen.batch.handle);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Model models[2];
  while (!in.empty()) {
    const uint8_t call = in.Byte();
    Model& model = models[call >> 7];
    switch (call % 12) {
      case 0:
        Open(&in, &model);
        break;
      case 1:
        Free(&model);
        break;
      case 2:
        CallModel(&in, model);
        break;
      case 3: {
        multibit_session* session = nullptr;
        const bool null = in.Byte() == 255;
        const int code = multibit_session_new(model.handle, null ? nullptr : &session);
        Require((code == MULTIBIT_OK) == (model.handle != nullptr && !null));
        if (session != nullptr) model.sessions.push_back(session);
        break;
      }
      case 4: {
        multibit_batch* batch = nullptr;
        int32_t streams = in.Number();
        // Larger ones would only be slower.
        if (streams > 32 && streams <= 4096) streams = 32;
        if (multibit_batch_new(model.handle, streams, &batch) == MULTIBIT_OK) {
          Require(streams >= 1 && streams <= 4096);
          model.batches.push_back({batch, streams});
        }
        break;
      }
      case 5:
        if (!model.sessions.empty()) {
          multibit_session_free(model.sessions.back());
          model.sessions.pop_back();
        } else if (!model.batches.empty()) {
          multibit_batch_free(model.batches.back().handle);
          model.batches.pop_back();
        }
        break;
      case 6: {
        // Few threads: a fuzzer would start hundreds all the time.
        const int32_t threads = in.Number();
        if (threads <= 3 || threads > 256) multibit_model_set_threads(model.handle, threads);
        break;
      }
      case 7:
      case 8:
      case 9:
        CallSession(&in, Choose(&in, model), model);
        break;
      default:
        CallBatch(&in, Choose(&in, model), model.vocabulary);
    }
  }
  for (Model& model : models) Free(&model);
  return 0;
}

FUZZ_SEEDS {
  // One of each file: open, a session, a batch of five; steps, logits, losses, draws; and the same with null handles.
  for (size_t i = 0; i < Files().size(); ++i) {
    std::string calls;
    const auto call = [&](std::initializer_list<int> bytes) {
      for (const int byte : bytes) calls += static_cast<char>(byte);
    };
    call({0, static_cast<int>(i), 0, 2, 0, 3, 3, 0, 4, 6});
    for (int chosen : {0, 255}) {
      call({7, chosen, 0, 0, 3});
      call({7, chosen, 0, 1, 0});
      call({7, chosen, 4, 2, 1, 2, 3, 4, 5, 0});
      call({7, chosen, 3, 3, 1, 2, 9});
      call({7, chosen, 0, 4, 1, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2});
      call({10, chosen, 0, 1, 2, 3, 0, 5});
      call({10, chosen, 1, 0});
      call({10, chosen, 2, 1});
    }
    call({6, 3, 7, 0, 0, 0, 3, 5, 1});
    write(calls);
  }
}
