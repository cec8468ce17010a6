// The audio tower against gemma3n-audio.md §9: goldens A (published by Hugging
// Face), B and C (reproduced by it).
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/audio/tower.h"
#include "tests/support/memory_tower.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::DType;
using kernels::audio::AudioState;
using kernels::audio::AudioTower;
using kernels::audio::AudioTowerOptions;

// What a tower made of a clip, part by part.
class Parts {
 public:
  void Encode(const MemoryTower& tower, const std::vector<float>& samples) {
    const auto weights = tower.Bind(DType::kF32);
    ASSERT_TRUE(weights.ok()) << weights.status();
    AudioTowerOptions options;
    options.on_part = [this](const std::string& part, int64_t first,
                             ConstMatrixView rows) {
      std::vector<float>& all = values_[part];
      width_[part] = rows.cols;
      EXPECT_EQ(static_cast<int64_t>(all.size()), first * rows.cols) << part;
      all.insert(all.end(), rows.data, rows.data + rows.rows * rows.cols);
    };
    AudioTower audio(*weights, options);
    AudioState clip(&audio);
    ASSERT_TRUE(clip.Push(samples.data(), samples.size()).ok());
    clip.Finish();
    while (clip.Step()) {
    }
    EXPECT_TRUE(clip.done());
    EXPECT_EQ(clip.tokens(), rows("tower"));
  }

  int64_t rows(const std::string& part) const {
    return values_.at(part).size() / width_.at(part);
  }
  const float* row(const std::string& part, int64_t r) const {
    return &values_.at(part)[r * width_.at(part)];
  }
  double Mean(const std::string& part) const {
    double sum = 0;
    for (const float v : values_.at(part)) sum += v;
    return sum / static_cast<double>(values_.at(part).size());
  }

  void Expect(const std::string& part, int64_t r, int64_t first,
              const std::vector<double>& wanted, double tolerance) const {
    ASSERT_LT(r, rows(part)) << part;
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR(row(part, r)[first + i], wanted[i], tolerance)
          << part << " row " << r << ", " << first + i;
    }
  }

  // dims 0…, sum and sum of squares of token `r`.
  void ExpectToken(int64_t r, const std::vector<double>& dims, double sum,
                   double squares, double tolerance) const {
    Expect("tower", r, 0, dims, tolerance);
    double s = 0, q = 0;
    for (int64_t i = 0; i < width_.at("tower"); ++i) {
      s += row("tower", r)[i];
      q += static_cast<double>(row("tower", r)[i]) * row("tower", r)[i];
    }
    EXPECT_NEAR(s, sum, 20 * tolerance) << "token " << r;
    EXPECT_NEAR(q, squares, 20 * tolerance) << "token " << r;
  }

 private:
  std::map<std::string, std::vector<float>> values_;
  std::map<std::string, int64_t> width_;
};

TEST(AudioSpecGolden, DrawsAreTorchs) {
  MemoryTower tower(MiniAudioConfig());
  tower.DrawLikeTorch(0);
  const auto& w =
      tower.at("audio_tower.subsample_conv_projection.conv_0.conv.weight");
  EXPECT_FLOAT_EQ(w[0], -0.0024956069f);
  EXPECT_FLOAT_EQ(w[1], 0.17881453f);
  EXPECT_FLOAT_EQ(w[2], -0.274348378f);
  EXPECT_FLOAT_EQ(NoiseSamples(1, 2, 0.2)[0], 0.103052638f);
  EXPECT_FLOAT_EQ(NoiseSamples(2, 2, 0.2)[1], -0.0475948565f);
}

TEST(AudioSpecGolden, A_PublishedByHuggingFace) {
  MemoryTower tower(MiniAudioConfig());
  tower.DrawLikeTorch(0);
  std::vector<float> sine(8000);
  for (size_t n = 0; n < sine.size(); ++n) {
    sine[n] = static_cast<float>(
        std::sin(2 * M_PI * 440 * static_cast<double>(n) / 7999));
  }
  Parts parts;
  parts.Encode(tower, sine);
  EXPECT_EQ(parts.rows("mel"), 48);
  parts.Expect("mel", 0, 0,
               {-5.733152, -5.337127, -4.916284, -4.378989, -3.7622747}, 1e-4);
  EXPECT_EQ(parts.rows("tower"), 3);
  parts.Expect("tower", 0, 0, {-0.4159, 0.6459, 0.6305, 2.2902, 0.9683}, 1e-3);
}

class AudioSpecGoldenB : public testing::Test {
 protected:
  AudioSpecGoldenB() : tower(MiniAudioConfig()) {
    tower.DrawLikeTorch(0);
    tower.MakeLively();
    tower.FillEmbedder();
  }
  MemoryTower tower;
};

TEST_F(AudioSpecGoldenB, Noise20001) {
  Parts parts;
  parts.Encode(tower, NoiseSamples(2, 20001, 0.2));
  EXPECT_EQ(parts.rows("mel"), 123);
  parts.Expect("mel", 0, 0, {-1.824901, -1.692829, -0.839807, 0.378550}, 1e-5);
  parts.Expect("mel", 122, 0, {-0.602799, -0.162974, -0.849333, 0.194471},
               1e-5);
  EXPECT_NEAR(parts.Mean("mel"), 2.272455, 1e-5);
  parts.Expect("sscp", 0, 0, {0.232837, -0.453427, 0.034405, 0.517699}, 1e-5);
  // Frames behind the last token's are not computed: frame 28 is.
  EXPECT_EQ(parts.rows("sscp"), 29);
  const double tolerance = 1e-5;
  parts.ExpectToken(
      0, {-0.188083, -0.016864, 1.904922, -0.196403, -0.251505, -0.103109},
      5.542943, 30.015271, tolerance);
  parts.ExpectToken(
      1, {-0.086710, -0.478993, 1.687995, -0.205910, -0.243725, -0.650893},
      3.683221, 31.014301, tolerance);
  parts.ExpectToken(
      2, {-0.082529, -0.416424, 1.675478, -0.141410, -0.220487, -0.625846},
      4.012915, 30.725381, tolerance);
  parts.ExpectToken(
      3, {-0.040968, -0.419447, 1.645465, -0.178050, -0.223908, -0.775520},
      4.282921, 30.915053, tolerance);
  parts.ExpectToken(
      4, {-0.072406, -0.403208, 1.693103, -0.253686, -0.333367, -0.867901},
      3.360331, 31.131922, tolerance);
  parts.ExpectToken(
      5, {-0.072303, -0.404027, 1.727686, -0.331458, -0.243024, -0.825726},
      3.703016, 30.984288, tolerance);
  parts.ExpectToken(
      6, {-0.043049, -0.501448, 1.642502, -0.325234, -0.308196, -0.862864},
      3.194024, 31.220078, tolerance);
  parts.ExpectToken(
      7, {-0.143034, -0.490536, 1.627870, -0.422253, -0.514485, -0.890216},
      2.150124, 31.462516, tolerance);
  parts.Expect("embed_audio", 0, 0,
               {1.432744, 1.126582, 0.051954, -1.141736, -1.398224, -0.666691},
               1e-5);
}

TEST_F(AudioSpecGoldenB, Noise4000Alone) {
  Parts parts;
  parts.Encode(tower, NoiseSamples(1, 4000, 0.2));
  EXPECT_EQ(parts.rows("mel"), 23);
  EXPECT_EQ(tower.config().ConformerFrames(4000), 6);
  EXPECT_EQ(parts.rows("tower"), 2);
  parts.Expect("tower", 0, 0,
               {-0.118330, 0.002886, 1.999178, -0.246717, -0.213538, -0.166898},
               1e-5);
  parts.Expect(
      "tower", 1, 0,
      {-0.142527, -0.444217, 1.767734, -0.378891, -0.569176, -0.743788}, 1e-5);
}

TEST_F(AudioSpecGoldenB, HardTokens) {
  const auto weights = tower.Bind(DType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const std::map<int64_t, std::vector<float>> wanted = {
      {7, {0.454586f, 0.694324f, 0.402988f, 0.039574f, 0.236356f, 0.597106f}},
      {0,
       {3.107635f, 0.014603f, -1.863891f, -1.567174f, -0.442992f, 0.015632f}}};
  EXPECT_EQ((*weights)->config.padding_row(), 7);
  for (const auto& [row, dims] : wanted) {
    std::vector<float> out((*weights)->config.text_hidden_size);
    EmbedHardToken(**weights, row, out.data());
    for (size_t i = 0; i < dims.size(); ++i) {
      EXPECT_NEAR(out[i], dims[i], 1e-5) << "row " << row;
    }
  }
}

TEST(AudioSpecGolden, C_RealFrontEndWindowAndKernels) {
  MemoryTower tower(RealFrontAudioConfig());
  tower.DrawLikeTorch(0);
  tower.MakeLively();
  Parts parts;
  parts.Encode(tower, NoiseSamples(2, 20001, 0.2));
  parts.Expect("mel", 0, 0,
               {-3.770049, -3.090919, -2.909686, -3.451729, -3.557137}, 2e-5);
  parts.Expect("mel", 0, 125, {3.433281, 2.781261, 2.968997}, 2e-5);
  parts.Expect("mel", 122, 0, {-2.515165, -2.156505, -2.121376}, 2e-5);
  EXPECT_NEAR(parts.Mean("mel"), 0.835377, 2e-5);
  parts.Expect("sscp", 0, 0, {-0.085674, 0.535263, 0.230065, -0.369664}, 5e-5);
  parts.Expect("sscp", 15, 0, {-0.075102, 0.423178, 0.262216, -0.601814}, 5e-5);
  const double tolerance = 5e-5;
  parts.ExpectToken(0, {-0.005865, 0.736133, -0.056569, 0.400197, -0.617320},
                    2.051033, 65.630811, tolerance);
  parts.ExpectToken(1, {-0.178710, 0.851896, 0.220654, 0.128862, -0.106705},
                    -0.498159, 64.372100, tolerance);
  parts.ExpectToken(2, {0.203989, 0.862505, -0.083836, 0.227204, -0.764828},
                    -1.435539, 64.942494, tolerance);
  parts.ExpectToken(3, {0.138794, 0.972557, -0.192490, 0.090674, -0.994925},
                    -2.096511, 65.099595, tolerance);
  parts.ExpectToken(4, {0.160160, 0.826066, 0.211323, -0.027664, -0.756345},
                    -3.837163, 65.845725, tolerance);
  parts.ExpectToken(5, {-0.057859, 0.941092, -0.000096, -0.064337, -0.818194},
                    -4.679550, 66.065054, tolerance);
  parts.ExpectToken(6, {0.028562, 1.036094, 0.046598, -0.291794, -0.529307},
                    -3.644734, 65.577885, tolerance);
  parts.ExpectToken(7, {0.071128, 1.087613, 0.048943, -0.040903, -0.681585},
                    -1.213850, 66.212848, tolerance);
}

TEST(AudioSpecGolden, PositionsAreProjectedSinusoids) {
  MemoryTower tower(RealFrontAudioConfig());
  tower.DrawLikeTorch(0);
  tower.MakeLively();
  const auto weights = tower.Bind(DType::kF32);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const std::vector<float>& p = (*weights)->conformer[0].positions;
  const double first[] = {-3.358161, 1.531406, -2.636223, -2.456268};
  const double last[] = {-3.891164, 1.813711, -2.212474, -1.624942};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(p[i], first[i], 1e-5);
    EXPECT_NEAR(p[12 * 64 + i], last[i], 1e-5);
  }
}

// gemma3n-audio.md §1.7
TEST(AudioConfig, Lengths) {
  const kernels::audio::AudioConfig c;
  const std::vector<std::vector<int64_t>> table = {
      {0, 0, 0, 0},           {512, 0, 0, 0},
      {513, 1, 1, 1},         {641, 2, 1, 1},
      {8000, 48, 12, 3},      {16000, 97, 25, 7},
      {20001, 123, 31, 8},    {80000, 497, 125, 32},
      {160000, 997, 250, 63}, {480000, 2997, 750, 188}};
  for (const auto& row : table) {
    EXPECT_EQ(c.mel.Frames(row[0]), row[1]) << row[0];
    EXPECT_EQ(c.ConformerFrames(row[0]), row[2]) << row[0];
    EXPECT_EQ(c.SoftTokens(row[0]), row[3]) << row[0];
  }
}

}  // namespace
}  // namespace lapidary
