#include "gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "error.h"
#include "multibit.h"
#include "text.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Tensors are little-endian and used in place");

namespace multibit {
namespace {

enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

enum TensorType : uint32_t { kTensorF32 = 0, kTensorI64 = 27 };

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kMaxRank = 4;

// The limits of docs/format.md, which keep what a hostile file can cost small.
constexpr uint64_t kMaxHeader = 1 << 26;
constexpr uint64_t kMaxEntries = 1 << 16;  // keys, and tensors
constexpr uint64_t kMaxString = 1 << 20;
constexpr int kMaxNesting = 4;

// Bytes of a value, of a string or an array those of an empty one; 0 for an unknown type.
uint64_t ValueSize(uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool:
      return 1;
    case kU16:
    case kI16:
      return 2;
    case kU32:
    case kI32:
    case kF32:
      return 4;
    case kU64:
    case kI64:
    case kF64:
      return 8;
    case kString:
      return 8;
    case kArray:
      return 4 + 8;
    default:
      return 0;
  }
}

// Bytes of a tensor's element; 0 for types that multibit does not use.
uint64_t ElementSize(uint32_t type) { return type == kTensorF32 ? 4 : type == kTensorI64 ? 8 : 0; }

template <typename T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
std::string Number(const uint8_t* from) {
  char text[64];
  return std::string(text, std::to_chars(text, text + sizeof(text), Load<T>(from)).ptr);
}

// Names of the file in messages.
std::string Shown(std::string_view name) { return Printable(name, 80); }

int Open(const char* path) {
  // Not blocking: a pipe is refused, not waited for.
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) Fail(MULTIBIT_ERROR_IO, "Cannot open %s: %s", path, std::strerror(errno));
  return descriptor;
}

struct Descriptor {
  int value;
  ~Descriptor() { close(value); }
};

size_t FileSize(int descriptor, const char* path) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) Fail(MULTIBIT_ERROR_IO, "Cannot read %s: %s", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) Fail(MULTIBIT_ERROR_IO, "Cannot read %s: it is not a file", path);
  return static_cast<size_t>(status.st_size);
}

}  // namespace

FileBytes::FileBytes(const char* path) : mapped_(true) {
  const Descriptor descriptor = {Open(path)};
  size_ = FileSize(descriptor.value, path);
  if (size_ == 0) Fail(MULTIBIT_ERROR_FORMAT, "%s is empty", path);
  void* memory = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor.value, 0);
  if (memory == MAP_FAILED) Fail(MULTIBIT_ERROR_IO, "Cannot map %s: %s", path, std::strerror(errno));
  // Memory past the end of a file that shrank meanwhile must not be touched.
  if (FileSize(descriptor.value, path) != size_) {
    munmap(memory, size_);
    Fail(MULTIBIT_ERROR_IO, "Cannot read %s: it is being written; try again when it is complete", path);
  }
  data_ = static_cast<const uint8_t*>(memory);
}

FileBytes::~FileBytes() {
  if (mapped_) munmap(const_cast<uint8_t*>(data_), size_);
}

std::string GgufValue::Text() const {
  switch (type) {
    case kU8:
      return Number<uint8_t>(data);
    case kI8:
      return Number<int8_t>(data);
    case kU16:
      return Number<uint16_t>(data);
    case kI16:
      return Number<int16_t>(data);
    case kU32:
      return Number<uint32_t>(data);
    case kI32:
      return Number<int32_t>(data);
    case kU64:
      return Number<uint64_t>(data);
    case kI64:
      return Number<int64_t>(data);
    case kF32:
      return Number<float>(data);
    case kF64:
      return Number<double>(data);
    case kBool:
      return *data ? "true" : "false";
    case kString:
      return std::string(reinterpret_cast<const char*>(data), count);
    default:
      return std::to_string(count);
  }
}

// Takes one thing after another from the front of the file.
class GgufFile::Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file), end_(std::min<uint64_t>(file.size(), kMaxHeader)) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }

  const uint8_t* Bytes(uint64_t count) {
    if (count > remaining()) {
      if (end_ < file_.size()) {
        file_.Damaged("its header takes more than %llu bytes", static_cast<unsigned long long>(kMaxHeader));
      }
      file_.Damaged("it ends inside the header");
    }
    const uint8_t* bytes = file_.bytes_.data() + position_;
    position_ += count;
    return bytes;
  }

  template <typename T>
  T Take() {
    return Load<T>(Bytes(sizeof(T)));
  }

  std::string_view TakeString() {
    const uint64_t length = Take<uint64_t>();
    if (length > kMaxString) {
      file_.Damaged("a string takes %llu bytes, more than %llu", static_cast<unsigned long long>(length),
                    static_cast<unsigned long long>(kMaxString));
    }
    const std::string_view text = {reinterpret_cast<const char*>(Bytes(length)), length};
    if (!IsUtf8(text)) file_.Damaged("the string \"%s\" is not UTF-8", Shown(text).c_str());
    return text;
  }

  // Of keys or tensors.
  uint64_t TakeCount(const char* what) {
    const uint64_t count = Take<uint64_t>();
    if (count > kMaxEntries) {
      file_.Damaged("it claims to have %llu %s, more than %llu", static_cast<unsigned long long>(count), what,
                    static_cast<unsigned long long>(kMaxEntries));
    }
    return count;
  }

  GgufValue TakeValue(uint32_t type, int nesting = 0) {
    const uint64_t size = ValueSize(type);
    if (size == 0) file_.Damaged("a metadata value has the unknown type %u", type);
    GgufValue value = {type, nullptr, 1, 0};
    if (type == kString) {
      const std::string_view text = TakeString();
      value.data = reinterpret_cast<const uint8_t*>(text.data());
      value.count = text.size();
    } else if (type == kArray) {
      TakeArray(&value, nesting);
    } else {
      value.data = Bytes(size);
      if (type == kBool) CheckBools(value.data, 1);
    }
    return value;
  }

 private:
  void TakeArray(GgufValue* array, int nesting) {
    array->element_type = Take<uint32_t>();
    const uint64_t size = ValueSize(array->element_type);
    if (size == 0 || nesting == kMaxNesting) {
      file_.Damaged("a metadata array of type %u, %d levels deep", array->element_type, nesting);
    }
    array->count = Take<uint64_t>();
    if (array->count > remaining() / size) {
      file_.Damaged("an array of %llu elements of type %u runs past the end of the header",
                    static_cast<unsigned long long>(array->count), array->element_type);
    }
    array->data = Bytes(0);
    if (array->element_type == kString || array->element_type == kArray) {
      for (uint64_t i = 0; i < array->count; ++i) TakeValue(array->element_type, nesting + 1);
    } else {
      Bytes(array->count * size);
      if (array->element_type == kBool) CheckBools(array->data, array->count);
    }
  }

  void CheckBools(const uint8_t* bools, uint64_t count) const {
    const uint8_t* found = std::find_if(bools, bools + count, [](uint8_t value) { return value > 1; });
    if (found != bools + count) file_.Damaged("a bool is %d, neither 0 nor 1", *found);
  }

  const GgufFile& file_;
  const uint64_t end_;
  uint64_t position_ = 0;
};

GgufFile::GgufFile(FileBytes bytes, const char* name) : name_(name), bytes_(std::move(bytes)) {
  Reader in(*this);
  if (size() < 4 || std::memcmp(in.Bytes(4), "GGUF", 4) != 0) {
    Fail(MULTIBIT_ERROR_FORMAT, "%s is not a packed model: it does not start with GGUF", name);
  }
  const uint32_t version = in.Take<uint32_t>();
  if (version != 3) Fail(MULTIBIT_ERROR_FORMAT, "%s is GGUF version %u; version 3 is needed", name, version);
  const uint64_t tensors = in.TakeCount("tensors");
  ReadMetadata(&in, in.TakeCount("keys"));
  ReadTensors(&in, tensors);
  if (U32("general.alignment") != kAlignment) Damaged("general.alignment is %u, not 64", U32("general.alignment"));
  PlaceTensors((in.position() + kAlignment - 1) / kAlignment * kAlignment);
}

void GgufFile::ReadMetadata(Reader* in, uint64_t count) {
  metadata_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = in->TakeString();
    const GgufValue value = in->TakeValue(in->Take<uint32_t>());
    if (!keys_.emplace(key, metadata_.size()).second) Damaged("the key %s occurs twice", Shown(key).c_str());
    metadata_.emplace_back(key, value);
  }
}

void GgufFile::ReadTensors(Reader* in, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view name = in->TakeString();
    const uint32_t rank = in->Take<uint32_t>();
    if (rank < 1 || rank > kMaxRank) Damaged("tensor %s has rank %u", Shown(name).c_str(), rank);
    GgufTensor tensor;
    for (uint32_t d = 0; d < rank; ++d) tensor.dims.push_back(in->Take<uint64_t>());
    tensor.type = in->Take<uint32_t>();
    tensor.offset = in->Take<uint64_t>();
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      Damaged("the tensor %s occurs twice", Shown(name).c_str());
    }
  }
}

// Makes offsets count from the start of the file. Tensors of unknown types have no known size.
void GgufFile::PlaceTensors(uint64_t start) {
  struct Extent {
    uint64_t begin, end;
    std::string_view name;
  };
  std::vector<Extent> extents;
  for (auto& [name, tensor] : tensors_) {
    const std::string shown = Shown(name);
    uint64_t bytes = ElementSize(tensor.type);
    for (const uint64_t dim : tensor.dims) {
      if (dim == 0) Damaged("tensor %s is empty", shown.c_str());
      if (__builtin_mul_overflow(bytes, dim, &bytes)) Damaged("the size of tensor %s overflows", shown.c_str());
    }
    if (tensor.offset % kAlignment != 0) Damaged("tensor %s is not aligned", shown.c_str());
    uint64_t end;
    if (__builtin_add_overflow(tensor.offset, start, &tensor.offset) ||
        __builtin_add_overflow(tensor.offset, bytes, &end) || end > size()) {
      Damaged("tensor %s runs past its end; it may be incomplete", shown.c_str());
    }
    if (bytes > 0) extents.push_back({tensor.offset, end, name});
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].begin < extents[i - 1].end) {
      Damaged("the tensors %s and %s overlap", Shown(extents[i - 1].name).c_str(), Shown(extents[i].name).c_str());
    }
  }
}

const GgufValue& GgufFile::Required(const std::string& key, uint32_t type) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) Damaged("it lacks the key %s", key.c_str());
  const GgufValue& value = metadata_[found->second].second;
  if (value.type != type) Damaged("the key %s is of type %u, not %u", key.c_str(), value.type, type);
  return value;
}

uint32_t GgufFile::U32(const std::string& key) const { return Load<uint32_t>(Required(key, kU32).data); }

float GgufFile::F32(const std::string& key) const { return Load<float>(Required(key, kF32).data); }

std::string_view GgufFile::String(const std::string& key) const {
  const GgufValue& value = Required(key, kString);
  return {reinterpret_cast<const char*>(value.data), value.count};
}

const GgufValue& GgufFile::StringArray(const std::string& key) const {
  const GgufValue& array = Required(key, kArray);
  if (array.element_type != kString) Damaged("the key %s is no array of strings", key.c_str());
  return array;
}

uint64_t GgufFile::StringCount(const std::string& key) const { return StringArray(key).count; }

std::vector<std::string_view> GgufFile::Strings(const std::string& key) const {
  const GgufValue& array = StringArray(key);
  std::vector<std::string_view> strings;
  strings.reserve(array.count);
  const uint8_t* next = array.data;
  for (uint64_t i = 0; i < array.count; ++i) {
    const uint64_t length = Load<uint64_t>(next);
    strings.emplace_back(reinterpret_cast<const char*>(next + sizeof(length)), length);
    next += sizeof(length) + length;
  }
  return strings;
}

const uint8_t* GgufFile::Data(const std::string& name, uint32_t type, std::initializer_list<int64_t> dims) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) Damaged("it lacks the tensor %s", name.c_str());
  const GgufTensor& tensor = found->second;
  if (tensor.type != type) Damaged("tensor %s is of type %u, not %u", name.c_str(), tensor.type, type);
  if (!std::equal(dims.begin(), dims.end(), tensor.dims.begin(), tensor.dims.end(),
                  [](int64_t expected, uint64_t dim) { return static_cast<uint64_t>(expected) == dim; })) {
    std::string expected, actual;
    for (const int64_t dim : dims) expected += " " + std::to_string(dim);
    for (const uint64_t dim : tensor.dims) actual += " " + std::to_string(dim);
    Damaged("tensor %s has the dims%s, expected%s", name.c_str(), actual.c_str(), expected.c_str());
  }
  return bytes_.data() + tensor.offset;
}

const float* GgufFile::Floats(const std::string& name, std::initializer_list<int64_t> dims) const {
  return reinterpret_cast<const float*>(Data(name, kTensorF32, dims));
}

const uint64_t* GgufFile::Words(const std::string& name, std::initializer_list<int64_t> dims) const {
  return reinterpret_cast<const uint64_t*>(Data(name, kTensorI64, dims));
}

void GgufFile::Damaged(const char* format, ...) const {
  char what[768];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof(what), format, arguments);
  va_end(arguments);
  Fail(MULTIBIT_ERROR_FORMAT, "%s is damaged or not a multibit model: %s", name_.c_str(), Printable(what).c_str());
}

}  // namespace multibit
