#include "kernels/audio/mel.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "kissfft/kissfft.hh"

namespace lapidary::kernels::audio {
namespace {

using Complex = std::complex<double>;

constexpr double kPi = 3.14159265358979323846;

double HzToMel(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double MelToHz(double mel) {
  return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
}

// One band's triangle: bins [first, first + weights.size()).
struct Band {
  int64_t first = 0;
  std::vector<double> weights;
};

// gemma3n-audio.md §1.4
std::vector<Band> FilterBank(const MelConfig& c) {
  const double low = HzToMel(c.min_frequency);
  const double high = HzToMel(c.max_frequency);
  std::vector<double> corners(c.feature_size + 2);
  for (size_t i = 0; i < corners.size(); ++i) {
    const double part =
        static_cast<double>(i) / static_cast<double>(corners.size() - 1);
    corners[i] = MelToHz(low + (high - low) * part);
  }
  const double width =
      static_cast<double>(c.sampling_rate) / static_cast<double>(c.fft_length);
  std::vector<Band> bands(c.feature_size);
  for (int64_t j = 0; j < c.feature_size; ++j) {
    Band& band = bands[j];
    for (int64_t bin = 0; bin <= c.fft_length / 2; ++bin) {
      const double hz = width * static_cast<double>(bin);
      const double up = (hz - corners[j]) / (corners[j + 1] - corners[j]);
      const double down =
          (corners[j + 2] - hz) / (corners[j + 2] - corners[j + 1]);
      const double weight = std::min(up, down);
      if (weight <= 0) continue;
      if (band.weights.empty()) band.first = bin;
      band.weights.push_back(weight);
    }
  }
  return bands;
}

// gemma3n-audio.md §1.5
std::vector<float> Window(int64_t length) {
  std::vector<float> window(length);
  for (int64_t i = 0; i < length; ++i) {
    const float angle = 6.2831855f * static_cast<float>(i);
    const float turn = angle / static_cast<float>(length);
    window[i] = 0.5f * (1.0f - std::cos(turn));
  }
  return window;
}

std::vector<Complex> Roots(int64_t count, int64_t of) {
  std::vector<Complex> roots(count);
  for (int64_t i = 0; i < count; ++i) {
    roots[i] = std::polar(
        1.0, -2.0 * kPi * static_cast<double>(i) / static_cast<double>(of));
  }
  return roots;
}

}  // namespace

// The real transform of N is a complex one of N/2, whose inputs are pairs of
// samples. Where at least half of them are zero (fft_overdrive), its even and
// its odd outputs are transforms of N/4 each: of the inputs, and of the inputs
// times the roots of unity.
struct MelFrontEnd::Tables {
  explicit Tables(const MelConfig& c)
      : config(c),
        parts(2 * c.frame_length <= c.fft_length ? 2 : 1),
        half(c.fft_length / 2),
        window(Window(c.frame_length)),
        bands(FilterBank(c)),
        transform(half / parts, false),
        shift(Roots(half / parts, half)),
        roots(Roots(half + 1, c.fft_length)) {
    for (int64_t b = 0; b <= half; ++b) {
      const int64_t output = b % half;
      place.push_back(output % parts * (half / parts) + output / parts);
    }
    first_bin = half + 1;
    for (const Band& band : bands) {
      if (band.weights.empty()) continue;
      const auto count = static_cast<int64_t>(band.weights.size());
      first_bin = std::min(first_bin, band.first);
      last_bin = std::max(last_bin, band.first + count);
    }
  }

  // Frame after pre-emphasis and window.
  //   out  [frame_length]
  void Windowed(const float* samples, float* out) const;
  // Magnitudes of bins [first_bin, last_bin), at those places of `out`.
  void Magnitudes(const Complex* z, double* out) const;

  const MelConfig config;
  const int64_t parts, half;
  const std::vector<float> window;
  const std::vector<Band> bands;
  const kissfft<double> transform;  // of half / parts
  const std::vector<Complex> shift, roots;
  // Where output b of the complex transform lies.
  std::vector<int64_t> place;  // [half + 1]
  int64_t first_bin = 0, last_bin = 0;
};

void MelFrontEnd::Tables::Windowed(const float* samples, float* out) const {
  const int64_t length = config.frame_length;
  const auto scale = static_cast<float>(config.input_scale_factor);
  const auto a = static_cast<float>(config.preemphasis);
  const auto at = [&](int64_t i) { return samples[i] * scale; };
  if (config.preemphasis == 0) {
    for (int64_t i = 0; i < length; ++i) out[i] = at(i) * window[i];
  } else if (config.preemphasis_htk_flavor) {
    out[0] = at(0) * static_cast<float>(1.0 - config.preemphasis) * window[0];
    for (int64_t i = 1; i < length; ++i) {
      const float past = a * at(i - 1);
      out[i] = (at(i) - past) * window[i];
    }
  } else {
    for (int64_t i = 0; i < length; ++i) {
      const float past = a * at(i);
      out[i] = (at(i + 1) - past) * window[i];
    }
  }
}

void MelFrontEnd::Tables::Magnitudes(const Complex* z, double* out) const {
  for (int64_t b = first_bin; b < last_bin; ++b) {
    const Complex front = z[place[b]], back = std::conj(z[place[half - b]]);
    const Complex even = front + back, odd = front - back;
    // even/2 - i/2 · root · odd
    const double re =
        roots[b].real() * odd.real() - roots[b].imag() * odd.imag();
    const double im =
        roots[b].real() * odd.imag() + roots[b].imag() * odd.real();
    const double x = even.real() + im, y = even.imag() - re;
    out[b] = 0.5 * std::sqrt(x * x + y * y);
  }
}

MelFrontEnd::MelFrontEnd(const MelConfig& config)
    : tables_(std::make_unique<Tables>(config)) {}
MelFrontEnd::~MelFrontEnd() = default;

void MelFrontEnd::Frame(const float* samples, float* out,
                        Scratch* scratch) const {
  const Tables& t = *tables_;
  const MelConfig& c = t.config;
  const int64_t size = t.half / t.parts;
  // Inputs and outputs of the transform, then the windowed frame, whose place
  // the magnitudes take.
  auto* inputs = scratch->Room<Complex>(size + 2 * t.half + 1);
  Complex* outputs = inputs + size;
  auto* frame = reinterpret_cast<float*>(outputs + t.half);
  auto* magnitudes = reinterpret_cast<double*>(outputs + t.half);
  std::fill(frame + c.frame_length, frame + 2 * size, 0.0f);
  t.Windowed(samples, frame);
  for (int64_t part = 0; part < t.parts; ++part) {
    for (int64_t i = 0; i < size; ++i) {
      const double re = frame[2 * i], im = frame[2 * i + 1];
      const Complex& w = t.shift[i];
      inputs[i] = part == 0 ? Complex(re, im)
                            : Complex(re * w.real() - im * w.imag(),
                                      re * w.imag() + im * w.real());
    }
    t.transform.transform(inputs, outputs + part * size);
  }
  t.Magnitudes(outputs, magnitudes);
  for (int64_t j = 0; j < c.feature_size; ++j) {
    const Band& band = t.bands[j];
    double sum = 0;
    for (size_t i = 0; i < band.weights.size(); ++i) {
      sum += magnitudes[band.first + i] * band.weights[i];
    }
    double value = std::log(std::max(sum, c.mel_floor));
    if (!c.per_bin_mean.empty()) value -= c.per_bin_mean[j];
    if (!c.per_bin_stddev.empty()) value /= c.per_bin_stddev[j];
    out[j] = static_cast<float>(value);
  }
}

}  // namespace lapidary::kernels::audio
