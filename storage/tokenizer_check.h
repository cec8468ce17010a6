// Whether tokenizer.json and tokenizer.model are one tokenizer.
#ifndef LAPIDARY_STORAGE_TOKENIZER_CHECK_H_
#define LAPIDARY_STORAGE_TOKENIZER_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "storage/tokenizer.h"

namespace lapidary {

// Compares the vocabulary and merges of the tokenizer.json at `path`, which
// Tokenizer::Load leaves unread (33 MB, most of them merges), with those that
// were made of tokenizer.model. OK means that Hugging Face's ids, which come
// out of that file, are the tokenizer's. For the time of packing: takes a
// second and some hundred MB for the published file.
//
// Errors: INVALID_ARGUMENT that names the first difference; NOT_FOUND.
absl::Status CheckTokenizerJson(const Tokenizer& tokenizer,
                                const std::string& path);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_TOKENIZER_CHECK_H_
