#include "storage/image_resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lapidary {
namespace {

constexpr int kChannels = 3;
constexpr float kRescaleFactor = 0.003921569f;  // 1/255 as float32

// One axis of a resize: output i is
//   (2^(bits-1) + sum of weights[i * taps + j] * input[first[i] + j]) >> bits
// over j < count[i], clamped to a byte.
struct Filter {
  int taps = 0;  // the largest count
  int bits = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<int16_t> weights;  // [outputs][taps]
};

// torch's rounding: half is added, and the rest cut off towards zero.
int Rounded(double number) {
  return static_cast<int>(number + 0.5);  // NOLINT: not lround
}

// The weights of one output in float64, which sum to 1; `window` is a scratch.
void FillWindow(double scale, int in_size, int output, int* first, int* count,
                std::vector<double>* window) {
  const double radius = std::max(scale, 1.0);
  const double center = scale * (output + 0.5);
  *first = std::max(Rounded(center - radius), 0);
  *count = std::min(Rounded(center + radius), in_size) - *first;
  window->resize(*count);
  double sum = 0;
  for (int j = 0; j < *count; ++j) {
    const double distance = std::abs((j + *first - center + 0.5) / radius);
    (*window)[j] = std::max(1.0 - distance, 0.0);
    sum += (*window)[j];
  }
  for (double& weight : *window) weight /= sum;
}

// As many bits as the largest weight of the axis leaves in an int16.
int WeightBits(double largest) {
  int bits = 0;
  while (bits < 22 && Rounded(largest * (1 << (bits + 1))) < (1 << 15)) {
    ++bits;
  }
  return bits;
}

Filter MakeFilter(int in_size, int out_size) {
  const double scale = static_cast<double>(in_size) / out_size;
  Filter filter;
  filter.first.resize(out_size);
  filter.count.resize(out_size);
  std::vector<double> window;
  double largest = 0;
  for (int i = 0; i < out_size; ++i) {
    FillWindow(scale, in_size, i, &filter.first[i], &filter.count[i], &window);
    largest =
        std::max(largest, *std::max_element(window.begin(), window.end()));
    filter.taps = std::max(filter.taps, filter.count[i]);
  }
  filter.bits = WeightBits(largest);
  filter.weights.resize(static_cast<size_t>(out_size) * filter.taps);
  for (int i = 0; i < out_size; ++i) {
    FillWindow(scale, in_size, i, &filter.first[i], &filter.count[i], &window);
    int16_t* const weights = &filter.weights[size_t{1} * i * filter.taps];
    for (int j = 0; j < filter.count[i]; ++j) {
      weights[j] =
          static_cast<int16_t>(Rounded(window[j] * (1 << filter.bits)));
    }
  }
  return filter;
}

uint8_t ToByte(int32_t sum, int bits) {
  return static_cast<uint8_t>(std::clamp(sum >> bits, 0, 255));
}

// in [columns][3] -> out [filter's outputs][3]
void ResizeRow(const Filter& filter, const uint8_t* in, uint8_t* out) {
  const int32_t half = 1 << (filter.bits - 1);
  const int outputs = static_cast<int>(filter.first.size());
  for (int x = 0; x < outputs; ++x, out += kChannels) {
    const int16_t* const weights = &filter.weights[size_t{1} * x * filter.taps];
    const uint8_t* pixel = in + size_t{1} * filter.first[x] * kChannels;
    int32_t red = half, green = half, blue = half;
    for (int j = 0; j < filter.count[x]; ++j, pixel += kChannels) {
      red += weights[j] * pixel[0];
      green += weights[j] * pixel[1];
      blue += weights[j] * pixel[2];
    }
    out[0] = ToByte(red, filter.bits);
    out[1] = ToByte(green, filter.bits);
    out[2] = ToByte(blue, filter.bits);
  }
}

// Resizes the columns of rows that come one after the other. Keeps as many of
// them as one row of the result is made of.
class RowsInTurn {
 public:
  // Rows have `row_bytes` bytes.
  RowsInTurn(const Filter& filter, size_t row_bytes)
      : filter_(filter),
        row_bytes_(row_bytes),
        kept_(filter.taps * row_bytes),
        sums_(row_bytes) {}

  // Where to write row `row` of the input.
  uint8_t* Row(int row) { return &kept_[(row % filter_.taps) * row_bytes_]; }

  // Row `y` of the result; all rows that it is made of have been written.
  void Finish(int y, uint8_t* out) {
    std::fill(sums_.begin(), sums_.end(), 1 << (filter_.bits - 1));
    for (int j = 0; j < filter_.count[y]; ++j) {
      const int32_t weight = filter_.weights[size_t{1} * y * filter_.taps + j];
      const uint8_t* const row = Row(filter_.first[y] + j);
      int32_t* const sums = sums_.data();
      for (size_t i = 0; i < row_bytes_; ++i) sums[i] += weight * row[i];
    }
    for (size_t i = 0; i < row_bytes_; ++i) {
      out[i] = ToByte(sums_[i], filter_.bits);
    }
  }

 private:
  const Filter& filter_;
  const size_t row_bytes_;
  std::vector<uint8_t> kept_;  // [taps][row_bytes], a ring
  std::vector<int32_t> sums_;
};

}  // namespace

Image ResizeImage(const Image& image, int height, int width) {
  Image result;
  result.height = height;
  result.width = width;
  const size_t in_bytes = size_t{1} * image.width * kChannels;
  const size_t out_bytes = size_t{1} * width * kChannels;
  result.rgb.resize(height * out_bytes);

  Filter columns;
  if (width != image.width) columns = MakeFilter(image.width, width);
  const auto resize_row = [&](int row, uint8_t* out) {
    const uint8_t* const in = &image.rgb[row * in_bytes];
    if (width == image.width) {
      std::memcpy(out, in, in_bytes);
    } else {
      ResizeRow(columns, in, out);
    }
  };
  if (height == image.height) {
    for (int y = 0; y < height; ++y) resize_row(y, &result.rgb[y * out_bytes]);
    return result;
  }
  const Filter rows = MakeFilter(image.height, height);
  RowsInTurn in_turn(rows, out_bytes);
  int next = 0;
  for (int y = 0; y < height; ++y) {
    for (; next < rows.first[y] + rows.count[y]; ++next) {
      resize_row(next, in_turn.Row(next));
    }
    in_turn.Finish(y, &result.rgb[y * out_bytes]);
  }
  return result;
}

std::vector<float> PixelValues(const Image& image) {
  std::vector<float> values(image.rgb.size());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(image.rgb[i]) * kRescaleFactor;
  }
  return values;
}

}  // namespace lapidary
