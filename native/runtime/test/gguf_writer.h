// Writes GGUF version 3 for the tests, from what docs/format.md says; also files that it forbids.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

class GgufWriter {
 public:
  void U32(const std::string& key, uint32_t value) { Add(key, 4, Bytes(value)); }
  void F32(const std::string& key, float value) { Add(key, 6, Bytes(value)); }
  void U64(const std::string& key, uint64_t value) { Add(key, 10, Bytes(value)); }
  void F64(const std::string& key, double value) { Add(key, 12, Bytes(value)); }
  void String(const std::string& key, const std::string& value) { Add(key, 8, String(value)); }
  void Strings(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = Bytes<uint32_t>(8) + Bytes<uint64_t>(values.size());
    for (const std::string& value : values) bytes += String(value);
    Add(key, 9, bytes);
  }
  // A value of any type, given as its bytes. An existing key is replaced, as in all of these.
  void Add(const std::string& key, uint32_t type, const std::string& bytes) {
    Remove(key);
    values_.push_back({key, String(key) + Bytes(type) + bytes});
  }
  // Once more, although it is there.
  void Repeat(const std::string& key) {
    for (const auto& value : std::vector<std::pair<std::string, std::string>>(values_)) {
      if (value.first == key) values_.push_back(value);
    }
  }
  void Remove(const std::string& key) {
    for (size_t i = values_.size(); i-- > 0;) {
      if (values_[i].first == key) values_.erase(values_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type;
    std::string data;
    uint64_t offset;  // from the start of the data
  };

  template <typename T>
  void Add(const std::string& name, std::vector<uint64_t> dims, const std::vector<T>& data) {
    uint64_t offset = 0;
    if (!tensors.empty()) offset = (tensors.back().offset + tensors.back().data.size() + 63) / 64 * 64;
    tensors.push_back({name, std::move(dims), sizeof(T) == 4 ? 0u : 27u,
                       std::string(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(T)), offset});
  }
  Tensor& Find(const std::string& name) {
    for (Tensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }

  // The file, and how many bytes of it come before the padding in front of the data.
  std::string Bytes(size_t* header = nullptr) const {
    std::string file = "GGUF" + Bytes<uint32_t>(3) + Bytes<uint64_t>(tensors.size()) + Bytes<uint64_t>(values_.size());
    for (const auto& value : values_) file += value.second;
    for (const Tensor& tensor : tensors) {
      file += String(tensor.name) + Bytes(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t dim : tensor.dims) file += Bytes(dim);
      file += Bytes(tensor.type) + Bytes(tensor.offset);
    }
    if (header != nullptr) *header = file.size();
    const size_t start = (file.size() + 63) / 64 * 64;
    for (const Tensor& tensor : tensors) {
      if (tensor.offset > kMostData) continue;
      const size_t end = start + tensor.offset + tensor.data.size();
      if (file.size() < end) file.resize(end);
      file.replace(end - tensor.data.size(), tensor.data.size(), tensor.data);
    }
    return file;
  }

  template <typename T>
  static std::string Bytes(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static std::string String(const std::string& text) { return Bytes<uint64_t>(text.size()) + text; }

  std::vector<Tensor> tensors;

 private:
  // Offsets beyond are there to be refused.
  static constexpr uint64_t kMostData = 1 << 28;

  std::vector<std::pair<std::string, std::string>> values_;
};
